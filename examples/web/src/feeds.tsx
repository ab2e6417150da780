/** The secret addresses at which calendar programs read along: made, copied once, ended. */
import { useAction, useCalendarFeeds, useMe } from 'therapist-sessions/react';
import { apiUrl } from './api.ts';
import { Button, Failure, Field, State } from './ui.tsx';

/** Those of somebody; an admin may end another's, and only one's own can be made. */
export function Feeds({ ownerId }: { ownerId?: string }) {
  const { times, userId } = useMe();
  const action = useAction();
  const { data, error, isPending, address, create, revoke } = useCalendarFeeds(apiUrl, ownerId);
  const isOwn = !ownerId || ownerId === userId;
  return (
    <>
      <p>
        A calendar program that has {isOwn ? 'your' : 'such an'} address shows when sessions are: not with whom, and not where.
        Whoever learns the address sees the same.
      </p>
      <State pending={isPending} error={error} empty={data?.length === 0 && 'No calendar reads along.'} />
      <ul className="cards">
        {data?.map(({ id, created_at }) => (
          <li key={id} className="row">
            Made {times.moment(created_at)}
            <Button label="End" by={action} look="small" press={() => revoke(id)} />
          </li>
        ))}
      </ul>
      {address && (
        <>
          <Field label="Address, shown this once" readOnly value={address} onFocus={({ target }) => target.select()} />
          <Button label="Copy" by={action} press={() => navigator.clipboard.writeText(address)} />
        </>
      )}
      {isOwn && <Button label="Make an address" by={action} saying="Making…" look="primary" press={create} />}
      <Failure error={action.error} />
    </>
  );
}
