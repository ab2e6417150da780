/**
 * `npm run attack -- --minutes 10 --seed 42`: the standing attack, on a stack of its own. Exits 1 when it found something.
 * `--turns 500` makes a fixed number of requests instead, for each of six workers.
 * `--plant "dates without bounds"` opens a hole first (plants.ts), which it should then find; `--plants` opens all of
 * them at once, and exits 1 when one is not found.
 */
import { parseArgs } from 'node:util';
import { nameOption, numberOption, readOptions } from '../../local/options.ts';
import { startStack } from '../../local/stack.ts';
import { attack } from './attack.ts';
import { plantAll, plants } from './plants.ts';

const { seed, minutes, turns, names, all } = readOptions(() => {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      turns: { type: 'string' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
      plant: { type: 'string' },
      plants: { type: 'boolean', default: false },
    },
  });
  const known = Object.keys(plants);
  const one = values.plant === undefined ? [] : [nameOption('--plant', values.plant, known)];
  return {
    seed: numberOption('--seed', values.seed, { least: 0, whole: true }),
    minutes: numberOption('--minutes', values.minutes, { least: 0.01, whole: false }),
    turns:
      values.turns === undefined
        ? undefined
        : numberOption('--turns', values.turns, { least: 1, whole: true }),
    names: values.plants ? known : one,
    all: values.plants,
  };
});
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

if (all) {
  const missed = names.filter((name) => !findings.some(({ what }) => plants[name]?.foundAs.test(what)));
  for (const name of names) console.log(`${missed.includes(name) ? 'NOT FOUND' : 'found'}  ${name}`);
  console.log(`${names.length - missed.length} of ${names.length} holes were found, seed ${seed}.`);
  if (missed.length > 0) process.exitCode = 1;
} else {
  for (const { what, request, answer } of findings) console.log(`\n${what}\n  ${request}\n  ${answer}`);
  console.log(findings.length === 0 ? 'Nothing was found.' : `\n${findings.length} findings, seed ${seed}.`);
  if (findings.length > 0) process.exitCode = 1;
}
