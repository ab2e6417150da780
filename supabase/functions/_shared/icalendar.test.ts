import { describe, expect, it } from 'vitest';
import { type CalendarFeed, writeCalendar } from './icalendar.ts';

const uid = '00000000-0000-4000-8000-000000000001';

/** Los Angeles around the end of summer time in 2026, as the database tells it: onsets in UTC. */
const zone: CalendarFeed['zones'][number] = {
  name: 'America/Los_Angeles',
  periods: [
    { from: '2026-10-01T07:00:00', offsetMinutes: -420 },
    { from: '2026-11-01T09:00:00', offsetMinutes: -480 },
  ],
};

const session: CalendarFeed['events'][number] = {
  ...{ uid, kind: 'session', cancelled: false, sequence: 3, changedAt: '2026-10-02T03:04:05.678Z' },
  ...{ timeZone: 'America/Los_Angeles', start: '2026-11-03T10:00:00', end: '2026-11-03T11:00:00' },
  ...{ startTime: '2026-11-03T18:00:00.000Z', endTime: '2026-11-03T19:00:00.000Z' },
};

const linesOf = (feed: CalendarFeed) => writeCalendar(feed).split('\r\n');
const eventOf = (event: Partial<typeof session>, zones = [zone]) => {
  const lines = linesOf({ zones, events: [{ ...session, ...event }] });
  return lines.slice(lines.indexOf('BEGIN:VEVENT') + 1, lines.indexOf('END:VEVENT'));
};

describe('a calendar', () => {
  it('tells the changes of a zone by the clock as it stood until then', () => {
    const lines = linesOf({ zones: [zone], events: [] });
    expect(lines.slice(lines.indexOf('BEGIN:VTIMEZONE'), lines.indexOf('END:VTIMEZONE') + 1)).toEqual([
      ...['BEGIN:VTIMEZONE', 'TZID:America/Los_Angeles'],
      ...[
        'BEGIN:DAYLIGHT',
        'DTSTART:20261001T000000',
        'TZOFFSETFROM:-0700',
        'TZOFFSETTO:-0700',
        'END:DAYLIGHT',
      ],
      ...[
        'BEGIN:STANDARD',
        'DTSTART:20261101T020000',
        'TZOFFSETFROM:-0700',
        'TZOFFSETTO:-0800',
        'END:STANDARD',
      ],
      'END:VTIMEZONE',
    ]);
  });

  it('tells a session by the clock of its zone, under the id it keeps', () => {
    expect(eventOf({})).toEqual([
      `UID:${uid}@therapist-sessions`,
      ...['DTSTAMP:20261002T030405Z', 'LAST-MODIFIED:20261002T030405Z', 'SEQUENCE:3'],
      'DTSTART;TZID=America/Los_Angeles:20261103T100000',
      'DTEND;TZID=America/Los_Angeles:20261103T110000',
      ...['SUMMARY:Therapy session', 'STATUS:CONFIRMED', 'TRANSP:OPAQUE', 'CLASS:PRIVATE'],
    ]);
  });

  it('does not keep anybody busy with what was cancelled', () => {
    expect(eventOf({ cancelled: true, sequence: 4 })).toEqual(
      expect.arrayContaining([
        `UID:${uid}@therapist-sessions`,
        ...['SEQUENCE:4', 'STATUS:CANCELLED', 'TRANSP:TRANSPARENT'],
      ]),
    );
  });

  it.each([
    ['the first pass', '2026-11-01T08:30:00.000Z', 'DTSTART:20261101T083000Z'],
    ['the second pass', '2026-11-01T09:30:00.000Z', 'DTSTART:20261101T093000Z'],
  ])('tells %s of an hour that comes twice in UTC', (_, startTime, told) => {
    expect(eventOf({ start: '2026-11-01T01:30:00', startTime })).toContain(told);
  });

  it('tells in UTC what its zone does not say as the database does', () => {
    expect(eventOf({ startTime: '2026-11-03T17:00:00.000Z' })).toContain('DTSTART:20261103T170000Z');
    expect(eventOf({}, [])).toContain('DTSTART:20261103T180000Z');
  });

  it('has no line longer than 75 octets', () => {
    const name = `America/${'Long_'.repeat(11)}Name`;
    const text = writeCalendar({ zones: [{ ...zone, name }], events: [{ ...session, timeZone: name }] });
    for (const line of text.split('\r\n')) expect(line.length).toBeLessThanOrEqual(75);
    expect(text.replaceAll('\r\n ', '')).toContain(`DTSTART;TZID=${name}:20261103T100000\r\n`);
  });
});
