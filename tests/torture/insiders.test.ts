/** The checker on what an insider did: each bug of insiders.ts is named after its fixed history, and nothing without it. */
import { describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { check } from './checker.ts';
import { type Insider, insiders, withBug } from './insiders.ts';
import { type Clinic, createWorld } from './world.ts';

/** Worlds that were made: each has ids of its own, and those of a run are the same as of any other. */
let worlds = 0;

/** Two clinics of their own, what happened in them, and what the checker says of it. */
async function judge({ history }: Insider): Promise<string[]> {
  const clinics = (await withConnection((db) => createWorld(db, 1000 + worlds++))) as [Clinic, Clinic];
  const said: string[] = [];
  const calls = await history(clinics).catch((error: Error) => {
    said.push(error.message);
    return undefined;
  });
  const violations = await withConnection((db) =>
    check({
      ...{ db, clinics, history: calls ?? [], outages: [], alarms: [] },
      deadlocks: { count: 0, reports: [] },
    }),
  );
  return [...said, ...violations.map(({ rule }) => rule)];
}

describe('the checker', () => {
  it.each(Object.entries(insiders))('%s', async (_name, insider) => {
    expect(await judge(insider)).toEqual([]);
    const said = await withBug(insider, () => judge(insider));
    expect(said).toContainEqual(expect.stringMatching(insider.caughtBy));
  });
});
