/**
 * An id of another clinic and one that nobody has get the same answer, whatever is asked: nobody finds out which ids exist.
 * Every call of the access matrix is made with both.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from '../setup/db.ts';
import type { PersonName } from './expectations.ts';
import { claims, makeWorld } from './trials.ts';
import { calls, fill, rows } from './world.ts';

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const people: PersonName[] = ['client', 'therapist', 'admin', 'superAdmin'];

let db: pg.Client;
beforeAll(async () => {
  db = await connect();
  await db.query('begin');
  await makeWorld(db);
  await db.query(
    fill(
      `insert into public.service_codes (organization_id, code, description, levels, valid_from)
        values ({clinic}, 'X0001', 'Theirs', array['qhp']::public.provider_level[], '2020-01-01')`,
      'foreign',
      'admin',
    ),
  );
});
afterAll(async () => {
  await db?.query('rollback');
  await db?.end();
});

/** Another id for each id of the other clinic, which is the same each time. */
function unknownInstead(foreign: string, own: string): string {
  const mine = new Set(own.match(UUID));
  return foreign.replace(UUID, (id) => {
    if (mine.has(id)) return id;
    const hex = createHash('md5').update(`nobody's ${id}`).digest('hex');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  });
}

/** What somebody is answered, without the ids and the moment. */
async function answer(person: PersonName, statement: string): Promise<string> {
  await db.query('savepoint asked');
  try {
    await db.query(
      "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
      [JSON.stringify({ ...claims[person], role: 'authenticated' })],
    );
    const { rows: found, rowCount } = await db.query(statement);
    return JSON.stringify([rowCount, found]);
  } catch (error) {
    const { code, message, detail, hint, constraint } = error as pg.DatabaseError;
    return JSON.stringify({ code, message, detail, hint, constraint });
  } finally {
    await db.query('rollback to savepoint asked');
  }
}
const withoutIds = (text: string) =>
  text.replace(UUID, 'id').replace(/\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00)/g, 'then');

it.each(people)(
  'an id of another clinic, and one that nobody has, are answered alike: %s',
  async (person) => {
    const told: Record<string, string[]> = {};
    let tried = 0;
    const compare = async (what: string, template: string) => {
      const foreign = fill(template, 'foreign', person);
      const unknown = unknownInstead(foreign, fill(template, 'own', person));
      if (unknown === foreign) return;
      tried += 1;
      const answers = [await answer(person, foreign), await answer(person, unknown)].map(withoutIds);
      if (answers[0] !== answers[1]) told[what] = answers;
    };
    for (const [signature, { call }] of Object.entries(calls))
      await compare(signature, `select (${call})::text as answer`);
    for (const [name, { where, insert, update }] of Object.entries(rows)) {
      await compare(`select ${name}`, `select from ${name} where ${where}`);
      if (update) await compare(`update ${name}`, `update ${name} set ${update} = ${update} where ${where}`);
      if (insert) await compare(`insert ${name}`, `insert into ${name} ${insert}`);
    }
    // What another clinic has entered is no answer either: a code of its own, and one that nobody knows.
    for (const [table, columns] of Object.entries({
      payer_code_rules:
        '(organization_id, payer_id, cpt_code, valid_from) values ({clinic}, {payer}, $code, current_date)',
      sessions: `(organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
      values ({clinic}, {therapist}, {client}, access_matrix.at(10), access_matrix.at(11), 'UTC', $code)`,
    })) {
      const statement = fill(`insert into public.${table} ${columns}`, 'foreign', person);
      const answers = [
        await answer(person, statement.replace('$code', "'X0001'")),
        await answer(
          person,
          statement.replace('$code', () => "'ZZ999'"),
        ),
      ];
      if (answers[0] !== answers[1]) told[`a code in ${table}`] = answers;
    }
    expect(told).toEqual({});
    expect(tried).toBeGreaterThan(60);
  },
);
