/**
 * Row-level security, grants and functions, tried: every object of the catalog, by every person, with every command, on
 * rows of her own, of another therapist and of another organization, against what is written in expectations.ts.
 */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../setup/db.ts';
import {
  functions,
  type PersonName,
  people,
  policyHelpers,
  type Reach,
  relations,
  standsBehind,
  titles,
} from './expectations.ts';
import { attempt, type Catalog, makeWorld, readCatalog, type Trial, trialsOf } from './trials.ts';
import { calls, id, rows, type Scope } from './world.ts';

let client: pg.Client;
let catalog: Catalog;

beforeAll(async () => {
  client = await connect();
  await client.query('begin');
  catalog = await readCatalog(client);
  await makeWorld(client);
});
afterAll(async () => {
  await client.query('rollback');
  await client.end();
});

/** Whether a row is within somebody's reach. */
function reached(reach: Reach, scope: Scope): boolean {
  switch (reach) {
    case 'own':
      return scope === 'own';
    case 'clinic':
      return scope !== 'foreign';
    case 'theirs':
      return scope === 'foreign';
    case 'all':
      return true;
    default:
      return false;
  }
}

/** What should come of it. Both forms of denial are told apart: an error, or nothing found. */
function expected(trial: Trial, person: PersonName): string {
  const at = people.indexOf(person);
  if (trial.command === 'call') {
    const known = functions[trial.object];
    const reach = known?.reaches[at] ?? 'no grant';
    if (!known || reach === 'no grant') return 'no grant';
    if (reached(reach, trial.scope)) return 'ok';
    return known.told?.[person] ?? (person === 'nobody' ? 'raised FORBIDDEN' : known.refusal);
  }
  const reach = relations[trial.object]?.[trial.command][at];
  if (reach === undefined) return 'not in expectations.ts';
  if (reach === 'no grant') return 'no grant';
  if (reached(reach, trial.scope)) return 'ok';
  return trial.command === 'insert' ? 'policy' : 'empty';
}

const line = ({ object, command, scope }: Trial, outcome: string) =>
  `${command} ${object}, ${scope}: ${outcome}`;

/** The public function that passes on to this one of private. */
const wrapper = (signature: string) => standsBehind[signature] ?? signature.replace(/^private\./, 'public.');

describe('nothing in the catalog is left out', () => {
  it('every table, view and sequence is in expectations.ts, and nothing that is not there', () => {
    expect([...new Set(catalog.relations.map(({ name }) => name))].sort()).toEqual(
      Object.keys(relations).sort(),
    );
  });

  it('every function that an API role may execute is, and nothing that is not there', () => {
    const wrapped = (signature: string) => wrapper(signature) in functions;
    const open = catalog.routines.filter(
      ({ signature, executors }) =>
        (executors.length > 0 || !/^(private|audit)\./.test(signature)) &&
        !policyHelpers.includes(signature) &&
        !(signature.startsWith('private.') && wrapped(signature)),
    );
    expect(open.map(({ signature }) => signature).sort()).toEqual(Object.keys(functions).sort());
    for (const helper of policyHelpers)
      expect(catalog.routines.map(({ signature }) => signature)).toContain(helper);
  });

  it('functions are executable by whom the matrix says, and those behind a wrapper by nobody else', () => {
    for (const { signature, executors } of catalog.routines) {
      const known = functions[wrapper(signature)];
      const granted = [
        ...(known && known.reaches[people.indexOf('anon')] !== 'no grant' ? ['anon'] : []),
        ...(known?.reaches.slice(1, -1).some((reach) => reach !== 'no grant') ? ['authenticated'] : []),
        ...(known && known.reaches[people.indexOf('service')] !== 'no grant' ? ['service_role'] : []),
      ];
      expect({ signature, executors }).toEqual({
        signature,
        executors: policyHelpers.includes(signature) ? ['authenticated', 'service_role'] : granted,
      });
    }
  });

  it('what somebody may reach has a row, or a call, to try it on', () => {
    const touched = Object.entries(relations).filter(([, { select, insert, update, delete: remove }]) =>
      [select, insert, update, remove].some((reaches) => reaches.some((reach) => reach !== 'no grant')),
    );
    expect(Object.keys(rows).sort()).toEqual(touched.map(([name]) => name).sort());
    expect(Object.keys(calls).sort()).toEqual(Object.keys(functions).sort());
  });

  it('signed-in people may write the columns that are listed, and no others', () => {
    for (const { name, insertable, updatable } of catalog.relations) {
      const { insertable: insert = [], updatable: update = [] } = relations[name] ?? {};
      expect({ name, insertable: insertable.sort(), updatable: updatable.sort() }).toEqual({
        name,
        insertable: [...insert].sort(),
        updatable: [...update].sort(),
      });
    }
  });

  it('API roles may use these schemas', async () => {
    const { rows: usable } = await client.query(
      `select nspname as schema, array(
          select role from unnest(array['anon', 'authenticated', 'service_role']) as role
          where has_schema_privilege(role, oid, 'USAGE') order by role
        )::text[] as users
        from pg_namespace where nspname in ('public', 'private', 'audit', 'reports') order by nspname`,
    );
    expect(usable).toEqual([
      { schema: 'audit', users: ['authenticated', 'service_role'] },
      { schema: 'private', users: [] },
      { schema: 'public', users: ['anon', 'authenticated', 'service_role'] },
      { schema: 'reports', users: ['authenticated', 'service_role'] },
    ]);
  });

  it('API roles create nothing, neither tables nor functions', async () => {
    const { rows: makers } = await client.query(
      `select nspname, role from pg_namespace cross join unnest(array['anon', 'authenticated', 'service_role']) as role
        where nspname in ('public', 'private', 'audit', 'reports') and has_schema_privilege(role, oid, 'CREATE')`,
    );
    expect(makers).toEqual([]);
  });
});

describe('what each person may do is what the matrix says', () => {
  it.each(people.map((person) => [titles[person], person] as const))('%s', async (_, person) => {
    const trials = trialsOf(catalog, person);
    const outcomes = await attempt(client, person, trials);
    expect(trials.map((trial, at) => line(trial, outcomes[at] ?? ''))).toEqual(
      trials.map((trial) => line(trial, expected(trial, person))),
    );
  });

  it('somebody who names another organization in her token is nobody there', async () => {
    const trials = trialsOf(catalog, 'nobody');
    const outcomes = await attempt(client, 'foreignAdmin', trials, {
      org_id: id('here'),
      user_role: 'super_admin',
    });
    const excused = /^(select|call) public\.(memberships|my_organizations|set_active_organization)/;
    const lines = (found: (trial: Trial, at: number) => string) =>
      trials.map((trial, at) => line(trial, found(trial, at))).filter((text) => !excused.test(text));
    expect(lines((_, at) => outcomes[at] ?? '')).toEqual(lines((trial) => expected(trial, 'nobody')));
  });
});

it('the matrix tries thousands of things', () => {
  const count = people.reduce((sum, person) => sum + trialsOf(catalog, person).length, 0);
  expect(count).toBeGreaterThan(2000);
});
