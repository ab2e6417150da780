/**
 * Random walks through hold → confirm | release | expire | cancel | move and direct writes. After every step the tables
 * must say what a small diary in memory says, and keep their invariants.
 *
 * `MODEL_RUNS=500` walks longer; a failure prints its seed and the shortest walk that shows it.
 */
import fc from 'fast-check';
import type pg from 'pg';
import { expect, it } from 'vitest';
import {
  type Arena,
  at,
  cancelling,
  confirmationOf,
  confirming,
  holding,
  holdOf,
  nth,
  type Outcome,
  openArena,
  releasing,
} from '../races/rivals.ts';
import { connect } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { Diary, type ModelSession, type Span, takesPlace } from './diary.ts';

const runs = Number(process.env.MODEL_RUNS ?? 20);
/** Half hours of the day that is walked on. */
const units = 16;
const people = 2;

/** The database's side of a walk. */
class Clinic {
  readonly arena: Arena;
  readonly client: pg.Client;

  constructor(arena: Arena, client: pg.Client) {
    this.arena = arena;
    this.client = client;
  }

  /** As the admin; a refusal is an outcome, an error fails the walk. */
  async act({ sql, values }: { sql: string; values?: unknown[] }): Promise<Outcome> {
    const claims = { sub: this.arena.admin, role: 'authenticated', org_id: this.arena.organizationId };
    await this.client.query(
      "begin; select set_config('request.jwt.claims', " +
        `${this.client.escapeLiteral(JSON.stringify(claims))}, true), set_config('role', 'authenticated', true)`,
    );
    try {
      const { rows } = await this.client.query(sql, values);
      await this.client.query('commit');
      return rows[0].outcome;
    } catch (error) {
      await this.client.query('rollback');
      throw error;
    }
  }

  /** Holds, having looked first: what the preview shows as blocked is what the hold reports. */
  async previewed(body: object): Promise<Outcome> {
    const preview = (await this.act({
      sql: 'select public.preview_series($1) as outcome',
      values: [JSON.stringify(body)],
    })) as unknown as { occurrences: { index: number; blockedBy: string | null; by: string | null }[] };
    const outcome = await this.act(holding(body));
    if (outcome.ok || outcome.conflicts?.length) {
      const shown = preview.occurrences.filter(({ blockedBy }) => blockedBy !== null);
      expect(new Set(shown.map(({ index }) => index))).toEqual(
        new Set(outcome.conflicts?.map(({ occurrenceIndex }) => occurrenceIndex)),
      );
      for (const { index, blockedBy, by } of shown)
        expect(outcome.conflicts).toContainEqual(
          expect.objectContaining({ occurrenceIndex: index, resource: blockedBy, blockedBy: by }),
        );
    }
    return outcome;
  }

  /** As a backend, past the booking functions; the SQLSTATE of its failure, or null. */
  async write(sql: string, values: unknown[]): Promise<string | null> {
    try {
      await this.client.query(sql, values);
      return null;
    } catch (error) {
      return (error as pg.DatabaseError).code ?? 'unknown';
    }
  }

  async rows<T>(sql: string): Promise<T[]> {
    return (await this.client.query(sql, [this.arena.organizationId])).rows as T[];
  }

  window({ from, to }: Span) {
    return at(3, from * 30, (to - from) * 30);
  }

  /** Tables and diary side by side. */
  async compare(diary: Diary): Promise<void> {
    expect(await brokenInvariants(this.client, this.arena.organizationId)).toEqual([]);
    const stored = await this.rows<Record<string, unknown>>(
      `select id, therapist_id, client_id, start_time, end_time, status::text
        from public.sessions where organization_id = $1 order by id`,
    );
    const expected = diary.sessions
      .map((each) => ({
        id: each.id,
        therapist_id: nth(this.arena.therapists, each.therapist),
        client_id: nth(this.arena.clients, each.client),
        start_time: new Date(this.window(each).start_time),
        end_time: new Date(this.window(each).end_time),
        status: each.status,
      }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    expect(stored).toEqual(expected);
  }
}

type Command = fc.AsyncCommand<Diary, Clinic, true>;

/** A step of a walk: what it does, to a diary and to a database that must agree. */
function step(
  name: string,
  run: (diary: Diary, clinic: Clinic) => Promise<void>,
  possible: (diary: Readonly<Diary>) => boolean = () => true,
): Command {
  return {
    check: async (diary) => possible(diary),
    toString: () => name,
    async run(diary, clinic) {
      await run(diary, clinic);
      await clinic.compare(diary);
    },
  };
}

const apart = (spans: Span[]) =>
  spans.every((span, index) =>
    spans.slice(index + 1).every(({ from, to }) => to <= span.from || span.to <= from),
  );

const person = fc.integer({ min: 0, max: people - 1 });
const span: fc.Arbitrary<Span> = fc
  .tuple(fc.integer({ min: 0, max: units - 1 }), fc.integer({ min: 1, max: 3 }))
  .map(([from, length]) => ({ from, to: from + length }));
const spans = fc.array(span, { minLength: 1, maxLength: 3 }).filter(apart);
const pick = fc.nat({ max: 50 });

const open = (session: ModelSession) => session.status === 'scheduled' || session.status === 'in_progress';

function holdStep(therapist: number, client: number, wanted: Span[], seconds: number): Command {
  return step(`hold(T${therapist}, C${client}, ${JSON.stringify(wanted)})`, async (diary, clinic) => {
    const { verdict, retryAfter } = diary.judgeHold(therapist, client, wanted, null);
    const windows = wanted.map((each) => clinic.window(each));
    const body = holdOf(
      nth(clinic.arena.therapists, therapist),
      nth(clinic.arena.clients, client),
      nth(windows, 0),
      {
        occurrences: windows,
        hold_seconds: seconds,
      },
    );
    const outcome = await clinic.previewed(body);
    expect(outcome.code ?? null).toBe(verdict);
    expect(outcome.retryAfter ?? null).toBe(retryAfter);
    if (outcome.ok)
      diary.batches.push({
        ...{ held: outcome.body, therapist, client, spans: wanted, moves: null },
        ...{ status: 'held', expiresAt: outcome.body.expiresAt },
      });
  });
}

function moveStep(first: number, wanted: Span[], therapist: number): Command {
  return step(
    `move(session ${first} and on, T${therapist}, ${JSON.stringify(wanted)})`,
    async (diary, clinic) => {
      const { client } = nth(diary.sessions, first);
      const hers = diary.sessions.filter((each) => each.client === client);
      const chosen = [
        ...new Set(wanted.map((_, index) => nth(hers, hers.indexOf(nth(diary.sessions, first)) + index))),
      ];
      const places = wanted.slice(0, chosen.length);
      const ids = chosen.map(({ id }) => id);
      const { verdict, retryAfter } = diary.judgeHold(therapist, client, places, ids);
      const occurrences = places.map((each, index) => ({
        ...clinic.window(each),
        session_id: nth(ids, index),
      }));
      const body = holdOf(
        nth(clinic.arena.therapists, therapist),
        nth(clinic.arena.clients, client),
        clinic.window(nth(places, 0)),
        {
          occurrences,
        },
      );
      const outcome = await clinic.previewed(body);
      expect(outcome.code ?? null).toBe(verdict);
      expect(outcome.retryAfter ?? null).toBe(retryAfter);
      if (outcome.ok)
        diary.batches.push({
          ...{ held: outcome.body, therapist, client, spans: places, moves: ids },
          ...{ status: 'held', expiresAt: outcome.body.expiresAt },
        });
    },
    (diary) => diary.sessions.length > 0,
  );
}

function confirmStep(which: number): Command {
  return step(
    `confirm(${which})`,
    async (diary, clinic) => {
      const batch = nth(diary.batches, which);
      const { therapists, clients } = clinic.arena;
      const outcome = await clinic.act(
        confirming(confirmationOf(nth(therapists, batch.therapist), nth(clients, batch.client), batch.held)),
      );
      const verdict = {
        held: null,
        stopped: 'SESSION_NOT_MOVABLE',
        confirmed: null,
        released: 'HOLD_NOT_FOUND',
        expired: 'HOLD_EXPIRED',
      };
      expect(outcome.code ?? null).toBe(verdict[batch.status]);
      if (!outcome.ok) return;
      const ids = batch.moves ?? batch.held.holds.map(({ holdId }) => holdId);
      expect(outcome.body.sessions.map(({ id }: { id: string }) => id)).toEqual(ids);
      if (batch.status === 'confirmed') return;
      batch.status = 'confirmed';
      batch.spans.forEach((each, index) => {
        const id = nth(ids, index);
        const { therapist, client } = batch;
        if (batch.moves) Object.assign(diary.session(id), each, { therapist });
        else diary.sessions.push({ id, therapist, client, ...each, status: 'scheduled' });
      });
    },
    (diary) => diary.batches.length > 0,
  );
}

function releaseStep(which: number): Command {
  return step(
    `release(${which})`,
    async (diary, clinic) => {
      const batch = nth(diary.batches, which);
      const outcome = await clinic.act(releasing(batch.held.holdKey));
      expect(outcome.body.released).toBe(batch.status === 'held');
      if (batch.status === 'held') batch.status = 'released';
    },
    (diary) => diary.batches.length > 0,
  );
}

function expireStep(which: number): Command {
  return step(
    `expire(${which})`,
    async (diary, clinic) => {
      const batch = nth(diary.batches, which);
      await clinic.write(
        `with past as (select clock_timestamp() - interval '1 millisecond' as moment),
          batch as (update public.hold_batches set expires_at = moment from past where id = $1)
        update private.claims set expires_at = moment from past, public.session_holds as hold
        where hold.batch_id = $1 and owner_id in (hold.id, hold.group_id, hold.batch_id)
          and private.claims.expires_at is not null`,
        [batch.held.holdId],
      );
      if (batch.status === 'held' || batch.status === 'stopped') batch.status = 'expired';
    },
    (diary) => diary.batches.length > 0,
  );
}

function cancelStep(which: number, count: number): Command {
  return step(
    `cancel(${which}, ${count})`,
    async (diary, clinic) => {
      const chosen = [
        ...new Set(Array.from({ length: count }, (_, index) => nth(diary.sessions, which + index))),
      ];
      const { body } = await clinic.act(cancelling(chosen.map(({ id }) => id)));
      expect(body.summary).toMatchObject({
        cancelledCount: chosen.filter(open).length,
        alreadyCancelledCount: chosen.filter(({ status }) => status === 'cancelled').length,
        totalCount: chosen.length,
      });
      for (const session of chosen.filter(open)) diary.end(session, 'cancelled');
    },
    (diary) => diary.sessions.length > 0,
  );
}

function statusStep(which: number, status: ModelSession['status']): Command {
  return step(
    `status(${which}, ${status})`,
    async (diary, clinic) => {
      const session = nth(diary.sessions, which);
      const failed = await clinic.write('update public.sessions set status = $2 where id = $1', [
        session.id,
        status,
      ]);
      const next = {
        // Every session here is weeks ahead: it neither begins nor is missed yet.
        scheduled: ['scheduled', 'cancelled'],
        in_progress: [],
        ...{ completed: ['completed'], cancelled: ['cancelled'], no_show: ['no_show'] },
      };
      const allowed = (next[session.status] as string[]).includes(status);
      expect(failed).toBe(allowed ? null : '23514');
      if (allowed) diary.end(session, status);
    },
    (diary) => diary.sessions.length > 0,
  );
}

function insertStep(therapist: number, client: number, wanted: Span): Command {
  return step(`insert(T${therapist}, C${client}, ${JSON.stringify(wanted)})`, async (diary, clinic) => {
    const { start_time, end_time } = clinic.window(wanted);
    const id = crypto.randomUUID();
    const failed = await clinic.write(
      `insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
        values ($1, $2, $3, $4, $5, $6, 'UTC')`,
      [
        clinic.arena.organizationId,
        id,
        nth(clinic.arena.therapists, therapist),
        nth(clinic.arena.clients, client),
        start_time,
        end_time,
      ],
    );
    const admitted = diary.admits(therapist, client, wanted);
    expect(failed).toBe(admitted ? null : '23P01');
    if (admitted) diary.sessions.push({ id, therapist, client, ...wanted, status: 'scheduled' });
  });
}

function rewriteStep(which: number, therapist: number, wanted: Span): Command {
  return step(
    `rewrite(${which}, T${therapist}, ${JSON.stringify(wanted)})`,
    async (diary, clinic) => {
      const session = nth(diary.sessions, which);
      const { start_time, end_time } = clinic.window(wanted);
      const failed = await clinic.write(
        'update public.sessions set therapist_id = $2, start_time = $3, end_time = $4 where id = $1',
        [session.id, nth(clinic.arena.therapists, therapist), start_time, end_time],
      );
      const same =
        session.therapist === therapist && session.from === wanted.from && session.to === wanted.to;
      const verdict = same
        ? null
        : session.status !== 'scheduled'
          ? '23514'
          : diary.admits(therapist, session.client, wanted, [session.id])
            ? null
            : '23P01';
      expect(failed).toBe(verdict);
      if (failed === null) Object.assign(session, wanted, { therapist });
    },
    (diary) => diary.sessions.some(takesPlace),
  );
}

const commands = fc.commands<Diary, Clinic, true>(
  [
    fc.tuple(person, person, spans, fc.integer({ min: 30, max: 900 })).map((values) => holdStep(...values)),
    fc.tuple(person, person, spans, fc.integer({ min: 30, max: 900 })).map((values) => holdStep(...values)),
    pick.map(confirmStep),
    pick.map(confirmStep),
    fc.tuple(pick, spans, person).map((values) => moveStep(...values)),
    fc.tuple(pick, spans, person).map((values) => moveStep(...values)),
    pick.map(releaseStep),
    pick.map(expireStep),
    fc.tuple(pick, fc.integer({ min: 1, max: 3 })).map((values) => cancelStep(...values)),
    fc
      .tuple(
        pick,
        fc.constantFrom<ModelSession['status']>(
          'scheduled',
          'in_progress',
          'completed',
          'cancelled',
          'no_show',
        ),
      )
      .map((values) => statusStep(...values)),
    fc.tuple(person, person, span).map((values) => insertStep(...values)),
    fc.tuple(pick, person, span).map((values) => rewriteStep(...values)),
  ],
  { maxCommands: 40, size: 'max' },
);

it('holds, confirmations, releases, expiries, cancellations, moves and direct writes agree with a diary', {
  timeout: runs * 30_000,
}, async () => {
  const client = await connect();
  try {
    await fc.assert(
      fc.asyncProperty(commands, async (walk) => {
        const clinic = new Clinic(await openArena(people, people), client);
        await fc.asyncModelRun(() => ({ model: new Diary(), real: clinic }), walk);
      }),
      { numRuns: runs },
    );
  } finally {
    await client.end();
  }
});
