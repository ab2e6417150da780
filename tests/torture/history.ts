/** What was asked, by whom and how, and what came back. The checker reads nothing else but this and the tables. */
import type { Actor } from './world.ts';

/** What a call does. */
export type Kind =
  | 'hold'
  | 'move'
  | 'confirm'
  | 'release'
  | 'cancel'
  /** Moves a group with all its clients. */
  | 'regroup'
  | 'insert'
  | 'update'
  /** Puts somebody on the waiting list, or takes her off. */
  | 'wait'
  /** Looks for what was offered to those who wait. */
  | 'look'
  /** Offers what became free to those who wait. */
  | 'offer'
  /** A payer approves more units. */
  | 'authorize'
  /** A user writes a new session over REST, with their own token. */
  | 'post'
  /** A user changes a session over REST, with their own token. */
  | 'patch'
  /** A therapist leaves the clinic, or comes back. */
  | 'leave'
  | 'return'
  /** The clinic closes for a day, or opens again. */
  | 'close'
  | 'open'
  /** What a client's payer covers ends earlier, or lasts again. */
  | 'coverage'
  | 'expire'
  | 'sweep';
/** How it travels. `pool` is SQL through a transaction-mode pooler. */
export type Transport = 'sql' | 'pool' | 'http';
export type Endpoint = 'sessions-hold' | 'sessions-confirm' | 'sessions-cancel';

export type Answer =
  /** It took effect, or replays an effect. */
  | { type: 'ok'; replayed: boolean; body: Record<string, unknown> }
  /** The product said no. */
  | { type: 'refused'; status: number; code: string }
  /** An error was raised: nothing may remain of it. */
  | { type: 'raised'; sqlstate: string; message: string }
  /** The connection broke before the commit was sent, or nothing was sent: nothing may remain of it. */
  | { type: 'lost'; why: string }
  /** The connection broke after the commit was sent: it may have taken effect, or not. */
  | { type: 'unknown'; why: string };

/** One call and its answer. */
export interface Call {
  /** Also the request id under which the audit knows it. */
  id: string;
  kind: Kind;
  transport: Transport;
  actor: Actor;
  endpoint: Endpoint | null;
  key: string | null;
  request: Record<string, unknown>;
  /** Milliseconds since the epoch. */
  startedAt: number;
  endedAt: number;
  answer: Answer;
}

/** Whether a writer past the booking functions says first whose rows it writes, as most do. */
export function namesOrganization(id: string): boolean {
  return !/[0-3]$/.test(id);
}

/** JSON with sorted keys: equal values have equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Counts by name, in order of first use. */
export class Tally {
  readonly counts = new Map<string, number>();
  add(name: string, by = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + by);
  }
  get(name: string): number {
    return this.counts.get(name) ?? 0;
  }
}

/** A short name of an answer: `ok`, `replayed`, `THERAPIST_CONFLICT`, `23P01`, `unknown`. */
export function nameOf(answer: Answer): string {
  switch (answer.type) {
    case 'ok':
      return answer.replayed ? 'replayed' : 'ok';
    case 'refused':
      return answer.code;
    case 'raised':
      return answer.sqlstate;
    default:
      return answer.type;
  }
}
