/** Who is signed in, for which clinic, and until when. */
import { type QueryClient, QueryClientProvider } from '@tanstack/react-query';
import {
  createContext,
  createElement,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
} from 'react';
import {
  type BookingClient,
  type ClinicTimes,
  clinicTimes,
  fetchMemberships,
  type Membership,
  type RealtimeFollower,
  type Role,
  type SchemaReader,
  type TableReader,
} from '../lib/index.ts';
import { onSignInNeeded } from './actions.ts';

/** The parts of a supabase-js client the hooks use, by their shape: an app brings any version of it. */
export interface SessionsClient extends BookingClient, TableReader, SchemaReader, RealtimeFollower {
  from(table: never): unknown;
  readonly auth: TableReader['auth'] & {
    onAuthStateChange(listener: never): { readonly data: { readonly subscription: { unsubscribe(): void } } };
    signInWithPassword(
      credentials: never,
    ): PromiseLike<{ readonly error: { readonly status?: number } | null }>;
    signOut(options: never): PromiseLike<unknown>;
  };
}

/** The signed-in person. */
export interface Me {
  readonly userId: string;
  readonly email: string;
  readonly role: Role;
  readonly permissions: readonly string[];
  readonly clinic: Membership;
  /** How times of the clinic are written. */
  readonly times: ClinicTimes;
  readonly isAdmin: boolean;
  /** The server's clock, as far as it is known, in epoch milliseconds: the device's own may be wrong. */
  now(): number;
}

/** Where the sign-in stands. */
export type SignInState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'out' }
  | { readonly kind: 'failed'; readonly error: unknown }
  /** Of several clinics, one is to be chosen; or there is none. */
  | { readonly kind: 'choose'; readonly email: string; readonly clinics: readonly Membership[] }
  | { readonly kind: 'in'; readonly me: Me };

/** What {@link useSession} answers. */
export interface Session {
  readonly state: SignInState;
  /** The session has ended while somebody works: ask for the password over the page, so that nothing typed is lost. */
  readonly isOver: boolean;
  /** What is wrong with the device's clock, in words: countdowns and days would look wrong. Null when it is about right. */
  readonly clockWarning: string | null;
  /** Signs in; answers why not, in words, or null. */
  signIn(email: string, password: string): Promise<string | null>;
  signOut(): Promise<void>;
  /** Makes a clinic the one the token is for. */
  chooseClinic(organizationId: string): Promise<void>;
}

const SupabaseContext = createContext<SessionsClient | null>(null);
const SessionContext = createContext<Session | null>(null);

function required<Value>(value: Value | null, what: string): Value {
  if (value === null) throw new Error(what);
  return value;
}

/** The supabase-js client that was given to the provider. */
export const useSupabase = (): SessionsClient =>
  required(useContext(SupabaseContext), 'There is no SessionsProvider above.');

/** Who is signed in, and how to change that. */
export const useSession = (): Session =>
  required(useContext(SessionContext), 'There is no SessionsProvider above.');

/** The signed-in person, on screens that are only shown to one. */
export function useMe(): Me {
  const { state } = useSession();
  return required(state.kind === 'in' ? state.me : null, 'Nobody is signed in.');
}

/** A device's clock may be off by this much before it is said. */
const CLOCK_TOLERANCE_MS = 5 * 60_000;

/** What is wrong with a clock that is so many milliseconds ahead of the server's. */
function warningOf(aheadMs: number): string | null {
  if (Math.abs(aheadMs) <= CLOCK_TOLERANCE_MS) return null;
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  const amount = minutes >= 60 ? `${Math.round(minutes / 60)} hours` : `${minutes} minutes`;
  return `This device’s clock is ${amount} ${aheadMs > 0 ? 'ahead' : 'behind'}. Please set it right.`;
}

interface AuthSession {
  readonly user: { readonly id: string; readonly email?: string };
}

/** What {@link SessionsProvider} is given. */
export interface SessionsProviderProps {
  readonly supabase: SessionsClient;
  /** It is emptied whenever another person signs in or out. */
  readonly queryClient: QueryClient;
  /** Minutes without input after which the person is signed out (45 CFR 164.312(a)); never when absent. */
  readonly idleMinutes?: number;
  /** Empties where the client keeps its session. supabase-js itself keeps it when the server cannot be told of the end. */
  forget?(): void;
  readonly children?: ReactNode;
}

/** Knows who is signed in, and gives the client to the hooks below it. */
export function SessionsProvider({
  supabase,
  queryClient,
  idleMinutes,
  forget,
  children,
}: SessionsProviderProps) {
  const [state, setState] = useState<SignInState>({ kind: 'loading' });
  const [isOver, setOver] = useState(false);
  const clockWarning = state.kind === 'in' ? warningOf(Date.now() - state.me.now()) : null;
  const known = useRef<string | null>(null);
  const leaving = useRef(false);
  const forgetting = useRef(forget);
  forgetting.current = forget;

  const clear = useCallback(() => {
    leaving.current = false;
    known.current = null;
    queryClient.clear();
    setOver(false);
    setState({ kind: 'out' });
  }, [queryClient]);
  useEffect(() => onSignInNeeded(() => setOver(true)), []);
  useEffect(() => {
    const listener = (event: string, session: AuthSession | null) => {
      // A session that ends by itself is asked for over the page.
      if (!session) return known.current && !leaving.current ? setOver(true) : clear();
      if (event === 'SIGNED_IN') setOver(false);
      // A refreshed token is the same person: reading everything again would refresh it again, and so on.
      if (session.user.id === known.current) return;
      if (known.current) queryClient.clear();
      known.current = session.user.id;
      setState({ kind: 'loading' });
      // supabase-js must not be called from within its own callback.
      setTimeout(() =>
        enter(supabase, session).then(setState, (error) => setState({ kind: 'failed', error })),
      );
    };
    const { data } = supabase.auth.onAuthStateChange(listener as never);
    return () => data.subscription.unsubscribe();
  }, [supabase, queryClient, clear]);

  const leave = useCallback(async () => {
    leaving.current = true;
    await supabase.auth.signOut({ scope: 'local' } as never);
    // Without a network nothing came of that, and nobody may find the page as it was.
    forgetting.current?.();
    clear();
  }, [supabase, clear]);
  const tellTabs = useOwnTabs(state.kind === 'in' ? state.me.userId : null, leave);
  const signOut = useCallback(async () => {
    tellTabs();
    await leave();
  }, [tellTabs, leave]);
  useIdle(state.kind === 'in' ? idleMinutes : undefined, leave);

  const session = useMemo(
    (): Session => ({
      ...{ state, isOver, clockWarning, signOut },
      async signIn(email, password) {
        const { error } = await supabase.auth.signInWithPassword({ email, password } as never);
        if (!error) return null;
        if (error.status === 400) return 'Email or password is not right.';
        if (error.status === 429) return 'That was too often. Try again in a minute.';
        return 'Nobody can sign in right now. Please try again in a moment.';
      },
      async chooseClinic(organization_id) {
        await supabase.rpc('set_active_organization' as never, { organization_id } as never);
        await supabase.auth.refreshSession();
        location.reload();
      },
    }),
    [supabase, state, isOver, clockWarning, signOut],
  );
  return createElement(
    SupabaseContext,
    { value: supabase },
    createElement(
      SessionContext,
      { value: session },
      createElement(QueryClientProvider, { client: queryClient }, children),
    ),
  );
}

async function enter(supabase: SessionsClient, { user }: AuthSession): Promise<SignInState> {
  const sentAt = Date.now();
  const clinics = await fetchMemberships(supabase);
  const email = user.email ?? '';
  const clinic = clinics.find(({ isActive }) => isActive);
  if (!clinic) return { kind: 'choose', email, clinics };
  const { role, permissions, timeZone } = clinic;
  const isAdmin = role === 'admin' || role === 'super_admin';
  const times = clinicTimes(timeZone);
  // Counted from when it was sent: what is left of something is then never said to be more than it is.
  const aheadMs = sentAt - Date.parse(clinic.asOf);
  const now = () => Date.now() - aheadMs;
  return { kind: 'in', me: { userId: user.id, email, role, permissions, clinic, times, isAdmin, now } };
}

/**
 * Calls back when the same person signs out in another tab of this browser.
 *
 * @returns what tells the other tabs
 */
function useOwnTabs(userId: string | null, onLeft: () => Promise<void>): () => void {
  const tabs = useRef<BroadcastChannel | null>(null);
  useEffect(() => {
    if (!userId) return;
    const channel = new BroadcastChannel(`therapist-sessions of ${userId}`);
    channel.onmessage = () => void onLeft();
    tabs.current = channel;
    return () => channel.close();
  }, [userId, onLeft]);
  return useCallback(() => tabs.current?.postMessage('left'), []);
}

/** Calls back after some minutes without input. */
function useIdle(minutes: number | undefined, onIdle: () => Promise<void>): void {
  useEffect(() => {
    if (minutes === undefined) return;
    let last = Date.now();
    const touched = () => {
      last = Date.now();
    };
    const events = ['pointerdown', 'keydown', 'wheel'] as const;
    for (const event of events) addEventListener(event, touched, { passive: true, capture: true });
    const timer = setInterval(() => {
      if (Date.now() - last > minutes * 60_000) void onIdle();
    }, 15_000);
    return () => {
      clearInterval(timer);
      for (const event of events) removeEventListener(event, touched, { capture: true });
    };
  }, [minutes, onIdle]);
}
