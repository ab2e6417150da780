/** Who is signed in, for which clinic, and until when. */
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useState } from 'react';
import { fetchMemberships, type Membership, type Role } from 'therapist-sessions';
import { queryClient, supabase } from './queries.ts';
import { type Times, timesOf } from './times.ts';
import { Busy, Dialog, ErrorLine, onSignInNeeded, useAction } from './ui.tsx';

/** The signed-in person. */
export interface Me {
  readonly userId: string;
  readonly email: string;
  readonly role: Role;
  readonly permissions: readonly string[];
  readonly clinic: Membership;
  readonly times: Times;
}

type State =
  | { kind: 'loading' }
  | { kind: 'out' }
  | { kind: 'failed'; error: unknown }
  | { kind: 'choose'; email: string; clinics: readonly Membership[] }
  | { kind: 'in'; me: Me };

const SessionContext = createContext<State>({ kind: 'loading' });
const MeContext = createContext<Me | null>(null);
export const useSession = () => useContext(SessionContext);

/** The signed-in person, on pages that are only shown to one. */
export function useMe(): Me {
  const me = useContext(MeContext);
  if (!me) throw new Error('Nobody is signed in.');
  return me;
}

/** Minutes without input after which a shared computer is locked (45 CFR 164.312(a)). */
const IDLE_MINUTES = 15;
/** A device's clock may be off by this much before we say so. */
const CLOCK_TOLERANCE_MS = 5 * 60_000;

let leaving = false;
export async function signOut(): Promise<void> {
  leaving = true;
  await supabase.auth.signOut({ scope: 'local' });
}

/** Minutes the device's clock is ahead of the server's, by a token that was just made; 0 when it is about right. */
function minutesAhead(token: string): number {
  const { iat } = JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')));
  const ahead = Date.now() - iat * 1000;
  return Math.abs(ahead) > CLOCK_TOLERANCE_MS ? Math.round(ahead / 60_000) : 0;
}

export function SessionProvider({ children }: { children: ReactNode }) {
  const [state, setState] = useState<State>({ kind: 'loading' });
  const [ahead, setAhead] = useState(0);
  const known = useRef<string | null>(null);
  const [again, setAgain] = useState(false);

  useEffect(() => onSignInNeeded(() => setAgain(true)), []);
  useEffect(() => {
    const { data } = supabase.auth.onAuthStateChange((event, session) => {
      if (!session) {
        // A session that ends by itself is asked for over the page, so that nothing typed is lost.
        if (known.current && !leaving) return setAgain(true);
        leaving = false;
        known.current = null;
        queryClient.clear();
        setAgain(false);
        return setState({ kind: 'out' });
      }
      if (event === 'SIGNED_IN') setAgain(false);
      // A refreshed token is the same person: reading everything again would refresh it again, and so on.
      if (session.user.id === known.current) return;
      if (event === 'SIGNED_IN') setAhead(minutesAhead(session.access_token));
      if (known.current) queryClient.clear();
      known.current = session.user.id;
      setState({ kind: 'loading' });
      // supabase-js must not be called from within its own callback.
      setTimeout(() =>
        enter(session.user.id, session.user.email ?? '').then(setState, (error) => setState({ kind: 'failed', error })),
      );
    });
    return () => data.subscription.unsubscribe();
  }, []);
  useIdleLock(state.kind === 'in');

  const me = state.kind === 'in' ? state.me : null;
  return (
    <SessionContext value={state}>
      <MeContext value={me}>
        {ahead !== 0 && (
          <p className="bar warn" role="status">
            This device’s clock is{' '}
            {Math.abs(ahead) >= 60 ? `${Math.round(Math.abs(ahead) / 60)} hours` : `${Math.abs(ahead)} minutes`}{' '}
            {ahead > 0 ? 'ahead' : 'behind'}. Please set it right.
          </p>
        )}
        {children}
        {again && me && <SignInAgain email={me.email} />}
      </MeContext>
    </SessionContext>
  );
}

async function enter(userId: string, email: string): Promise<State> {
  const clinics = await fetchMemberships(supabase);
  const clinic = clinics.find(({ isActive }) => isActive);
  if (!clinic) return { kind: 'choose', email, clinics };
  const { role, permissions, timeZone } = clinic;
  return { kind: 'in', me: { userId, email, role, permissions, clinic, times: timesOf(timeZone) } };
}

/** Makes a clinic the one the token is for. */
export async function chooseClinic(organizationId: string): Promise<void> {
  await supabase.rpc('set_active_organization', { organization_id: organizationId });
  await supabase.auth.refreshSession();
  location.reload();
}

function useIdleLock(active: boolean) {
  useEffect(() => {
    if (!active) return;
    let last = Date.now();
    const touched = () => {
      last = Date.now();
    };
    const events = ['pointerdown', 'keydown', 'wheel'] as const;
    for (const event of events) addEventListener(event, touched, { passive: true, capture: true });
    const timer = setInterval(() => Date.now() - last > IDLE_MINUTES * 60_000 && void signOut(), 15_000);
    return () => {
      clearInterval(timer);
      for (const event of events) removeEventListener(event, touched, { capture: true });
    };
  }, [active]);
}

export async function signIn(email: string, password: string): Promise<string | null> {
  const { error } = await supabase.auth.signInWithPassword({ email, password });
  if (!error) return null;
  if (error.status === 400) return 'Email or password is not right.';
  if (error.status === 429) return 'That was too often. Try again in a minute.';
  return 'Nobody can sign in right now. Please try again in a moment.';
}

/** Over the page, so that nothing typed is lost. */
function SignInAgain({ email }: { email: string }) {
  const [wrong, setWrong] = useState<string | null>(null);
  const { busy, run } = useAction();
  const me = useMemo(() => email, [email]);
  return (
    <Dialog title="Please sign in again" onClose={() => void signOut()}>
      <p>What you typed is still here.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const password = String(new FormData(event.currentTarget).get('password'));
          void run(async () => setWrong(await signIn(me, password)));
        }}
      >
        <label>
          Password of {me}
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {wrong && <ErrorLine>{wrong}</ErrorLine>}
        <div className="row">
          <Busy busy={busy} busyLabel="Signing in…" className="primary">
            Sign in
          </Busy>
        </div>
      </form>
    </Dialog>
  );
}
