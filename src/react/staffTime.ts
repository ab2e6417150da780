/** Time without a client: reading it, entering it for one or several people, changing and cancelling it. */
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import {
  addStaffTime,
  type BookSessionRequest,
  cancelStaffTime,
  changeStaffTime,
  fetchStaffTimes,
  type OpenSlot,
  SessionsApiError,
  type StaffTimeKind,
  type StaffTimeRow,
  staffTimeWords,
} from '../lib/index.ts';
import { type BookingPlace, recurrenceOf, type TimeFields } from './bookingForm.ts';
import { type Read, type Span, useRead } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

/** The staff times of a span that are not cancelled; they are looked for again as often as the schedule. */
export function useStaffTimes(span: Span, enabled = true): Read<StaffTimeRow[]> {
  const supabase = useSupabase();
  const ask = (signal: AbortSignal) => fetchStaffTimes(supabase, { ...span, signal });
  return useRead(['staff-times', span], ask, { enabled, refetchInterval: 15_000 });
}

/** What is chosen: local dates and times of the clinic, as inputs have them. */
export interface StaffTimeFields extends TimeFields {
  readonly kind: StaffTimeKind;
  readonly therapistIds: readonly string[];
  /** Of a series that is changed: which. */
  readonly scope: 'this' | 'following' | 'all';
}

/** What a form begins with: a place in the calendar, or what is changed. */
export interface StaffTimeStart {
  readonly staffTime?: StaffTimeRow;
  readonly place?: BookingPlace;
  /** Another value means that the draft was dragged: day, times and therapist are taken anew. */
  readonly dragged?: number;
}

/** What is told of a staff time. */
export interface StaffTimeListener {
  /** What was done, in words; `undo` takes back what was entered. */
  onDone(done: { readonly text: string; readonly undo?: () => Promise<unknown> }): void;
  /** The form names another time. */
  onPlace?(place: BookingPlace): void;
}

/** A form for time without a client. */
export interface StaffTimeForm {
  readonly fields: StaffTimeFields;
  set(changes: Partial<StaffTimeFields>): void;
  /** Puts a therapist in or out. */
  choose(therapistId: string, isIn: boolean): void;
  /** Why it was not entered, where other times may help; null otherwise. */
  readonly refused: SessionsApiError | null;
  dismiss(): void;
  /** Enters or changes it. Throws what is not a refusal of that time. */
  submit(): Promise<void>;
  /** Enters another start, or the same in spite of working hours. */
  retry(slot: OpenSlot | null, override?: BookSessionRequest['override']): Promise<void>;
  cancel(): Promise<void>;
}

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));

/**
 * A form for time without a client. A series keeps its local times when clocks change.
 *
 * @param start - where it begins, or the one to change
 * @param listener - what is told
 */
export function useStaffTimeForm(
  start: StaffTimeStart,
  { onDone, onPlace }: StaffTimeListener,
): StaffTimeForm {
  const { staffTime, place, dragged } = start;
  const supabase = useSupabase();
  const queries = useQueryClient();
  const { times, userId, isAdmin } = useMe();
  const placed = () => {
    const from = staffTime ? times.civil(staffTime.start_time) : (place?.start ?? '');
    const to = staffTime ? times.civil(staffTime.end_time) : (place?.end ?? '');
    return { date: from.slice(0, 10), from: from.slice(11, 16), to: to.slice(11, 16) };
  };
  const [fields, setFields] = useState<StaffTimeFields>(() => ({
    kind: staffTime?.kind ?? 'meeting',
    // Who administers need not be a therapist, and therapists may not have been read yet.
    therapistIds: staffTime?.therapist_ids ?? [place?.therapistId || (isAdmin ? '' : userId)].filter(Boolean),
    ...placed(),
    ...{ repeat: '', end: 'count', count: '12', until: '', scope: 'this' },
  }));
  const [refused, setRefused] = useState<SessionsApiError | null>(null);
  const set = (changes: Partial<StaffTimeFields>) => setFields((before) => ({ ...before, ...changes }));
  useEffect(() => {
    if (dragged !== undefined) set(placed());
  }, [dragged]);
  const { date, from, to } = fields;
  const [therapistId = ''] = fields.therapistIds;
  const follow = useRef(onPlace);
  follow.current = onPlace;
  useEffect(() => {
    if (date && to > from)
      follow.current?.({ start: `${date}T${from}:00`, end: `${date}T${to}:00`, therapistId });
  }, [date, from, to, therapistId]);
  // One key as long as it is unknown whether the request was heard.
  const intent = useRef({ request: '', key: '' });
  const keyOf = (request: object) => {
    const text = JSON.stringify(request);
    if (intent.current.request !== text) intent.current = { request: text, key: crypto.randomUUID() };
    return intent.current.key;
  };
  const done = async (text: string, undo?: () => Promise<unknown>) => {
    intent.current = { request: '', key: '' };
    await queries.invalidateQueries({ queryKey: ['staff-times'] });
    const again = () => queries.invalidateQueries({ queryKey: ['staff-times'] });
    onDone({ text, undo: undo && (() => undo().then(again)) });
  };

  const add = async (chosen: StaffTimeFields, overrideReason?: string) => {
    const request = {
      kind: chosen.kind,
      therapistIds: chosen.therapistIds,
      startTime: times.instant(`${chosen.date}T${chosen.from}`),
      endTime: times.instant(`${chosen.date}T${chosen.to}`),
      timeZone: times.timeZone,
      recurrence: recurrenceOf(chosen),
      overrideReason,
    };
    const { staffTimes, seriesId } = await addStaffTime(supabase, {
      ...request,
      idempotencyKey: keyOf(request),
    });
    const ids = staffTimes.map(({ id }) => id);
    const when = times.dayRange(request.startTime, request.endTime);
    const what = `${staffTimeWords[chosen.kind]}: ${when}${ids.length > 1 ? ` and ${ids.length - 1} more` : ''}.`;
    await done(what, () => cancelStaffTime(supabase, seriesId ? { seriesId } : { staffTimeIds: ids }));
  };
  const change = async (before: StaffTimeRow, chosen: StaffTimeFields, overrideReason?: string) => {
    const was = placed();
    const isMoved = chosen.date !== was.date;
    const hasTimes = chosen.from !== was.from || chosen.to !== was.to;
    const isSame =
      JSON.stringify([...before.therapist_ids].sort()) === JSON.stringify([...chosen.therapistIds].sort());
    await changeStaffTime(supabase, {
      staffTimeId: before.id,
      scope: chosen.scope,
      kind: chosen.kind,
      // Who may not see the others must not take them out.
      therapistIds: isSame ? undefined : chosen.therapistIds,
      ...(isMoved && {
        startTime: times.instant(`${chosen.date}T${chosen.from}`),
        endTime: times.instant(`${chosen.date}T${chosen.to}`),
      }),
      ...(!isMoved &&
        hasTimes && {
          localStart: chosen.from,
          durationMinutes: minutesOf(chosen.to) - minutesOf(chosen.from),
        }),
      overrideReason,
    });
    await done('Changed.');
  };
  const attempt = async (chosen: StaffTimeFields, overrideReason?: string) => {
    setRefused(null);
    try {
      await (staffTime ? change(staffTime, chosen, overrideReason) : add(chosen, overrideReason));
    } catch (error) {
      if (!(error instanceof SessionsApiError) || error.status !== 409) throw error;
      intent.current = { request: '', key: '' };
      setRefused(error);
    }
  };
  return {
    ...{ fields, set, refused },
    choose: (id, isIn) =>
      set({
        therapistIds: isIn ? [...fields.therapistIds, id] : fields.therapistIds.filter((one) => one !== id),
      }),
    dismiss: () => setRefused(null),
    submit: () => attempt(fields),
    retry: async (slot, override) => {
      const [begins, ends] = slot ? [times.civil(slot.startTime), times.civil(slot.endTime)] : [];
      const chosen =
        begins && ends
          ? { date: begins.slice(0, 10), from: begins.slice(11, 16), to: ends.slice(11, 16) }
          : {};
      set(chosen);
      await attempt({ ...fields, ...chosen }, override?.reason);
    },
    async cancel() {
      if (!staffTime) return;
      const { cancelledCount } = await cancelStaffTime(supabase, {
        staffTimeId: staffTime.id,
        scope: fields.scope,
      });
      await done(
        cancelledCount === 1
          ? 'Cancelled. The time is free again.'
          : `Cancelled: ${cancelledCount}. The times are free again.`,
      );
    },
  };
}
