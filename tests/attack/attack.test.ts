/** The standing attack, briefly: it finds nothing, and finds each hole that is there. `npm run attack` goes on for longer. */
import { afterEach, expect, it } from 'vitest';
import { type Stack, startStack } from '../../local/stack.ts';
import { attack } from './attack.ts';
import { plantAll, plants } from './plants.ts';

/** A fixed seed: what is random runs by hand, and in longer runs. */
const SEED = 1;

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function startOne(): Promise<Stack> {
  const stack = await startStack();
  ends.push(() => stack.stop());
  return stack;
}

it('everybody, with hostile values, against all there is: nothing comes of it', async () => {
  // The opening is made once below, with holes, and once in `.ci/run`, without.
  const { requests, answers, findings } = await attack(await startOne(), SEED, {
    turns: 20,
    withoutOpening: true,
  });
  expect(findings).toEqual([]);
  expect(requests).toBe(120);
  expect(answers['200']).toBeGreaterThan(0);
}, 300_000);

it('every hole that was ever found is found when it is opened again', async () => {
  const { target, end } = await plantAll(await startOne(), Object.keys(plants));
  ends.push(end);
  // None is left to chance: the attack's opening finds them all.
  const { findings } = await attack(target, SEED, { turns: 0 });
  const missed = Object.entries(plants).filter(
    ([, { foundAs }]) => !findings.some(({ what }) => foundAs.test(what)),
  );
  expect(missed.map(([name]) => name)).toEqual([]);
}, 600_000);
