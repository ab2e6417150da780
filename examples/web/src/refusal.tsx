/** What stands between a wish and a booking: a hold that runs, or a refusal with what is free instead. */
import { CircleAlert, Clock, TriangleAlert } from 'lucide-react';
import { minutesAndSeconds, type SessionsApiError } from 'therapist-sessions';
import { type Booking, type BookingForm, useAction, useMe, useRefusal, useRunning } from 'therapist-sessions/react';
import { Button, Failure, Field, Form, takeFocus, takeFocusInLayer } from './ui.tsx';

/** A held booking: how long it lasts, and what to do with it. */
export function Held({ booking, label, onAgain }: { booking: Booking; label: string; onAgain(): Promise<unknown> }) {
  const action = useAction();
  const running = useRunning(booking);
  const { held, error } = booking;
  if (!held || !running) return null;
  const { secondsLeft, tone, spoken } = running;
  const over = tone === 'over';
  const Icon = tone === 'held' ? Clock : TriangleAlert;
  return (
    <section className={`held ${tone}`} aria-labelledby="held">
      <h3 id="held" tabIndex={-1} ref={takeFocusInLayer}>
        {over ? 'The hold has ended' : 'Held for you'}
      </h3>
      {over ? (
        <p role="alert">These times may be gone. What you entered is still here.</p>
      ) : (
        <p>
          <Icon size={16} aria-hidden /> <strong className="tabular">{minutesAndSeconds(secondsLeft)}</strong> left to confirm.
          Nobody else can take {held.count === 1 ? 'this time' : 'these times'}.
        </p>
      )}
      <p className="hidden" role="status">
        {spoken}
      </p>
      <Failure error={error} />
      <div className="row">
        {over ? (
          <Button label="Hold again" by={action} saying="Holding…" look="primary" press={onAgain} />
        ) : (
          <Button label={label} by={action} saying="Booking…" look="primary" press={booking.confirm} />
        )}
        <Button label="Let go" by={action} press={booking.letGo} />
      </div>
    </section>
  );
}

interface Props {
  readonly error: SessionsApiError;
  readonly therapistName?: string;
  /** A rival's booking has become visible meanwhile. */
  readonly isTaken: boolean;
  /** Books another start, or the same again, perhaps in spite of a rule. */
  readonly onTry: BookingForm['retry'];
  onOther(): void;
  onWait?(): Promise<unknown>;
}

export function Refusal({ error, therapistName, isTaken, onTry, onOther, onWait }: Props) {
  const { times } = useMe();
  const action = useAction();
  const { heading: title, reasons, blockedDates, secondsLeft: seconds, ranges, rule } = useRefusal(error, therapistName, isTaken);
  return (
    <section className="refusal" aria-labelledby="refused">
      <div role="alert">
        <h3 id="refused" tabIndex={-1} ref={takeFocus}>
          <CircleAlert size={16} aria-hidden /> {title}
        </h3>
        <ul>
          {reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      </div>
      {blockedDates > 1 && <p>{blockedDates} dates are taken. Leave them out above, or choose another time.</p>}
      {seconds === null ? (
        <p className="muted">Waiting will not help.</p>
      ) : (
        <p>
          It may come free.{' '}
          <Button
            label={seconds > 0 ? `Try again in ${minutesAndSeconds(seconds)}` : 'Try again'}
            by={action}
            disabled={seconds > 0}
            press={() => onTry(null)}
          />
        </p>
      )}
      {ranges.length > 0 ? <h4>Free instead</h4> : <p>No free time within 14 days.</p>}
      <ul className="alternatives">
        {ranges.map(({ starts }) => (
          <li key={starts[0]?.startTime}>
            {starts.map((slot, index) => {
              const label = index > 0 ? times.clock(slot.startTime) : times.dayRange(slot.startTime, slot.endTime);
              return <Button key={slot.startTime} label={label} by={action} press={() => onTry(slot)} />;
            })}
          </li>
        ))}
      </ul>
      <Failure error={action.error} />
      <div className="row">
        <Button label="Choose another time" press={onOther} />
        {onWait && <Button label="Add to waitlist" by={action} press={onWait} />}
      </div>
      {rule && (
        <details>
          <summary>Book anyway…</summary>
          <Form
            submit="Book anyway"
            saying="Booking…"
            danger
            onSubmit={({ reason = '' }) => onTry(null, { reason, rules: [rule] })}
          >
            <Field
              label="Reason"
              name="reason"
              required
              pattern="\s*\S+(\s+\S+){2,}\s*"
              title="At least three words"
              maxLength={500}
            />
            <p className="muted small-text">Only the rule of {rule} is overridden. This is recorded with your name.</p>
          </Form>
        </details>
      )}
    </section>
  );
}
