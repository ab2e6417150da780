/**
 * Random walks through what moves units: bookings and holds that draw on two authorizations, completions, corrections of
 * code, minutes, day and people, steps taken back, another code for what is booked, a coverage that changes on another day,
 * an authorization that grows or shrinks, limits of a day and of a week. After every step the ledger has, entry by entry, what a model of a few lines says.
 *
 * `MODEL_RUNS=500` walks longer; a failure prints its seed and the shortest walk that shows it.
 */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { addClinic, members } from '../setup/clinics.ts';
import { connect } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';

const runs = Number(process.env.MODEL_RUNS ?? 15);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Clocks never change there: seven hours behind UTC. */
const ZONE = 'America/Phoenix';
/** A day to count from, the same for a whole walk. Nothing is booked within four days of it, so midnight may pass. */
const today = Math.floor(Date.now() / DAY) * DAY;
const dateOf = (day: number) => new Date(today + day * DAY).toISOString().slice(0, 10);
const past = [-8, -7, -6, -5];
const ahead = [5, 6, 7, 8];
const codes = ['97153', '97155'] as const;

/** The most units of some codes in a day, or in a week from Sunday with one therapist. */
interface Limit {
  period: 'day' | 'week';
  per: 'client' | 'client_and_therapist';
  codes: readonly string[];
  units: number;
}
interface Authorization {
  id: string;
  payer: 'each' | 'daily';
  codes: readonly string[];
  endsOn: number;
  approved: number;
  limit?: Limit;
}
/** What a session or a hold takes of each authorization: `total` with what goes beyond, `units` of the authorization. */
interface Entry {
  authorization: string | null;
  total: number;
  units: number;
}
interface Service {
  /** Of a hold, and of the session that is booked by it. */
  id: string;
  /** Of a hold. */
  key?: string;
  status: 'held' | 'scheduled' | 'in_progress' | 'completed';
  client: number;
  therapist: number;
  code: string;
  day: number;
  /** The hour of the day, another for each step of a walk: nobody is ever in two places. */
  slot: number;
  minutes: number;
  actual?: { day: number; minutes: number };
  units: number;
  version: number;
  entries: Entry[];
}

/** What should be so: units are granted earliest service first, of the authorization that ends first. */
class Model {
  readonly services: Service[] = [];
  readonly authorizations: Authorization[][];
  /** The first day of the second payer, for each client. */
  readonly changes = [-6, -7];

  constructor() {
    this.authorizations = [0, 1].map(() => [
      { id: randomUUID(), payer: 'each', codes: ['97153'], endsOn: -6, approved: 7 },
      {
        ...{ id: randomUUID(), payer: 'each', codes, endsOn: 300, approved: 14 },
        limit: { period: 'day', per: 'client', codes, units: 3 },
      },
      { id: randomUUID(), payer: 'daily', codes: ['97153'], endsOn: 6, approved: 7 },
      {
        ...{ id: randomUUID(), payer: 'daily', codes, endsOn: 300, approved: 14 },
        limit: { period: 'week', per: 'client_and_therapist', codes: ['97153'], units: 3 },
      },
    ]);
  }

  payerOn(client: number, day: number): 'each' | 'daily' {
    return day < (this.changes[client] as number) ? 'each' : 'daily';
  }

  left({ id, approved }: Authorization): number {
    const entries = this.services.flatMap((service) => service.entries);
    return approved - sum(entries.filter(({ authorization }) => authorization === id));
  }

  /** What a limit leaves of an authorization for a service; without a limit, all of it. */
  private within({ id, limit }: Authorization, service: Service): number {
    if (!limit?.codes.includes(service.code)) return Number.POSITIVE_INFINITY;
    const windowOf = (day: number) => (limit.period === 'day' ? day : weekOf(day));
    const { day } = this.wanted(service);
    const taken = this.services
      .filter(
        (each) =>
          each.client === service.client &&
          limit.codes.includes(each.code) &&
          windowOf(this.wanted(each).day) === windowOf(day) &&
          (limit.per === 'client' || each.therapist === service.therapist),
      )
      .flatMap(({ entries }) => entries)
      .filter(({ authorization }) => authorization === id);
    return limit.units - taken.reduce((sum, { total }) => sum + total, 0);
  }

  private wanted(service: Service): { day: number; total: number } {
    return service.status === 'completed' && service.actual
      ? { day: service.actual.day, total: service.units }
      : { day: service.day, total: midpoint(service.minutes) };
  }

  /** Gives a service what it can get; returns what it lacks. */
  grant(service: Service): number {
    const { day, total } = this.wanted(service);
    const payer = this.payerOn(service.client, day);
    const open = (this.authorizations[service.client] as Authorization[])
      .filter((each) => each.payer === payer && each.codes.includes(service.code) && day <= each.endsOn)
      .sort((a, b) => a.endsOn - b.endsOn);
    service.entries = [];
    let rest = total;
    const drawn: { each: Authorization; units: number }[] = [];
    for (const each of open) {
      const units = Math.min(rest, Math.max(0, this.left(each)), Math.max(0, this.within(each, service)));
      drawn.push({ each, units });
      rest -= units;
      if (rest === 0) break;
    }
    const lacking = rest;
    // Whoever books beyond a limit still draws what is there.
    for (const one of drawn) {
      const more = Math.min(rest, Math.max(0, this.left(one.each) - one.units));
      one.units += more;
      rest -= more;
    }
    for (const { each, units } of drawn) {
      const isLast = each === drawn.at(-1)?.each;
      const beyond = isLast ? rest : 0;
      if (units + beyond > 0 || (isLast && total === 0))
        service.entries.push({ authorization: each.id, units, total: units + beyond });
    }
    if (open.length === 0) service.entries.push({ authorization: null, units: 0, total });
    return lacking;
  }

  /** Takes everything of these back and grants it anew, in order: sessions, then holds. */
  enterAnew(services: readonly Service[]): number {
    for (const service of services) service.entries = [];
    const order = [...services].sort(
      (a, b) =>
        Number(a.status === 'held') - Number(b.status === 'held') ||
        a.client - b.client ||
        begin(a) - begin(b) ||
        (a.id < b.id ? -1 : 1),
    );
    return order.map((service) => this.grant(service)).reduce((lacking, rest) => lacking + rest, 0);
  }

  /** Rounds the visits of these days anew, as the payer of the day does; returns those whose units are others by now. */
  round(days: readonly { client: number; day: number }[]): Service[] {
    const changed: Service[] = [];
    for (const { client, day } of days) {
      const visits = this.services.filter(
        (each) => each.status === 'completed' && each.client === client && each.actual?.day === day,
      );
      const isDaily = this.payerOn(client, day) === 'daily';
      const together = Map.groupBy(visits, ({ id, therapist, code }) =>
        isDaily ? `${therapist} ${code}` : id,
      );
      for (const group of together.values()) {
        let minutes = 0;
        for (const visit of group.sort((a, b) => a.slot - b.slot)) {
          const before = midpoint(minutes);
          minutes += visit.actual?.minutes ?? 0;
          visit.units = midpoint(minutes) - before;
          const entered = visit.entries.reduce((total, entry) => total + entry.total, 0);
          if (visit.units !== entered) changed.push(visit);
        }
      }
    }
    return changed;
  }

  /** After a visit has changed: its days, and those that it has left. */
  count(service: Service, former: { client: number; day: number }[] = []): void {
    const clients = [service.client, ...former.map(({ client }) => client)];
    const days = [service.actual?.day ?? service.day, ...former.map(({ day }) => day)];
    const changed = this.round(clients.flatMap((client) => days.map((day) => ({ client, day }))));
    this.enterAnew([...new Set([service, ...changed])]);
  }
}

/** The Sunday that begins a day's week, counted from `today`. */
const weekOf = (day: number) => day - new Date(today + day * DAY).getUTCDay();
const midpoint = (minutes: number) => Math.floor((minutes + 7) / 15);
const sum = (entries: readonly Entry[]) => entries.reduce((total, { units }) => total + units, 0);
const begin = ({ status, actual, day, slot }: Service) =>
  (status === 'completed' && actual ? actual.day : day) * DAY + slot * HOUR;
/** Hour `slot` of the clinic's day: from seven in the morning on. */
const instant = (day: number, slot: number, minutes = 0) =>
  new Date(today + day * DAY + (14 + slot) * HOUR + minutes * 60_000).toISOString();

let db: pg.Client;
beforeAll(async () => {
  db = await connect();
});
afterAll(() => db.end());

/** The database's side of a walk. */
class Clinic {
  readonly id = randomUUID();
  readonly admin = randomUUID();
  readonly therapists = [randomUUID(), randomUUID()];
  readonly clients = [randomUUID(), randomUUID()];
  readonly payers = { each: randomUUID(), daily: randomUUID() };

  async open(model: Model): Promise<void> {
    await addClinic(db, {
      id: this.id,
      time_zone: ZONE,
      memberships: [...members('admin', [this.admin]), ...members('therapist', this.therapists)],
      therapists: this.therapists.map((id) => ({ id, credential: 'BCBA' })),
      clients: this.clients.map((id) => ({ id })),
      payers: Object.values(this.payers).map((id) => ({ id })),
      payer_rules: [
        { payer_id: this.payers.each, rounding: 'midpoint' },
        { payer_id: this.payers.daily, rounding: 'midpoint_daily' },
      ],
      client_coverages: this.clients.flatMap((client_id, client) => [
        {
          ...{ client_id, payer_id: this.payers.each, valid_from: '2020-01-01' },
          valid_to: dateOf((model.changes[client] as number) - 1),
        },
        { client_id, payer_id: this.payers.daily, valid_from: dateOf(model.changes[client] as number) },
      ]),
      authorizations: model.authorizations.flatMap((list, client) =>
        list.map(({ id, payer, approved, endsOn }) => ({
          ...{ id, client_id: this.clients[client] as string, payer_id: this.payers[payer] },
          ...{ approved_units: approved, starts_on: dateOf(-100), ends_on: dateOf(endsOn) },
        })),
      ),
      unit_limits: model.authorizations.flat().flatMap(({ id, limit }) =>
        limit
          ? [
              {
                ...{ authorization_id: id, period: limit.period, per: limit.per, cpt_codes: limit.codes },
                max_units: limit.units,
              },
            ]
          : [],
      ),
      authorization_codes: model.authorizations
        .flat()
        .flatMap(({ id, codes: set }) => set.map((cpt_code) => ({ authorization_id: id, cpt_code }))),
    });
  }

  /** Calls a function as the admin. */
  async call(name: string, request: object): Promise<{ ok: boolean; code?: string; body: Answer }> {
    await db.query('begin');
    try {
      await db.query(
        "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
        [JSON.stringify({ sub: this.admin, role: 'authenticated', org_id: this.id })],
      );
      const { rows } = await db.query(`select public.${name}($1) as outcome`, [JSON.stringify(request)]);
      return rows[0].outcome;
    } finally {
      await db.query('commit');
    }
  }

  /** Past the booking functions; the SQLSTATE of a failure, or null. */
  async write(text: string, ...values: unknown[]): Promise<string | null> {
    return await db.query(text, [this.id, ...values]).then(
      () => null,
      ({ code }) => code,
    );
  }

  async compare(model: Model): Promise<void> {
    const { rows: entries } = await db.query(
      `select owner_id as owner, authorization_id as authorization, total_units as total, units, state
        from public.authorization_units where organization_id = $1 order by owner_id, part`,
      [this.id],
    );
    const states = { held: 'held', scheduled: 'scheduled', in_progress: 'scheduled', completed: 'used' };
    expect(entries).toEqual(
      [...model.services]
        .sort((a, b) => (a.id < b.id ? -1 : 1))
        .flatMap(({ id, status, entries: list }) =>
          list.map((entry) => ({ owner: id, ...entry, state: states[status] })),
        ),
    );
    const { rows: balances } = await db.query(
      `select authorization_id as id, approved_units as approved, used_units as used, scheduled_units as scheduled,
          held_units as held, left_units as left
        from reports.authorization_balances where organization_id = $1 order by authorization_id`,
      [this.id],
    );
    for (const { approved, used, scheduled, held, left } of balances)
      expect(used + scheduled + held + left).toBe(approved);
    expect(balances.map(({ id, left }) => ({ id, left }))).toEqual(
      model.authorizations
        .flat()
        .map((each) => ({ id: each.id, left: model.left(each) }))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
    );
    for (const { left } of balances) expect(left).toBeGreaterThanOrEqual(0);
    expect(await brokenInvariants(db, this.id)).toEqual([]);
  }
}
interface Answer {
  holdKey: string;
  holds: { holdId: string }[];
  session: { id: string };
  version: number;
  units: number | null;
}

type Correction = 'code' | 'minutes' | 'day' | 'client' | 'therapist' | 'undo';
const corrections: Correction[] = ['code', 'minutes', 'day', 'client', 'therapist', 'undo'];
const bookings = [
  'hold',
  'book',
  'confirm',
  'release',
  'cancel',
  'complete',
  'recode',
  'cover',
  'approve',
] as const;

const step = fc.record({
  what: fc.oneof(
    { weight: 5, arbitrary: fc.constant('visit' as const) },
    { weight: 8, arbitrary: fc.constantFrom(...corrections) },
    { weight: 7, arbitrary: fc.constantFrom(...bookings) },
  ),
  which: fc.nat(20),
  client: fc.nat(1),
  therapist: fc.nat(1),
  code: fc.constantFrom(...codes),
  day: fc.nat(3),
  isPast: fc.boolean(),
  quarters: fc.integer({ min: 1, max: 4 }),
  minutes: fc.integer({ min: 1, max: 60 }),
  units: fc.integer({ min: 1, max: 20 }),
});

it('every unit is where the model has it, whatever is booked, rendered, corrected or learnt late', {
  timeout: 60_000 + runs * 16_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 16, size: 'max' }), async (steps) => {
      const model = new Model();
      const clinic = new Clinic();
      await clinic.open(model);
      for (const [slot, asked] of steps.entries()) {
        const { what, which, client, therapist, code, quarters, minutes } = asked;
        const of = (...statuses: Service['status'][]) => {
          const found = model.services.filter(({ status }) => statuses.includes(status));
          return found[which % Math.max(1, found.length)];
        };
        const make = (day: number, status: 'held' | 'scheduled'): Service => ({
          ...{ id: randomUUID(), status, client, therapist, code, day, slot, minutes: quarters * 15 },
          ...{ units: 0, version: 1, entries: [] },
        });
        const correct = async (service: Service, changes: object) => {
          const outcome = await clinic.call('correct_visit', {
            ...{ session_id: service.id, base_version: service.version, reason_code: 'by_mistake' },
            ...changes,
          });
          expect(outcome).toMatchObject({ ok: true, body: { version: service.version + 1 } });
          service.version += 1;
          return outcome.body;
        };

        const complete = async (session: Service) => {
          if (!session.actual) {
            session.actual = { day: session.day, minutes };
            expect(
              await clinic.write(
                `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time)
                  values ($1, $2, $3, $4)`,
                ...[
                  session.id,
                  instant(session.day, session.slot),
                  instant(session.day, session.slot, minutes),
                ],
              ),
            ).toBeNull();
          }
          for (const status of session.status === 'scheduled' ? ['in_progress', 'completed'] : ['completed'])
            expect(
              await clinic.write(
                'update public.sessions set status = $3 where organization_id = $1 and id = $2',
                session.id,
                status,
              ),
            ).toBeNull();
          session.status = 'completed';
          model.count(session);
        };

        if (what === 'hold') {
          const wanted = make(ahead[asked.day] as number, 'held');
          const outcome = await clinic.call('hold_sessions', {
            ...{
              therapist_id: clinic.therapists[therapist],
              client_id: clinic.clients[client],
              cpt_code: code,
            },
            ...{ start_time: instant(wanted.day, slot), end_time: instant(wanted.day, slot, wanted.minutes) },
            ...{ start_time_offset_minutes: -420, end_time_offset_minutes: -420, time_zone: ZONE },
          });
          const lacking = model.grant(wanted);
          expect(outcome.ok ? 'ok' : outcome.code).toBe(lacking === 0 ? 'ok' : 'AUTHORIZATION_EXCEEDED');
          if (lacking === 0) {
            wanted.id = (outcome.body.holds[0] as { holdId: string }).holdId;
            wanted.key = outcome.body.holdKey;
            model.services.push(wanted);
          }
        } else if (what === 'book' || what === 'visit') {
          const wanted = make(
            (asked.isPast || what === 'visit' ? past : ahead)[asked.day] as number,
            'scheduled',
          );
          const failed = await clinic.write(
            `insert into public.sessions (
                organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type
              ) values ($1, $2, $3, $4, $5, $6, $7, $8, 'clinic')`,
            ...[wanted.id, clinic.therapists[therapist], clinic.clients[client]],
            ...[instant(wanted.day, slot), instant(wanted.day, slot, wanted.minutes), ZONE, code],
          );
          const lacking = model.grant(wanted);
          expect(failed).toBe(lacking === 0 ? null : '23514');
          if (lacking > 0) continue;
          model.services.push(wanted);
          if (what === 'visit') await complete(wanted);
        } else if (what === 'confirm' || what === 'release') {
          const hold = of('held');
          if (!hold) continue;
          if (what === 'release') {
            expect(await clinic.call('release_hold', { hold_key: hold.key })).toMatchObject({ ok: true });
            model.services.splice(model.services.indexOf(hold), 1);
          } else {
            const outcome = await clinic.call('confirm_sessions', {
              ...{ hold_key: hold.key, time_zone: ZONE },
              ...{ start_time_offset_minutes: -420, end_time_offset_minutes: -420 },
              session: {
                therapist_id: clinic.therapists[hold.therapist],
                client_id: clinic.clients[hold.client],
                start_time: instant(hold.day, hold.slot),
                end_time: instant(hold.day, hold.slot, hold.minutes),
              },
            });
            expect(outcome).toMatchObject({ ok: true, body: { session: { id: hold.id } } });
            hold.status = 'scheduled';
          }
        } else if (what === 'cancel') {
          const session = of('scheduled');
          if (!session) continue;
          expect(await clinic.call('cancel_sessions', { session_ids: [session.id] })).toMatchObject({
            ok: true,
          });
          model.services.splice(model.services.indexOf(session), 1);
        } else if (what === 'complete') {
          const due = model.services.filter(
            ({ status, day }) => day < 0 && (status === 'scheduled' || status === 'in_progress'),
          );
          const session = due[which % Math.max(1, due.length)];
          if (!session) continue;
          await complete(session);
        } else if (what === 'recode') {
          const session = of('scheduled', 'in_progress');
          if (!session) continue;
          const former = { code: session.code, entries: session.entries };
          session.code = session.code === '97153' ? '97155' : '97153';
          const lacking = model.enterAnew([session]);
          const outcome = await clinic.call('recode_sessions', {
            session_ids: [session.id],
            cpt_code: session.code,
          });
          expect(outcome.ok ? 'ok' : outcome.code).toBe(lacking === 0 ? 'ok' : 'AUTHORIZATION_EXCEEDED');
          if (lacking > 0) Object.assign(session, former);
        } else if (what === 'cover') {
          const changes = [...past, 0, ...ahead][which % 9] as number;
          const isLater = changes > (model.changes[client] as number);
          model.changes[client] = changes;
          // The two coverages never share a day.
          const writes: [string, ...unknown[]][] = [
            [
              'update public.client_coverages set valid_to = $3 where organization_id = $1 and client_id = $2 and payer_id = $4',
              ...[clinic.clients[client], dateOf(changes - 1), clinic.payers.each],
            ],
            [
              'update public.client_coverages set valid_from = $3 where organization_id = $1 and client_id = $2 and payer_id = $4',
              ...[clinic.clients[client], dateOf(changes), clinic.payers.daily],
            ],
          ];
          for (const [text, ...values] of isLater ? writes.reverse() : writes)
            expect(await clinic.write(text, ...values)).toBeNull();
          model.round([...past].map((day) => ({ client, day })));
          model.enterAnew(model.services.filter((each) => each.client === client));
        } else if (what === 'approve') {
          const authorization = model.authorizations[client]?.[which % 4] as Authorization;
          authorization.approved = asked.units;
          expect(
            await clinic.write(
              'update public.authorizations set approved_units = $3 where organization_id = $1 and id = $2',
              authorization.id,
              asked.units,
            ),
          ).toBeNull();
          model.enterAnew(model.services.filter((each) => each.client === client));
        } else {
          const visit = of('completed');
          if (!visit?.actual) continue;
          const former = { client: visit.client, day: visit.actual.day };
          const changes = {
            code: { cpt_code: code },
            minutes: { actual_end_time: instant(visit.actual.day, visit.slot, minutes) },
            day: {
              actual_start_time: instant(past[asked.day] as number, visit.slot),
              actual_end_time: instant(past[asked.day] as number, visit.slot, visit.actual.minutes),
              other_day_reason: 'a walk',
            },
            client: { client_id: clinic.clients[client] },
            therapist: { therapist_id: clinic.therapists[therapist] },
            undo: { undo: 'completion' },
          }[what];
          const corrected: Partial<Service> = {
            code: { code },
            minutes: { actual: { ...visit.actual, minutes } },
            day: { actual: { ...visit.actual, day: past[asked.day] as number } },
            client: { client },
            therapist: { therapist },
            undo: { status: 'in_progress' as const },
          }[what];
          // What changes nothing is no correction.
          if (Object.entries(corrected).every(([key, value]) => same(visit[key as keyof Service], value)))
            continue;
          const answer = await correct(visit, changes);
          Object.assign(visit, corrected);
          model.count(visit, [former]);
          expect(answer.units).toBe(what === 'undo' ? null : visit.units);
        }
        await clinic.compare(model);
      }
    }),
    { numRuns: runs },
  );
});

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
