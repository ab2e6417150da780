/** Everything a calendar of some days draws, and moving what it shows. */
import { useEffect, useMemo } from 'react';
import {
  type Block,
  type BookSessionRequest,
  type ClinicTimes,
  calendarHours,
  cancelSessions,
  closedBlocks,
  type DaySpan,
  dayBounds,
  hoursBlocks,
  type LiveHold,
  moveSession,
  type Naming,
  type SessionRow,
  SessionsApiError,
  type StaffTimeRow,
  sessionBlocks,
  staffTimeBlocks,
  weekBounds,
} from '../lib/index.ts';
import { noteError, useOnline } from './actions.ts';
import {
  type Schedule,
  useClients,
  useClosures,
  useExceptions,
  useHolds,
  useSchedule,
  useTherapists,
} from './reads.ts';
import { useMe, useSupabase } from './session.ts';
import { useStaffTimes } from './staffTime.ts';
import type { Slot } from './weekCalendar.ts';

/** What a calendar is to show. */
export interface CalendarQuery {
  /** A local day of the clinic, `YYYY-MM-DD`. */
  readonly date: string;
  /** That day, or the week it is in. */
  readonly isDay: boolean;
  /** Whose; null: of everybody within reach. */
  readonly therapistId: string | null;
  /** Only sessions of this client, and nothing that is without a client. */
  readonly clientId?: string | null;
  /** A column for each therapist. */
  readonly inColumns: boolean;
  readonly showCancelled: boolean;
  /** Draws clients by their reference alone, as for paper. */
  readonly numbersOnly?: boolean;
  /** What is being booked, drawn as a block that can be dragged. */
  readonly draft: (Pick<Block, 'start' | 'end'> & { readonly therapistId: string }) | null;
}

/** What a calendar shows. */
export interface Calendar extends Schedule {
  readonly bounds: DaySpan;
  /** The day, or the first and the last, in words. */
  readonly heading: string;
  /** How many sessions are over and were neither started nor called off. */
  readonly undocumented: number;
  /** How many are cancelled, shown or not. */
  readonly cancelled: number;
  /** Those of `sessions` that are not hidden. */
  readonly shown: readonly SessionRow[];
  readonly holds: readonly LiveHold[];
  readonly staffTimes: readonly StaffTimeRow[];
  /** The clients of these days and the one that is asked for, by name. */
  readonly clients: readonly (readonly [id: string, name: string])[];
  readonly naming: Naming;
  readonly columns: readonly { readonly id: string; readonly title: string }[] | undefined;
  readonly blocks: readonly Block[];
  readonly hours: { readonly from: string; readonly to: string };
  /** Nothing has been read yet. */
  readonly pending: boolean;
}

/**
 * Follows the sessions, holds, hours and time off of some days.
 *
 * @param query - which days, and whose
 * @param onOthers - told in words how many sessions others have changed
 */
export function useCalendar(query: CalendarQuery, onOthers: (text: string) => void): Calendar {
  const { date, isDay, therapistId, clientId = null, inColumns, showCancelled, numbersOnly, draft } = query;
  const { times, role, now } = useMe();
  const isStaff = role !== 'client';
  const online = useOnline();
  const bounds = useMemo(
    () => (isDay ? dayBounds(date, times.timeZone) : weekBounds(date, times.timeZone)),
    [date, isDay, times],
  );
  const span = { from: bounds.from, to: bounds.to, therapistId };
  const everybody = useSchedule(span, (count) =>
    onOthers(count === 1 ? '1 session changed' : `${count} sessions changed`),
  );
  const sessions = useMemo(() => {
    const { sessions: all } = everybody;
    return clientId ? (all?.filter(({ client_id }) => client_id === clientId) ?? null) : all;
  }, [everybody.sessions, clientId]);
  const { therapists, byId: therapistById, isPending } = useTherapists();
  const { nameOf: ownNameOf, byId: clientById } = useClients(
    (everybody.sessions ?? []).map(({ client_id }) => client_id).concat(clientId ?? []),
  );
  const allHolds = useHolds(span, isStaff);
  const holds = useMemo(
    () => (clientId ? allHolds.filter((hold) => hold.clientId === clientId) : allHolds),
    [allHolds, clientId],
  );
  const { data: allStaffTimes } = useStaffTimes(span, isStaff && !clientId);
  const staffTimes = useMemo(() => (clientId ? [] : (allStaffTimes ?? [])), [allStaffTimes, clientId]);
  const { data: exceptions } = useExceptions(span, isStaff);
  const { data: closures } = useClosures(span);
  const drawn = useMemo(() => {
    const whose = therapistId ? therapists.filter(({ id }) => id === therapistId) : therapists;
    const shown = (sessions ?? []).filter(({ status }) => showCancelled || status !== 'cancelled');
    const nameOf = numbersOnly ? (id: string) => clientById.get(id)?.reference ?? 'A client' : ownNameOf;
    const naming = { times, nameOf, therapistById, showTherapist: !therapistId && !inColumns };
    const hasHours = inColumns || whose.length === 1;
    const blocks = [
      ...sessionBlocks(shown, holds, naming, isStaff && online),
      ...staffTimeBlocks(staffTimes, naming, inColumns),
      ...(hasHours ? hoursBlocks(whose, exceptions ?? [], bounds.days, times, inColumns) : []),
      ...closedBlocks(closures ?? [], bounds.days, times),
    ];
    const columns = inColumns
      ? whose.map(({ id, display_name, credential }) => ({ id, title: `${display_name} · ${credential}` }))
      : undefined;
    const ids = new Set((everybody.sessions ?? []).map(({ client_id }) => client_id));
    if (clientId) ids.add(clientId);
    const clients = [...ids]
      .map((id) => [id, nameOf(id)] as const)
      .sort(([, a], [, b]) => a.localeCompare(b));
    return { shown, naming, clients, columns, blocks, hours: calendarHours(blocks, whose) };
  }, [
    everybody.sessions,
    sessions,
    staffTimes,
    holds,
    exceptions,
    closures,
    therapists,
    ownNameOf,
    numbersOnly,
    bounds,
    therapistId,
    inColumns,
    showCancelled,
    online,
  ]);
  const blocks = useMemo(() => {
    if (!draft) return drawn.blocks;
    const { start, end, therapistId: column } = draft;
    // What is held already is drawn as a hold.
    const isHeld = (hold: LiveHold) =>
      hold.isOwn && hold.therapistId === column && times.civil(hold.startTime) === start;
    if (holds.some(isHeld)) return drawn.blocks;
    return [
      ...drawn.blocks,
      { id: 'draft', start, end, column, title: 'New session', detail: '', kind: 'draft' },
    ];
  }, [drawn, draft, holds]);
  const pending = sessions === null || isPending;
  const [first = date, last = date] = [bounds.days[0], bounds.days.at(-1)].map((day) =>
    times.instant(`${day}T12:00`),
  );
  const heading = isDay ? times.longDay(first) : `${times.day(first)} – ${times.day(last)}`;
  const isOver = ({ status, end_time }: SessionRow) => status === 'scheduled' && Date.parse(end_time) < now();
  const cancelled = sessions?.filter(({ status }) => status === 'cancelled').length ?? 0;
  const undocumented = sessions?.filter(isOver).length ?? 0;
  return {
    ...everybody,
    ...drawn,
    ...{ sessions, bounds, heading, undocumented, cancelled, holds, staffTimes, blocks, pending },
  };
}

/** Where a session is, as `moveSession` takes it. */
export function placeOf(session: SessionRow, times: ClinicTimes) {
  return {
    start: times.civil(session.start_time),
    minutes: (Date.parse(session.end_time) - Date.parse(session.start_time)) / 60_000,
    therapistId: session.therapist_id,
  };
}

/** What is told of a move. */
export interface MoveListener {
  onMoving(): void;
  /** It has moved, in words; `undo` moves it back. */
  onMoved(text: string, undo: () => Promise<unknown>): void;
  onRefused(error: SessionsApiError, session: SessionRow, slot: Slot): void;
  /** It stays where it is, whatever for. */
  onStays(): void;
}

/**
 * Moves a session to a slot of a calendar, at once. A slot that is past, or where the session is already, calls nothing.
 *
 * @returns answers whether it moved
 */
export function useMove(listener: MoveListener) {
  const supabase = useSupabase();
  const { times, now } = useMe();
  const { byId } = useTherapists();
  return async (
    session: SessionRow,
    slot: Slot,
    override?: BookSessionRequest['override'],
  ): Promise<boolean> => {
    const before = placeOf(session, times);
    const after = {
      start: slot.start,
      // What a block shows as its end is elapsed time after its start.
      minutes: (Date.parse(`${slot.end}Z`) - Date.parse(`${slot.start}Z`)) / 60_000,
      therapistId: slot.column || session.therapist_id,
    };
    const { timeZone } = times;
    const isPast = Date.parse(times.instant(after.start)) < now();
    if (isPast || JSON.stringify(before) === JSON.stringify(after)) return false;
    listener.onMoving();
    try {
      const { session: moved } = await moveSession(supabase, { session, ...after, timeZone, override });
      const { start_time, end_time, therapist_id } = moved;
      const whom =
        therapist_id === session.therapist_id ? '' : ` with ${byId.get(therapist_id)?.display_name}`;
      const text = `Moved to ${times.dayRange(start_time, end_time)}${whom}.`;
      listener.onMoved(text, () => moveSession(supabase, { session, ...before, timeZone }));
      return true;
    } catch (error) {
      noteError(error);
      listener.onStays();
      if (error instanceof SessionsApiError) listener.onRefused(error, session, slot);
      return false;
    }
  };
}

/**
 * Single keys, while no field has the focus and no dialog is open. WCAG 2.1.4 asks that they can be switched off.
 *
 * @param keys - what each key does, by its name in lower case
 * @param on - whether they are switched on
 */
export function useSingleKeys(keys: Readonly<Record<string, () => void>>, on: boolean): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping = (event.target as HTMLElement).closest('input, select, textarea, dialog');
      if (!on || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      const action = keys[event.key.toLowerCase()];
      if (!action) return;
      event.preventDefault();
      action();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  });
}

/**
 * Cancels a session, or more of its series.
 *
 * @param session - the session
 * @param onCancelled - told what was done, in words
 * @returns takes who cancelled, why, and which of a series
 */
export function useCancel(session: SessionRow, onCancelled: (text: string) => void) {
  const supabase = useSupabase();
  return async ({ attribution, reason, scope = 'this' }: Readonly<Record<string, string>>): Promise<void> => {
    await cancelSessions(supabase, {
      ...(scope === 'this' ? { sessionIds: [session.id] } : { seriesId: session.series_id ?? '' }),
      from: scope === 'following' ? session.start_time : undefined,
      cancellationAttribution: attribution as 'client' | 'staff' | 'unknown',
      reason: reason || undefined,
    });
    onCancelled('Cancelled. The time is free again, and is offered to the waitlist.');
  };
}
