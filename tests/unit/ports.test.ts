import { expect, it } from 'vitest';
import { claimPort } from '../../local/ports.ts';

it('no free port is given twice, before whoever has it listens', async () => {
  const ports: number[] = [];
  for (let time = 0; time < 100; time++) ports.push(await claimPort(0, 'test', 'TEST_PORT'));
  expect(new Set(ports).size).toBe(100);
});
