/** The steps of the demo, in the order in which a clinic would go through them. */
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { formatInTimeZone, fromZonedTime } from 'date-fns-tz';
import { decodeJwt } from 'jose';
import pg from 'pg';
import colors from 'picocolors';
import {
  bookSession,
  type ConfirmRequest,
  type ConfirmResponse,
  cancelSessionHold,
  cancelSessions,
  confirmSessionBooking,
  generateOccurrences,
  type HoldResponse,
  offsetMinutesAt,
  requestSessionHold,
} from '../../src/lib/index.ts';
import type { Stack } from '../stack.ts';
import { type SeriesDates, seriesAcrossClockChange } from './dates.ts';
import { type Exchange, recordingFetch } from './exchange.ts';
import { expectRefusal, expectThat } from './expect.ts';
import { answer, checked, step, table } from './terminal.ts';

const timeZone = 'America/Los_Angeles';
const password = 'demo-password-1234';
const rule = 'FREQ=WEEKLY;COUNT=6';
/** Clients of `supabase/seed.sql`. */
const client = 'a0000000-0000-4000-8000-000000000101';
const otherClient = 'a0000000-0000-4000-8000-000000000102';

interface Person {
  id: string;
  name: string;
  organizationId: string;
  claims: Record<string, unknown>;
  supabase: SupabaseClient;
  last(): Exchange;
}

type Window = { start_time: string; end_time: string };

const local = (instant: string, format = 'EEE d MMM yyyy HH:mm') =>
  formatInTimeZone(instant, timeZone, format);
const utc = (instant: string) => formatInTimeZone(instant, 'UTC', 'HH:mm');
const offset = (instant: string) => formatInTimeZone(instant, timeZone, 'zzz (xxx)');
const minutesBetween = (window: Window) =>
  (Date.parse(window.end_time) - Date.parse(window.start_time)) / 60_000;

function plural(count: number, singular: string): string {
  return `${count} ${singular}${count === 1 ? '' : 's'}`;
}

/** One run of the demo against a seeded stack. Call the steps in order. */
export class ClinicDay {
  readonly #stack: Stack;
  readonly #dates: SeriesDates;
  #therapist!: Person;
  #admin!: Person;
  #hold!: HoldResponse;
  #confirmation!: ConfirmRequest;
  #booked!: ConfirmResponse;

  constructor(stack: Stack) {
    this.#stack = stack;
    this.#dates = seriesAcrossClockChange(timeZone, Date.now());
  }

  async signIn(): Promise<void> {
    step(
      'Sign in',
      'Each token names the organization the user works in. It only chooses: the membership row decides.',
    );
    this.#therapist = await this.#signInAs('rbt@brightpath.test', 'Robin (therapist)');
    this.#admin = await this.#signInAs('admin@brightpath.test', 'Admin (front desk)');
    table(
      ['signed in', 'sub', 'org_id', 'user_role'],
      [this.#therapist, this.#admin].map(({ name, claims }) => [
        name,
        String(claims.sub),
        String(claims.org_id),
        String(claims.user_role),
      ]),
    );
  }

  async holdSeries(): Promise<void> {
    const { changeDate, changeMinutes } = this.#dates;
    step(
      'Hold a weekly series',
      `Tuesdays at 10:00 in ${timeZone}, six weeks. On ${changeDate} the clocks go ${changeMinutes > 0 ? 'forward' : 'back'} by an hour.`,
    );
    const window = this.#firstWindow();
    const expected = generateOccurrences(window, { rule }, { timeZone });
    this.#hold = await requestSessionHold(this.#therapist.supabase, {
      therapistId: this.#therapist.id,
      clientId: client,
      startTime: window.start_time,
      endTime: window.end_time,
      timeZone,
      recurrence: { rule },
      sessionType: 'individual',
      holdSeconds: 300,
    });
    answer(this.#therapist.last());
    const { holds } = this.#hold;
    this.#showTimes(holds.map(({ startTime, endTime }) => ({ start_time: startTime, end_time: endTime })));
    expectThat(
      holds.length === 6 && holds.every(({ startTime }, index) => startTime === expected[index]?.startTime),
      'six holds, at the times the client library works out for the same rule',
      { holds, expected },
    );
    this.#expectLocalTime(
      holds.map(({ startTime }) => startTime),
      '10:00',
    );
    checked('Six slots are held in one transaction; 10:00 stays 10:00 while UTC moves by an hour.');
  }

  async letRivalTry(): Promise<void> {
    step(
      'A rival wants the same time',
      'The front desk asks for Robin at 10:30 on one of these days, for another client. The refusal says what to do.',
    );
    const contested = this.#hold.holds[2];
    expectThat(contested !== undefined, 'a third occurrence', this.#hold);
    const startTime = new Date(Date.parse(contested.startTime) + 30 * 60_000).toISOString();
    const endTime = new Date(Date.parse(contested.endTime) + 30 * 60_000).toISOString();
    const refused = await expectRefusal(
      requestSessionHold(this.#admin.supabase, {
        therapistId: this.#therapist.id,
        clientId: otherClient,
        startTime,
        endTime,
        timeZone,
      }),
      409,
      'THERAPIST_HOLD_CONFLICT',
    );
    answer(this.#admin.last());
    expectThat(
      refused.retryAfter === this.#hold.expiresAt && (refused.retryAfterSeconds ?? 0) > 0,
      'retryAfter is the moment when the hold in the way expires',
      refused,
    );
    const [alternative] = refused.alternatives;
    expectThat(alternative !== undefined, 'at least one alternative', refused);
    checked(
      `Only a hold is in the way, so retryAfter is its expiry; ${refused.alternatives.length} other times are offered, the nearest first.`,
    );

    const taken = await bookSession(this.#admin.supabase, {
      session: {
        therapist_id: this.#therapist.id,
        client_id: otherClient,
        start_time: alternative.startTime,
        end_time: alternative.endTime,
        session_type: 'individual',
        location_type: 'clinic',
      },
      timeZone,
    });
    answer(this.#admin.last(), { success: true, data: { session: brief(taken.session) } });
    expectThat(
      sameInstant(taken.session.start_time, alternative.startTime),
      'the session starts where the alternative said',
      taken.session,
    );
    checked(`The alternative was as good as promised: booked at ${local(alternative.startTime)}.`);
  }

  async confirmSeries(): Promise<void> {
    step(
      'Confirm',
      'A live hold always confirms. Its claims become the sessions’ claims; nothing is free in between.',
    );
    const session = (window: Window) => ({
      therapist_id: this.#therapist.id,
      client_id: client,
      session_type: 'individual',
      location_type: 'clinic',
      ...window,
    });
    this.#confirmation = {
      holdKey: this.#hold.holdKey,
      session: session(this.#firstWindow()),
      cpt: { code: '97153', modifiers: ['HM'] },
      timeZone,
      occurrences: this.#hold.holds.map(({ holdKey, startTime, endTime }) => ({
        holdKey,
        session: session({ start_time: startTime, end_time: endTime }),
      })),
      idempotencyKey: 'demo-confirm-weekly-series',
    };
    this.#booked = await confirmSessionBooking(this.#therapist.supabase, this.#confirmation);
    const { sessions, roundedDurationMinutes } = this.#booked;
    answer(this.#therapist.last(), {
      success: true,
      data: { roundedDurationMinutes, sessions: sessions.map(brief) },
    });
    this.#showTimes(sessions);
    expectThat(sessions.length === 6, 'six sessions', sessions);
    expectThat(
      sessions.every(({ id }, index) => id === this.#hold.holds[index]?.holdId),
      'each session keeps the id of its hold',
      sessions,
    );
    this.#expectLocalTime(
      sessions.map(({ start_time }) => start_time),
      '10:00',
    );
    checked('Six sessions, each with the id of its hold, all at 10:00 local, all 60 minutes long.');
  }

  async replay(): Promise<void> {
    step(
      'Ask again with the same key',
      'An app that lost the answer repeats the request. It must not book twice.',
    );
    const again = await confirmSessionBooking(this.#therapist.supabase, this.#confirmation);
    answer(this.#therapist.last(), { success: true, data: { sessions: again.sessions.map(brief) } });
    expectThat(
      this.#therapist.last().headers.get('idempotent-replay') === 'true',
      'the header Idempotent-Replay: true',
      [...this.#therapist.last().headers],
    );
    expectThat(
      JSON.stringify(again) === JSON.stringify(this.#booked),
      'the first answer, word for word',
      again,
    );
    checked('The same answer again, marked as a replay: one booking.');

    await expectRefusal(
      confirmSessionBooking(this.#therapist.supabase, {
        ...this.#confirmation,
        cpt: { code: '97153', modifiers: ['HN'] },
      }),
      422,
      'IDEMPOTENCY_KEY_REUSED',
    );
    answer(this.#therapist.last());
    checked('The same key with another request is refused.');
  }

  async moveSeries(): Promise<void> {
    step(
      'Move the whole series',
      'Half an hour earlier. The new places overlap the old ones: what moves does not block itself, all else does.',
    );
    const before = this.#booked.sessions;
    const earlier = (instant: string) => new Date(Date.parse(instant) - 30 * 60_000).toISOString();
    const [first] = before;
    expectThat(first !== undefined, 'sessions to move', before);
    const moved = await bookSession(this.#therapist.supabase, {
      session: {
        therapist_id: this.#therapist.id,
        client_id: client,
        start_time: earlier(first.start_time),
        end_time: earlier(first.end_time),
        session_type: 'individual',
        location_type: 'clinic',
      },
      occurrences: before.map(({ id, start_time, end_time }) => ({
        startTime: earlier(start_time),
        endTime: earlier(end_time),
        sessionId: id,
      })),
      timeZone,
    });
    answer(this.#therapist.last(), { success: true, data: { sessions: moved.sessions.map(brief) } });
    table(
      ['session', 'from', 'to'],
      before.map(({ id, start_time }, index) => [
        id.slice(0, 8),
        local(start_time),
        local(moved.sessions[index]?.start_time ?? ''),
      ]),
    );
    expectThat(
      moved.sessions.every(({ id }, index) => id === before[index]?.id) &&
        moved.sessions.length === before.length,
      'the same sessions, moved',
      moved.sessions,
    );
    this.#expectLocalTime(
      moved.sessions.map(({ start_time }) => start_time),
      '09:30',
    );
    this.#booked = moved;
    checked('The same six sessions, now at 09:30 local on both sides of the change.');
  }

  async cancelOne(): Promise<void> {
    step(
      'Cancel one',
      'Its time is free again at once. The reason is stored beside the session, never in clinical notes.',
    );
    const last = this.#booked.sessions.at(-1);
    expectThat(last !== undefined, 'a last session', this.#booked);
    const { summary } = await cancelSessions(this.#therapist.supabase, {
      sessionIds: [last.id],
      reason: 'Family holiday',
      cancellationAttribution: 'client',
    });
    answer(this.#therapist.last());
    expectThat(summary.cancelledCount === 1, 'one cancelled session', summary);

    const hold = await requestSessionHold(this.#admin.supabase, {
      therapistId: this.#therapist.id,
      clientId: otherClient,
      startTime: new Date(last.start_time).toISOString(),
      endTime: new Date(last.end_time).toISOString(),
      timeZone,
    });
    checked(`The front desk holds ${local(last.start_time)} straight away, for another client …`);
    const first = await cancelSessionHold(this.#admin.supabase, { holdKey: hold.holdKey });
    const second = await cancelSessionHold(this.#admin.supabase, { holdKey: hold.holdKey });
    answer(this.#admin.last());
    expectThat(first.released && !second.released, 'released: true, then false', { first, second });
    checked('… and lets it go again. Releasing twice is harmless: released is true, then false.');
  }

  async showAuditTrail(): Promise<void> {
    step(
      'The audit trail',
      'Written in the same transaction as what it describes; a series is one event. Read as the admin, under RLS.',
    );
    const names = new Map([this.#therapist, this.#admin].map(({ id, name }) => [id, name]));
    const events = await this.#asAdmin<{
      recorded_at: Date;
      actor_user_id: string;
      action: string;
      count: number;
      outcome: string;
      code: string | null;
      request_id: string | null;
    }>(`
      select recorded_at, actor_user_id, action, cardinality(entity_ids) as count, outcome, code, request_id
      from audit.events
      where actor_user_id is not null
      order by recorded_at, id`);
    table(
      ['UTC', 'who', 'what', 'rows', 'outcome', 'request'],
      events.map((event) => [
        event.recorded_at.toISOString().slice(11, 23),
        names.get(event.actor_user_id) ?? event.actor_user_id,
        event.action,
        event.count,
        event.code ?? event.outcome,
        event.request_id?.slice(0, 8) ?? '',
      ]),
    );
    const actions = events.map(({ action }) => action);
    for (const action of [
      'hold.acquired',
      'hold.refused',
      'hold.confirmed',
      'session.cancelled',
      'hold.released',
    ])
      expectThat(actions.includes(action), `an event ${action}`, actions);

    const owner = new pg.Client({ connectionString: this.#stack.dbUrl });
    await owner.connect();
    try {
      const forgery = "update audit.events set code = 'HARMLESS' where code = 'THERAPIST_HOLD_CONFLICT'";
      const came = await owner.query(forgery).catch((error: Error) => error.message);
      expectThat(came === 'audit events are append-only', 'a refusal to change an event', came);
      checked(`The database’s owner cannot simply rewrite an event: "${came}".`);

      const sound = await owner.query('select * from audit.verify()');
      expectThat(sound.rowCount === 0, 'hash chains without a fault', sound.rows);
      await owner.query('begin');
      await owner.query('alter table audit.events disable trigger refuse_change');
      await owner.query(forgery);
      const { rows } = await owner.query<{ problem: string }>('select * from audit.verify()');
      await owner.query('rollback');
      expectThat(rows[0]?.problem === 'the event was changed', 'audit.verify() finds the forgery', rows);
      checked(
        `If she disables the trigger and does it, audit.verify() tells: "${rows[0].problem}". (Rolled back.)`,
      );
    } finally {
      await owner.end();
    }
  }

  async showReport(): Promise<void> {
    step('A report', 'What an admin would ask at the end of the day, from the same rows.');
    const weeks = await this.#asAdmin<{
      week: string;
      therapist: string;
      booked: number;
      hours: string;
      cancelled: number;
    }>(
      `
      select
        to_char(date_trunc('week', session.start_time at time zone session.time_zone), 'YYYY-MM-DD') as week,
        therapist.display_name as therapist,
        (count(*) filter (where session.status <> 'cancelled'))::integer as booked,
        to_char(coalesce(
          sum(extract(epoch from session.end_time - session.start_time) / 3600)
            filter (where session.status <> 'cancelled'), 0), 'FM990.0') as hours,
        (count(*) filter (where session.status = 'cancelled'))::integer as cancelled
      from public.sessions as session
      join public.therapists as therapist
        on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
      where session.id = any ($1)
      group by 1, 2
      order by 1`,
      [this.#booked.sessions.map(({ id }) => id)],
    );
    table(
      ['week of', 'therapist', 'booked', 'hours', 'cancelled'],
      weeks.map((row) => [row.week, row.therapist, row.booked, row.hours, row.cancelled]),
    );
    expectThat(
      weeks.length === 6 && weeks.filter(({ cancelled }) => cancelled === 1).length === 1,
      'six weeks, one of them cancelled',
      weeks,
    );

    const [funnel] = await this.#asAdmin<{
      asked: number;
      confirmed: number;
      released: number;
      refused: number;
    }>(`
      select
        (count(*) filter (where action in ('hold.acquired', 'hold.refused')))::integer as asked,
        (count(*) filter (where action = 'hold.confirmed'))::integer as confirmed,
        (count(*) filter (where action = 'hold.released'))::integer as released,
        (count(*) filter (where action = 'hold.refused'))::integer as refused
      from audit.events`);
    expectThat(funnel !== undefined, 'a hold funnel', funnel);
    table(
      ['requests to hold', 'confirmed', 'released', 'refused'],
      [[funnel.asked, funnel.confirmed, funnel.released, funnel.refused]],
    );
    expectThat(
      funnel.asked === funnel.confirmed + funnel.released + funnel.refused,
      'every request to hold ended in one of three ways',
      funnel,
    );

    const [proof] = await this.#asAdmin<{ sessions: number; overlaps: number; shifted: number }>(
      `
      select
        (select count(*) from public.sessions)::integer as sessions,
        (select count(*) from reports.double_bookings)::integer as overlaps,
        (
          select count(distinct (session.start_time at time zone session.time_zone)::time) - 1
          from public.sessions as session
          where session.id = any ($1)
        )::integer as shifted`,
      [this.#booked.sessions.map(({ id }) => id)],
    );
    expectThat(proof?.overlaps === 0 && proof.shifted === 0, 'no overlap, no shifted local time', proof);
    checked(
      `${plural(proof.sessions, 'session')} in the clinic, 0 double bookings, 0 occurrences moved by the clocks.`,
    );
  }

  async #signInAs(email: string, name: string): Promise<Person> {
    const wire = recordingFetch();
    const supabase = createClient(this.#stack.apiUrl, this.#stack.publishableKey, {
      global: { fetch: wire.fetch },
      auth: { persistSession: false, autoRefreshToken: false },
    });
    const { data, error } = await supabase.auth.signInWithPassword({ email, password });
    expectThat(error === null && data.session !== null, `${email} can sign in`, error);
    const claims = decodeJwt(data.session.access_token);
    expectThat(typeof claims.org_id === 'string', `the token of ${email} names an organization`, claims);
    return {
      id: data.session.user.id,
      name,
      organizationId: claims.org_id,
      claims,
      supabase,
      last: wire.last,
    };
  }

  /** 10:00 to 11:00, civil time, on the first day. */
  #firstWindow(): Window {
    const at = (time: string) => fromZonedTime(`${this.#dates.firstDate}T${time}`, timeZone).toISOString();
    return { start_time: at('10:00'), end_time: at('11:00') };
  }

  #showTimes(windows: readonly Window[]): void {
    const [first] = windows;
    const before = offsetMinutesAt(timeZone, Date.parse(first?.start_time ?? ''));
    table(
      ['local', 'zone', 'UTC', 'minutes', ''],
      windows.map((window) => [
        local(window.start_time),
        offset(window.start_time),
        `${utc(window.start_time)} – ${utc(window.end_time)}`,
        minutesBetween(window),
        offsetMinutesAt(timeZone, Date.parse(window.start_time)) === before
          ? ''
          : colors.yellow('after the change'),
      ]),
    );
  }

  #expectLocalTime(instants: string[], time: string): void {
    const seen = instants.map((instant) => local(instant, 'HH:mm'));
    expectThat(
      seen.every((each) => each === time),
      `every occurrence at ${time} local time`,
      seen,
    );
    const offsets = new Set(instants.map((instant) => offsetMinutesAt(timeZone, Date.parse(instant))));
    expectThat(offsets.size === 2, 'occurrences on both sides of the change of clocks', [...offsets]);
  }

  /** Runs a query as the admin: the role and the claims PostgREST would set, so row-level security applies. */
  async #asAdmin<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[]> {
    const database = new pg.Client({ connectionString: this.#stack.dbUrl });
    await database.connect();
    try {
      await database.query('begin read only');
      await database.query(
        "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
        [JSON.stringify(this.#admin.claims)],
      );
      return (await database.query<Row>(sql, values)).rows;
    } finally {
      await database.end();
    }
  }
}

const sameInstant = (one: string, other: string) => Date.parse(one) === Date.parse(other);

/** What of a session's row the demo shows. */
function brief({ id, start_time, end_time, status, cpt_code }: ConfirmResponse['session']) {
  return { id, start_time, end_time, status, cpt_code };
}
