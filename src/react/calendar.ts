/** Everything a calendar of some days draws, and moving what it shows. */
import { useEffect, useMemo } from 'react';
import {
  type Block,
  type BookSessionRequest,
  type ClinicTimes,
  calendarHours,
  closedBlocks,
  type DaySpan,
  dayBounds,
  hoursBlocks,
  type LiveHold,
  moveSession,
  type Naming,
  type SessionRow,
  SessionsApiError,
  sessionBlocks,
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
import type { Slot } from './weekCalendar.ts';

/** What a calendar is to show. */
export interface CalendarQuery {
  /** A local day of the clinic, `YYYY-MM-DD`. */
  readonly date: string;
  /** That day, or the week it is in. */
  readonly isDay: boolean;
  /** Whose; null: of everybody within reach. */
  readonly therapistId: string | null;
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
  /** Those of `sessions` that are not hidden. */
  readonly shown: readonly SessionRow[];
  readonly holds: readonly LiveHold[];
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
 * @param onOthers - told how many sessions others have changed
 */
export function useCalendar(query: CalendarQuery, onOthers: (count: number) => void): Calendar {
  const { date, isDay, therapistId, inColumns, showCancelled, numbersOnly, draft } = query;
  const { times, role } = useMe();
  const isStaff = role !== 'client';
  const online = useOnline();
  const bounds = useMemo(
    () => (isDay ? dayBounds(date, times.timeZone) : weekBounds(date, times.timeZone)),
    [date, isDay, times],
  );
  const span = { from: bounds.from, to: bounds.to, therapistId };
  const schedule = useSchedule(span, onOthers);
  const { therapists, byId: therapistById, isPending } = useTherapists();
  const { nameOf: ownNameOf, byId: clientById } = useClients(
    schedule.sessions?.map(({ client_id }) => client_id) ?? [],
  );
  const holds = useHolds(span, isStaff);
  const { data: exceptions } = useExceptions(span, isStaff);
  const { data: closures } = useClosures(span);
  const drawn = useMemo(() => {
    const whose = therapistId ? therapists.filter(({ id }) => id === therapistId) : therapists;
    const shown = (schedule.sessions ?? []).filter(({ status }) => showCancelled || status !== 'cancelled');
    const nameOf = numbersOnly ? (id: string) => clientById.get(id)?.reference ?? 'A client' : ownNameOf;
    const naming = { times, nameOf, therapistById, showTherapist: !therapistId && !inColumns };
    const hasHours = inColumns || whose.length === 1;
    const blocks = [
      ...sessionBlocks(shown, holds, naming, isStaff && online),
      ...(hasHours ? hoursBlocks(whose, exceptions ?? [], bounds.days, times, inColumns) : []),
      ...closedBlocks(closures ?? [], bounds.days, times),
    ];
    const columns = inColumns
      ? whose.map(({ id, display_name, credential }) => ({ id, title: `${display_name} · ${credential}` }))
      : undefined;
    return { shown, naming, columns, blocks, hours: calendarHours(blocks, whose) };
  }, [
    schedule.sessions,
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
    return [
      ...drawn.blocks,
      { id: 'draft', start, end, column, title: 'New session', detail: '', kind: 'draft' },
    ];
  }, [drawn, draft]);
  return { ...schedule, ...drawn, bounds, holds, blocks, pending: schedule.sessions === null || isPending };
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
  /** It has moved; `undo` moves it back. */
  onMoved(session: SessionRow, undo: () => Promise<unknown>): void;
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
      listener.onMoved(moved, () => moveSession(supabase, { session, ...before, timeZone }));
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
