/** What somebody who owns the database can do to the audit, each thing done, and what becomes known of it. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { asUser, connect } from '../setup/db.ts';
import { type Edit, edits, reseal } from './edits.ts';
import { editsTable } from './tables.ts';

const ids = { clinic: randomUUID(), chain: randomUUID(), other: randomUUID(), admin: randomUUID() };
const session = randomUUID();
const events = Array.from({ length: 5 }, () => randomUUID());

let client: pg.Client;
let checkpoint: unknown;

/** Puts the ids and times of this run into an edit. */
function filled(sql: string): string {
  return sql
    .replaceAll(/\{(clinic|chain|other)\}/g, (_, name: keyof typeof ids) => `'${ids[name]}'::uuid`)
    .replaceAll(/\{event:(\d)\}/g, (_, seq) => `'${events[Number(seq) - 1]}'::uuid`);
}

const triggers = (to: 'disable' | 'enable') =>
  client.query(
    ['events', 'seals', 'chains', 'archives']
      .map((table) => `alter table audit.${table} ${to} trigger user`)
      .join('; '),
  );

beforeAll(async () => {
  client = await connect();
  await client.query("set timezone = 'UTC'");
});
afterAll(() => client?.end());

/** One chain of five sealed events, in a transaction that is rolled back. */
beforeEach(async () => {
  await client.query('begin');
  await client.query("insert into public.organizations (id, name, time_zone) values ($1, 'Chains', 'UTC')", [
    ids.clinic,
  ]);
  await client.query("insert into auth.users (id, email) values ($1, 'chains@audit.test')", [ids.admin]);
  await client.query(
    "insert into public.memberships (organization_id, user_id, role) values ($1, $2, 'super_admin')",
    [ids.clinic, ids.admin],
  );
  await client.query('set constraints all immediate');
  await client.query(
    "create table audit.events_2019_q1 partition of audit.events for values from ('2019-01-01Z') to ('2019-04-01Z')",
  );
  await triggers('disable');
  await client.query(
    `insert into audit.events (organization_id, id, chain_id, occurred_at, recorded_at, action, entity, entity_ids, details)
      select $1, event.id, $2, times.at, times.at, 'session.changed', 'session', array[$3::uuid], jsonb_build_object('number', seq)
      from unnest($4::uuid[]) with ordinality as event (id, seq)
      cross join lateral (
        select case when seq < 3 then '2019-02-01Z'::timestamptz + seq * interval '1 day'
          else now() - (6 - seq) * interval '1 minute' end as at
      ) as times`,
    [ids.clinic, ids.chain, session, events],
  );
  await client.query(filled(`select ${reseal}`));
  await client.query(
    'create temporary table times on commit drop as select id, recorded_at from audit.events',
  );
  await client.query('set constraints all immediate');
  const { rows } = await client.query('select audit.checkpoint() as checkpoint');
  checkpoint = rows[0].checkpoint;
  return async () => {
    await client.query('rollback');
  };
});

const sentences = (rows: { seq: string | null; problem: string }[]) =>
  rows.map(({ seq, problem }) => `${seq ?? '-'}: ${problem}`).sort();

/** What the three checks say now, of this clinic. */
async function found(): Promise<Pick<Edit, 'verify' | 'checkpoint' | 'history'>> {
  const mine = 'organization_id is not distinct from $1 or organization_id is null';
  const verified = await client.query(`select seq, problem from audit.verify() where ${mine}`, [ids.clinic]);
  const compared = await client.query(`select seq, problem from audit.verify_checkpoint($2) where ${mine}`, [
    ids.clinic,
    JSON.stringify(checkpoint),
  ]);
  await asUser(client, { sub: ids.admin, org_id: ids.clinic });
  const history = await client.query('select problem from public.session_history($1)', [session]);
  return {
    verify: sentences(verified.rows),
    checkpoint: sentences(compared.rows),
    history: history.rows.flatMap(({ problem }) => problem ?? []),
  };
}

describe('somebody who owns the database', () => {
  it.each(edits)('$what', async ({ sql, ...expected }) => {
    await client.query(filled(sql));
    const quarter = await client.query("select date_trunc('quarter', now())::timestamptz::text as begins");
    expect(await found()).toEqual({
      verify: expected.verify.map((each) => each.replace('{quarter}', quarter.rows[0].begins)).sort(),
      checkpoint: expected.checkpoint.toSorted(),
      history: expected.history,
    });
  });
});

describe('while the triggers are on', () => {
  beforeEach(() => triggers('enable').then(() => undefined));

  const insert = (recordedAt: string) =>
    client.query(
      `insert into audit.events (organization_id, chain_id, occurred_at, recorded_at, action, entity, entity_ids)
        values ($1, $2, now(), ${recordedAt}, 'session.changed', 'session', '{}')`,
      [ids.clinic, ids.chain],
    );

  it.each([
    "now() - interval '3 years'",
    "now() - interval '2 minutes'",
    "now() + interval '10 minutes'",
    "now() + interval '1 day'",
  ])('no event is written as of %s', async (recordedAt) => {
    await expect(insert(recordedAt)).rejects.toMatchObject({ code: '23001' });
  });

  it('an event of now is written and sealed', async () => {
    await insert('clock_timestamp()');
    expect((await found()).verify).toEqual([]);
  });

  it('no archive takes over a quarter that lost an event', async () => {
    await triggers('disable');
    await client.query(
      filled('delete from audit.events where organization_id = {clinic} and id = {event:2}'),
    );
    await triggers('enable');
    await expect(
      client.query("select audit.archive_quarter('2019-01-01', 's3://archive/2019_q1')"),
    ).rejects.toMatchObject({ code: '23001' });
  });

  it.each([
    ["'-infinity'", "'infinity'"],
    ["'2019-01-01Z'", "'2024-01-01Z'"],
    ["'2019-01-02Z'", "'2019-04-02Z'"],
    ["date_trunc('quarter', now())", "date_trunc('quarter', now()) + interval '3 months'"],
  ])('no archive spans %s to %s', async (from, to) => {
    await expect(
      client.query(`insert into audit.archives (from_time, to_time, location) values (${from}, ${to}, 'x')`),
    ).rejects.toMatchObject({ code: '23514', constraint: 'archives_one_past_quarter' });
  });

  it('an archive says how many events it has, whatever it is told', async () => {
    await client.query(`insert into audit.archives (from_time, to_time, location, events, digest)
      values ('2019-01-01Z', '2019-04-01Z', 's3://archive', 0, '')`);
    const { rows } = await client.query("select events from audit.archives where location = 's3://archive'");
    expect(rows).toEqual([{ events: '2' }]);
  });
});

it('docs/audit-trail.md has the table of these edits', async () => {
  const text = await readFile(new URL('../../docs/audit-trail.md', import.meta.url), 'utf8');
  expect(text.includes(editsTable()), 'run npm run audit-docs').toBe(true);
});
