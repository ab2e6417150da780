/** What may go to a replica, tried on one. `docs/scaling.md` says what follows. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Stack, startStack } from '../../local/stack.ts';
import { asUser } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { type Replica, startReplica } from './replica.ts';

const organization = 'a0000000-0000-4000-8000-0000000000a0';

// It asks /proc for the server's program.
describe.skipIf(process.platform !== 'linux')('a streaming replica', () => {
  let stack: Stack;
  let replica: Replica;
  let primary: pg.Client;
  let copy: pg.Client;
  let claims: { sub: string; org_id: string; user_role: string };
  let therapist: string;
  let client: string;

  beforeAll(async () => {
    stack = await startStack({ functions: false });
    replica = await startReplica(stack);
    primary = new pg.Client({ connectionString: stack.dbUrl });
    copy = new pg.Client({ connectionString: replica.url });
    await Promise.all([primary.connect(), copy.connect()]);
    const { rows } = await primary.query(
      `select
        (select id from auth.users where email = 'super@brightpath.test') as boss,
        (select id from public.therapists where organization_id = $1 order by id limit 1) as therapist,
        (select id from public.clients where organization_id = $1 order by id limit 1) as client`,
      [organization],
    );
    claims = { sub: rows[0].boss, org_id: organization, user_role: 'super_admin' };
    therapist = rows[0].therapist;
    client = rows[0].client;
  });
  afterAll(async () => {
    await Promise.all([primary?.end(), copy?.end()]);
    await replica?.stop();
    await stack?.stop();
  });

  /** Runs one statement as the super_admin, as a GET of PostgREST does when `readOnly`. */
  async function asBoss(
    on: pg.Client,
    text: string,
    values: unknown[] = [],
    readOnly = false,
  ): Promise<Record<string, unknown>[]> {
    await on.query(`begin ${readOnly ? 'read only' : ''}`);
    try {
      await asUser(on, claims);
      const { rows } = await on.query(text, values);
      await on.query('commit');
      return rows;
    } catch (error) {
      await on.query('rollback');
      throw error;
    }
  }

  function holdAt(slot: number) {
    const start = new Date(
      Date.UTC(new Date().getUTCFullYear() + 1, 1, 7 + Math.floor(slot / 20), 4, (slot % 20) * 30),
    );
    return {
      ...{ therapist_id: therapist, client_id: client, time_zone: 'UTC' },
      ...{ start_time: start.toISOString(), end_time: new Date(start.getTime() + 1_800_000).toISOString() },
      ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0, override: { reason: 'test' } },
    };
  }

  async function caughtUp(): Promise<void> {
    const { rows } = await primary.query('select pg_current_wal_lsn() as lsn');
    for (;;) {
      const { rows: there } = await copy.query('select pg_last_wal_replay_lsn() >= $1::pg_lsn as caught_up', [
        rows[0].lsn,
      ]);
      if (there[0].caught_up) return;
      await sleep(5);
    }
  }

  test('answers every stable function as the primary does', async () => {
    const { rows } = await primary.query(`
      select p.proname as name, p.pronargs - p.pronargdefaults as required
      from pg_catalog.pg_proc as p
      where p.pronamespace = 'public'::regnamespace and p.provolatile <> 'v'
        and has_function_privilege('authenticated', p.oid, 'execute') and p.prorettype <> 'trigger'::regtype
      order by 1`);
    const from = holdAt(0).start_time;
    const to = new Date(Date.parse(from) + 7 * 86_400_000).toISOString();
    const withArguments: Record<string, { text: string; values: unknown[] }> = {
      find_open_slots: {
        text: 'therapist_id => $1, from_time => $2, to_time => $3, duration_minutes => 60',
        values: [therapist, from, to],
      },
      find_alternatives: { text: 'request => $1', values: [JSON.stringify(holdAt(0))] },
      preview_series: { text: 'request => $1', values: [JSON.stringify(holdAt(0))] },
    };
    const asked: string[] = [];
    await caughtUp();
    for (const { name, required } of rows) {
      const given = withArguments[name] ?? (required === 0 ? { text: '', values: [] } : null);
      // A new one that needs arguments: add them above.
      if (!given) continue;
      // The moment of the answer is that of each server.
      const text = `select to_jsonb(answer) - 'takenAt' - 'as_of' as answer from public.${name}(${given.text}) as answer`;
      const [there, here] = [
        await asBoss(copy, text, given.values, true),
        await asBoss(primary, text, given.values, true),
      ];
      expect(there, name).toEqual(here);
      asked.push(name);
    }
    expect(asked).toEqual(expect.arrayContaining(['find_alternatives', 'find_open_slots', 'preview_series']));
  });

  test('shows a schedule under row-level security, and takes no booking', async () => {
    const schedule = 'select id, start_time from public.sessions order by start_time, id';
    await caughtUp();
    const there = await asBoss(copy, schedule, [], true);
    expect(there.length).toBeGreaterThan(0);
    expect(there).toEqual(await asBoss(primary, schedule, [], true));
    await expect(
      asBoss(copy, 'select public.hold_sessions($1)', [JSON.stringify(holdAt(0))]),
    ).rejects.toMatchObject({ code: '25006' });
  });

  test('shows a hold within moments', async () => {
    const lags: number[] = [];
    for (let slot = 0; slot < 40; slot++) {
      const [row] = await asBoss(primary, 'select public.hold_sessions($1) as outcome', [
        JSON.stringify(holdAt(slot)),
      ]);
      const outcome = row?.outcome as { ok: boolean; body: { holdId: string } };
      expect(outcome).toMatchObject({ ok: true });
      const committed = performance.now();
      for (;;) {
        const { rowCount } = await copy.query('select 1 from public.hold_batches where id = $1', [
          outcome.body.holdId,
        ]);
        if (rowCount === 1) break;
        await sleep(1);
      }
      lags.push(performance.now() - committed);
    }
    lags.sort((a, b) => a - b);
    console.log(
      `a commit is visible on the replica after ${lags[20]?.toFixed(1)} ms (median of 40), ${lags.at(-1)?.toFixed(1)} ms at worst`,
    );
    expect(lags).toHaveLength(40);
  });

  test('promoted, it is whole and books on', async () => {
    await caughtUp();
    await replica.promote();
    await expect
      .poll(async () => (await copy.query('select pg_is_in_recovery() as standby')).rows[0].standby, {
        timeout: 60_000,
      })
      .toBe(false);
    expect(await brokenInvariants(copy)).toEqual([]);
    expect((await copy.query('select * from audit.verify()')).rows).toEqual([]);
    const [taken] = await asBoss(copy, 'select public.hold_sessions($1) as outcome', [
      JSON.stringify(holdAt(0)),
    ]);
    expect(taken?.outcome).toMatchObject({ ok: false, code: 'THERAPIST_HOLD_CONFLICT' });
    const [free] = await asBoss(copy, 'select public.hold_sessions($1) as outcome', [
      JSON.stringify(holdAt(45)),
    ]);
    expect(free?.outcome).toMatchObject({ ok: true });
  });
});
