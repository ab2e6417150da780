/** A session begins, or is missed, on its own day: tests that need one which has begun bring it there first. */
import type pg from 'pg';

let begun = 0;

/**
 * Brings a session to where it began some hours ago, where no other session is, and gives it its status; one that has begun has ended as it was booked.
 *
 * @param client a connection as `postgres`: operators may place a session in the past
 */
export async function beginSession(
  client: pg.ClientBase,
  sessionId: string,
  status: 'in_progress' | 'no_show' = 'in_progress',
): Promise<void> {
  begun += 1;
  // Once it has begun it does not move any more.
  await client.query(
    `update public.sessions
      set start_time = date_trunc('minute', now()) - $2 * interval '13 hours',
        end_time = date_trunc('minute', now()) - $2 * interval '13 hours' + (end_time - start_time)
      where id = $1 and status = 'scheduled'`,
    [sessionId, begun],
  );
  await client.query('update public.sessions set status = $2 where id = $1', [sessionId, status]);
  if (status === 'in_progress') await recordVisit(client, sessionId);
}

/** Records that a visit began and ended as it was booked: only then its note is signed. */
export async function recordVisit(client: pg.ClientBase, sessionId: string): Promise<void> {
  await client.query(
    `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time)
    select organization_id, id, start_time, end_time from public.sessions where id = $1`,
    [sessionId],
  );
}
