/** A calendar feed over HTTP, read by an independent iCalendar parser. */
import ICAL from 'ical.js';
import { beforeAll, describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { book, type Clinic, openClinic, type Person, window } from './clinic.ts';

let clinic: Clinic;
let feeds: Record<'rbt' | 'bcba' | 'parent', { feedId: string; token: string; path: string }>;

async function rpc(person: Person, name: string, args: object) {
  const response = await fetch(`${stack.apiUrl}/rest/v1/rpc/${name}`, {
    method: 'POST',
    headers: {
      apikey: stack.publishableKey,
      authorization: `Bearer ${person.token}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(args),
  });
  return await response.json();
}
const patch = (person: Person, id: string, change: object) =>
  fetch(`${stack.apiUrl}/rest/v1/sessions?id=eq.${id}`, {
    method: 'PATCH',
    headers: {
      apikey: stack.publishableKey,
      authorization: `Bearer ${person.token}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(change),
  });
/** Where a session is moved to: day from now and hour. */
const place = (day: number, hour: number) => {
  const { start_time, end_time } = window(day, hour);
  return { start_time, end_time };
};
const newFeed = async (person: Person) => (await rpc(person, 'create_calendar_feed', {})).body;
const get = (path: string, init: RequestInit = {}) => fetch(`${stack.apiUrl}${path}`, init);

beforeAll(async () => {
  clinic = await openClinic();
  const [rbt, bcba, parent] = await Promise.all([clinic.rbt, clinic.bcba, clinic.parent].map(newFeed));
  feeds = { rbt, bcba, parent };
});

/** The events of a feed, by UID, with their instants as the parser finds them. */
async function read(path: string) {
  const response = await get(path);
  expect(response.status).toBe(200);
  const text = await response.text();
  const calendar = new ICAL.Component(ICAL.parse(text));
  for (const zone of calendar.getAllSubcomponents('vtimezone')) ICAL.TimezoneService.register(zone);
  const events = calendar.getAllSubcomponents('vevent').map((component) => {
    const event = new ICAL.Event(component);
    return {
      uid: event.uid,
      sequence: event.sequence,
      start: event.startDate.toJSDate().toISOString(),
      end: event.endDate.toJSDate().toISOString(),
      zone: event.startDate.zone?.tzid,
      status: component.getFirstPropertyValue('status'),
      summary: event.summary,
    };
  });
  ICAL.TimezoneService.reset();
  return { text, response, events, of: (id: string) => events.find(({ uid }) => uid.startsWith(id)) };
}

type Times = { start: string; end: string };

/** Inserts sessions of the BCBA as an operator does, in any zone; each by its id. */
async function insert(sessions: (Times & { zone: string })[]): Promise<Map<string, Times>> {
  return await withConnection(async (db) => {
    const { rows } = await db.query(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
       select $1, $2, $3, session.start, session.end, session.zone
       from jsonb_to_recordset($4) as session (start timestamptz, "end" timestamptz, zone text)
       returning id, start_time, end_time`,
      [clinic.organizationId, clinic.bcba.id, clinic.clients[0], JSON.stringify(sessions)],
    );
    return new Map(
      rows.map(({ id, start_time, end_time }) => [
        String(id),
        { start: start_time.toISOString(), end: end_time.toISOString() },
      ]),
    );
  });
}

describe('a calendar program', () => {
  it('finds the instants that were booked, in every zone and on both sides of its clock changes', async () => {
    const year = new Date().getUTCFullYear() + 1;
    const lasting = (start: number, minutes: number) => ({
      start: new Date(start).toISOString(),
      end: new Date(start + minutes * 60_000).toISOString(),
    });
    const la = 'America/Los_Angeles';
    const zones = [la, 'America/New_York', 'Europe/London', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'UTC'];
    const monthly = zones.flatMap((zone, nth) =>
      Array.from({ length: 12 }, (_, month) => ({
        ...{ ...lasting(Date.UTC(year, month, 8 + nth, 15), 45), zone },
      })),
    );
    // The hour that comes twice, in the night in which clocks go back: the first Sunday of November.
    const november1 = new Date(Date.UTC(year, 10, 1)).getUTCDay();
    const night = Date.UTC(year, 10, 1 + ((7 - november1) % 7), 8, 30);
    const twice = [0, 30, 60].map((minutes) => ({ ...lasting(night + minutes * 60_000, 30), zone: la }));
    const booked = await insert([...monthly, ...twice]);
    expect(booked.size).toBe(75);
    const { of, text } = await read(feeds.bcba.path);
    for (const [id, times] of booked) expect(of(id)).toMatchObject({ ...times, status: 'CONFIRMED' });
    expect(text).toContain('DTSTART;TZID=America/Los_Angeles:');
    // RFC 5545: CRLF, and no line of more than 75 octets.
    const lines = text.split('\r\n');
    expect(lines.filter((line) => /[\r\n]/.test(line) || line.length > 75)).toEqual([]);
  });

  it('sees that a session moved, under its own id, and that it was cancelled', async () => {
    const id = await book(clinic.rbt, clinic.clients[0], window(10, 10));
    const before = (await read(feeds.parent.path)).of(id);
    expect(before).toMatchObject({ start: window(10, 10).start_time, summary: 'Therapy session' });
    const patched = await patch(clinic.rbt, id, place(11, 14));
    expect(patched.status).toBe(204);
    const moved = (await read(feeds.parent.path)).of(id);
    expect(moved).toMatchObject({ uid: before?.uid, start: window(11, 14).start_time });
    expect(moved?.sequence).toBeGreaterThan(before?.sequence ?? Number.POSITIVE_INFINITY);
    await rpc(clinic.rbt, 'cancel_sessions', { request: { session_ids: [id] } });
    const cancelled = (await read(feeds.parent.path)).of(id);
    expect(cancelled).toMatchObject({ uid: before?.uid, status: 'CANCELLED' });
    expect(cancelled?.sequence).toBeGreaterThan(moved?.sequence ?? Number.POSITIVE_INFINITY);
  });

  it('counts every change of an event by one, however many programs look at once', async () => {
    const id = await book(clinic.rbt, clinic.clients[0], window(12, 10));
    const feed = await newFeed(clinic.rbt);
    const sequence = async () => (await read(feed.path)).of(id)?.sequence;
    expect(await sequence()).toBe(0);
    for (const [turn, hour] of [11, 12, 13].entries()) {
      expect((await patch(clinic.rbt, id, place(12, hour))).status).toBe(204);
      // The parser keeps its zones in one place: the answers are read one after another.
      const texts = await Promise.all(
        Array.from({ length: 6 }, async () => await (await get(feed.path)).text()),
      );
      expect(new Set(texts).size).toBe(1);
      expect(await sequence()).toBe(turn + 1);
    }
    // What the feed does not tell changes nothing in it.
    const before = (await read(feed.path)).text;
    expect((await patch(clinic.rbt, id, { location_type: 'home' })).status).toBe(204);
    expect((await read(feed.path)).text).toBe(before);
  });

  it('is told that a session was cancelled when another therapist took it over', async () => {
    const id = await book(clinic.rbt, clinic.clients[0], window(13, 10));
    const [given, taken] = await Promise.all([clinic.rbt, clinic.bcba].map(newFeed));
    const before = (await read(given.path)).of(id);
    expect(before).toMatchObject({ status: 'CONFIRMED', sequence: 0 });
    const handed = await patch(clinic.admin, id, { therapist_id: clinic.bcba.id });
    expect(handed.status).toBe(204);
    expect((await read(given.path)).of(id)).toEqual({ ...before, status: 'CANCELLED', sequence: 1 });
    expect((await read(taken.path)).of(id)).toEqual({ ...before, status: 'CONFIRMED', sequence: 0 });
    expect((await patch(clinic.admin, id, { therapist_id: clinic.rbt.id })).status).toBe(204);
    expect((await read(given.path)).of(id)).toEqual({ ...before, status: 'CONFIRMED', sequence: 2 });
  });

  it('is told when and nothing else', async () => {
    const canary = 'Zephyrine';
    await withConnection(async (db) => {
      const of = [canary, clinic.organizationId];
      await db.query('update public.therapists set display_name = $1 where organization_id = $2', of);
      await db.query("update public.clients set reference = $1 || '-' || id where organization_id = $2", of);
      await db.query('update public.rooms set name = $1 where organization_id = $2', of);
      await db.query('update public.organizations set name = $1 where id = $2', of);
      await db.query(
        `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, room_id,
          session_type, location_type) values ($1, $2, $3, $4, $5, 'UTC', $6, $7, $7)`,
        [
          ...[clinic.organizationId, clinic.rbt.id, clinic.clients[1]],
          ...[window(20, 9).start_time, window(20, 9).end_time, clinic.room, canary],
        ],
      );
    });
    const { text, of, events, response } = await read(feeds.rbt.path);
    expect(events.length).toBeGreaterThan(0);
    expect(of('never')).toBeUndefined();
    const secrets = [
      ...[canary, clinic.organizationId, clinic.room, clinic.rbt.id, clinic.parent.id, ...clinic.clients],
      ...[clinic.rbt.email, feeds.rbt.token, feeds.rbt.feedId],
    ];
    for (const secret of secrets) {
      expect(text).not.toContain(secret);
      expect(JSON.stringify([...response.headers])).not.toContain(secret);
    }
    const told = [...text.matchAll(/^([A-Z-]+)[;:]/gm)].map(([, name]) => name);
    expect([...new Set(told)].sort()).toEqual([
      ...[
        'BEGIN',
        'CALSCALE',
        'CLASS',
        'DTEND',
        'DTSTAMP',
        'DTSTART',
        'END',
        'LAST-MODIFIED',
        'METHOD',
        'PRODID',
      ],
      ...[
        'REFRESH-INTERVAL',
        'SEQUENCE',
        'STATUS',
        'SUMMARY',
        'TRANSP',
        'TZID',
        'TZOFFSETFROM',
        'TZOFFSETTO',
      ],
      ...['UID', 'VERSION', 'X-PUBLISHED-TTL'],
    ]);
  });

  it('is not sent again what it has', async () => {
    const first = await get(feeds.parent.path);
    expect(first.headers.get('content-type')).toBe('text/calendar; charset=utf-8');
    const tag = first.headers.get('etag');
    // A proxy that compresses makes the tag weak, and a reader may name every version that it keeps.
    for (const names of [tag, `W/${tag}`, `"another", W/${tag}`, '*']) {
      const again = await get(feeds.parent.path, { headers: { 'if-none-match': names ?? '' } });
      expect([names, again.status, await again.text()]).toEqual([names, 304, '']);
    }
    const changed = await get(feeds.parent.path, { headers: { 'if-none-match': 'W/"another"' } });
    expect(changed.status).toBe(200);
    const head = await get(feeds.parent.path, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
  });

  it('that asks often leaves one event a day', async () => {
    const feed = await newFeed(clinic.parent);
    for (let turn = 0; turn < 5; turn++) await get(feed.path);
    const { rows } = await withConnection((db) =>
      db.query(
        "select action, actor_role from audit.events where entity_ids = array[$1::uuid] and action <> 'calendar_feed.created'",
        [feed.feedId],
      ),
    );
    // Two when midnight passed in between.
    expect(rows.length).toBeLessThanOrEqual(2);
    expect(rows[0]).toEqual({ action: 'calendar_feed.read', actor_role: 'service_role' });
  });
});

describe('an address', () => {
  it('that is wrong, revoked, or of a member who left, answers alike', async () => {
    const other = await openClinic();
    const [revoked, left] = await Promise.all([newFeed(other.rbt), newFeed(other.bcba)]);
    for (const feed of [revoked, left]) expect((await get(feed.path)).status).toBe(200);
    expect(
      await rpc(other.admin, 'revoke_calendar_feed', { request: { feed_id: revoked.feedId } }),
    ).toMatchObject({
      ok: true,
    });
    expect(await rpc(other.superAdmin, 'remove_member', { user_id: other.bcba.id })).toMatchObject({
      ok: true,
    });
    const paths = [
      ...[revoked.path, left.path, revoked.path.replace(/.{5}\.ics/, 'AAAAA.ics')],
      ...['/functions/v1/calendar/x.ics', `/functions/v1/calendar/${'x'.repeat(500)}.ics`],
    ];
    const answers = await Promise.all(
      paths.map(async (path) => {
        const response = await get(path);
        const headers = [...response.headers].filter(([name]) => name !== 'date').sort();
        return JSON.stringify([response.status, headers, await response.text()]);
      }),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('404');
  });

  it('is ended by its owner or an admin, and by nobody else', async () => {
    const feed = await newFeed(clinic.rbt);
    const revoke = (person: Person) =>
      rpc(person, 'revoke_calendar_feed', { request: { feed_id: feed.feedId } });
    for (const person of [clinic.bcba, clinic.parent, (await openClinic()).admin])
      expect(await revoke(person)).toMatchObject({ ok: false, status: 403, code: 'FORBIDDEN' });
    expect((await get(feed.path)).status).toBe(200);
    expect(await revoke(clinic.rbt)).toMatchObject({ ok: true });
    expect((await get(feed.path)).status).toBe(404);
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('is not for %s', async (method) => {
    const response = await get(feeds.rbt.path, { method });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});
