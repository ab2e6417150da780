/** An access token that has expired is refreshed once, and the call repeated with the same key. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  bookSession,
  cancelSessionHold,
  fetchSchedule,
  type RetryNotice,
  requestSessionHold,
  startSession,
} from '../../src/lib/index.ts';
import { anonymousClient, type Clinic, clientOf, LA, nextSession, openClinic, plusDays } from './clinic.ts';

let clinic: Clinic;
beforeAll(async () => {
  clinic = await openClinic();
});

/**
 * A client as an app has it after its laptop slept: a token the server refuses, and a refresh token that is good. What it
 * sends stays the refused one when it does not listen.
 */
async function afterSleep({ listens = true } = {}) {
  const supabase = await clientOf(clinic.rbt);
  const { session } = (await supabase.auth.getSession()).data;
  if (!session) throw new Error('nobody is signed in');
  const [header, payload] = session.access_token.split('.');
  session.access_token = `${header}.${payload}.${'x'.repeat(43)}`;
  let refreshes = 0;
  const refresh = supabase.auth.refreshSession.bind(supabase.auth);
  supabase.auth.refreshSession = (current) => {
    refreshes += 1;
    return refresh(current);
  };
  // What the client sends is the session it has in memory.
  supabase.auth.getSession = async () => ({ data: { session }, error: null });
  supabase.auth.onAuthStateChange((event, next) => {
    if (event === 'TOKEN_REFRESHED' && listens) Object.assign(session, next);
  });
  return { supabase, refreshes: () => refreshes };
}

const holdOf = () => {
  const { therapist_id, client_id, start_time, end_time } = nextSession(clinic);
  return {
    therapistId: therapist_id,
    clientId: client_id,
    startTime: start_time,
    endTime: end_time,
    timeZone: LA,
  };
};

describe('after a 401', () => {
  it('a call of an endpoint is repeated with a fresh token, and says so', async () => {
    const { supabase, refreshes } = await afterSleep();
    const notices: RetryNotice[] = [];
    const hold = await requestSessionHold(supabase, {
      ...holdOf(),
      onRetry: (notice) => notices.push(notice),
    });
    expect(hold.holds).toHaveLength(1);
    expect(refreshes()).toBe(1);
    expect(notices).toMatchObject([{ attempt: 1, delayMs: 0, error: { status: 401 } }]);
    await cancelSessionHold(supabase, { holdKey: hold.holdKey });
    expect(refreshes()).toBe(1);
  });

  it('a whole booking goes through', async () => {
    const { supabase } = await afterSleep();
    expect(
      (await bookSession(supabase, { session: nextSession(clinic), timeZone: LA })).sessions,
    ).toHaveLength(1);
  });

  it('a read and a database function likewise', async () => {
    const { supabase, refreshes } = await afterSleep();
    const from = new Date().toISOString();
    await fetchSchedule(supabase, { from, to: plusDays(from, 7) });
    expect(refreshes()).toBe(1);
    const other = await afterSleep();
    const sessionId = crypto.randomUUID();
    await expect(startSession(other.supabase, { sessionId })).rejects.toMatchObject({ status: 403 });
    expect(other.refreshes()).toBe(1);
  });

  it('calls that are refused together share one refresh, whichever answer comes first', async () => {
    const { supabase, refreshes } = await afterSleep();
    const from = new Date().toISOString();
    const reads = [1, 2, 3, 4].map((weeks) =>
      fetchSchedule(supabase, { from, to: plusDays(from, 7 * weeks) }),
    );
    const [hold] = await Promise.all([requestSessionHold(supabase, holdOf()), ...reads]);
    expect(refreshes()).toBe(1);
    await cancelSessionHold(supabase, { holdKey: hold.holdKey });
  });

  it('a token that is refused again after one refresh is refused: nobody asks for ever', async () => {
    const { supabase } = await afterSleep({ listens: false });
    const stop = new AbortController();
    const notices: RetryNotice[] = [];
    const refused = requestSessionHold(supabase, {
      ...holdOf(),
      signal: stop.signal,
      onRetry: (notice) => {
        notices.push(notice);
        if (notices.length > 3) stop.abort(new Error('it asks for ever'));
      },
    });
    await expect(refused).rejects.toMatchObject({ status: 401 });
    expect(notices).toHaveLength(1);
  });

  it('nothing is refreshed for a token that the app itself gave', async () => {
    const { supabase, refreshes } = await afterSleep();
    const refused = requestSessionHold(supabase, { ...holdOf(), accessToken: 'not.a.token' });
    await expect(refused).rejects.toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
    expect(refreshes()).toBe(0);
  });

  it('without a session to refresh, the 401 is the answer, once', async () => {
    const notices: RetryNotice[] = [];
    const options = { ...holdOf(), onRetry: (notice: RetryNotice) => notices.push(notice) };
    await expect(requestSessionHold(anonymousClient(), options)).rejects.toMatchObject({ status: 401 });
    expect(notices).toEqual([]);
  });
});
