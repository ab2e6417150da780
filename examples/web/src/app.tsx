/** Routes and the frame around them. Which role may open what is the library's guard matrix, not this file's. */
import { CalendarDays, ChartColumn, Clock, LogOut, Stethoscope, Users, WifiOff } from 'lucide-react';
import { type ComponentType, lazy, type ReactNode, Suspense, useEffect } from 'react';
import { canOpen, findGuardForPath } from 'therapist-sessions';
import { type Me, useAction, useConnection, useKeptFocus, useMe, useSession, useTheme } from 'therapist-sessions/react';
import { Link, Redirect, useLocation } from 'wouter';
import { Feeds } from './feeds.tsx';
import { SignIn, SignInAgain } from './sign-in.tsx';
import { Button, Choice, ErrorBoundary, Failure, Layer, Narrow, Opener, State } from './ui.tsx';

/** Pages by the path of their guard; each is loaded when it is opened. */
const pages: Readonly<Record<string, ComponentType<{ id: string }>>> = {
  '/schedule': lazy(() => import('./schedule.tsx')),
  '/clients': lazy(async () => ({ default: (await import('./clients.tsx')).ClientList })),
  '/clients/:clientId': lazy(async () => ({ default: (await import('./clients.tsx')).ClientPage })),
  '/therapists': lazy(async () => ({ default: (await import('./people.tsx')).People })),
  '/therapists/new': lazy(async () => ({ default: (await import('./people.tsx')).NewTherapist })),
  '/therapists/:therapistId': lazy(() => import('./therapist.tsx')),
  '/reports': lazy(() => import('./reports.tsx')),
};

const links = [
  { path: '/schedule', label: 'Schedule', Icon: CalendarDays },
  { path: '/clients', label: 'Clients', Icon: Users },
  { path: '/therapists', label: 'Therapists', Icon: Stethoscope },
  { path: '/reports', label: 'Reports', Icon: ChartColumn },
];

const themes = { system: 'As the system has it', light: 'Light', dark: 'Dark' };

export function App() {
  const { state, isOver, clockWarning } = useSession();
  useTheme();
  useKeptFocus();
  return (
    <>
      <p className="bar warn" role="status" hidden={!clockWarning}>
        {clockWarning}
      </p>
      {state.kind === 'loading' && <State pending />}
      {state.kind === 'out' && <SignIn />}
      {state.kind === 'failed' && <Apart error={state.error} />}
      {state.kind === 'choose' && <ChooseClinic clinics={state.clinics} />}
      {state.kind === 'in' && <Frame me={state.me} />}
      {state.kind === 'in' && isOver && <SignInAgain email={state.me.email} />}
    </>
  );
}

function Frame({ me }: { me: Me }) {
  const [path] = useLocation();
  const guard = findGuardForPath(path);
  const Page = guard && pages[guard.path];
  const label = links.find((link) => path.startsWith(link.path))?.label ?? 'Therapist Sessions';
  useEffect(() => {
    document.title = `${label} · ${me.clinic.name}`;
  }, [label, me]);
  if (path === '/') return <Redirect to="/schedule" replace />;
  return (
    <>
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <Header path={path} />
      <OfflineBar />
      <main id="main" tabIndex={-1}>
        <ErrorBoundary key={path}>
          {!guard || !Page ? (
            <Apart heading="There is no such page" />
          ) : !canOpen(guard, me) ? (
            <Apart heading="You cannot open this page">Ask an administrator of {me.clinic.name}.</Apart>
          ) : (
            <Suspense fallback={<State pending />}>
              <Page id={path.split('/')[2] ?? ''} key={guard.path} />
            </Suspense>
          )}
        </ErrorBoundary>
      </main>
    </>
  );
}

function Header({ path }: { path: string }) {
  const me = useMe();
  const { signOut } = useSession();
  const [theme, setTheme] = useTheme();
  const own = me.role === 'therapist' ? [{ path: `/therapists/${me.userId}`, label: 'My hours', Icon: Clock }] : [];
  return (
    <header className="top">
      <strong className="brand">{me.clinic.name}</strong>
      <nav aria-label="Pages">
        {[...links, ...own]
          .filter((link) => canOpen(link.path, me))
          .map(({ path: to, label, Icon }) => (
            <Link key={to} href={to} aria-current={path.startsWith(to) ? 'page' : undefined}>
              <Icon size={18} aria-hidden /> {label}
            </Link>
          ))}
      </nav>
      <span className="zone">
        All times: {me.times.city} ({me.times.abbreviation(Date.now())})
      </span>
      <details className="menu">
        <summary>{me.email.split('@')[0]}</summary>
        <div>
          <p>
            {me.email}
            <br />
            <span className="muted">
              {me.role.replace('_', ' ')} · {me.clinic.name}
            </span>
          </p>
          <Choice label="Theme" options={themes} value={theme} onValue={(next) => setTheme(next as typeof theme)} />
          {!me.isAdmin && (
            <Opener label="Calendar on my phone…">
              {(close) => (
                <Layer isModal title="Sessions in your calendar" onClose={close}>
                  <Feeds />
                </Layer>
              )}
            </Opener>
          )}
          <Button label="Sign out" icon={LogOut} press={signOut} />
        </div>
      </details>
    </header>
  );
}

/** Says since when the page may be old, and for a moment that the connection is back. */
function OfflineBar() {
  const { times } = useMe();
  const { state, since } = useConnection();
  return (
    <div role="status">
      {state === 'back' && <p className="bar good">Back online.</p>}
      {state === 'offline' && (
        <p className="bar warn">
          <WifiOff size={16} aria-hidden /> You are offline. You see the schedule as of {times.clock(since ?? Date.now())}.
        </p>
      )}
    </div>
  );
}

function Apart({
  heading = 'Something went wrong',
  error,
  children,
}: {
  heading?: string;
  error?: unknown;
  children?: ReactNode;
}) {
  const { signOut } = useSession();
  return (
    <Narrow title={heading}>
      {children}
      <Failure error={error} />
      <p>
        <Button label="Sign out" press={signOut} />
      </p>
    </Narrow>
  );
}

function ChooseClinic({ clinics }: { clinics: readonly { organizationId: string; name: string }[] }) {
  const action = useAction();
  const { chooseClinic } = useSession();
  if (clinics.length === 0)
    return <Apart heading="No clinic yet">Your account belongs to no clinic yet. Ask an administrator to add you.</Apart>;
  return (
    <Apart heading="Which clinic?" error={action.error}>
      {clinics.map(({ organizationId, name }) => (
        <p key={organizationId}>
          <Button label={name} by={action} press={() => chooseClinic(organizationId)} look="primary" />
        </p>
      ))}
    </Apart>
  );
}
