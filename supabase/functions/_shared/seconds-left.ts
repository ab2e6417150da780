/** How long until something expires, said beside when: a countdown must not depend on the caller's clock. */
import type { Answer } from './outcome.ts';

type Expiring = { expiresAt?: unknown; secondsLeft?: unknown };

/**
 * Puts `secondsLeft` beside each `expiresAt`. What the database counted itself stays, unless the answer is a replay: a
 * kept answer counted from another moment.
 *
 * @param answer - what a booking function answers
 * @param now - milliseconds since 1970
 */
export function withSecondsLeft(answer: Answer, now: number = Date.now()): Answer {
  const count = (value: unknown, recount: boolean): unknown => {
    if (Array.isArray(value)) return value.map((each) => count(each, recount));
    if (typeof value !== 'object' || value === null) return value;
    const { expiresAt, secondsLeft } = value as Expiring;
    const inner = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, count(each, recount)]));
    if (typeof expiresAt !== 'string' || (typeof secondsLeft === 'number' && !recount)) return inner;
    return { ...inner, secondsLeft: Math.max(0, Math.ceil((Date.parse(expiresAt) - now) / 1000)) };
  };
  switch (answer.kind) {
    case 'success':
      return { ...answer, data: count(answer.data, answer.replayed) };
    case 'conflict':
      return { ...answer, conflicts: answer.conflicts.map((conflict) => count(conflict, false)) };
    default:
      return answer;
  }
}
