/** Who waits for a slot, and what each is offered right now. */
import { cancelSessionHold, confirmSessionBooking, fetchWaitlist, leaveWaitlist, type WaitingEntry } from 'therapist-sessions';
import { supabase, useClients, useRead, useTherapists } from './queries.ts';
import { useMe } from './session.tsx';
import { minutesSeconds, type Times } from './times.ts';
import { Failure, type Notice, Panel, State, useAction, useSeconds } from './ui.tsx';

/** The spans of a multirange, as instants. */
function spansOf(windows: unknown): { from: string; to: string }[] {
  return [...String(windows).matchAll(/["[(]*([^",[({]+)"?,"?([^")\]]+)"?[)\]]/g)].map(([, from = '', to = '']) => ({
    from: new Date(from.replace(' ', 'T')).toISOString(),
    to: new Date(to.replace(' ', 'T')).toISOString(),
  }));
}

export function Waitlist({ onClose, onBooked }: { onClose(): void; onBooked(notice: Notice): void }) {
  const { times } = useMe();
  const {
    data: entries,
    error,
    isPending,
    refetch,
  } = useRead(['waitlist'], (signal) => fetchWaitlist(supabase, { signal }), {
    refetchInterval: 15_000,
    staleTime: 0,
  });
  return (
    <Panel title="Waitlist" onClose={onClose}>
      <State
        pending={isPending}
        error={error}
        empty={entries?.length === 0 && 'Nobody is waiting. Add a client from a booking that was refused.'}
      />
      <ul className="cards">
        {entries?.map((one) => (
          <Entry key={one.entry.id} one={one} times={times} onBooked={onBooked} onChanged={() => void refetch()} />
        ))}
      </ul>
    </Panel>
  );
}

function Entry({
  one: { entry, offer },
  times,
  onBooked,
  onChanged,
}: {
  one: WaitingEntry;
  times: Times;
  onBooked(notice: Notice): void;
  onChanged(): void;
}) {
  const { nameOf } = useClients();
  const { byId } = useTherapists();
  const { busy, run, error } = useAction();
  useSeconds(offer !== null);
  const left = offer ? Math.max(0, Math.floor((Date.parse(offer.expiresAt) - Date.now()) / 1000)) : 0;
  const wish = spansOf(entry.windows).map(({ from, to }) =>
    times.civil(from).slice(0, 10) === times.civil(to).slice(0, 10)
      ? times.dayRange(from, to)
      : `${times.day(from)} to ${times.day(new Date(Date.parse(to) - 1))}`,
  );
  return (
    <li>
      <strong>{nameOf(entry.client_id)}</strong> · {entry.cpt_code}
      {entry.minutes && ` · ${entry.minutes} min`}
      <p className="muted small-text">
        {wish.join('; ')}
        {entry.therapist_id && ` with ${byId.get(entry.therapist_id)?.display_name}`} · waiting since{' '}
        {times.day(entry.created_at)} · priority {entry.priority}
      </p>
      <Failure error={error} />
      {offer && left > 0 && (
        <div className="held">
          <p>
            Offered: {times.dayRange(offer.startTime, offer.endTime)} with {byId.get(offer.therapistId)?.display_name},{' '}
            <span className="tabular">{minutesSeconds(left)}</span> left
          </p>
          <div className="row">
            <button
              type="button"
              className="primary"
              disabled={busy}
              onClick={() =>
                void run(async () => {
                  const session = {
                    therapist_id: offer.therapistId,
                    client_id: entry.client_id,
                    start_time: offer.startTime,
                    end_time: offer.endTime,
                  };
                  await confirmSessionBooking(supabase, {
                    holdKey: offer.holdKey,
                    session,
                    timeZone: offer.timeZone,
                    cpt: { code: entry.cpt_code },
                  });
                  onBooked({ text: `Booked: ${times.dayRange(offer.startTime, offer.endTime)}.` });
                })
              }
            >
              Book
            </button>
            <button
              type="button"
              disabled={busy}
              onClick={() =>
                void run(async () => {
                  await cancelSessionHold(supabase, { holdKey: offer.holdKey });
                  onChanged();
                })
              }
            >
              Pass
            </button>
          </div>
        </div>
      )}
      <button
        type="button"
        className="small"
        disabled={busy}
        onClick={() =>
          void run(async () => {
            await leaveWaitlist(supabase, { entryId: entry.id });
            onChanged();
          })
        }
      >
        Take off the list
      </button>
    </li>
  );
}
