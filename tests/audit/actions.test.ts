/** audit.actions lists what functions and triggers write, no more and no less. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect } from '../setup/db.ts';
import { actionsTable } from './tables.ts';

let listed: { action: string; meaning: string }[];
let written: Set<string>;

const client = await connect();
afterAll(() => client.end());

/** Columns that tell the kinds of change which private.audit_rows makes events of. */
async function kindsOf(table: string): Promise<string[]> {
  const { rows } = await client.query<{ archived: boolean; deletable: boolean }>(
    `select
        exists (select from pg_attribute where attrelid = $1::regclass and attname = 'deleted_at' and not attisdropped) as archived,
        not exists (select from pg_trigger where tgrelid = $1::regclass and tgname = 'refuse_delete') as deletable`,
    [table],
  );
  const [row] = rows;
  return [
    ...['added', 'changed'],
    ...(row?.archived ? ['archived', 'restored'] : []),
    ...(row?.deletable ? ['removed'] : []),
  ];
}

beforeAll(async () => {
  listed = (await client.query('select action, meaning from audit.actions order by action')).rows;

  // What functions name outright.
  const { rows: functions } = await client.query<{ source: string }>(
    `select pg_get_functiondef(oid) as source from pg_proc
      where pronamespace::regnamespace::text in ('private', 'public', 'audit') and prokind = 'f'`,
  );
  written = new Set(
    functions
      .filter(({ source }) => /record_event|note_refusal|private\.refuse\(|'session\.inserted'/.test(source))
      .flatMap(({ source }) => [...source.matchAll(/'([a-z_]+\.[a-z_]+)'/g)].map(([, action = '']) => action))
      .filter((action) => !/^(therapist_sessions|override\.reason|recurrence)/.test(action)),
  );
  // What triggers put together from the entity they were made for.
  const { rows: triggers } = await client.query<{ function: string; table: string; entity: string }>(
    `select distinct tgfoid::regproc::text as function, tgrelid::regclass::text as table,
        split_part(convert_from(tgargs, 'UTF8'), chr(92) || '000', 1) as entity
      from (select tgfoid, tgrelid, convert_to(encode(tgargs, 'escape'), 'UTF8') as tgargs from pg_trigger) as trigger
      where tgfoid in ('private.audit_rows'::regproc, 'private.audit_rule_change'::regproc)`,
  );
  expect(triggers.length).toBeGreaterThan(10);
  for (const { function: name, table, entity } of triggers) {
    const kinds = name.endsWith('audit_rule_change') ? ['created', 'changed'] : await kindsOf(table);
    for (const kind of kinds) written.add(`${entity}.${kind}`);
  }
  // And from a session's status, which it begins with as scheduled.
  const { rows: statuses } = await client.query<{ status: string }>(
    'select unnest(enum_range(null::public.session_status))::text as status',
  );
  for (const { status } of statuses) if (status !== 'scheduled') written.add(`session.${status}`);
});

it('audit.actions has every action that is written, and no other', () => {
  expect(listed.map(({ action }) => action)).toEqual([...written].sort());
});

it('every event there is has an action of the list', async () => {
  const { rows } = await client.query(
    'select distinct action from audit.events except select action from audit.actions',
  );
  expect(rows).toEqual([]);
});

it('docs/audit-trail.md has the list', async () => {
  const text = await readFile(new URL('../../docs/audit-trail.md', import.meta.url), 'utf8');
  for (const action of listed) expect(text).toContain(actionsTable([action]).split('\n').at(-1));
});
