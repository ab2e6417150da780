/**
 * `npm run attack -- --minutes 10 --seed 42`: the standing attack, on a stack of its own. Exits 1 when it found something.
 * `--plant "dates without bounds"` opens a hole first (plants.ts), which it should then find.
 */
import { parseArgs } from 'node:util';
import { startStack } from '../../local/stack.ts';
import { attack } from './attack.ts';
import { plant } from './plants.ts';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' }, plant: { type: 'string' } },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
const minutes = Number(values.minutes);
console.log(`Attacking for ${minutes} minutes, seed ${seed} …`);
const stack = await startStack();
try {
  if (values.plant !== undefined) await plant(stack.dbUrl, values.plant);
  const { requests, answers, findings } = await attack(stack, seed, { until: Date.now() + minutes * 60_000 });
  console.log(
    `${requests} requests: ${Object.entries(answers)
      .map(([status, count]) => `${count} × ${status}`)
      .join(', ')}`,
  );
  for (const { what, request, answer } of findings) console.log(`\n${what}\n  ${request}\n  ${answer}`);
  console.log(findings.length === 0 ? 'Nothing was found.' : `\n${findings.length} findings, seed ${seed}.`);
  if (findings.length > 0) process.exitCode = 1;
} finally {
  await stack.stop();
}
