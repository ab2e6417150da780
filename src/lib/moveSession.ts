import {
  type BookingClient,
  type BookSessionRequest,
  type BookSessionResult,
  bookSession,
} from './bookSession.ts';
import { instantOf } from './localTime.ts';
import type { SessionRow } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';

/** Where a session goes, in local times of a zone. */
export interface MoveRequest
  extends Pick<
    BookSessionRequest,
    'accessToken' | 'signal' | 'retry' | 'onRetry' | 'idempotencyKey' | 'override'
  > {
  readonly session: SessionRow;
  /** The new start, a local time such as `2026-12-01T10:00`. */
  readonly start: string;
  /** How long it is from then on; as long as it was when absent. */
  readonly minutes?: number;
  /** Who renders it from then on; who does now when absent. */
  readonly therapistId?: string;
  /** The IANA zone of `start`. */
  readonly timeZone: string;
}

/**
 * Moves a session to another time, length or therapist. It keeps its service; a member of a group moves the whole group.
 *
 * @param supabase - a supabase-js client
 * @param payload - the session and where it goes; see {@link MoveRequest}
 * @returns the session as stored
 * @throws SessionsApiError 409 with `conflicts` and `alternatives`; the session then stays where it is
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { sessions } = await fetchSchedule(supabase, { from: '2026-11-30T08:00:00Z', to: '2026-12-07T08:00:00Z' });
 * const [session] = sessions;
 * if (session) await moveSession(supabase, { session, start: '2026-12-01T13:00', timeZone: session.time_zone });
 * ```
 */
export async function moveSession(supabase: BookingClient, payload: MoveRequest): Promise<BookSessionResult> {
  checkGiven(payload, 'session');
  const { session, start, minutes, therapistId, timeZone, ...options } = payload;
  const { instant } = instantOf(start, timeZone);
  const length = minutes ? minutes * 60_000 : Date.parse(session.end_time) - Date.parse(session.start_time);
  return await bookSession(supabase, {
    ...options,
    session: {
      id: session.id,
      therapist_id: therapistId ?? session.therapist_id,
      client_id: session.client_id,
      start_time: instant,
      end_time: new Date(Date.parse(instant) + length).toISOString(),
      session_type: session.session_type,
      location_type: session.location_type,
    },
    timeZone,
  });
}
