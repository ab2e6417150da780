/** When a therapist works: the week as it is edited, time off and extra hours. */
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import {
  type AvailabilityException,
  addAvailabilityException,
  plusDays,
  removeAvailabilityException,
  setWeeklyHours,
  type Therapist,
  type TouchedByHours,
  WEEKDAYS,
  type Weekday,
  type WeeklyHours,
} from '../lib/index.ts';
import { type Read, useExceptions } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

type Span = { readonly start: string; readonly end: string };

/** A week of hours while it is edited. */
export interface HoursForm {
  readonly days: readonly {
    readonly day: Weekday;
    readonly label: string;
    readonly spans: readonly Span[];
  }[];
  /** That what is shown is stored, in words, with how many sessions to come and live holds lie outside; else empty. */
  readonly saved: string;
  add(day: Weekday): void;
  change(day: Weekday, index: number, changes: Partial<Span>): void;
  remove(day: Weekday, index: number): void;
  /** Gives Tuesday to Friday the hours of Monday. */
  copyMonday(): void;
  save(): Promise<void>;
}

/** What a span begins with. */
const usual: Span = { start: '09:00', end: '17:00' };

const counted = (count: number, what: string) =>
  count > 0 ? [`${count} ${what}${count === 1 ? '' : 's'}`] : [];

function savedWords({ touched, touchedHolds }: TouchedByHours): string {
  const outside = [...counted(touched, 'session'), ...counted(touchedHolds, 'hold')];
  return outside.length > 0 ? `Saved. Outside these hours: ${outside.join(' and ')}.` : 'Saved.';
}

/**
 * The weekly hours of a therapist, to be edited and saved.
 *
 * @param therapist - whose
 */
export function useHours({ id: therapistId, availability_hours }: Therapist): HoursForm {
  const supabase = useSupabase();
  const queries = useQueryClient();
  const [hours, setHours] = useState((availability_hours ?? {}) as WeeklyHours);
  const [saved, setSaved] = useState('');
  const set = (changes: WeeklyHours) => {
    setSaved('');
    setHours((before) => ({ ...before, ...changes }));
  };
  const spansOf = (day: Weekday) => hours[day] ?? [];
  return {
    days: WEEKDAYS.map((day) => ({
      day,
      label: `${day[0]?.toUpperCase()}${day.slice(1)}`,
      spans: spansOf(day),
    })),
    saved,
    add: (day) => set({ [day]: [...spansOf(day), usual] }),
    change: (day, index, changes) =>
      set({
        [day]: spansOf(day).map((span, position) => (position === index ? { ...span, ...changes } : span)),
      }),
    remove: (day, index) => set({ [day]: spansOf(day).toSpliced(index, 1) }),
    copyMonday: () => set(Object.fromEntries(WEEKDAYS.slice(1, 5).map((day) => [day, spansOf('monday')]))),
    async save() {
      setSaved(savedWords(await setWeeklyHours(supabase, { hours, therapistId })));
      await queries.invalidateQueries({ queryKey: ['therapists'] });
    },
  };
}

/** Time off and extra hours of the year to come, and entering and taking back. */
export interface ExceptionsOf extends Read<AvailabilityException[]> {
  /** Enters a span of local times of the clinic, as inputs have them. */
  add(kind: AvailabilityException['kind'], from: string, to: string): Promise<void>;
  takeBack(id: string): Promise<void>;
}

/**
 * Time off and extra hours of a therapist.
 *
 * @param therapistId - whose
 */
export function useExceptionsOf(therapistId: string): ExceptionsOf {
  const supabase = useSupabase();
  const { times } = useMe();
  const midnight = (days: number) => times.instant(`${plusDays(times.today(), days)}T00:00`);
  const read = useExceptions({ from: midnight(0), to: midnight(365), therapistId });
  const again = async (work: Promise<unknown>) => {
    await work;
    await read.refetch();
  };
  return {
    ...read,
    add: (kind, from, to) =>
      again(
        addAvailabilityException(supabase, {
          ...{ therapistId, kind },
          ...{ from: times.instant(from), to: times.instant(to) },
        }),
      ),
    takeBack: (id) => again(removeAvailabilityException(supabase, { id })),
  };
}
