import { type AvailabilityException, WEEKDAYS, type WeeklyHours } from './availability.ts';
import { type ClinicTimes, shiftCivil } from './clinicTimes.ts';
import type { Closure } from './closures.ts';
import type { Therapist } from './directory.ts';
import type { LiveHold } from './liveHolds.ts';
import { dayBounds, instantOf, plusDays } from './localTime.ts';
import { staffTimeWords, statusWords } from './messages.ts';
import type { SessionRow } from './scheduleQueries.ts';
import type { StaffTimeRow } from './staffTime.ts';

/** Something a calendar draws, in local times of the clinic: no calendar component has to know a zone. */
export interface Block {
  readonly id: string;
  /** A local time, `YYYY-MM-DDTHH:mm:ss`. */
  readonly start: string;
  /** The start plus the time that passes, not the local end: across a clock change the two differ. */
  readonly end: string;
  readonly title: string;
  readonly detail: string;
  /** A session's status, `held`, `staff`, `off`, `time-off` or `closed`. */
  readonly kind: string;
  /** The day in words, for screen readers. */
  readonly spoken?: string;
  /** Whose it is, where therapists have a column each. */
  readonly column?: string;
  readonly movable?: boolean;
  readonly background?: boolean;
}

/** What is needed to name sessions and to write their times. */
export interface Naming {
  readonly times: ClinicTimes;
  nameOf(clientId: string): string;
  readonly therapistById: ReadonlyMap<string, Pick<Therapist, 'display_name'>>;
  /** Whether a block says whose it is. */
  readonly showTherapist: boolean;
}

const signs: Readonly<Record<SessionRow['status'], string>> = {
  scheduled: '',
  in_progress: '▶ ',
  completed: '✓ ',
  cancelled: '✕ ',
  no_show: '✕ ',
};

/**
 * Sessions by what is one appointment: the members of a group together, every other session alone.
 *
 * @param sessions - sessions, in order
 * @returns the appointments, in that order
 * @example
 * ```ts
 * const { sessions } = await fetchSchedule(supabase, { from: '2026-11-30T08:00:00Z', to: '2026-12-07T08:00:00Z' });
 * appointmentsOf(sessions).length; // a group of three counts once
 * ```
 */
export function appointmentsOf(sessions: readonly SessionRow[]): SessionRow[][] {
  const key = (session: SessionRow) =>
    session.group_id && session.status !== 'cancelled' ? session.group_id : session.id;
  return [...Map.groupBy(sessions, key).values()];
}

/**
 * What an appointment is called: the client's name, or that it is a group.
 *
 * @param members - the sessions of an appointment
 * @param naming - names
 * @returns such as `Rivera, Jo` or `Group ×3`
 * @example
 * ```ts
 * const { sessions } = await fetchSchedule(supabase, { from: '2026-11-30T08:00:00Z', to: '2026-12-07T08:00:00Z' });
 * appointmentTitle(sessions.slice(0, 1), { nameOf: () => 'Rivera, Jo' }); // 'Rivera, Jo'
 * ```
 */
export function appointmentTitle(members: readonly SessionRow[], { nameOf }: Pick<Naming, 'nameOf'>): string {
  return members.length > 1 ? `Group ×${members.length}` : nameOf(members[0]?.client_id ?? '');
}

function placed(startTime: string, endTime: string, times: ClinicTimes) {
  const start = times.civil(startTime);
  const elapsed = Date.parse(endTime) - Date.parse(startTime);
  return { start, end: shiftCivil(start, elapsed), spoken: times.longDay(startTime) };
}

/**
 * Sessions and holds as blocks of a calendar.
 *
 * @param sessions - what is booked
 * @param holds - what is held
 * @param naming - names and times
 * @param isMovable - whether sessions that are still to come may be dragged
 * @returns a block for each appointment and hold
 * @example
 * ```ts
 * const times = clinicTimes('America/Los_Angeles', 'en-US');
 * const week = weekBounds('2026-12-01', times.timeZone);
 * const [{ sessions }, holds] = await Promise.all([fetchSchedule(supabase, week), fetchLiveHolds(supabase, week)]);
 * const naming = { times, nameOf: () => 'A client', therapistById: new Map(), showTherapist: false };
 * sessionBlocks(sessions, holds, naming, true).map(({ start, title }) => `${start} ${title}`);
 * ```
 */
export function sessionBlocks(
  sessions: readonly SessionRow[],
  holds: readonly LiveHold[],
  naming: Naming,
  isMovable: boolean,
): Block[] {
  const { times, therapistById, showTherapist } = naming;
  const booked = appointmentsOf(sessions).map((members): Block => {
    const [session] = members as [SessionRow];
    const { status, start_time, end_time, therapist_id } = session;
    const whose = showTherapist ? ` · ${therapistById.get(therapist_id)?.display_name ?? ''}` : '';
    return {
      ...placed(start_time, end_time, times),
      id: session.id,
      title: `${signs[status]}${appointmentTitle(members, naming)}${session.series_id ? ' ↻' : ''}`,
      detail: `${times.range(start_time, end_time)}${whose} · ${statusWords[status]}`,
      kind: status,
      column: therapist_id,
      movable: isMovable && status === 'scheduled' && Date.parse(start_time) > Date.now(),
    };
  });
  const held = holds.map(
    (hold): Block => ({
      ...placed(hold.startTime, hold.endTime, times),
      id: `hold:${hold.id}`,
      title: hold.isOwn && hold.clientId ? naming.nameOf(hold.clientId) : 'Held',
      detail: `held until ${times.clock(hold.expiresAt)}`,
      kind: 'held',
      column: hold.therapistId,
    }),
  );
  return [...booked, ...held];
}

/** The id of a staff time among sessions, and of its blocks. */
const staffId = ({ id }: StaffTimeRow) => `staff:${id}`;

/** Whose time a staff time takes, as far as the reader may know. */
const whoseTime = ({ therapist_ids }: StaffTimeRow, { therapistById, showTherapist }: Naming) =>
  showTherapist ? therapist_ids.map((id) => therapistById.get(id)?.display_name).filter(Boolean) : [];

/**
 * Time without a client as blocks of a calendar.
 *
 * @param staffTimes - what `fetchStaffTimes` gives
 * @param naming - names and times
 * @param inColumns - whether each therapist has a column: then each has a block of their own
 * @returns the blocks; the id of each begins with `staff:`
 * @example
 * ```ts
 * const times = clinicTimes('America/Los_Angeles', 'en-US');
 * const naming = { times, nameOf: () => '', therapistById: new Map(), showTherapist: false };
 * const meetings = await fetchStaffTimes(supabase, weekBounds('2026-12-01', times.timeZone));
 * staffTimeBlocks(meetings, naming, false).map(({ start, title }) => `${start} ${title}`);
 * ```
 */
export function staffTimeBlocks(
  staffTimes: readonly StaffTimeRow[],
  naming: Naming,
  inColumns: boolean,
): Block[] {
  return staffTimes.flatMap((one) => {
    const { start_time, end_time, kind, series_id, therapist_ids } = one;
    const block = {
      ...placed(start_time, end_time, naming.times),
      id: staffId(one),
      title: `${staffTimeWords[kind]}${series_id ? ' ↻' : ''}`,
      detail: [naming.times.range(start_time, end_time), ...whoseTime(one, naming)].join(' · '),
      kind: 'staff',
    };
    return inColumns ? therapist_ids.map((column) => ({ ...block, column })) : [block];
  });
}

/** A line of a schedule that is written as a list. */
export interface AgendaEntry {
  /** The session's id, of a group its first one's; or `staff:` and the staff time's. */
  readonly id: string;
  readonly startTime: string;
  /** From when to when, in words. */
  readonly when: string;
  readonly title: string;
  /** Whose time it takes, by name. */
  readonly whose: string;
  readonly repeats: boolean;
  readonly isGroup: boolean;
  /** A session's status, or `staff`. */
  readonly kind: string;
  /** The status in words; empty for time without a client. */
  readonly status: string;
}

/**
 * A schedule as a list by day.
 *
 * @param sessions - what is booked, in the order in which the days are to stand
 * @param staffTimes - time without a client
 * @param naming - names and times
 * @returns the entries of each local day, `YYYY-MM-DD`
 * @example
 * ```ts
 * const times = clinicTimes('America/Los_Angeles', 'en-US');
 * const naming = { times, nameOf: () => 'A client', therapistById: new Map(), showTherapist: true };
 * const { sessions } = await fetchSchedule(supabase, weekBounds('2026-12-01', times.timeZone));
 * for (const [day, entries] of agendaDays(sessions, [], naming)) console.log(day, entries.length);
 * ```
 */
export function agendaDays(
  sessions: readonly SessionRow[],
  staffTimes: readonly StaffTimeRow[],
  naming: Naming,
): Map<string, AgendaEntry[]> {
  const { times, therapistById } = naming;
  const booked = appointmentsOf(sessions).map((members): AgendaEntry => {
    const [{ id, start_time, end_time, therapist_id, series_id, status }] = members as [SessionRow];
    return {
      ...{ id, startTime: start_time, when: times.range(start_time, end_time), kind: status },
      title: appointmentTitle(members, naming),
      whose: therapistById.get(therapist_id)?.display_name ?? '',
      repeats: series_id !== null,
      isGroup: members.length > 1,
      status: statusWords[status],
    };
  });
  const others = staffTimes.map(
    (one): AgendaEntry => ({
      ...{ id: staffId(one), startTime: one.start_time, when: times.range(one.start_time, one.end_time) },
      title: staffTimeWords[one.kind],
      whose: whoseTime(one, { ...naming, showTherapist: true }).join(', '),
      repeats: one.series_id !== null,
      ...{ isGroup: false, kind: 'staff', status: '' },
    }),
  );
  // Sessions keep their order; what is put between them is sorted with them.
  const all = others.length > 0 ? [...booked, ...others].sort(byStart) : booked;
  return Map.groupBy(all, ({ startTime }) => times.civil(startTime).slice(0, 10));
}

const byStart = (a: AgendaEntry, b: AgendaEntry) => Date.parse(a.startTime) - Date.parse(b.startTime);

/**
 * What lies outside somebody's hours, and their time off, as backgrounds of a calendar.
 *
 * @param therapists - whose hours are shown
 * @param exceptions - time off and extra hours
 * @param days - the days that are shown, `YYYY-MM-DD`
 * @param times - the zone of the calendar; hours are of each therapist's own
 * @param inColumns - whether each therapist has a column
 * @returns a block for each span that is not worked
 * @example
 * ```ts
 * const therapist = { id: 'T', time_zone: 'America/Los_Angeles', availability_hours: { tuesday: [{ start: '08:00', end: '18:00' }] } };
 * const off = hoursBlocks([therapist], [], ['2026-12-01'], clinicTimes('America/Los_Angeles'), false);
 * off.map(({ start, end }) => `${start.slice(11)}-${end.slice(11)}`); // ['00:00:00-08:00:00', '18:00:00-00:00:00']
 * ```
 */
export function hoursBlocks(
  therapists: readonly Pick<Therapist, 'id' | 'availability_hours' | 'time_zone'>[],
  exceptions: readonly AvailabilityException[],
  days: readonly string[],
  times: ClinicTimes,
  inColumns: boolean,
): Block[] {
  return therapists.flatMap(({ id, availability_hours, time_zone }) => {
    const block = (kind: string, start: string, end: string, title = ''): Block => ({
      ...{ id: `${kind}:${id}:${start}`, kind, start, end, title, detail: '', background: true },
      column: inColumns ? id : undefined,
    });
    const own = exceptions
      .filter(({ therapist_id }) => therapist_id === id)
      .map(({ kind, starts_at, ends_at }) => ({
        kind,
        start: times.civil(starts_at),
        end: times.civil(ends_at),
      }));
    const away = own.filter(({ kind }) => kind === 'time_off');
    const extra = own.filter(({ kind }) => kind === 'extra_hours');
    const off = days.flatMap((day) => {
      if (!availability_hours) return [];
      const midnight = `${plusDays(day, 1)}T00:00:00`;
      const weekday = WEEKDAYS[(new Date(day).getUTCDay() + 6) % 7] as (typeof WEEKDAYS)[number];
      const local = (time: string) =>
        time_zone === times.timeZone
          ? `${day}T${time}:00`
          : times.civil(instantOf(`${day}T${time}`, time_zone).instant);
      const worked = ((availability_hours as WeeklyHours)[weekday] ?? []).map(({ start, end }) => ({
        start: local(start),
        end: end >= '23:59' ? midnight : local(end),
      }));
      const open = [...worked, ...extra.filter(({ start }) => start.startsWith(day))];
      open.sort((a, b) => a.start.localeCompare(b.start));
      const gaps: Block[] = [];
      let from = `${day}T00:00:00`;
      for (const { start, end } of [...open, { start: midnight, end: '' }]) {
        if (start > from) gaps.push(block('off', from, start));
        if (end > from) from = end;
      }
      return gaps;
    });
    return [...off, ...away.map(({ start, end }) => block('time-off', start, end, 'Time off'))];
  });
}

const QUARTER_MS = 900_000;
const DAY_MS = 86_400_000;

/**
 * Times at which nobody can be booked, as backgrounds of a calendar: the clinic is closed, or its clocks skip them.
 *
 * @param closures - when the clinic is closed
 * @param days - the days that are shown, `YYYY-MM-DD`
 * @param times - the zone of the calendar
 * @returns a block for each such span
 * @example
 * ```ts
 * const [gap] = closedBlocks([], ['2027-03-14'], clinicTimes('America/Los_Angeles'));
 * [gap?.start, gap?.end]; // ['2027-03-14T02:00:00', '2027-03-14T03:00:00']
 * ```
 */
export function closedBlocks(
  closures: readonly Pick<Closure, 'id' | 'name' | 'starts_at' | 'ends_at'>[],
  days: readonly string[],
  times: ClinicTimes,
): Block[] {
  const shared = { detail: '', kind: 'closed', background: true };
  const closed = closures.map(({ id, name, starts_at, ends_at }) => ({
    ...shared,
    ...{ id: `closed:${id}`, title: `Closed: ${name}` },
    ...{ start: times.civil(starts_at), end: times.civil(ends_at) },
  }));
  const skipped = days.flatMap((day): Block[] => {
    const { from, to } = dayBounds(day, times.timeZone);
    const missing = DAY_MS - (Date.parse(to) - Date.parse(from));
    if (missing <= 0) return [];
    const quarters = Array.from({ length: DAY_MS / QUARTER_MS }, (_, index) =>
      shiftCivil(`${day}T00:00:00`, index * QUARTER_MS),
    );
    const start = quarters.find((local) => instantOf(local, times.timeZone).kind === 'nonexistent');
    if (!start) return [];
    const title = 'Clocks go forward: these times do not exist';
    return [{ ...shared, id: `skipped:${day}`, title, start, end: shiftCivil(start, missing) }];
  });
  return [...closed, ...skipped];
}

/**
 * The hours a calendar should draw: those of whoever is shown, widened to hold every block.
 *
 * @param blocks - what is drawn
 * @param therapists - whose hours count
 * @returns the first and the last hour, `HH:00`
 * @example
 * ```ts
 * const early = { id: '1', start: '2026-12-01T06:30:00', end: '2026-12-01T07:00:00', title: '', detail: '', kind: 'scheduled' };
 * calendarHours([early], []); // { from: '06:00', to: '18:00' }
 * ```
 */
export function calendarHours(
  blocks: readonly Block[],
  therapists: readonly Pick<Therapist, 'availability_hours'>[],
): { from: string; to: string } {
  const worked = therapists
    .flatMap(({ availability_hours }) => Object.values((availability_hours ?? {}) as WeeklyHours))
    .flatMap((spans) => spans ?? []);
  const drawn = blocks
    .filter(({ background }) => !background)
    .map(({ start, end }) => ({
      start: start.slice(11),
      end: end.slice(0, 10) === start.slice(0, 10) ? end.slice(11) : '24:00',
    }));
  const spans = [...worked, ...drawn];
  const hour = (time: string) => Number(time.slice(0, 2)) + Number(time.slice(3, 5)) / 60;
  const two = (value: number) => `${String(value).padStart(2, '0')}:00`;
  return {
    from: two(Math.min(8, ...spans.map(({ start }) => Math.floor(hour(start))))),
    to: two(Math.max(18, ...spans.map(({ end }) => Math.ceil(hour(end))))),
  };
}
