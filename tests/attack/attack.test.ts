/** The standing attack, briefly: it finds nothing, and finds a hole that is there. `npm run attack` goes on for longer. */
import { afterEach, expect, it } from 'vitest';
import { type Stack, startStack } from '../../local/stack.ts';
import { attack } from './attack.ts';
import { plant } from './plants.ts';

/** A fixed seed: what is random runs by hand, and in longer runs. */
const SEED = 1;

/**
 * A payer's rule or a coverage that is entered for days gone by changes which services were allowed at once then; what was
 * booked by the rule of its time stays. This look asks the rules of today.
 */
const knownOfThePast = [
  'broken: no two sessions of one therapist, room or client overlap, unless they are one group or the payers allow both at once',
];

let stack: Stack;
afterEach(() => stack?.stop());

it('everybody, with hostile values, against all there is: nothing comes of it', async () => {
  stack = await startStack();
  const { requests, answers, findings } = await attack(stack, SEED, { turns: 150 });
  expect(findings.filter(({ what }) => !knownOfThePast.includes(what))).toEqual([]);
  expect(requests).toBe(900);
  expect(answers['200']).toBeGreaterThan(0);
}, 180_000);

it('a policy that forgets the clinic is found', async () => {
  stack = await startStack();
  await plant(stack.dbUrl, 'a policy that forgets the clinic');
  const { findings } = await attack(stack, SEED, { turns: 80 });
  expect(findings.map(({ what }) => what).join()).toContain('a row of the other clinic came out');
}, 180_000);
