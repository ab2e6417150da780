/** Tries the matrix on a database: what is in the catalog, and what happens to each person who tries each thing. */
import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { installClinics } from '../setup/clinics.ts';
import type { PersonName } from './expectations.ts';
import { calls, fill, id, rows, type Scope, scopes } from './world.ts';

/** The schemas that are this project's. */
const schemas = ['public', 'private', 'audit', 'reports'];

export type Relation = {
  /** `schema.name`; partitions of one table go by one name. */
  name: string;
  /** The relation itself. */
  actual: string;
  /** A column that is not generated. */
  column: string;
  /** For `authenticated`. */
  insertable: string[];
  updatable: string[];
};

export type Routine = {
  signature: string;
  /** A call with nulls, that parses. */
  call: string;
  executors: string[];
};

export type Catalog = { relations: Relation[]; routines: Routine[] };

/** Every table, view, partition, sequence and function of the project's schemas, extensions' own apart. Begin first. */
export async function readCatalog(client: pg.ClientBase): Promise<Catalog> {
  // Names as they are with an empty search path: in full, whoever asks.
  await client.query("select set_config('search_path', '', true)");
  const { rows: relations } = await client.query<Relation>(
    `select
        coalesce((
          select parent.relnamespace::regnamespace || '.' || parent.relname || ', each partition'
          from pg_inherits join pg_class as parent on parent.oid = inhparent where inhrelid = class.oid
        ), class.relnamespace::regnamespace || '.' || class.relname) as name,
        class.relnamespace::regnamespace || '.' || quote_ident(class.relname) as actual,
        (select attname from pg_attribute where attrelid = class.oid and attnum = 1)::text as column,
        array(
          select attname from pg_attribute
          where attrelid = class.oid and attnum > 0 and not attisdropped
            and has_column_privilege('authenticated', class.oid, attnum, 'INSERT') order by attnum
        )::text[] as insertable,
        array(
          select attname from pg_attribute
          where attrelid = class.oid and attnum > 0 and not attisdropped
            and has_column_privilege('authenticated', class.oid, attnum, 'UPDATE') order by attnum
        )::text[] as updatable
      from pg_class as class
      where class.relnamespace::regnamespace::text = any ($1) and class.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        and not exists (select from pg_depend where objid = class.oid and deptype = 'e')
      order by 1, 2`,
    [schemas],
  );
  const { rows: routines } = await client.query<Routine>(
    `select
        format('%s.%s(%s)', routine.pronamespace::regnamespace, routine.proname, (
          select string_agg(format_type(argument.type, null), ',' order by argument.position)
          from unnest(routine.proargtypes::oid[]) with ordinality as argument (type, position)
        )) as signature,
        format('%s.%I(%s)', routine.pronamespace::regnamespace, routine.proname, (
          select string_agg('null::' || format_type(argument.type, null), ', ' order by argument.position)
          from unnest(routine.proargtypes::oid[]) with ordinality as argument (type, position)
        )) as call,
        array(
          select role from unnest(array['anon', 'authenticated', 'service_role']) as role
          where has_function_privilege(role, routine.oid, 'EXECUTE') order by role
        )::text[] as executors
      from pg_proc as routine
      where routine.pronamespace::regnamespace::text = any ($1)
        and not exists (select from pg_depend where objid = routine.oid and deptype = 'e')
      order by 1`,
    [schemas],
  );
  return { relations, routines };
}

/** A thing that is tried, and the statement it is tried with. */
export type Trial = {
  object: string;
  command: 'select' | 'insert' | 'update' | 'delete' | 'truncate' | 'call';
  scope: Scope;
  statement: string;
};

/** All that one person tries. */
export function trialsOf({ relations, routines }: Catalog, person: PersonName): Trial[] {
  const trials: Trial[] = [];
  for (const { name, actual, column: first } of relations) {
    const row = rows[name];
    for (const scope of scopes) {
      if (scope === 'other' && (!row || row.noOther)) continue;
      if (scope === 'foreign' && !row) continue;
      const add = (command: Trial['command'], statement: string) =>
        trials.push({ object: name, command, scope, statement: fill(statement, scope, person) });
      const where = row ? ` where ${row.where}` : '';
      const column = row?.update ?? first;
      add('select', `select from ${actual}${where}`);
      add('insert', `insert into ${actual} ${row?.insert ?? 'default values'}`);
      add('update', `update ${actual} set ${column} = ${column}${where}`);
      add('delete', `delete from ${actual}${where}`);
      // Without cascade: the privilege is looked at before the tables that refer to this one.
      if (scope === 'own') add('truncate', `truncate ${actual}`);
    }
  }
  for (const { signature, call } of routines) {
    const known = calls[signature];
    for (const scope of scopes) {
      if (scope !== 'own' && (!known || (scope === 'other' && known.noOther))) continue;
      trials.push({
        object: signature,
        command: 'call',
        scope,
        statement: known ? fill(known.call, scope, person) : `${call} is null`,
      });
    }
  }
  return trials;
}

export const claims: Record<PersonName, Record<string, unknown>> = {
  anon: {},
  // Her membership has ended; her rows are still there, and her token still names the clinic and her role.
  nobody: { sub: id('rbt'), org_id: id('here'), user_role: 'therapist' },
  client: { sub: id('parent'), org_id: id('here'), user_role: 'client' },
  therapist: { sub: id('rbt'), org_id: id('here'), user_role: 'therapist' },
  admin: { sub: id('admin'), org_id: id('here'), user_role: 'admin' },
  superAdmin: { sub: id('super'), org_id: id('here'), user_role: 'super_admin' },
  foreignAdmin: { sub: id('foreign admin'), org_id: id('there'), user_role: 'admin' },
  service: {},
};
const databaseRole = (person: PersonName) =>
  person === 'anon' ? 'anon' : person === 'service' ? 'service_role' : 'authenticated';

/**
 * Tries everything as one person, and leaves the database as it was.
 * @param client in a transaction in which world.sql has run
 * @param overrides claims that differ from the person's own
 */
export async function attempt(
  client: pg.ClientBase,
  person: PersonName,
  trials: readonly Trial[],
  overrides: Record<string, unknown> = {},
): Promise<string[]> {
  await client.query('savepoint person');
  if (person === 'nobody')
    await client.query('delete from public.memberships where user_id = $1', [id('rbt')]);
  const role = databaseRole(person);
  await client.query("select set_config('request.jwt.claims', $1, true), set_config('role', $2, true)", [
    JSON.stringify({ ...claims[person], ...overrides, role }),
    role,
  ]);
  const { rows: outcomes } = await client.query<{ outcome: string }>(
    `select case trial.is_call
        when true then access_matrix.call(trial.statement)
        else access_matrix.attempt(trial.statement)
      end as outcome
      from unnest($1::text[], $2::boolean[]) with ordinality as trial (statement, is_call, position)
      order by trial.position`,
    [trials.map(({ statement }) => statement), trials.map(({ command }) => command === 'call')],
  );
  await client.query('rollback to savepoint person');
  return outcomes.map(({ outcome }) => outcome);
}

/** Makes the people and rows, inside the current transaction. */
export async function makeWorld(client: pg.ClientBase): Promise<void> {
  await installClinics(client);
  await client.query(await readFile(new URL('world.sql', import.meta.url), 'utf8'));
}
