/** Request bodies of the booking RPCs, for appointments of the synthetic clinics. */
import { type Appointment, at, clientId, therapistId } from './clinic.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;

/** The service that payers of the synthetic clinics have authorized. */
export const CODE = '97153';

/** Answer of an RPC: what it did, or the code of what stands against it. */
export interface Outcome {
  ok: boolean;
  status: number;
  code?: string;
  body: {
    holdKey: string;
    holds: { holdKey: string }[];
    session?: { id: string; series_id?: string | null };
    sessions?: { id: string }[];
    summary?: { cancelledCount: number };
  };
}

/** Body of a hold, with what a confirmation has to repeat. */
export interface HoldRequest {
  therapist_id: string;
  client_id: string;
  start_time: string;
  end_time: string;
  occurrences?: { start_time: string; end_time: string }[];
  [field: string]: unknown;
}

/** Body of `hold_sessions`; with more than one occurrence, a series that steps by days. */
export function holdRequest(
  organization: number,
  { therapist, client, start, end }: Appointment,
  {
    occurrences = 1,
    stepDays = 7,
    ...more
  }: { occurrences?: number; stepDays?: number; cpt_code?: string } = {},
): HoldRequest {
  const window = (index: number) => ({
    start_time: new Date(start + index * stepDays * DAY).toISOString(),
    end_time: new Date(end + index * stepDays * DAY).toISOString(),
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
  });
  return {
    therapist_id: therapistId(organization, therapist),
    client_id: clientId(organization, therapist, client),
    time_zone: 'UTC',
    ...window(0),
    ...(occurrences > 1
      ? { occurrences: Array.from({ length: occurrences }, (_, index) => window(index)) }
      : {}),
    ...more,
  };
}

/** Body of `confirm_sessions` for what a hold has answered. */
export function confirmRequest(held: HoldRequest, answer: Outcome['body']): Record<string, unknown> {
  const offsets = { start_time_offset_minutes: 0, end_time_offset_minutes: 0 };
  const session = ({ start_time, end_time }: { start_time: string; end_time: string }) => ({
    therapist_id: held.therapist_id,
    client_id: held.client_id,
    start_time,
    end_time,
  });
  return {
    hold_key: answer.holdKey,
    time_zone: 'UTC',
    session: session(held),
    ...offsets,
    ...(held.occurrences
      ? {
          occurrences: held.occurrences.map((occurrence, index) => ({
            hold_key: answer.holds[index]?.holdKey,
            session: session(occurrence),
            ...offsets,
          })),
        }
      : {}),
  };
}

/** Ids of the sessions a confirmation has made. */
export const sessionIds = ({ session, sessions }: Outcome['body']): string[] =>
  sessions ? sessions.map(({ id }) => id) : session ? [session.id] : [];

/**
 * Gives each free half hour once: evenings from 16:00 UTC on (days are full from 08:00 to 16:00), from two weeks ahead,
 * therapists in turn.
 */
export class FreeTimes {
  readonly #therapists: number[];
  #given = 0;
  constructor(therapists: number[]) {
    this.#therapists = therapists;
  }
  /** The next free half hour, for one of the therapist's clients. */
  next(client: number): Appointment {
    const number = this.#given++;
    const therapist = this.#therapists[number % this.#therapists.length] ?? 0;
    const slot = Math.floor(number / this.#therapists.length);
    const start = at(14 + Math.floor(slot / 16), 16 * 60 + (slot % 16) * 30);
    return { therapist, client, start, end: start + 30 * MINUTE };
  }
}
