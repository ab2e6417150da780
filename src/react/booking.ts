/** Booking at once, or holding while somebody is asked: where it stands, and what came out. */
import { useCallback, useEffect, useRef, useState } from 'react';
import {
  type BookSessionRequest,
  bookSession,
  cancelSessionHold,
  changeSeries,
  clockReading,
  confirmSeriesChange,
  countdown,
  holdBooking,
  holdSeriesChange,
  type SeriesChangeRequest,
  type SessionRow,
  SessionsApiError,
} from '../lib/index.ts';
import { useAction, useSeconds } from './actions.ts';
import { type SessionsClient, useSupabase } from './session.ts';

/** What was booked, and how many dates of a series were left out. */
export interface Made {
  readonly sessions: readonly Pick<SessionRow, 'id' | 'start_time' | 'end_time'>[];
  readonly leftOut: number;
}

/** Something that is held and waits for a yes. */
export interface Waits {
  /** How many sessions. */
  readonly count: number;
  secondsLeft(): number;
}

/** What is asked for: a booking or a move, or a change of several sessions of a series. */
export type Wish = BookSessionRequest | SeriesChangeRequest;

interface Held extends Waits {
  readonly leftOut: number;
  confirm(): Promise<{ readonly sessions: Made['sessions'] }>;
  release(): Promise<unknown>;
}

/** Holds what is wished for, for as long as a call to somebody takes. */
async function holdWish(supabase: SessionsClient, wish: Wish): Promise<Held> {
  if (!('seriesId' in wish)) {
    const held = await holdBooking(supabase, { holdSeconds: HOLD_SECONDS, ...wish });
    return { ...held, count: held.occurrences.length, leftOut: held.skipped.length };
  }
  const sent = clockReading();
  const held = await holdSeriesChange(supabase, { holdSeconds: HOLD_SECONDS, ...wish });
  const left = countdown(held.secondsLeft, sent);
  return {
    count: held.holds.length,
    leftOut: 0,
    secondsLeft: () => left.secondsLeft(),
    confirm: () => confirmSeriesChange(supabase, { held }),
    release: () => cancelSessionHold(supabase, { holdKey: held.holdKey }),
  };
}

/** Carries out what is wished for at once. */
async function bookWish(supabase: SessionsClient, wish: Wish): Promise<Made> {
  if ('seriesId' in wish) return { ...(await changeSeries(supabase, wish)), leftOut: 0 };
  const { sessions, skipped } = await bookSession(supabase, wish);
  return { sessions, leftOut: skipped.length };
}

/** Long enough for a call to a parent. */
const HOLD_SECONDS = 300;

/** How a booking is going. */
export interface Booking {
  readonly busy: boolean;
  /** What went wrong and is neither a refusal nor a field's. */
  readonly error: unknown;
  /** The 409, with what is in the way and what is free instead. */
  readonly refused: SessionsApiError | null;
  /** The 400, with its `issues`. */
  readonly invalid: SessionsApiError | null;
  /** What is held and waits for a yes. */
  readonly held: Waits | null;
  /** The hold has ended, by the server's word or by the clock. */
  readonly isHoldOver: boolean;
  book(wish: Wish): Promise<void>;
  hold(wish: Wish): Promise<void>;
  /** Makes sessions of what is held. The clock is asked first: a tab that slept may not have drawn the end yet. */
  confirm(): Promise<void>;
  /** Gives back what is held. */
  letGo(): Promise<void>;
  /** Forgets a refusal, to choose again. */
  dismiss(): void;
}

/**
 * Books and holds. Pressing again while the outcome of the same wish is unknown books nothing twice: it has the same key.
 * Leaving the screen gives back what is held.
 *
 * @param onMade - told what was booked
 * @param onHeld - told that something was held or given back
 * @param before - a refusal to begin with
 */
export function useBooking(
  onMade: (made: Made) => void,
  onHeld: () => void,
  before: SessionsApiError | null = null,
): Booking {
  const supabase = useSupabase();
  const { busy, error, run } = useAction();
  const [refused, setRefused] = useState(before);
  const [invalid, setInvalid] = useState<SessionsApiError | null>(null);
  const [held, setHeld] = useState<Held | null>(null);
  const [isLost, setLost] = useState(false);
  const kept = useRef<Held | null>(null);
  const intent = useRef<{ wish: string; key: string } | null>(null);
  const keep = (next: Held | null) => {
    kept.current = next;
    setHeld(next);
    setLost(false);
  };
  // What cannot be given back expires.
  useEffect(() => () => void kept.current?.release().catch(() => {}), []);

  const attempt = (request: Wish, how: 'book' | 'hold') =>
    run(async () => {
      setRefused(null);
      setInvalid(null);
      keep(null);
      const wish = JSON.stringify([request, how]);
      if (intent.current?.wish !== wish) intent.current = { wish, key: crypto.randomUUID() };
      const idempotencyKey = intent.current.key;
      try {
        if (how === 'hold') {
          keep(await holdWish(supabase, { ...request, idempotencyKey }));
          intent.current = null;
          return onHeld();
        }
        onMade(await bookWish(supabase, { ...request, idempotencyKey }));
      } catch (failure) {
        const isAnswer = failure instanceof SessionsApiError && failure.status !== 0 && failure.status < 500;
        if (!isAnswer) throw failure;
        intent.current = null;
        if (failure.status === 409) setRefused(failure);
        else if (failure.status === 400) setInvalid(failure);
        else throw failure;
      }
    });
  return {
    ...{ busy, error, refused, invalid, held },
    // Asked anew at each look: whoever counts the seconds is drawn again, and this hook is not.
    get isHoldOver() {
      return held !== null && (isLost || (held.secondsLeft() === 0 && !busy));
    },
    book: (request) => attempt(request, 'book'),
    hold: (request) => attempt(request, 'hold'),
    async confirm() {
      if (!held) return;
      if (held.secondsLeft() === 0) return setLost(true);
      await run(async () => {
        try {
          const { sessions } = await held.confirm();
          keep(null);
          onMade({ sessions, leftOut: held.leftOut });
        } catch (failure) {
          if (failure instanceof SessionsApiError && failure.status === 410) return setLost(true);
          throw failure;
        }
      });
    },
    letGo: () =>
      run(async () => {
        await held?.release();
        keep(null);
        onHeld();
      }),
    dismiss: useCallback(() => setRefused(null), []),
  };
}

/** Seconds left at which the rest is said aloud. */
const SPOKEN_AT = [120, 60, 30];
const SOON_SECONDS = 60;

/** A hold as it runs out: what is left, and when it is said. */
export interface Running {
  readonly secondsLeft: number;
  readonly tone: 'held' | 'soon' | 'over';
  /** What a screen reader is told, at a few moments only. */
  readonly spoken: string;
}

/**
 * Follows what a booking holds, second by second.
 *
 * @param booking - the booking
 * @returns null when nothing is held
 */
export function useRunning({ held, isHoldOver }: Booking): Running | null {
  useSeconds(held !== null);
  if (!held) return null;
  const secondsLeft = held.secondsLeft();
  const spoken = SPOKEN_AT.findLast((seconds) => secondsLeft <= seconds && secondsLeft > 0);
  return {
    secondsLeft,
    tone: isHoldOver ? 'over' : secondsLeft <= SOON_SECONDS ? 'soon' : 'held',
    spoken: isHoldOver ? 'The hold has ended.' : spoken ? `${spoken} seconds left` : '',
  };
}
