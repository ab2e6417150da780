/** A refused booking as it changes while somebody looks at it. */
import { useEffect, useState } from 'react';
import {
  type AlternativeRange,
  type Countdown,
  countdown,
  explainRefusal,
  type OverridableRule,
  overridableRule,
  rangesOf,
  type SessionsApiError,
} from '../lib/index.ts';
import { useSeconds } from './actions.ts';
import { useTherapists } from './reads.ts';
import { useMe } from './session.ts';

/** A refusal in words, and what can be done about it. */
export interface RefusalState {
  readonly heading: string;
  readonly reasons: readonly string[];
  readonly blockedDates: number;
  /** Seconds until trying again may help; null when waiting is of no use. */
  readonly secondsLeft: number | null;
  /** What is free instead, runs of starts together. */
  readonly ranges: readonly AlternativeRange[];
  /** The rule an admin may override; null for everybody else, and for what is taken. */
  readonly rule: OverridableRule | null;
}

/**
 * Puts a refusal into words, and counts down to the next try.
 *
 * @param error - the 409
 * @param therapistName - whose time was asked for
 * @param isTaken - a booking has become visible meanwhile: what was held is lost, and waiting is of no use any more
 */
export function useRefusal(error: SessionsApiError, therapistName?: string, isTaken = false): RefusalState {
  const { times, isAdmin } = useMe();
  const [left, setLeft] = useState<Countdown | null>(null);
  useEffect(
    () => setLeft(error.retryAfterSeconds === null ? null : countdown(error.retryAfterSeconds)),
    [error],
  );
  const { byId } = useTherapists();
  const therapistNameOf = (id: string) => byId.get(id)?.display_name;
  const said = explainRefusal(error, { timeZone: times.timeZone, therapistName, therapistNameOf });
  // What was refused for a session was never a matter of waiting.
  const isLost = isTaken && error.retryAfterSeconds !== null;
  const secondsLeft = left && !isLost ? left.secondsLeft() : null;
  useSeconds(secondsLeft !== null);
  return {
    heading: isLost ? 'This time is taken' : said.heading,
    reasons: isLost ? ['Somebody has booked this time meanwhile.'] : said.reasons,
    blockedDates: said.blockedDates,
    secondsLeft,
    ranges: rangesOf(error.alternatives),
    rule: isAdmin ? overridableRule(error) : null,
  };
}
