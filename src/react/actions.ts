/** What any screen needs that calls a server: one action at a time, seconds that pass, whether there is a network. */
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { SessionsApiError } from '../lib/index.ts';

const signInNeeded = new EventTarget();

/** Tells when a call was refused because nobody is signed in any more; answers what stops the telling. */
export function onSignInNeeded(listener: () => void): () => void {
  signInNeeded.addEventListener('needed', listener);
  return () => signInNeeded.removeEventListener('needed', listener);
}

/** Passes on what went wrong: a sign-in that is over is asked for anew, over the page. */
export function noteError(error: unknown): void {
  if (error instanceof SessionsApiError && error.code === 'UNAUTHENTICATED')
    signInNeeded.dispatchEvent(new Event('needed'));
}

/** What a button does, and how it is going. */
export interface Action {
  readonly busy: boolean;
  readonly error: unknown;
  /** Runs something, unless something else of this action still runs. */
  run(work: () => Promise<unknown>): Promise<void>;
  /** Runs something once what runs, and what waits already, has ended. */
  next(work: () => Promise<unknown>): Promise<void>;
}

/** Runs what buttons do, one at a time: a second press while the first is under way does nothing. */
export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const last = useRef<Promise<void> | null>(null);
  const next = useCallback(async (work: () => Promise<unknown>) => {
    const before = last.current;
    const perform = async () => {
      // What went wrong with the one before is still to be read.
      if (before) await before;
      else setError(null);
      setBusy(true);
      await work();
    };
    const running = perform()
      .catch((failure) => {
        noteError(failure);
        setError(failure);
      })
      .finally(() => {
        if (last.current !== running) return;
        last.current = null;
        setBusy(false);
      });
    last.current = running;
    await running;
  }, []);
  const run = useCallback(
    async (work: () => Promise<unknown>) => {
      if (last.current === null) await next(work);
    },
    [next],
  );
  return { busy, error, run, next };
}

function followNetwork(listener: () => void): () => void {
  addEventListener('online', listener);
  addEventListener('offline', listener);
  return () => {
    removeEventListener('online', listener);
    removeEventListener('offline', listener);
  };
}

/** Whether the browser says it is online. */
export function useOnline(): boolean {
  return useSyncExternalStore(followNetwork, () => navigator.onLine);
}

/**
 * Whether a media query is true, also after the window has changed.
 *
 * @param query - such as `(max-width: 40rem)`
 */
export function useMedia(query: string): boolean {
  const follow = useCallback(
    (listener: () => void) => {
      const list = matchMedia(query);
      list.addEventListener('change', listener);
      return () => list.removeEventListener('change', listener);
    },
    [query],
  );
  return useSyncExternalStore(follow, () => matchMedia(query).matches);
}

/** How long it is said that the connection is back. */
const BACK_MS = 4000;

/** Whether the network is gone, and since when; for a moment also that it is back. */
export function useConnection(): {
  readonly state: 'online' | 'offline' | 'back';
  readonly since: Date | null;
} {
  const online = useOnline();
  const [since, setSince] = useState<Date | null>(null);
  useEffect(() => {
    if (!online) return setSince(new Date());
    const timer = setTimeout(() => setSince(null), BACK_MS);
    return () => clearTimeout(timer);
  }, [online]);
  return { state: !online ? 'offline' : since ? 'back' : 'online', since };
}

/** Renders again each second, and at once when the tab is shown again after sleep. */
export function useSeconds(active = true): void {
  const [, tick] = useState(0);
  useEffect(() => {
    if (!active) return;
    const again = () => tick((count) => count + 1);
    const timer = setInterval(again, 1000);
    document.addEventListener('visibilitychange', again);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', again);
    };
  }, [active]);
}

/** A value that has not changed for a moment, so that typing asks once. */
export function useSettled<Value>(value: Value, delayMs = 300): Value {
  const [settled, setSettled] = useState(value);
  const latest = useRef(value);
  latest.current = value;
  const key = JSON.stringify(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(latest.current), delayMs);
    return () => clearTimeout(timer);
  }, [key, delayMs]);
  return settled;
}
