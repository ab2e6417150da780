/** A held booking: how long it lasts, and what to do with it. */
import { Clock, TriangleAlert } from 'lucide-react';
import { useState } from 'react';
import { type HeldBooking, type SessionRow, SessionsApiError } from 'therapist-sessions';
import { minutesSeconds } from './times.ts';
import { Busy, Failure, useAction, useSeconds } from './ui.tsx';

/** Seconds left at which the rest is said aloud. */
const spokenAt = [120, 60, 30];

/** What the notice about a booking needs of its sessions. */
export type Booked = Pick<SessionRow, 'id' | 'start_time' | 'end_time'>;

interface Props {
  readonly held: HeldBooking;
  onConfirmed(sessions: readonly Booked[]): void;
  onLetGo(): void;
  onAgain(): void;
}

export function Held({ held, onConfirmed, onLetGo, onAgain }: Props) {
  useSeconds();
  const { busy, run, error } = useAction();
  const [lost, setLost] = useState(false);
  const left = held.secondsLeft();
  const over = (left === 0 && !busy) || lost;
  const spoken = spokenAt.findLast((seconds) => left <= seconds && left > 0);
  const count = held.occurrences.length;
  return (
    <section className={over ? 'held over' : left <= 60 ? 'held soon' : 'held'} aria-labelledby="held">
      <h3 id="held">{over ? 'The hold has ended' : 'Held for you'}</h3>
      {over ? (
        <p role="alert">These times may be gone. What you entered is still here.</p>
      ) : (
        <p>
          {left <= 60 ? <TriangleAlert size={16} aria-hidden /> : <Clock size={16} aria-hidden />}{' '}
          <strong className="tabular">{minutesSeconds(left)}</strong> left to confirm. Nobody else can take{' '}
          {count === 1 ? 'this time' : 'these times'}.
        </p>
      )}
      <p className="hidden" role="status">
        {over ? 'The hold has ended.' : spoken ? `${spoken >= 60 ? `${spoken / 60} minutes` : `${spoken} seconds`} left` : ''}
      </p>
      <Failure error={error} />
      <div className="row">
        {over ? (
          <button type="button" className="primary" onClick={onAgain}>
            Hold again
          </button>
        ) : (
          <Busy
            busy={busy}
            busyLabel="Booking…"
            type="button"
            className="primary"
            onClick={() =>
              // The clock is asked again here: a tab that slept may not have drawn the end yet.
              held.secondsLeft() === 0
                ? setLost(true)
                : void run(async () => {
                    try {
                      onConfirmed((await held.confirm()).sessions);
                    } catch (failure) {
                      if (failure instanceof SessionsApiError && failure.status === 410) return setLost(true);
                      throw failure;
                    }
                  })
            }
          >
            {count === 1 ? 'Book' : `Book ${count} sessions`}
          </Busy>
        )}
        <button
          type="button"
          onClick={() =>
            void run(async () => {
              await held.release();
              onLetGo();
            })
          }
        >
          Let go
        </button>
      </div>
    </section>
  );
}
