/**
 * `npm run attack -- --minutes 10 --seed 42`: the standing attack, on a stack of its own. Exits 1 when it found something.
 * `--turns 500` makes a fixed number of requests instead, for each of six workers.
 * `--plant "dates without bounds"` opens a hole first (plants.ts), which it should then find; `--plants` opens all of
 * them at once, and exits 1 when one is not found.
 */
import { parseArgs } from 'node:util';
import { numberOption } from '../../local/options.ts';
import { startStack } from '../../local/stack.ts';
import { attack } from './attack.ts';
import { plantAll, plants } from './plants.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    turns: { type: 'string' },
    seed: { type: 'string' },
    plant: { type: 'string' },
    plants: { type: 'boolean', default: false },
  },
});
const seed = numberOption('--seed', values.seed ?? String(Math.floor(Math.random() * 1_000_000)), {
  least: 0,
  whole: true,
});
const minutes = numberOption('--minutes', values.minutes, { least: 0.01, whole: false });
const turns =
  values.turns === undefined ? undefined : numberOption('--turns', values.turns, { least: 1, whole: true });

const names = values.plants ? Object.keys(plants) : values.plant === undefined ? [] : [values.plant];
const length = turns ? `with ${turns} requests of each of six workers` : `for ${minutes} minutes`;
console.log(`Attacking ${length}, seed ${seed}${names.length > 0 ? `, with ${names.length} holes` : ''} …`);
const stack = await startStack();
const { target, end } = await plantAll(stack, names);
const began = Date.now();
const { requests, answers, findings } = await attack(
  target,
  seed,
  turns ? { turns } : { until: Date.now() + minutes * 60_000 },
).finally(async () => {
  await end();
  await stack.stop();
});
const counts = Object.entries(answers).map(([status, count]) => `${count} × ${status}`);
console.log(`${requests} requests in ${Math.round((Date.now() - began) / 1000)} s: ${counts.join(', ')}`);

if (values.plants) {
  const missed = names.filter((name) => !findings.some(({ what }) => plants[name]?.foundAs.test(what)));
  for (const name of names) console.log(`${missed.includes(name) ? 'NOT FOUND' : 'found'}  ${name}`);
  console.log(`${names.length - missed.length} of ${names.length} holes were found, seed ${seed}.`);
  if (missed.length > 0) process.exitCode = 1;
} else {
  for (const { what, request, answer } of findings) console.log(`\n${what}\n  ${request}\n  ${answer}`);
  console.log(findings.length === 0 ? 'Nothing was found.' : `\n${findings.length} findings, seed ${seed}.`);
  if (findings.length > 0) process.exitCode = 1;
}
