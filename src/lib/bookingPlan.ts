import { formatCivil, parseTemporal, toCivil } from '../../supabase/functions/_shared/civil-time.ts';
import type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
import type { BookSessionRequest } from './bookSession.ts';
import { generateOccurrences, type RecurrenceInput } from './generateOccurrences.ts';
import type { HoldOccurrenceRequest, RecurrenceRequest, WindowRequest } from './sessionHolds.ts';
import { invalidArgument } from './sessionsApiError.ts';

/** An occurrence, and the session it moves. */
export interface PlannedOccurrence extends Occurrence {
  readonly sessionId?: string | null;
}

/** What a booking is to hold. */
export interface BookingPlan {
  readonly occurrences: readonly PlannedOccurrence[];
  /** The rule the occurrences come from; null when they were listed, or there is but one. */
  readonly recurrence: RecurrenceInput | null;
  /** The IANA zone of the occurrences. */
  readonly timeZone: string;
  /** Whether sessions are moved. */
  readonly isMove: boolean;
}

/** Most exceptions that a rule may have on the wire. */
const MAX_EXCEPTIONS = 1000;

/**
 * Works out what a booking is to hold.
 *
 * @throws SessionsApiError 400 for what cannot be booked
 */
export function bookingPlan(payload: BookSessionRequest): BookingPlan {
  const recurrence = payload.recurrence ?? payload.session.recurrence ?? null;
  const options = {
    timeZone: payload.timeZone,
    startOffsetMinutes: payload.startTimeOffsetMinutes,
    endOffsetMinutes: payload.endTimeOffsetMinutes,
  };
  const listed = payload.occurrences ?? [];
  if (listed.length > 0 && recurrence) {
    const message = 'must not accompany occurrences: give the windows or the rule, not both';
    throw invalidArgument([{ path: 'recurrence', message }]);
  }
  const occurrences: PlannedOccurrence[] =
    listed.length > 0
      ? listed.flatMap(({ startTime, endTime, sessionId }) =>
          generateOccurrences({ start_time: startTime, end_time: endTime }, null, {
            timeZone: payload.timeZone,
          }).map((occurrence) => ({ ...occurrence, sessionId })),
        )
      : generateOccurrences(payload.session, recurrence, options);
  const [first] = occurrences;
  if (!first)
    throw invalidArgument([{ path: 'recurrence.rule', message: 'must leave at least one occurrence' }]);
  const { id } = payload.session;
  const timeZone = first.timeZone;
  if (id && listed.length === 0) {
    if (occurrences.length > 1) {
      const message = 'moves one session: to move a series, give occurrences with a sessionId each';
      throw invalidArgument([{ path: 'session.id', message }]);
    }
    return { occurrences: [{ ...first, sessionId: id }], recurrence: null, timeZone, isMove: true };
  }
  return {
    occurrences: occurrences.map((occurrence, index) => ({ ...occurrence, index })),
    recurrence,
    timeZone,
    isMove: occurrences.some(({ sessionId }) => sessionId),
  };
}

/** The windows of a hold: the fields of its request that say when. */
export type HeldWindows = WindowRequest & {
  readonly timeZone: string;
  readonly occurrences?: readonly HoldOccurrenceRequest[];
  readonly recurrence?: RecurrenceRequest;
};

/**
 * How to ask for some of a plan's occurrences. A rule is asked for as a rule, what is left out as its exceptions: so the
 * series keeps what was meant.
 *
 * @param session - the booking's own window, from which a rule begins
 * @param wanted - those of the plan's occurrences that are asked for
 */
export function windowsOf(
  session: { readonly start_time: string; readonly end_time: string },
  { occurrences, recurrence, timeZone }: BookingPlan,
  wanted: readonly PlannedOccurrence[],
): HeldWindows {
  const left = new Set(wanted);
  const exceptions = [
    ...(recurrence?.exceptions ?? []),
    ...occurrences.filter((occurrence) => !left.has(occurrence)).map(civilStart),
  ];
  if (recurrence && exceptions.length <= MAX_EXCEPTIONS) {
    return {
      startTime: session.start_time,
      endTime: session.end_time,
      timeZone,
      recurrence: { ...recurrence, exceptions, timeZone },
    };
  }
  const [first] = wanted as [PlannedOccurrence];
  return {
    startTime: first.startTime,
    endTime: first.endTime,
    timeZone,
    occurrences: wanted.map(({ startTime, endTime, timeZone, sessionId }) => ({
      startTime,
      endTime,
      timeZone,
      sessionId,
    })),
  };
}

/** What the zone's clocks show at an occurrence's start. */
function civilStart({ startTime, timeZone }: Occurrence): string {
  return formatCivil(toCivil(Date.parse(startTime), timeZone));
}

/**
 * The occurrences as they were held. Where the database's rules for the zone differ, the clocks show the same and the
 * instants are others.
 */
export function asHeld(
  occurrences: readonly PlannedOccurrence[],
  holds: readonly { readonly startTime: string; readonly endTime: string }[],
): PlannedOccurrence[] {
  const perOccurrence = holds.length / occurrences.length;
  return occurrences.map((occurrence, index) => {
    const slot = holds[index * perOccurrence];
    const held = parseTemporal(slot?.startTime);
    if (!slot || held?.kind !== 'instant') return occurrence;
    const shift = (Date.parse(occurrence.startTime) - held.instant) / 60_000;
    if (shift === 0) return occurrence;
    return {
      ...occurrence,
      startTime: slot.startTime,
      endTime: slot.endTime,
      startOffsetMinutes: occurrence.startOffsetMinutes + shift,
      endOffsetMinutes: occurrence.endOffsetMinutes + shift,
    };
  });
}
