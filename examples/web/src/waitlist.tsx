/** Who waits for a slot, and what each is offered right now. */
import { minutesAndSeconds } from 'therapist-sessions';
import { useAction, useClients, useMe, useTherapists, useWaitlist, type Waiting } from 'therapist-sessions/react';
import { Button, Failure, Layer, type Notice, State } from './ui.tsx';

export function Waitlist({ onClose, onDone }: { onClose(): void; onDone(notice: Notice): void }) {
  const { data, error, isPending } = useWaitlist();
  const { nameOf } = useClients(data?.map(({ entry }) => entry.client_id) ?? []);
  const empty = data?.length === 0 && 'Nobody is waiting. Add a client from a booking that was refused.';
  return (
    <Layer title="Waitlist" onClose={onClose}>
      <State pending={isPending} error={error} empty={empty} />
      <ul className="cards">
        {data?.map((waiting) => (
          <Entry key={waiting.entry.id} waiting={waiting} name={nameOf(waiting.entry.client_id)} onDone={onDone} />
        ))}
      </ul>
    </Layer>
  );
}

function Entry({ waiting, name, onDone }: { waiting: Waiting; name: string; onDone(notice: Notice): void }) {
  const { times } = useMe();
  const { byId } = useTherapists();
  const action = useAction();
  const { entry, offer, wishes, secondsLeft, book, pass, leave } = waiting;
  const when = offer && times.dayRange(offer.startTime, offer.endTime);
  const passed = { text: 'Passed. The next entry it suits is offered the time.' };
  return (
    <li>
      <strong>{name}</strong> · {entry.cpt_code}
      {entry.minutes && ` · ${entry.minutes} min`}
      <p className="muted small-text">
        {wishes}
        {entry.therapist_id && ` with ${byId.get(entry.therapist_id)?.display_name}`} · waiting since{' '}
        {times.day(entry.created_at)} · priority {entry.priority}
      </p>
      <Failure error={action.error} />
      {offer && secondsLeft > 0 && (
        <div className="held">
          <p>
            Offered: {when} with {byId.get(offer.therapistId)?.display_name},{' '}
            <span className="tabular">{minutesAndSeconds(secondsLeft)}</span> left
          </p>
          <div className="row">
            <Button
              label="Book"
              by={action}
              saying="Booking…"
              look="primary"
              press={() => book().then(() => onDone({ text: `Booked: ${when}.` }))}
            />
            <Button label="Pass" by={action} saying="Passing…" press={() => pass().then(() => onDone(passed))} />
          </div>
        </div>
      )}
      <Button label="Take off the list" by={action} look="small" press={leave} />
    </li>
  );
}
