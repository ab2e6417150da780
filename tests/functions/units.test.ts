/**
 * Authorizations as payers write them, asked over HTTP by the people of a clinic: what is held, and what exactly is short.
 * Days are those of next year, so that all of them lie ahead.
 */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { instantOf } from '../../src/lib/index.ts';
import { stack } from '../setup/stack.ts';
import { type Answer, type Clinic, call, openClinic, type Person } from './clinic.ts';

const ZONE = 'America/Los_Angeles';
const year = new Date().getUTCFullYear() + 1;
/** The `nth` Sunday of a month (from 1), as a date. */
function sunday(month: number, nth: number): string {
  const first = new Date(Date.UTC(year, month - 1, 1)).getUTCDay();
  return new Date(Date.UTC(year, month - 1, 1 + ((7 - first) % 7) + (nth - 1) * 7))
    .toISOString()
    .slice(0, 10);
}
const plus = (date: string, days: number) =>
  new Date(Date.parse(date) + days * 86_400_000).toISOString().slice(0, 10);

/** Inserts over REST, as an app of the clinic's does. */
async function insert(person: Person, table: string, rows: object | object[]): Promise<void> {
  const response = await fetch(`${stack.apiUrl}/rest/v1/${table}`, {
    method: 'POST',
    headers: {
      ...{ apikey: stack.publishableKey, authorization: `Bearer ${person.token}` },
      'content-type': 'application/json',
    },
    body: JSON.stringify(rows),
  });
  if (!response.ok) throw new Error(`${table}: ${response.status} ${await response.text()}`);
}

let clinic: Clinic;
const payer = randomUUID();
beforeAll(async () => {
  clinic = await openClinic();
  const mine = { organization_id: clinic.organizationId };
  await insert(clinic.superAdmin, 'payers', { ...mine, id: payer, name: 'Example Payer' });
});

/** A client whom the payer covers until the end of November, with these authorizations; the first one has the limits. */
async function clientWith(
  authorizations: { units: number; codes: string[]; from?: string; to?: string }[],
  limits: ({ period: string; max_units: number; codes?: string[] } & Record<string, unknown>)[] = [],
): Promise<string> {
  const mine = { organization_id: clinic.organizationId };
  const client = randomUUID();
  await insert(clinic.admin, 'clients', { ...mine, id: client, reference: client.slice(0, 8) });
  await insert(clinic.admin, 'client_coverages', {
    ...{
      ...mine,
      client_id: client,
      payer_id: payer,
      valid_from: `${year}-01-01`,
      valid_to: `${year}-11-30`,
    },
  });
  for (const [index, { units, codes, from, to }] of authorizations.entries()) {
    const id = randomUUID();
    await insert(clinic.admin, 'authorizations', {
      ...{ ...mine, id, client_id: client, payer_id: payer, approved_units: units },
      ...{ starts_on: from ?? `${year}-01-01`, ends_on: to ?? `${year}-12-31` },
    });
    await insert(
      clinic.admin,
      'authorization_codes',
      codes.map((cpt_code) => ({ ...mine, authorization_id: id, cpt_code })),
    );
    if (index > 0) continue;
    for (const { codes: limited, ...limit } of limits)
      await insert(clinic.admin, 'unit_limits', {
        ...{ ...mine, authorization_id: id, cpt_codes: limited ?? codes, ...limit },
      });
  }
  return client;
}

/** Asks for so many units from this local time on. */
async function hold(
  client: string,
  at: string,
  units: number,
  { code = '97153', therapist = clinic.rbt, with: mates = [] as string[] } = {},
): Promise<Answer> {
  const begin = instantOf(at, ZONE);
  const end = new Date(Date.parse(begin.instant) + units * 900_000);
  return await call('sessions-hold', clinic.admin, {
    ...{ therapist_id: therapist.id, client_id: client, cpt_code: code, time_zone: ZONE },
    ...(mates.length > 0 && { client_ids: [client, ...mates] }),
    ...{ start_time: begin.instant, end_time: end.toISOString() },
    start_time_offset_minutes: begin.offsetMinutes,
    end_time_offset_minutes: offsetAt(end),
  });
}
function offsetAt(instant: Date): number {
  const part = new Intl.DateTimeFormat('en', { timeZone: ZONE, timeZoneName: 'longOffset' })
    .formatToParts(instant)
    .find(({ type }) => type === 'timeZoneName')?.value;
  const [, sign, hours, minutes] = /GMT([+-])(\d+):(\d+)/.exec(part ?? '') ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

/** Expects the refusal, with exactly these shortages. */
function expectShort(
  answer: Answer,
  client: string,
  date: string,
  neededUnits: number,
  short: { limit: string; leftUnits: number; cptCode?: string }[],
): void {
  expect(answer).toMatchObject({ status: 409, body: { code: 'AUTHORIZATION_EXCEEDED', conflicts: [] } });
  expect(answer.body.shortages).toEqual(
    short.map(({ limit, leftUnits, cptCode = '97153' }) => ({
      ...{ occurrenceIndex: 0, clientId: client, cptCode, date, limit, neededUnits, leftUnits },
    })),
  );
}
const expectHeld = (answer: Answer) => expect(answer).toMatchObject({ status: 200 });

/** `{authorization: used/scheduled/held/left}` of a client, the one that ends first first, as an admin reads it. */
async function balances(client: string): Promise<string[]> {
  const response = await fetch(
    `${stack.apiUrl}/rest/v1/authorization_balances?client_id=eq.${client}&order=ends_on`,
    {
      headers: {
        ...{ apikey: stack.publishableKey, authorization: `Bearer ${clinic.admin.token}` },
        'accept-profile': 'reports',
      },
    },
  );
  const rows = (await response.json()) as Record<string, number>[];
  return rows.map((row) => `${row.used_units}/${row.scheduled_units}/${row.held_units}/${row.left_units}`);
}

describe('104 units of 97153 a week', () => {
  it('are five hours on each working day, and four units on Saturday', async () => {
    const client = await clientWith(
      [{ units: 5000, codes: ['97153'] }],
      [{ period: 'week', max_units: 104 }],
    );
    const monday = plus(sunday(2, 1), 1);
    for (const day of [0, 1, 2, 3, 4]) expectHeld(await hold(client, `${plus(monday, day)}T09:00`, 20));
    const saturday = plus(monday, 5);
    expectShort(await hold(client, `${saturday}T09:00`, 5), client, saturday, 5, [
      { limit: 'week', leftUnits: 4 },
    ]);
    expectHeld(await hold(client, `${plus(monday, 7)}T09:00`, 5));
    expectHeld(await hold(client, `${saturday}T09:00`, 4));
    expectShort(await hold(client, `${saturday}T15:00`, 1), client, saturday, 1, [
      { limit: 'week', leftUnits: 0 },
    ]);
    expect(await balances(client)).toEqual(['0/0/109/4891']);
  });
});

describe('a hundred units of {97153, 97154}', () => {
  it('are sixty of the one and forty of the other, and then neither', async () => {
    const client = await clientWith([{ units: 100, codes: ['97153', '97154'] }]);
    const mate = await clientWith([]);
    const [first, second, third] = [1, 2, 3].map((day) => plus(sunday(2, 3), day)) as [
      string,
      string,
      string,
    ];
    expectHeld(await hold(client, `${first}T08:00`, 40));
    expectHeld(await hold(client, `${second}T08:00`, 20));
    expectHeld(await hold(client, `${third}T08:00`, 40, { code: '97154', with: [mate] }));
    expectShort(await hold(client, `${plus(third, 1)}T08:00`, 1), client, plus(third, 1), 1, [
      { limit: 'total', leftUnits: 0 },
    ]);
    const group = await hold(client, `${plus(third, 1)}T08:00`, 1, { code: '97154', with: [mate] });
    expectShort(group, client, plus(third, 1), 1, [{ limit: 'total', leftUnits: 0, cptCode: '97154' }]);
    expect(await balances(client)).toEqual(['0/0/100/0']);
  });
});

describe('forty units until 31 January, and forty from 1 January on', () => {
  it('sixty in January are forty of the one that ends first, and twenty of the other', async () => {
    const client = await clientWith([
      { units: 40, codes: ['97153'], to: `${year}-06-30` },
      { units: 40, codes: ['97153'], from: `${year - 1}-12-01`, to: `${year}-01-31` },
    ]);
    expectHeld(await hold(client, `${year}-01-12T08:00`, 30));
    expectHeld(await hold(client, `${year}-01-13T08:00`, 30));
    expect(await balances(client)).toEqual(['0/0/40/0', '0/0/20/20']);
    expectShort(await hold(client, `${year}-01-14T08:00`, 21), client, `${year}-01-14`, 21, [
      { limit: 'total', leftUnits: 20 },
    ]);
    expectHeld(await hold(client, `${year}-02-01T08:00`, 20));
    expect(await balances(client)).toEqual(['0/0/40/0', '0/0/40/0']);
    expectShort(await hold(client, `${year}-07-01T08:00`, 4), client, `${year}-07-01`, 4, [
      { limit: 'dates', leftUnits: 0 },
    ]);
  });
});

describe('a week that begins on Sunday', () => {
  it.each([
    ['in winter', sunday(1, 3)],
    ['when clocks go forward', sunday(3, 2)],
    ['when clocks go back', sunday(11, 1)],
  ])('splits Saturday and Sunday, also %s', async (_, first) => {
    const client = await clientWith(
      [{ units: 500, codes: ['97153'] }],
      [{ period: 'week', max_units: 8, week_starts_on: 7 }],
    );
    // In the last hours of Saturday, and in the first of Sunday.
    expectHeld(await hold(client, `${plus(first, -1)}T21:30`, 8));
    expectHeld(await hold(client, `${first}T00:00`, 8));
    const saturday = plus(first, 6);
    expectShort(await hold(client, `${saturday}T23:30`, 1), client, saturday, 1, [
      { limit: 'week', leftUnits: 0 },
    ]);
    expectShort(await hold(client, `${plus(first, -7)}T00:00`, 1), client, plus(first, -7), 1, [
      { limit: 'week', leftUnits: 0 },
    ]);
    expectHeld(await hold(client, `${plus(first, 7)}T00:00`, 8));
  });
});

describe('a limit of a month', () => {
  it('is of the calendar month: its last evening and the first morning of the next are two', async () => {
    const client = await clientWith([{ units: 500, codes: ['97153'] }], [{ period: 'month', max_units: 4 }]);
    expectHeld(await hold(client, `${year}-06-30T22:30`, 4));
    expectShort(await hold(client, `${year}-06-01T00:00`, 1), client, `${year}-06-01`, 1, [
      { limit: 'month', leftUnits: 0 },
    ]);
    expectHeld(await hold(client, `${year}-07-01T00:00`, 4));
    expectHeld(await hold(client, `${year}-05-31T22:30`, 4));
  });
});

describe('a limit has a first and a last day', () => {
  it('between which it counts, and not beyond', async () => {
    const client = await clientWith(
      [{ units: 500, codes: ['97153'] }],
      [
        { period: 'day', max_units: 4, valid_from: `${year}-04-10`, valid_to: `${year}-04-20` },
        { period: 'day', max_units: 8, valid_to: `${year}-04-30` },
      ],
    );
    const tried = async (date: string) => {
      const answer = await hold(client, `${date}T09:00`, 9);
      return answer.status === 200 ? null : answer.body.shortages[0].leftUnits;
    };
    const days = ['04-09', '04-10', '04-20', '04-21', '04-30', '05-01'];
    expect(await Promise.all(days.map((day) => tried(`${year}-${day}`)))).toEqual([8, 4, 4, 8, 8, null]);
  });
});

describe('what is short is told whole', () => {
  it('each limit of each occurrence, with what is left for it', async () => {
    const client = await clientWith(
      [{ units: 20, codes: ['97153'], to: `${year}-05-31` }],
      [
        { period: 'day', max_units: 8 },
        { period: 'month', max_units: 16 },
      ],
    );
    const days = [`${year}-05-03`, `${year}-05-04`, `${year}-05-05`, `${year}-06-01`];
    const occurrences = days.map((date) => {
      const { instant, offsetMinutes } = instantOf(`${date}T09:00`, ZONE);
      const end = new Date(Date.parse(instant) + 9 * 900_000).toISOString();
      return {
        ...{ start_time: instant, end_time: end, time_zone: ZONE },
        ...{ start_time_offset_minutes: offsetMinutes, end_time_offset_minutes: offsetMinutes },
      };
    });
    const answer = await call('sessions-hold', clinic.admin, {
      ...{
        therapist_id: clinic.rbt.id,
        client_id: client,
        cpt_code: '97153',
        ...occurrences[0],
        occurrences,
      },
    });
    const short = (occurrenceIndex: number, limit: string, leftUnits: number) => ({
      ...{ occurrenceIndex, clientId: client, cptCode: '97153', date: days[occurrenceIndex], limit },
      ...{ neededUnits: 9, leftUnits },
    });
    expect(answer.body.shortages).toEqual([
      short(0, 'day', 8),
      short(1, 'day', 8),
      short(1, 'month', 7),
      short(2, 'total', 2),
      short(2, 'day', 8),
      short(2, 'month', 0),
      short(3, 'dates', 0),
    ]);
    expect(await balances(client)).toEqual(['0/0/0/20']);
  });

  it('nobody covers a client on a day, though somebody did', async () => {
    const client = await clientWith([{ units: 100, codes: ['97153'] }]);
    const date = `${year}-12-01`;
    expectShort(await hold(client, `${date}T09:00`, 4), client, date, 4, [
      { limit: 'coverage', leftUnits: 0 },
    ]);
  });
});
