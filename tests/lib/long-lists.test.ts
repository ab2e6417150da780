/** No list is cut silently, though the server gives at most 1000 rows at once, and no URL grows with a list. */
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  fetchAllPages,
  fetchLiveHolds,
  fetchReport,
  fetchSchedule,
  fetchWaitlist,
  findOpenSlots,
  type HoldResponse,
  joinWaitlist,
  leaveWaitlist,
  requestSessionHold,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { midnight } from '../setup/today.ts';
import { type Clinic, clientOf, openClinic } from './clinic.ts';

let clinic: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
const lengths: number[] = [];
let close: () => void;

beforeAll(async () => {
  clinic = await openClinic();
  // In front of the stack, to see how long URLs become.
  const server = createServer((incoming, outgoing) => {
    lengths.push(incoming.url?.length ?? 0);
    const { method, headers } = incoming;
    const upstream = httpRequest(
      new URL(incoming.url ?? '/', stack.apiUrl),
      { method, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    upstream.on('error', () => outgoing.destroy());
    incoming.pipe(upstream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  close = () => {
    server.close();
    server.closeAllConnections();
  };
  admin = await clientOf(clinic.admin, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterAll(() => {
  expect(Math.max(...lengths)).toBeLessThan(5_000);
  close();
});

/** How many slots are held: more than one URL could name. */
const HELD = 150;
let held: HoldResponse[];
const monthAhead = (hours: number) => new Date(midnight + 30 * 86_400_000 + hours * 3_600_000).toISOString();

beforeAll(async () => {
  held = [];
  for (let hour = 0; hour < HELD; hour += 1) {
    const hold = await requestSessionHold(admin, {
      ...{ therapistId: clinic.rbt.id, clientId: clinic.clients[0], timeZone: 'UTC', holdSeconds: 900 },
      ...{ startTime: monthAhead(hour), endTime: monthAhead(hour + 0.5) },
    });
    held.push(hold);
  }
});

const sql = (text: string, values: unknown[]) => withConnection((client) => client.query(text, values));

describe('a schedule of 1,200 sessions', () => {
  const span = { from: '2031-06-01T00:00:00Z', to: '2031-09-01T00:00:00Z' };
  beforeAll(() =>
    sql(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
        select $1, $2, $3, slot, slot + interval '30 minutes', 'UTC'
        from generate_series('2031-06-02T00:00Z'::timestamptz, '2031-06-02T00:00Z'::timestamptz + interval '1199 hours', '1 hour') as slot`,
      [clinic.organizationId, clinic.bcba.id, clinic.clients[0]],
    ),
  );

  it('says that there are more than the 1,000 of the largest page', async () => {
    const page = await fetchSchedule(admin, { ...span, limit: 1000 });
    expect(page.sessions).toHaveLength(1000);
    expect(page.nextCursor).not.toBeNull();
    const rest = await fetchSchedule(admin, { ...span, limit: 1000, cursor: page.nextCursor });
    expect(rest.sessions).toHaveLength(200);
    expect(rest.nextCursor).toBeNull();
    expect(new Set([...page.sessions, ...rest.sessions].map(({ id }) => id)).size).toBe(1200);
  });

  it('has all of them once, whatever the page', async () => {
    for (const limit of [100, 333, 999]) {
      const all = await fetchAllPages((cursor) => fetchSchedule(admin, { ...span, limit, cursor }));
      expect(new Set(all.map(({ id }) => id)).size).toBe(1200);
      expect(all).toHaveLength(1200);
    }
  });

  it('is not said to go on where it ends with a full page', async () => {
    const to = '2031-06-06T04:00:00Z'; // a hundred hours after the first
    expect((await fetchSchedule(admin, { ...span, to, limit: 100 })).nextCursor).toBeNull();
    expect((await fetchSchedule(admin, { ...span, to, limit: 99 })).nextCursor).not.toBeNull();
  });

  it('is reported whole', async () => {
    const rows = await fetchReport(admin, 'clock_change_sessions');
    const { rows: counted } = await sql(
      'select count(*)::int as count from reports.clock_change_sessions where organization_id = $1',
      [clinic.organizationId],
    );
    expect(rows).toHaveLength(counted[0].count);
  });
});

describe('a waitlist of 1,500', () => {
  beforeAll(async () => {
    await sql(
      `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows, priority, created_at)
        select $1, $2, '97153', '{["2031-01-01T00:00Z","2031-02-01T00:00Z")}', 1 + number % 9,
          '2026-01-01T00:00Z'::timestamptz + (number / 3) * interval '1 second'
        from generate_series(1, 1500) as number`,
      [clinic.organizationId, clinic.clients[0]],
    );
    // More than one URL could name have an offer.
    await sql(
      `update public.waitlist_entries as entry set offered_batch_id = offer.id, offered_at = clock_timestamp()
        from (select id, row_number() over (order by id) as place from public.waitlist_entries where organization_id = $1) as numbered
        join unnest($2::uuid[]) with ordinality as offer (id, place) on offer.place = numbered.place
        where entry.organization_id = $1 and entry.id = numbered.id`,
      [clinic.organizationId, held.map(({ holdId }) => holdId)],
    );
  });

  it('is read whole, in order of urgency, each with what it is offered', async () => {
    const entries = await fetchWaitlist(admin);
    expect(entries).toHaveLength(1500);
    expect(new Set(entries.map(({ entry }) => entry.id)).size).toBe(1500);
    const order = entries.map(({ entry }) => `${entry.priority} ${entry.created_at} ${entry.id}`);
    expect(order).toEqual([...order].sort());
    const offers = entries.flatMap(({ offer }) => offer ?? []);
    expect(offers.map(({ holdKey }) => holdKey).sort()).toEqual(held.map(({ holdKey }) => holdKey).sort());
  });

  it('loses who leaves', async () => {
    const entry = await joinWaitlist(admin, {
      clientId: clinic.clients[1],
      cptCode: '97153',
      windows: [{ from: '2031-01-01T09:00:00-08:00', to: '2031-01-01T17:00:00-08:00' }],
      priority: 1,
    });
    expect((await fetchWaitlist(admin)).map(({ entry: { id } }) => id)).toContain(entry.id);
    await leaveWaitlist(admin, { entryId: entry.id });
    expect((await fetchWaitlist(admin)).map(({ entry: { id } }) => id)).not.toContain(entry.id);
  });

  it.each([
    ['windows', []],
    ['windows.0.from', [{ from: 'tomorrow', to: '2031-01-02T00:00:00Z' }]],
    [
      'windows.1.to',
      [
        { from: '2031-01-01T00:00Z', to: '2031-01-02T00:00Z' },
        { from: '2031-01-01T00:00Z', to: 'infinity' },
      ],
    ],
    ['windows.0.to', [{ from: '2031-01-02T00:00:00Z', to: '2031-01-01T00:00:00Z' }]],
    ['windows.0.to', [{ from: '2031-01-01T00:00:00Z', to: '2031-01-01T00:00:00Z' }]],
    ['windows.0.from', [{ from: '2031-01-01T09:00', to: '2031-01-02T00:00:00Z' }]],
  ])('takes nobody with %s that cannot be: %j', async (path, windows) => {
    const refused = joinWaitlist(admin, { clientId: clinic.clients[1], cptCode: '97153', windows });
    await expect(refused).rejects.toMatchObject({
      status: 400,
      code: 'VALIDATION_FAILED',
      issues: [{ path }],
    });
  });

  it.each([
    ['minutes', { minutes: 5 }],
    ['priority', { priority: 0 }],
    ['cptCode', { cptCode: 'therapy' }],
  ])('names %s when that cannot be', async (path, extra) => {
    const windows = [{ from: '2031-01-01T00:00:00Z', to: '2031-01-02T00:00:00Z' }];
    const refused = joinWaitlist(admin, { clientId: clinic.clients[1], cptCode: '97153', windows, ...extra });
    await expect(refused).rejects.toMatchObject({ status: 400, issues: [{ path }] });
  });

  it('tells nobody what Postgres says', async () => {
    const refused = await joinWaitlist(admin, {
      clientId: '00000000-0000-4000-8000-00000000dead',
      cptCode: '97153',
      windows: [{ from: '2031-01-01T00:00:00Z', to: '2031-01-02T00:00:00Z' }],
    }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(SessionsApiError);
    expect(String(refused)).not.toMatch(/violates|constraint|waitlist_entries|relation/i);
  });
});

it('open slots of two months are all of them, by start', async () => {
  const from = new Date(Date.now() + 86_400_000);
  const to = new Date(from.getTime() + 60 * 86_400_000);
  const query = { therapistId: clinic.rbt.id, clientId: clinic.clients[1], minutes: 60 };
  const slots = await findOpenSlots(admin, { ...query, from: from.toISOString(), to: to.toISOString() });
  const { rows } = await withConnection(async (client) => {
    await client.query('begin');
    await client.query(
      "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
      [JSON.stringify({ sub: clinic.admin.id, role: 'authenticated', org_id: clinic.organizationId })],
    );
    const answer = await client.query(
      `select start_time from public.find_open_slots(therapist_id => $1, client_id => $2, from_time => $3, to_time => $4, duration_minutes => 60)`,
      [query.therapistId, query.clientId, from, to],
    );
    await client.query('rollback');
    return answer;
  });
  expect(rows.length).toBeGreaterThan(1000);
  expect(slots.map(({ startTime }) => Date.parse(startTime))).toEqual(
    rows.map(({ start_time }) => start_time.getTime()),
  );
});

it('live holds of more batches than one URL could name are all there', async () => {
  const live = await fetchLiveHolds(admin, { from: monthAhead(0), to: monthAhead(HELD + 1) });
  expect(live.map(({ batchKey }) => batchKey).sort()).toEqual(held.map(({ holdKey }) => holdKey).sort());
});
