/** Sessions, holds and hours as blocks of the grid. */
import {
  type AvailabilityException,
  instantOf,
  type LiveHold,
  plusDays,
  type SessionRow,
  type Therapist,
  WEEKDAYS,
  type WeeklyHours,
} from 'therapist-sessions';
import { shiftCivil, type Times } from './times.ts';
import type { Block } from './week-calendar.tsx';

/** What is needed to name and write a session. */
export interface Naming {
  readonly times: Times;
  nameOf(clientId: string): string;
  readonly therapistById: ReadonlyMap<string, Therapist>;
  readonly showTherapist: boolean;
}

export const statusWords: Readonly<Record<SessionRow['status'], string>> = {
  scheduled: 'booked',
  in_progress: 'in progress',
  completed: 'completed',
  cancelled: 'cancelled',
  no_show: 'did not come',
};
const signs: Readonly<Record<SessionRow['status'], string>> = {
  ...{ scheduled: '', in_progress: '▶ ', completed: '✓ ', cancelled: '✕ ', no_show: '✕ ' },
};

export const isShown = ({ status }: SessionRow, showCancelled: boolean) => showCancelled || status !== 'cancelled';

/** Members of one group, or one session, in order. */
export function grouped(sessions: readonly SessionRow[]): SessionRow[][] {
  const groups = new Map<string, SessionRow[]>();
  for (const session of sessions) {
    const key = session.group_id && session.status !== 'cancelled' ? session.group_id : session.id;
    groups.set(key, [...(groups.get(key) ?? []), session]);
  }
  return [...groups.values()];
}

/** What a session, or a group, is called. */
export function titleOf(members: readonly SessionRow[], { nameOf }: Naming): string {
  const [first] = members as [SessionRow];
  return members.length > 1 ? `Group ×${members.length}` : nameOf(first.client_id);
}

function placed(startTime: string, endTime: string, { times }: Naming) {
  const start = times.civil(startTime);
  return { start, end: shiftCivil(start, Date.parse(endTime) - Date.parse(startTime)) };
}

export function blocksOf(sessions: readonly SessionRow[], holds: readonly LiveHold[], naming: Naming, movable: boolean): Block[] {
  const { times, therapistById, showTherapist } = naming;
  const shown = grouped(sessions).map((members): Block => {
    const [session] = members as [SessionRow];
    const therapist = showTherapist ? ` · ${therapistById.get(session.therapist_id)?.display_name ?? ''}` : '';
    const repeats = session.series_id ? ' ↻' : '';
    return {
      ...placed(session.start_time, session.end_time, naming),
      id: session.id,
      title: `${signs[session.status]}${titleOf(members, naming)}${repeats}`,
      detail: `${times.range(session.start_time, session.end_time)}${therapist} · ${statusWords[session.status]}`,
      kind: session.status,
      spoken: times.longDay(session.start_time),
      column: session.therapist_id,
      movable: movable && session.status === 'scheduled' && Date.parse(session.start_time) > Date.now(),
    };
  });
  const held = holds.map(
    (hold): Block => ({
      ...placed(hold.startTime, hold.endTime, naming),
      id: `hold:${hold.id}`,
      title: hold.isOwn && hold.clientId ? naming.nameOf(hold.clientId) : 'Held',
      detail: `held until ${times.clock(hold.expiresAt)}`,
      kind: 'held',
      spoken: times.longDay(hold.startTime),
      column: hold.therapistId,
    }),
  );
  return [...shown, ...held];
}

/** What lies outside somebody's hours, and their time off, on some days of the clinic. */
export function hoursBlocks(
  therapists: readonly Therapist[],
  exceptions: readonly AvailabilityException[],
  days: readonly string[],
  times: Times,
  inColumns: boolean,
): Block[] {
  const blocks: Block[] = [];
  for (const { id, availability_hours, time_zone } of therapists) {
    const column = inColumns ? id : undefined;
    const own = exceptions.filter(({ therapist_id }) => therapist_id === id);
    for (const [index, day] of days.entries()) {
      if (!availability_hours) continue;
      const midnight = `${plusDays(day, 1)}T00:00:00`;
      const weekday = WEEKDAYS[(new Date(day).getUTCDay() + 6) % 7] as (typeof WEEKDAYS)[number];
      // Hours are of the therapist's own zone; the grid is the clinic's.
      const local = (time: string) =>
        time_zone === times.timeZone ? `${day}T${time}:00` : times.civil(instantOf(`${day}T${time}`, time_zone).instant);
      const spans = ((availability_hours as WeeklyHours)[weekday] ?? []).map(({ start, end }) => ({
        start: local(start),
        end: end >= '23:59' ? midnight : local(end),
      }));
      const extra = own
        .filter(({ kind }) => kind === 'extra_hours')
        .map(({ starts_at, ends_at }) => ({ start: times.civil(starts_at), end: times.civil(ends_at) }))
        .filter(({ start }) => start.startsWith(day));
      const open = [...spans, ...extra].sort((a, b) => a.start.localeCompare(b.start));
      let from = `${day}T00:00:00`;
      for (const span of [...open, { start: midnight, end: '' }]) {
        if (span.start > from)
          blocks.push({
            id: `off:${id}:${index}:${from}`,
            start: from,
            end: span.start,
            title: '',
            detail: '',
            kind: 'off',
            background: true,
            column,
          });
        if (span.end > from) from = span.end;
      }
    }
    for (const { id: entry, kind, starts_at, ends_at } of own)
      if (kind === 'time_off')
        blocks.push({
          id: `time-off:${entry}`,
          start: times.civil(starts_at),
          end: times.civil(ends_at),
          title: 'Time off',
          detail: '',
          kind: 'time-off',
          background: true,
          column,
        });
  }
  return blocks;
}

/** The hours to draw: those of whoever is shown, widened to hold every block. */
export function gridHours(blocks: readonly Block[], therapists: readonly Therapist[]): { from: string; to: string } {
  let from = 8;
  let to = 18;
  for (const { availability_hours } of therapists)
    for (const spans of Object.values((availability_hours ?? {}) as WeeklyHours))
      for (const { start, end } of spans ?? []) {
        from = Math.min(from, Number(start.slice(0, 2)));
        to = Math.max(to, Math.ceil(Number(end.slice(0, 2)) + Number(end.slice(3, 5)) / 60));
      }
  for (const { start, end, background } of blocks) {
    if (background) continue;
    from = Math.min(from, Number(start.slice(11, 13)));
    const isSameDay = end.slice(0, 10) === start.slice(0, 10);
    to = Math.max(to, isSameDay ? Math.ceil(Number(end.slice(11, 13)) + Number(end.slice(14, 16)) / 60) : 24);
  }
  const two = (hour: number) => `${String(hour).padStart(2, '0')}:00`;
  return { from: two(from), to: two(to) };
}
