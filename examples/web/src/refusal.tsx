/** A refused booking: what is in the way, when to try again, and what is free instead, one press away. */
import { CircleAlert } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import {
  type Countdown,
  countdown,
  explainRefusal,
  type RefusalContext,
  rangesOf,
  type SessionsApiError,
} from 'therapist-sessions';
import { useMe } from './session.tsx';
import { minutesSeconds } from './times.ts';
import { Panel, useAction, useSeconds } from './ui.tsx';

interface Props {
  readonly error: SessionsApiError;
  readonly context: RefusalContext;
  /** A rival's booking has become visible meanwhile: waiting is of no use any more. */
  readonly isTaken?: boolean;
  readonly busy?: boolean;
  onTake(startTime: string, endTime: string): Promise<unknown>;
  onRetry(): Promise<unknown>;
  onOther?(): void;
  onWait?(): Promise<unknown>;
}

export function Refusal({ error, context, isTaken = false, busy = false, onTake, onRetry, onOther, onWait }: Props) {
  const { times } = useMe();
  const heading = useRef<HTMLHeadingElement>(null);
  const { run } = useAction();
  const said = explainRefusal(error, context);
  const [left, setLeft] = useState<Countdown | null>(null);
  useEffect(() => {
    setLeft(error.retryAfterSeconds === null ? null : countdown(error.retryAfterSeconds));
    heading.current?.focus();
  }, [error]);
  // What was refused for a session was never a matter of waiting.
  const lost = isTaken && error.retryAfterSeconds !== null;
  const waits = left !== null && !lost;
  useSeconds(waits);
  const seconds = left?.secondsLeft() ?? 0;
  const ranges = rangesOf(error.alternatives);
  return (
    <section className="refusal" aria-labelledby="refused">
      <div role="alert">
        <h3 id="refused" tabIndex={-1} ref={heading}>
          <CircleAlert size={16} aria-hidden /> {lost ? 'This time is taken' : said.heading}
        </h3>
        <ul>
          {(lost ? ['Somebody has booked this time meanwhile.'] : said.reasons).map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      </div>
      {said.blockedDates > 1 && <p>{said.blockedDates} dates are taken. Leave them out above, or choose another time.</p>}
      {waits ? (
        <p>
          It may come free.{' '}
          <button type="button" disabled={seconds > 0 || busy} onClick={() => void run(onRetry)}>
            {seconds > 0 ? (
              <>
                Try again in <span className="tabular">{minutesSeconds(seconds)}</span>
              </>
            ) : (
              'Try again'
            )}
          </button>
        </p>
      ) : (
        <p className="muted">Waiting will not help.</p>
      )}
      {ranges.length > 0 ? <h4>Free instead</h4> : <p>No free time within 14 days.</p>}
      <ul className="alternatives">
        {ranges.map(({ starts }) => {
          const [first] = starts as [(typeof starts)[number]];
          return (
            <li key={first.startTime}>
              <button type="button" disabled={busy} onClick={() => void run(() => onTake(first.startTime, first.endTime))}>
                {times.dayRange(first.startTime, first.endTime)}
              </button>
              {starts.length > 1 && (
                <select
                  aria-label={`Another start on ${times.day(first.startTime)}`}
                  disabled={busy}
                  value=""
                  onChange={(event) => {
                    const chosen = starts[Number(event.target.value)];
                    if (chosen) void run(() => onTake(chosen.startTime, chosen.endTime));
                  }}
                >
                  <option value="">Other</option>
                  {starts.slice(1).map(({ startTime }, index) => (
                    <option key={startTime} value={index + 1}>
                      {times.clock(startTime)}
                    </option>
                  ))}
                </select>
              )}
            </li>
          );
        })}
      </ul>
      <div className="row">
        {onOther && (
          <button type="button" onClick={onOther}>
            Choose another time
          </button>
        )}
        {onWait && (
          <button type="button" disabled={busy} onClick={() => void run(onWait)}>
            Add to waitlist
          </button>
        )}
      </div>
    </section>
  );
}

/** The same for a move, beside the grid. */
export function RefusalPanel({ title, onClose, ...refusal }: Props & { title: string; onClose(): void }) {
  return (
    <Panel title={title} onClose={onClose}>
      <Refusal {...refusal} />
    </Panel>
  );
}
