/** What the booking core should do, in a few lines of arithmetic: a diary of slots, kept in memory. */

/** A stretch of the diary in units of half an hour, `[from, to)`. */
export interface Span {
  from: number;
  to: number;
}

/** A session as the diary knows it. */
export interface ModelSession extends Span {
  id: string;
  therapist: number;
  client: number;
  status: 'scheduled' | 'in_progress' | 'completed' | 'cancelled' | 'no_show';
}

/** One call of sessions-hold that succeeded. */
export interface ModelBatch {
  /** What the database answered: needed to confirm and release. */
  held: import('../races/rivals.ts').Held;
  therapist: number;
  client: number;
  spans: Span[];
  /** The sessions it moves, one for each span; null when it books anew. */
  moves: string[] | null;
  /** Stopped: one of the sessions it moves is not scheduled any more. */
  status: 'held' | 'stopped' | 'confirmed' | 'released' | 'expired';
  /** ISO 8601. */
  expiresAt: string;
}

/** The codes a hold can be refused with here, or null. */
export type Verdict =
  | null
  | 'THERAPIST_CONFLICT'
  | 'CLIENT_CONFLICT'
  | 'THERAPIST_HOLD_CONFLICT'
  | 'CLIENT_HOLD_CONFLICT'
  | 'SESSION_BEING_MOVED'
  | 'SESSION_NOT_MOVABLE';

const overlap = (a: Span, b: Span) => a.from < b.to && b.from < a.to;
export const takesPlace = ({ status }: ModelSession) => status !== 'cancelled' && status !== 'no_show';

/** Everything that has happened so far. */
export class Diary {
  sessions: ModelSession[] = [];
  batches: ModelBatch[] = [];

  session(id: string): ModelSession {
    const found = this.sessions.find((each) => each.id === id);
    if (!found) throw new Error(`no session ${id}`);
    return found;
  }

  /** A session changes its status; the move that it was part of can never confirm, and is let go. */
  end(session: ModelSession, status: ModelSession['status']): void {
    session.status = status;
    if (status === 'scheduled') return;
    for (const batch of this.batches)
      if (batch.status === 'held' && batch.moves?.includes(session.id)) batch.status = 'stopped';
  }

  /** Who is in the way of a therapist and a client in these spans. */
  inTheWay(therapist: number, client: number, spans: Span[], except: string[] = []) {
    const meets = (each: Span) => spans.some((span) => overlap(span, each));
    const sessions = this.sessions.filter(
      (each) => takesPlace(each) && !except.includes(each.id) && meets(each),
    );
    // A session is not in the way of its own move, nor the move in its way.
    const batches = this.batches.filter(
      ({ status, spans, moves }) =>
        status === 'held' && spans.some(meets) && !moves?.some((id) => except.includes(id)),
    );
    return {
      therapist: {
        sessions: sessions.filter((each) => each.therapist === therapist),
        batches: batches.filter((each) => each.therapist === therapist),
      },
      client: {
        sessions: sessions.filter((each) => each.client === client),
        batches: batches.filter((each) => each.client === client),
      },
    };
  }

  /** What a hold must answer: its code, and when to try again. */
  judgeHold(
    therapist: number,
    client: number,
    spans: Span[],
    moves: string[] | null,
  ): { verdict: Verdict; retryAfter: string | null } {
    if (moves?.some((id) => this.session(id).status !== 'scheduled'))
      return { verdict: 'SESSION_NOT_MOVABLE', retryAfter: null };
    const rival = this.batches.find(
      (batch) => batch.status === 'held' && batch.moves?.some((id) => moves?.includes(id)),
    );
    if (rival) return { verdict: 'SESSION_BEING_MOVED', retryAfter: rival.expiresAt };

    const way = this.inTheWay(therapist, client, spans, moves ?? []);
    const clears = [...way.therapist.batches, ...way.client.batches].map(({ expiresAt }) => expiresAt).sort();
    if (way.therapist.sessions.length > 0) return { verdict: 'THERAPIST_CONFLICT', retryAfter: null };
    if (way.client.sessions.length > 0) return { verdict: 'CLIENT_CONFLICT', retryAfter: null };
    const retryAfter = clears.at(-1) ?? null;
    if (way.therapist.batches.length > 0) return { verdict: 'THERAPIST_HOLD_CONFLICT', retryAfter };
    if (way.client.batches.length > 0) return { verdict: 'CLIENT_HOLD_CONFLICT', retryAfter };
    return { verdict: null, retryAfter: null };
  }

  /** Whether a session may be written directly. */
  admits(therapist: number, client: number, span: Span, except: string[] = []): boolean {
    const { therapist: hers, client: theirs } = this.inTheWay(therapist, client, [span], except);
    return [hers, theirs].every(({ sessions, batches }) => sessions.length + batches.length === 0);
  }
}
