/** Whatever started a child and is stopped by a signal takes the child along, without a handler of its own. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { execa } from 'execa';
import { expect, it } from 'vitest';

const parent = `
  import { spawn } from 'node:child_process';
  import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
  import { endWithParent } from './local/children.ts';
  const child = spawn('sleep', ['600'], { detached: true });
  endWithParent(child.pid, 'SIGTERM', once(child, 'exit'));
  console.log(child.pid);
`;

/** One that has ended counts as ended, also where process 1 never asks what became of it. */
const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    const state = existsSync('/proc/self/stat') && readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !state || !/\) Z/.test(state);
  } catch {
    return false;
  }
};

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s',
  async (signal) => {
    const running = execa('node', ['--input-type=module', '--eval', parent], { reject: false });
    const [line] = (await once(running.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    expect(isRunning(pid)).toBe(true);
    running.kill(signal);
    expect((await running).exitCode).toBe(130);
    await expect.poll(() => isRunning(pid), { timeout: 60_000 }).toBe(false);
  },
  120_000,
);
