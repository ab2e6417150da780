/** Lost requests, lost answers, busy endpoints and aborts, on real sockets: nothing is booked twice or left behind. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  bookSession,
  cancelSessionHold,
  type RetryNotice,
  type RetryOptions,
  requestSessionHold,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import {
  anonymousClient,
  type Clinic,
  type ClinicState,
  holdsEverMade,
  LA,
  nextSession,
  openClinic,
  stateOf,
} from './clinic.ts';
import { type Fate, type FaultyProxy, startFaultyProxy } from './faulty-proxy.ts';

const NOTHING = { liveHolds: 0, claims: 0, sessions: 0 };
/** Short pauses; an attempt may take as long as a busy machine needs. */
const QUICK: RetryOptions = { baseDelayMs: 20, attemptTimeoutMs: 60_000 };

let proxy: FaultyProxy;
let clinic: Clinic;
let before: ClinicState;
let supabase: ReturnType<typeof anonymousClient>;

beforeAll(async () => {
  proxy = await startFaultyProxy(stack.apiUrl);
  supabase = anonymousClient(proxy.url);
  clinic = await openClinic();
});
afterAll(() => proxy.close());
beforeEach(async () => {
  before = await stateOf(clinic);
  proxy.calls.length = 0;
  proxy.fate = () => 'pass';
});

const book = (extra: object = {}) =>
  bookSession(supabase, {
    session: nextSession(clinic),
    recurrence: { rule: 'FREQ=WEEKLY;COUNT=3' },
    timeZone: LA,
    accessToken: clinic.rbt.token,
    retry: QUICK,
    ...extra,
  });
type Booked = Awaited<ReturnType<typeof book>>;
const holdOnly = (extra: object = {}) => {
  const { start_time, end_time, therapist_id, client_id } = nextSession(clinic);
  return requestSessionHold(supabase, {
    therapistId: therapist_id,
    clientId: client_id,
    startTime: start_time,
    endTime: end_time,
    timeZone: LA,
    accessToken: clinic.rbt.token,
    retry: QUICK,
    ...extra,
  });
};
/** The fate of the first `times` calls of a function; further ones pass. */
const first = (name: string, fate: Fate, times = 1) => {
  proxy.fate = (called, nth) => (called === name && nth <= times ? fate : 'pass');
};
const always = (name: string, fate: Fate) => first(name, fate, Number.POSITIVE_INFINITY);
const callsOf = (name: string) => proxy.calls.filter((call) => call.name === name);
const keysOf = (name: string) => new Set(callsOf(name).map(({ key }) => key));

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => {
      throw new Error('it resolved');
    },
    (reason: unknown) => reason,
  );
}

describe('a call is tried again with the same key', () => {
  it.each<[string, 'sessions-hold' | 'sessions-confirm', Fate]>([
    ['the request to hold is lost', 'sessions-hold', 'lose-request'],
    ['the answer to the hold is lost', 'sessions-hold', 'lose-answer'],
    ['the answer to the hold is cut off', 'sessions-hold', 'cut-answer'],
    ['the request to confirm is lost', 'sessions-confirm', 'lose-request'],
    ['the answer to the confirmation is lost', 'sessions-confirm', 'lose-answer'],
    ['the answer to the confirmation is cut off', 'sessions-confirm', 'cut-answer'],
    ['the endpoint is busy (503)', 'sessions-hold', { status: 503, retryAfter: '0' }],
    ['too many requests (429)', 'sessions-confirm', { status: 429 }],
    ['the gateway gave up (504)', 'sessions-confirm', { status: 504 }],
  ])('when %s, and books once', async (_, name, fate) => {
    const made = await holdsEverMade(clinic);
    first(name, fate);
    const { sessions } = await book();
    expect(sessions).toHaveLength(3);
    expect(callsOf(name)).toHaveLength(2);
    expect(keysOf(name).size).toBe(1);
    expect(await stateOf(clinic, before)).toMatchObject({ liveHolds: 0, sessions: 3 });
    expect(await holdsEverMade(clinic)).toBe(made + 3);
  });

  it('when nothing answers in time', async () => {
    first('sessions-hold', 'hang');
    // Later attempts are real ones, which a busy machine may not answer in this time either.
    const retry = { ...QUICK, attemptTimeoutMs: 500, attempts: 100, maxDelayMs: 100 };
    expect((await book({ retry })).sessions).toHaveLength(3);
  });

  it('not before Retry-After', async () => {
    first('sessions-hold', { status: 503, retryAfter: '1' });
    await holdOnly();
    const [one, two] = callsOf('sessions-hold');
    // Timers count whole milliseconds: they may be a little early.
    expect((two?.at ?? 0) - (one?.at ?? 0)).toBeGreaterThan(990);
  });

  it('not before a Retry-After that is a date', async () => {
    // So far ahead that a slow machine makes no difference.
    always('sessions-hold', { status: 429, retryAfter: new Date(Date.now() + 3_600_000).toUTCString() });
    const error = await failure(holdOnly());
    expect(error).toMatchObject({ status: 429, code: 'UNAVAILABLE' });
    expect((error as SessionsApiError).retryAfterSeconds).toBeGreaterThan(1_800);
  });

  it('and the app is told before each repeat why, and how long it takes', async () => {
    first('sessions-hold', { status: 503, retryAfter: '1' });
    const notices: RetryNotice[] = [];
    await holdOnly({ onRetry: (notice: RetryNotice) => notices.push(notice) });
    expect(notices).toMatchObject([{ attempt: 1, error: { status: 503, retryAfterSeconds: 1 } }]);
    expect(notices[0]?.delayMs).toBeGreaterThanOrEqual(1_000);
  });

  it('but not when it is to wait longer than the app allows', async () => {
    // A pause longer than the test may take.
    always('sessions-hold', { status: 503, retryAfter: '3600' });
    const error = await failure(holdOnly({ retry: { ...QUICK, maxDelayMs: 1_000 } }));
    expect(error).toMatchObject({ status: 503, retryAfterSeconds: 3600 });
  });

  it('as often as the app allows, and then says so', async () => {
    always('sessions-hold', 'lose-request');
    const error = await failure(holdOnly({ retry: { ...QUICK, attempts: 2 } }));
    expect(error).toBeInstanceOf(SessionsApiError);
    expect(error).toMatchObject({ status: 0, code: 'NETWORK_ERROR', requestId: null });
  });

  it('a 409 and a 500 are not', async () => {
    await holdOnly();
    const session = nextSession(clinic);
    await book({ session, recurrence: null });
    proxy.calls.length = 0;
    expect(await failure(book({ session, recurrence: null }))).toMatchObject({ status: 409 });
    expect(callsOf('sessions-hold')).toHaveLength(1);
    proxy.calls.length = 0;
    first('sessions-confirm', { status: 500, body: 'oops' });
    expect(await failure(book())).toMatchObject({ status: 500, code: 'UNEXPECTED_ANSWER' });
    expect(callsOf('sessions-confirm').length).toBeLessThanOrEqual(1);
  });

  it('a page instead of an answer is no success', async () => {
    always('sessions-hold', { status: 200, body: '<html>Welcome to the hotel network</html>' });
    expect(await failure(holdOnly())).toMatchObject({ code: 'UNEXPECTED_ANSWER', status: 200 });
  });
});

describe('no hold stays behind', () => {
  it('when confirming is refused', async () => {
    // The hold is released under the booking's feet, so that the real endpoint refuses to confirm it.
    proxy.fate = async (name, nth): Promise<Fate> => {
      if (name === 'sessions-confirm' && nth === 1) {
        await withConnection((client) =>
          client.query(
            'update public.hold_batches set expires_at = clock_timestamp() where organization_id = $1',
            [clinic.organizationId],
          ),
        );
      }
      return 'pass';
    };
    expect(await failure(book())).toMatchObject({ status: 410, code: 'HOLD_EXPIRED' });
    expect(await stateOf(clinic, before)).toMatchObject({ liveHolds: 0, sessions: 0 });
  });

  it('when the connection is lost between hold and confirm', async () => {
    always('sessions-confirm', 'lose-request');
    expect(await failure(book())).toMatchObject({ code: 'NETWORK_ERROR' });
    expect(await stateOf(clinic, before)).toEqual(NOTHING);
  });

  it('when no answer to the hold ever comes, though it was made', async () => {
    proxy.fate = (name, nth) => (name === 'sessions-hold' && nth <= 4 ? 'lose-answer' : 'pass');
    expect(await failure(book())).toMatchObject({ code: 'NETWORK_ERROR' });
    expect(await stateOf(clinic, before)).toEqual(NOTHING);
  });

  it('when the booking is aborted before it begins: nothing is sent', async () => {
    const reason = new Error('never mind');
    expect(await failure(book({ signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(proxy.calls).toEqual([]);
  });

  it('when it is aborted while the hold is under way', async () => {
    const abort = new AbortController();
    proxy.fate = (name, nth) => {
      if (name === 'sessions-hold' && nth === 1) setTimeout(() => abort.abort(), 5);
      return name === 'sessions-hold' && nth === 1 ? 'lose-answer' : 'pass';
    };
    expect(await failure(book({ signal: abort.signal }))).toBe(abort.signal.reason);
    expect(await stateOf(clinic, before)).toEqual(NOTHING);
    expect(keysOf('sessions-hold').size).toBe(1);
  });

  it('when it is aborted between hold and confirm', async () => {
    const abort = new AbortController();
    proxy.fate = (name) => {
      if (name === 'sessions-confirm') abort.abort();
      return name === 'sessions-confirm' ? 'hang' : 'pass';
    };
    expect(await failure(book({ signal: abort.signal }))).toBe(abort.signal.reason);
    expect(await stateOf(clinic, before)).toEqual(NOTHING);
  });

  it('when it is aborted during a pause', async () => {
    // A pause longer than the test may take.
    first('sessions-hold', { status: 503, retryAfter: '3600' });
    const retry = { ...QUICK, maxDelayMs: 7_200_000 };
    expect(await failure(book({ signal: AbortSignal.timeout(200), retry }))).toMatchObject({
      name: 'TimeoutError',
    });
    expect(await stateOf(clinic, before)).toEqual(NOTHING);
  });
});

describe('what was booked is not denied', () => {
  it('when every answer to the confirmation was lost but it was made', async () => {
    proxy.fate = (name, nth) => (name === 'sessions-confirm' && nth <= 4 ? 'lose-answer' : 'pass');
    expect((await book()).sessions).toHaveLength(3);
    expect(await stateOf(clinic, before)).toMatchObject({ liveHolds: 0, sessions: 3 });
  });

  it('when the abort came too late', async () => {
    const abort = new AbortController();
    proxy.fate = (name, nth) => {
      if (name !== 'sessions-confirm' || nth > 1) return 'pass';
      const booked = async () => expect((await stateOf(clinic, before)).sessions).toBe(3);
      void vi.waitFor(booked, { timeout: 60_000, interval: 20 }).then(() => abort.abort());
      return 'lose-answer';
    };
    // Its answer lost, the call waits to try again; meanwhile it is aborted. The sessions are there.
    const result = await book({
      signal: abort.signal,
      retry: { ...QUICK, baseDelayMs: 3_600_000, maxDelayMs: 7_200_000 },
    });
    expect(result.sessions).toHaveLength(3);
    expect(await stateOf(clinic, before)).toMatchObject({ sessions: 3 });
  });
});

describe('a release that fails', () => {
  it('is reported and does not hide why the booking failed', async () => {
    proxy.fate = (name) => (name === 'sessions-hold' ? 'pass' : 'lose-request');
    const reported: unknown[] = [];
    const error = await failure(book({ onReleaseError: (...told: unknown[]) => reported.push(told) }));
    expect(error).toMatchObject({ code: 'NETWORK_ERROR' });
    expect(reported).toMatchObject([[{ code: 'NETWORK_ERROR' }, expect.stringMatching(/^[0-9a-f-]{36}$/)]]);
    // The hold is still there, and the key that was reported releases it.
    expect((await stateOf(clinic, before)).liveHolds).toBe(3);
    proxy.fate = () => 'pass';
    const [, holdKey] = reported[0] as [unknown, string];
    const { released } = await cancelSessionHold(supabase, { holdKey, accessToken: clinic.rbt.token });
    expect(released).toBe(true);
    expect(await stateOf(clinic, before)).toEqual(NOTHING);
  });
});

describe('many at once', () => {
  it('aborted at any moment, each booking is whole or not there, and no hold is left', async () => {
    const outcomes: number[] = [];
    for (let round = 0; round < 12; round += 1) {
      const moments = [1, 2, 3, 4].map((n) => (round * 4 + n) * 4).concat(20_000);
      const results = await Promise.all(
        moments.map((moment) =>
          book({ signal: AbortSignal.timeout(moment) }).catch((error: unknown) => error),
        ),
      );
      for (const result of results) {
        if (result instanceof Error) expect(result.name).toBe('TimeoutError');
        outcomes.push(result instanceof Error ? 0 : (result as Booked).sessions.length);
      }
    }
    expect(new Set(outcomes).size, 'some are aborted and some are not').toBe(2);
    const sessions = outcomes.reduce((sum, each) => sum + each, 0);
    expect(await stateOf(clinic, before)).toMatchObject({ liveHolds: 0, sessions });
  });

  it('of ten rivals for one series one wins; the others are told, and leave nothing', async () => {
    const session = nextSession(clinic);
    const results = await Promise.all(
      Array.from({ length: 10 }, () => book({ session }).catch((error: unknown) => error)),
    );
    const refused = results.filter((result) => result instanceof SessionsApiError);
    expect(refused).toHaveLength(9);
    for (const error of refused) expect(error).toMatchObject({ status: 409 });
    expect(await stateOf(clinic, before)).toMatchObject({ liveHolds: 0, sessions: 3 });
  });

  it('ten calls with one key are one booking', async () => {
    const booking = { session: nextSession(clinic), idempotencyKey: crypto.randomUUID() };
    const results = await Promise.all(Array.from({ length: 10 }, () => book(booking)));
    expect(new Set(results.map(({ session }) => session.id)).size).toBe(1);
    expect(await stateOf(clinic, before)).toMatchObject({ liveHolds: 0, sessions: 3 });
  });

  it('rivals that skip share the dates without overlap', async () => {
    const session = nextSession(clinic);
    const results = await Promise.all(
      Array.from({ length: 4 }, () => book({ session, onConflict: 'skip' }).catch((error: unknown) => error)),
    );
    const booked = results.flatMap((result) => (result instanceof Error ? [] : (result as Booked).sessions));
    expect(booked).toHaveLength(3);
    expect(await stateOf(clinic, before)).toMatchObject({ liveHolds: 0, sessions: 3 });
  });
});
