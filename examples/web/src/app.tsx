/** Routes and the frame around them. Which role may open what is the library's guard matrix, not this file's. */
import { CalendarDays, ChartColumn, LogOut, Moon, Stethoscope, Users, WifiOff } from 'lucide-react';
import { type ComponentType, lazy, type ReactNode, Suspense, useEffect, useState } from 'react';
import { canOpen, findGuardForPath } from 'therapist-sessions';
import { Link, Redirect, useLocation } from 'wouter';
import { chooseClinic, type Me, signOut, useMe, useSession } from './session.tsx';
import { SignIn } from './sign-in.tsx';
import { ErrorBoundary, Failure, useAction, useOnline } from './ui.tsx';

/** Pages by the path of their guard; each is loaded when it is opened. */
const pages: Readonly<Record<string, ComponentType<{ id: string }>>> = {
  '/schedule': lazy(() => import('./schedule.tsx')),
  '/clients': lazy(async () => ({ default: (await import('./clients.tsx')).ClientList })),
  '/clients/:clientId': lazy(async () => ({ default: (await import('./clients.tsx')).ClientPage })),
  '/therapists': lazy(async () => ({ default: (await import('./therapists.tsx')).TherapistList })),
  '/therapists/new': lazy(async () => ({ default: (await import('./therapists.tsx')).NewTherapist })),
  '/therapists/:therapistId': lazy(async () => ({ default: (await import('./therapists.tsx')).TherapistPage })),
  '/reports': lazy(() => import('./reports.tsx')),
};

const links = [
  { path: '/schedule', label: 'Schedule', Icon: CalendarDays },
  { path: '/clients', label: 'Clients', Icon: Users },
  { path: '/therapists', label: 'Therapists', Icon: Stethoscope },
  { path: '/reports', label: 'Reports', Icon: ChartColumn },
];

export function App() {
  const session = useSession();
  if (session.kind === 'loading') return <p className="page muted loading">Loading…</p>;
  if (session.kind === 'out') return <SignIn />;
  if (session.kind === 'failed')
    return (
      <Apart>
        <Failure error={session.error} />
      </Apart>
    );
  if (session.kind === 'choose') return <NoClinic clinics={session.clinics} />;
  return <Frame me={session.me} />;
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
      <Header />
      <OfflineBar />
      <main id="main" tabIndex={-1}>
        <ErrorBoundary key={path}>
          {!guard || !Page ? (
            <Apart heading="There is no such page" />
          ) : !canOpen(guard, me) ? (
            <Apart heading="You cannot open this page">Ask an administrator of {me.clinic.name}.</Apart>
          ) : (
            <Suspense fallback={<p className="page muted loading">Loading…</p>}>
              <Page id={path.split('/')[2] ?? ''} key={guard.path} />
            </Suspense>
          )}
        </ErrorBoundary>
      </main>
    </>
  );
}

function Header() {
  const me = useMe();
  const [path] = useLocation();
  const now = new Date();
  return (
    <header className="top">
      <strong className="brand">{me.clinic.name}</strong>
      <nav aria-label="Pages">
        {links
          .filter((link) => pages[link.path] && canOpen(link.path, me))
          .map(({ path: to, label, Icon }) => (
            <Link key={to} href={to} aria-current={path.startsWith(to) ? 'page' : undefined}>
              <Icon size={18} aria-hidden /> {label}
            </Link>
          ))}
      </nav>
      <span className="zone">
        All times: {me.times.city} ({me.times.abbreviation(now)})
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
          <ThemeSwitch />
          <button type="button" onClick={() => void signOut()}>
            <LogOut size={16} aria-hidden /> Sign out
          </button>
        </div>
      </details>
    </header>
  );
}

function ThemeSwitch() {
  const [theme, setTheme] = useState(localStorage.getItem('theme') ?? 'light dark');
  useEffect(() => {
    document.documentElement.style.colorScheme = theme;
    localStorage.setItem('theme', theme);
  }, [theme]);
  return (
    <label>
      <span>
        <Moon size={16} aria-hidden /> Appearance
      </span>
      <select value={theme} onChange={(event) => setTheme(event.target.value)}>
        <option value="light dark">As the device</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}

/** Says since when the page may be old, and for a moment that the connection is back. */
function OfflineBar() {
  const online = useOnline();
  const { times } = useMe();
  const [since, setSince] = useState<Date | null>(null);
  useEffect(() => {
    if (!online) return setSince(new Date());
    const timer = setTimeout(() => setSince(null), 4000);
    return () => clearTimeout(timer);
  }, [online]);
  return (
    <div role="status">
      {since && (
        <p className={online ? 'bar good' : 'bar warn'}>
          {online ? (
            'Back online.'
          ) : (
            <>
              <WifiOff size={16} aria-hidden /> You are offline. You see the schedule as of {times.clock(since)}.
            </>
          )}
        </p>
      )}
    </div>
  );
}

function Apart({ heading = 'Something went wrong', children }: { heading?: string; children?: ReactNode }) {
  return (
    <div className="page narrow">
      <h1>{heading}</h1>
      {children}
      <p>
        <button type="button" onClick={() => void signOut()}>
          Sign out
        </button>
      </p>
    </div>
  );
}

function NoClinic({ clinics }: { clinics: readonly { organizationId: string; name: string }[] }) {
  const { run, error } = useAction();
  if (clinics.length === 0)
    return (
      <Apart heading="No clinic yet">
        <p>Your account belongs to no clinic yet. Ask an administrator to add you.</p>
      </Apart>
    );
  return (
    <Apart heading="Which clinic?">
      <Failure error={error} />
      {clinics.map(({ organizationId, name }) => (
        <p key={organizationId}>
          <button type="button" className="primary" onClick={() => void run(() => chooseClinic(organizationId))}>
            {name}
          </button>
        </p>
      ))}
    </Apart>
  );
}
