/**
 * Whoever writes a row over REST that breaks a constraint is told in words of the product, which name the field: never
 * with the name of the constraint, nor with a text of Postgres or values of the row. The constraints come from the catalog.
 */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Clinic, openClinic } from '../functions/clinic.ts';
import { addPeople } from '../setup/clinics.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import {
  breaking,
  type Columns,
  derived,
  earlierRules,
  type Known,
  unreachable,
  validRow,
} from './refused-rows.ts';

interface Constraint {
  table: string;
  name: string;
  /** c check, f foreign key, n not null, p and u unique, x exclusion. */
  kind: 'c' | 'f' | 'n' | 'p' | 'u' | 'x';
  columns: string[];
  types: string[];
  words: string | null;
  target: string | null;
}

type Writer = 'super_admin' | 'service_role';

let clinic: Clinic;
let known: Known;
let names: string[];
/** table/role/command → the columns that the role may write. */
let writable: Map<string, string[]>;

const constraints = await withConnection(async (db) => {
  const { rows } = await db.query<Constraint>(`
    with tables as (
      select class.oid, class.relname from pg_class as class
      where class.relnamespace = 'public'::regnamespace and class.relkind in ('r', 'p') and not class.relispartition
        and exists (
          select from unnest(array['authenticated', 'service_role']) as role (name),
            unnest(array['INSERT', 'UPDATE']) as command (name)
          where has_any_column_privilege(role.name, class.oid, command.name)
        )
    )
    select tables.relname as table, rule.conname as name, rule.contype as kind, rule.confrelid::regclass::text as target,
      obj_description(rule.oid, 'pg_constraint') as words,
      array_agg(attribute.attname::text order by key.place) as columns,
      array_agg(format_type(attribute.atttypid, null) order by key.place) as types
    from pg_constraint as rule
    join tables on tables.oid = rule.conrelid
    cross join lateral unnest(rule.conkey) with ordinality as key (number, place)
    join pg_attribute as attribute on attribute.attrelid = rule.conrelid and attribute.attnum = key.number
    where rule.contype in ('c', 'f', 'p', 'u', 'x')
    group by tables.relname, rule.oid
    union all
    select tables.relname, attribute.attname, 'n', null, null, array[attribute.attname::text], array['']
    from pg_attribute as attribute
    join tables on tables.oid = attribute.attrelid
    where attribute.attnotnull and attribute.attnum > 0 and not attribute.attisdropped and attribute.attgenerated = ''
    order by 1, 3, 2`);
  return rows;
});

beforeAll(async () => {
  clinic = await openClinic();
  const organization_id = clinic.organizationId;
  const ids = { payer_id: randomUUID(), authorization_id: randomUUID(), staff_time_id: randomUUID() };
  known = {
    ...{ organization_id, therapist_id: clinic.rbt.id, client_id: clinic.clients[0], ...ids },
    newUser: async () => {
      const id = randomUUID();
      await withConnection((db) => addPeople(db, [{ id }]));
      return id;
    },
    newTherapist: async () => {
      const id = await known.newMember('therapist');
      await add('therapists', { id, display_name: 'T', time_zone: 'UTC' });
      return id;
    },
    newCode: async () => {
      const row = await validRow.service_codes?.(known);
      await add('service_codes', row ?? {});
      return String(row?.code);
    },
    newMember: async (role = 'client') => {
      const user_id = await known.newUser();
      await add('memberships', { user_id, role });
      return user_id;
    },
  };
  await withConnection(async (db) => {
    await db.query('insert into public.payers (organization_id, id, name) values ($1, $2, $3)', [
      ...[organization_id, ids.payer_id, 'Payer'],
    ]);
    await db.query(
      `insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
       values ($1, $2, $3, '2020-01-01')`,
      [organization_id, known.client_id, ids.payer_id],
    );
    await db.query(
      `insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
       values ($1, $2, $3, $4, 10000, '2020-01-01', '2050-01-01')`,
      [organization_id, ids.authorization_id, known.client_id, ids.payer_id],
    );
    await db.query(
      `insert into public.staff_times (organization_id, id, kind, start_time, end_time, time_zone)
       values ($1, $2, 'meeting', now() + interval '400 days', now() + interval '400 days 1 hour', 'UTC')`,
      [organization_id, ids.staff_time_id],
    );
    await db.query(
      `insert into public.authorization_codes (organization_id, authorization_id, cpt_code) values ($1, $2, '97153')`,
      [organization_id, ids.authorization_id],
    );
    names = (
      await db.query("select conname from pg_constraint where connamespace <> 'pg_catalog'::regnamespace")
    ).rows
      .map(({ conname }) => conname)
      .filter((name) => name.includes('_'));
    const { rows } = await db.query(`
      select relation.relname || '/' || role.name || '/' || command.name as key, array_agg(attribute.attname::text) as columns
      from pg_class as relation
      join pg_attribute as attribute on attribute.attrelid = relation.oid and attribute.attnum > 0
        and not attribute.attisdropped and attribute.attgenerated = ''
      cross join (values ('authenticated'), ('service_role')) as role (name)
      cross join (values ('INSERT'), ('UPDATE')) as command (name)
      where relation.relnamespace = 'public'::regnamespace and relation.relkind in ('r', 'p')
        and has_column_privilege(role.name, relation.oid, attribute.attnum, command.name)
      group by 1`);
    writable = new Map(rows.map(({ key, columns }) => [key, columns]));
  });
});

async function send(method: string, path: string, writer: Writer, body: Columns, prefer = 'return=minimal') {
  const response = await fetch(`${stack.apiUrl}/rest/v1/${path}`, {
    method,
    headers: {
      apikey: writer === 'service_role' ? stack.secretKey : stack.publishableKey,
      ...(writer === 'service_role' ? {} : { authorization: `Bearer ${clinic.superAdmin.token}` }),
      'content-type': 'application/json',
      prefer,
    },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, text, body: text === '' ? null : JSON.parse(text) };
}

async function add(table: string, row: Columns): Promise<void> {
  const answer = await send('POST', table, 'service_role', {
    organization_id: known.organization_id,
    ...row,
  });
  if (answer.status !== 201) throw new Error(`${table}: ${answer.text}`);
}

/** A row of the table that is there, as it was written, with the filter that finds it. */
async function writtenRow(table: string): Promise<{ row: Columns; filter: string }> {
  const row = {
    ...(table === 'organizations' ? {} : { organization_id: known.organization_id }),
    ...(await validRow[table]?.(known)),
  };
  const answer = await send('POST', table, 'service_role', row, 'return=representation');
  if (answer.status !== 201) throw new Error(`A valid row of ${table} was refused: ${answer.text}`);
  const key = constraints.find((rule) => rule.table === table && rule.kind === 'p')?.columns ?? [];
  const filter = key.map((column) => `${column}=eq.${answer.body[0][column]}`).join('&');
  return {
    row: { ...row, ...Object.fromEntries(key.map((column) => [column, answer.body[0][column]])) },
    filter,
  };
}

/** The columns that break this constraint beside a row that is there; null when no value of one row does. */
function broken(rule: Constraint, there: Columns): Columns | null {
  const last = rule.columns.at(-1) ?? '';
  if (rule.kind === 'n') return { [last]: null };
  if (rule.name === 'sessions_at_the_place_of_their_group') return { group_id: randomUUID() };
  if (rule.kind === 'f') return { [last]: rule.types.at(-1) === 'uuid' ? randomUUID() : 'Nowhere/Nothing' };
  if (rule.kind === 'c') {
    if (breaking[rule.name]) return breaking[rule.name] ?? null;
    if (rule.columns.length > 1) return null;
    // A bound of time.
    return { [last]: rule.types[0]?.endsWith('multirange') ? '{[1990-01-01,1990-01-02)}' : '1990-01-01' };
  }
  if (rule.kind === 'p') return Object.fromEntries(rule.columns.map((column) => [column, there[column]]));
  const { id: _, ...rest } = there;
  return rule.columns.includes('id') ? there : rest;
}

/** What the writer is told. */
function expected(rule: Constraint): string {
  const fields = rule.columns
    .filter((column) => column !== 'organization_id' || rule.columns.length === 1)
    .join(', ');
  if (rule.kind === 'n') return `${fields}: is missing`;
  if (rule.kind === 'f') return `${fields}: nothing in ${rule.target?.replace('auth.', '')} has this`;
  return `${fields}: ${rule.words ?? `there is such a row in ${rule.table} already`}`;
}

const raw =
  /violates (?!row-level)|not recognized|invalid input|constraint|relation "|duplicate key|null value in|failing row|sqlstate|conflicting key/i;

const tables = [...new Set(constraints.map((rule) => rule.table))];

describe.each(tables)('%s', (table) => {
  const rules = constraints.filter((rule) => rule.table === table);
  test.each(['super_admin', 'service_role'] as const)(
    '%s is told which field breaks what',
    async (writer) => {
      const role = writer === 'service_role' ? writer : 'authenticated';
      const wrong: string[] = [];
      // One row that is there, one to be changed, and one to be inserted: no write succeeds, so all cells share them.
      const [there, other] = [await writtenRow(table), await writtenRow(table)];
      const fresh: Columns = { organization_id: known.organization_id, ...(await validRow[table]?.(known)) };
      // Users have one organization.
      if (table === 'organizations' && role === 'authenticated')
        there.filter = other.filter = `id=eq.${known.organization_id}`;
      const ours = new Set(rules.map(expected));
      for (const rule of rules.filter(({ name }) => !unreachable[name])) {
        const values = broken(rule, there.row);
        if (values === null) {
          wrong.push(`${rule.name}: no entry in refused-rows.ts`);
          continue;
        }
        for (const [method, command, filter] of [
          ['POST', 'INSERT', ''],
          ['PATCH', 'UPDATE', `?${('pux'.includes(rule.kind) ? other : there).filter}`],
        ] as const) {
          const columns = writable.get(`${table}/${role}/${command}`) ?? [];
          // What nobody can write, nobody breaks; and what a trigger writes, whatever the row says, is not broken either.
          if (Object.keys(values).some((column) => !columns.includes(column))) continue;
          if (rule.columns.every((column) => derived[table]?.includes(column))) continue;
          const inserted = Object.fromEntries(
            Object.entries(fresh).filter(([column]) => columns.includes(column)),
          );
          const { status, text, body } = await send(
            method,
            table + filter,
            writer,
            method === 'POST' ? { ...inserted, ...values } : values,
          );
          if (status < 400 || status >= 500 || raw.test(text) || names.some((name) => text.includes(name)))
            wrong.push(`${method} ${rule.name}, ${JSON.stringify(values)}: ${status} ${text}`);
          else if (!ours.has(body.message) && !earlierRules.test(body.message))
            wrong.push(
              `${method} ${rule.name}, ${JSON.stringify(values)}: ${body.message}; not: ${expected(rule)}`,
            );
        }
      }
      expect(wrong).toEqual([]);
    },
  );
});

describe('what more than one row decides', () => {
  const plain = ({ text }: { text: string }) => !raw.test(text) && !names.some((name) => text.includes(name));

  test('a group that is moved onto another session of its therapist stays', async () => {
    const [group, session] = [await writtenRow('session_groups'), await writtenRow('sessions')];
    await withConnection((db) =>
      db.query(
        `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code)
         select place.organization_id, place.therapist_id, $2, place.start_time, place.end_time, 'UTC', place.id, '97154'
         from public.session_groups as place where place.id = $1`,
        [group.row.id, clinic.clients[1]],
      ),
    );
    const { start_time, end_time } = session.row;
    const moved = await send('PATCH', `session_groups?${group.filter}`, 'service_role', {
      start_time,
      end_time,
    });
    expect(moved).toMatchObject({ status: 400, body: { code: '23P01' } });
    expect(plain(moved), moved.text).toBe(true);
  });

  test('a key that other rows name does not change', async () => {
    const answer = await send('PATCH', `clients?id=eq.${known.client_id}`, 'service_role', {
      id: randomUUID(),
    });
    expect(answer).toMatchObject({
      status: 409,
      body: { code: '23503', message: 'id: other records still name this row' },
    });
  });

  test('an upsert of a row that is there is no duplicate', async () => {
    const { row } = await writtenRow('caseloads');
    const again = await send(
      'POST',
      'caseloads',
      'super_admin',
      row,
      'resolution=ignore-duplicates,return=minimal',
    );
    expect(again.status, again.text).toBeLessThan(300);
    const twice = await send('POST', 'caseloads', 'super_admin', row);
    expect(twice).toMatchObject({ status: 409, body: { code: '23505' } });
    expect(plain(twice)).toBe(true);
  });
});
