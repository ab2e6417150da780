/** Moving by form, which every drag has as its equal (WCAG 2.5.7), and cancelling. */
import { useState } from 'react';
import { type BookSessionRequest, cancelSessions, type SessionRow, type Therapist } from 'therapist-sessions';
import { supabase } from './queries.ts';
import { useMe } from './session.tsx';
import type { Times } from './times.ts';
import { Busy, Dialog, Failure, useAction } from './ui.tsx';
import type { Slot } from './week-calendar.tsx';

/** The booking that moves a session to a slot. It keeps the session's service. */
export function moveRequest(session: SessionRow, slot: Slot, times: Times): BookSessionRequest {
  const startTime = times.instant(slot.start.slice(0, 19));
  // What a block shows as its end is elapsed time after its start.
  const elapsed = Date.parse(`${slot.end}Z`) - Date.parse(`${slot.start}Z`);
  return {
    session: {
      id: session.id,
      therapist_id: slot.column || session.therapist_id,
      client_id: session.client_id,
      start_time: startTime,
      end_time: new Date(Date.parse(startTime) + elapsed).toISOString(),
      session_type: session.session_type,
      location_type: session.location_type,
    },
    timeZone: times.timeZone,
    holdSeconds: 30,
  };
}

interface MoveProps {
  readonly session: SessionRow;
  readonly therapists: readonly Therapist[];
  onClose(): void;
  onMove(slot: Slot): Promise<void>;
}

export function MoveDialog({ session, therapists, onClose, onMove }: MoveProps) {
  const { times } = useMe();
  const from = times.civil(session.start_time);
  const to = times.civil(session.end_time);
  const { busy, run } = useAction();
  return (
    <Dialog title="Move" onClose={onClose}>
      <p className="muted">Now {times.dayRange(session.start_time, session.end_time)}.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const data = new FormData(event.currentTarget);
          const field = (name: string) => String(data.get(name) ?? '');
          const start = `${field('date')}T${field('from')}:00`;
          void run(() =>
            onMove({
              start,
              end: `${field('date')}T${field('to')}:00`,
              column: field('therapist') || undefined,
            }),
          );
        }}
      >
        <div className="fields">
          <label>
            Date
            <input name="date" type="date" required defaultValue={from.slice(0, 10)} />
          </label>
          <label>
            From
            <input name="from" type="time" step={900} required defaultValue={from.slice(11, 16)} />
          </label>
          <label>
            To
            <input name="to" type="time" step={900} required defaultValue={to.slice(11, 16)} />
          </label>
        </div>
        {therapists.length > 0 && (
          <label>
            Therapist
            <select name="therapist" defaultValue={session.therapist_id}>
              {therapists.map(({ id, display_name, credential }) => (
                <option key={id} value={id}>
                  {display_name} · {credential}
                </option>
              ))}
            </select>
          </label>
        )}
        {session.series_id && <p>Only this date moves. The rest of the series stays where it is.</p>}
        {session.group_id && <p>This moves the whole group.</p>}
        <div className="row">
          <Busy busy={busy} busyLabel="Moving…" className="primary">
            Move
          </Busy>
          <button type="button" onClick={onClose}>
            Leave it
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const attributions = { client: 'Family', staff: 'Clinic or staff', unknown: 'Not known' } as const;
type Attribution = keyof typeof attributions;

export function Attributions() {
  return (
    <fieldset>
      <legend>Who cancelled?</legend>
      {Object.entries(attributions).map(([value, label]) => (
        <label key={value} className="check">
          <input type="radio" name="attribution" value={value} required /> {label}
        </label>
      ))}
    </fieldset>
  );
}

export function CancelDialog({
  session,
  onClose,
  onCancelled,
}: {
  session: SessionRow;
  onClose(): void;
  onCancelled(text: string): void;
}) {
  const { times } = useMe();
  const { busy, run, error } = useAction();
  const [length, setLength] = useState(0);
  return (
    <Dialog title={`Cancel ${times.dayRange(session.start_time, session.end_time)}`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const data = new FormData(event.currentTarget);
          void run(async () => {
            await cancelSessions(supabase, {
              sessionIds: [session.id],
              cancellationAttribution: data.get('attribution') as Attribution,
              reason: String(data.get('reason') ?? '').trim() || undefined,
            });
            onCancelled('Cancelled. The time is free again, and is offered to the waitlist.');
          });
        }}
      >
        <Attributions />
        <label>
          Reason
          <input
            name="reason"
            maxLength={500}
            aria-describedby="reason-hint"
            onChange={(event) => setLength(event.target.value.length)}
          />
        </label>
        <p id="reason-hint" className="muted small-text">
          Do not write clinical details here.{length > 400 && ` ${500 - length} characters left.`}
        </p>
        {session.series_id && <p>Only this date is cancelled. The rest of the series stays.</p>}
        <Failure error={error} />
        <div className="row">
          <Busy busy={busy} busyLabel="Cancelling…" className="danger">
            Cancel session
          </Busy>
          <button type="button" onClick={onClose}>
            Keep
          </button>
        </div>
      </form>
    </Dialog>
  );
}
