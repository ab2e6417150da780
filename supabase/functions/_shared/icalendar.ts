/**
 * Writes a calendar feed as iCalendar (RFC 5545).
 *
 * Written here rather than by a library: what a time zone's offsets are is the database's to say, so that a reader gets
 * back the database's instants, and the only texts are constants, which need no escaping.
 */
import { z } from 'zod';

const local = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
const instant = z.iso.datetime();

/** What `read_calendar_feed` answers. Times without `Z` are local to their zone; `from` is in UTC. */
export const calendarFeed = z.object({
  zones: z.array(
    z.object({
      name: z.string().regex(/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/),
      periods: z.array(z.object({ from: local, offsetMinutes: z.int() })).min(1),
    }),
  ),
  events: z.array(
    z.object({
      uid: z.uuid(),
      kind: z.enum(['session', 'meeting', 'supervision', 'drive', 'documentation', 'training', 'break']),
      start: local,
      end: local,
      startTime: instant,
      endTime: instant,
      timeZone: z.string(),
      cancelled: z.boolean(),
      sequence: z.int().min(0),
      changedAt: instant,
    }),
  ),
});

export type CalendarFeed = z.output<typeof calendarFeed>;
type Zone = CalendarFeed['zones'][number];
type Event = CalendarFeed['events'][number];

/** All that is said of what an event is. */
const SUMMARIES: Readonly<Record<Event['kind'], string>> = {
  session: 'Therapy session',
  meeting: 'Meeting',
  supervision: 'Supervision',
  drive: 'Drive',
  documentation: 'Documentation',
  training: 'Training',
  break: 'Break',
};

const MINUTE = 60_000;

/** `2026-03-09T10:00:00` as `20260309T100000`. */
const compact = (time: string) => time.slice(0, 19).replaceAll(/[-:]/g, '');

const utc = (time: string) => `${compact(time)}Z`;

/** Minutes east of UTC as `-0800`. */
function offset(minutes: number): string {
  const size = Math.abs(minutes);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}${two(size % 60)}`;
}

/** A line, folded so that none is longer than 75 octets (section 3.1). What is written here is ASCII. */
export function fold(line: string): string {
  const parts = [line.slice(0, 75)];
  for (let at = 75; at < line.length; at += 74) parts.push(` ${line.slice(at, at + 74)}`);
  return parts.join('\r\n');
}

/** A zone's offsets in the time of the events: one observance for each change of clocks (section 3.6.5). */
function timeZone({ name, periods }: Zone): string[] {
  const standard = Math.min(...periods.map(({ offsetMinutes }) => offsetMinutes));
  return [
    ...['BEGIN:VTIMEZONE', `TZID:${name}`],
    ...periods.flatMap(({ from, offsetMinutes }, index) => {
      const before = periods[index - 1]?.offsetMinutes ?? offsetMinutes;
      const observance = offsetMinutes > standard ? 'DAYLIGHT' : 'STANDARD';
      // The onset is told by the clock as it stood until then.
      const onset = new Date(Date.parse(`${from}Z`) + before * MINUTE).toISOString();
      return [
        `BEGIN:${observance}`,
        `DTSTART:${compact(onset)}`,
        `TZOFFSETFROM:${offset(before)}`,
        `TZOFFSETTO:${offset(offsetMinutes)}`,
        `END:${observance}`,
      ];
    }),
    'END:VTIMEZONE',
  ];
}

/** The instants at which the clocks of a zone show a local time: two in the hour that comes twice. */
function instantsOf(time: string, { periods }: Zone): number[] {
  const wall = Date.parse(`${time}Z`);
  return periods
    .map(({ offsetMinutes }) => wall - offsetMinutes * MINUTE)
    .filter((at, index) => {
      const begins = index === 0 ? Number.NEGATIVE_INFINITY : Date.parse(`${periods[index]?.from}Z`);
      const next = periods[index + 1];
      return at >= begins && (next === undefined || at < Date.parse(`${next.from}Z`));
    });
}

/**
 * A start or an end: local to its zone, or in UTC when clocks show the local time twice. It would mean the first
 * (section 3.3.5), but not every program reads it so.
 */
function moment(
  property: 'DTSTART' | 'DTEND',
  time: string,
  instantOf: string,
  zone: Zone | undefined,
): string {
  const [only, ...others] = zone ? instantsOf(time, zone) : [];
  if (!zone || others.length > 0 || only !== Date.parse(instantOf)) return `${property}:${utc(instantOf)}`;
  return `${property};TZID=${zone.name}:${compact(time)}`;
}

function event(item: Event, zone: Zone | undefined): string[] {
  return [
    'BEGIN:VEVENT',
    `UID:${item.uid}@therapist-sessions`,
    `DTSTAMP:${utc(item.changedAt)}`,
    `LAST-MODIFIED:${utc(item.changedAt)}`,
    `SEQUENCE:${item.sequence}`,
    moment('DTSTART', item.start, item.startTime, zone),
    moment('DTEND', item.end, item.endTime, zone),
    `SUMMARY:${SUMMARIES[item.kind]}`,
    `STATUS:${item.cancelled ? 'CANCELLED' : 'CONFIRMED'}`,
    `TRANSP:${item.cancelled ? 'TRANSPARENT' : 'OPAQUE'}`,
    'CLASS:PRIVATE',
    'END:VEVENT',
  ];
}

/**
 * A feed as an iCalendar object. It says when, and nothing about whom, where or why.
 *
 * @param feed - zones and events, as the database gives them
 * @returns the text, lines ended by CRLF and folded
 */
export function writeCalendar({ zones, events }: CalendarFeed): string {
  const byName = new Map(zones.map((zone) => [zone.name, zone]));
  const lines = [
    'BEGIN:VCALENDAR',
    'VERSION:2.0',
    'PRODID:-//therapist-sessions//calendar feed//EN',
    'CALSCALE:GREGORIAN',
    'METHOD:PUBLISH',
    // How often to look again: RFC 7986, and what came before it.
    'REFRESH-INTERVAL;VALUE=DURATION:PT1H',
    'X-PUBLISHED-TTL:PT1H',
    ...zones.flatMap(timeZone),
    ...events.flatMap((item) => event(item, byName.get(item.timeZone))),
    'END:VCALENDAR',
  ];
  return lines.map((line) => `${fold(line)}\r\n`).join('');
}
