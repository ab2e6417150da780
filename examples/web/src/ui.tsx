/** The few parts every page is made of. Dialogs, focus and inertness are the browser's own. */
import { CircleAlert, X } from 'lucide-react';
import { type ButtonHTMLAttributes, Component, type ReactNode, useCallback, useEffect, useId, useRef, useState } from 'react';
import { type Issue, messageOf, SessionsApiError } from 'therapist-sessions';

/** A bug of the app itself: the same words as for a fault of the server. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };
  static getDerivedStateFromError() {
    return { failed: true };
  }
  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="page narrow">
        <h1>Something went wrong on our side</h1>
        <p>What was booked is safe.</p>
        <button type="button" onClick={() => location.reload()}>
          Reload this page
        </button>
      </main>
    );
  }
}

const signInNeeded = new EventTarget();
/** Tells when a call was refused because nobody is signed in any more. */
export function onSignInNeeded(listener: () => void): () => void {
  signInNeeded.addEventListener('needed', listener);
  return () => signInNeeded.removeEventListener('needed', listener);
}
export function noteError(error: unknown): void {
  if (error instanceof SessionsApiError && error.code === 'UNAUTHENTICATED') signInNeeded.dispatchEvent(new Event('needed'));
}

/** Runs what a button does, one at a time. */
export function useAction() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const running = useRef(false);
  const run = useCallback(async (action: () => Promise<unknown>) => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError(null);
    try {
      await action();
    } catch (failure) {
      noteError(failure);
      setError(failure);
    } finally {
      running.current = false;
      setBusy(false);
    }
  }, []);
  return { busy, error, run, clear: useCallback(() => setError(null), []) };
}

/** Whether the browser says it is online. */
export function useOnline(): boolean {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const update = () => setOnline(navigator.onLine);
    addEventListener('online', update);
    addEventListener('offline', update);
    return () => {
      removeEventListener('online', update);
      removeEventListener('offline', update);
    };
  }, []);
  return online;
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

/** A submit button that says what it is doing, and after three seconds that nothing is lost. */
export function Busy({
  busy,
  busyLabel,
  children,
  ...button
}: { busy: boolean; busyLabel: string } & ButtonHTMLAttributes<HTMLButtonElement>) {
  const online = useOnline();
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = busy ? setTimeout(() => setSlow(true), 3000) : undefined;
    if (!busy) setSlow(false);
    return () => clearTimeout(timer);
  }, [busy]);
  return (
    <>
      <button
        type="submit"
        {...button}
        aria-disabled={busy || !online || undefined}
        disabled={button.disabled}
        onClick={(event) => (busy || !online ? event.preventDefault() : button.onClick?.(event))}
      >
        {busy ? busyLabel : children}
      </button>
      {!online && <small className="muted">You are offline.</small>}
      {slow && online && <small className="muted">Still working. Nothing is lost.</small>}
    </>
  );
}

export function ErrorLine({ children }: { children: ReactNode }) {
  const line = useRef<HTMLParagraphElement>(null);
  useEffect(() => line.current?.focus(), []);
  return (
    <p className="error" role="alert" tabIndex={-1} ref={line}>
      <CircleAlert size={16} aria-hidden /> {children}
    </p>
  );
}

/** What went wrong, in words; the request's id for what somebody has to look into. */
export function Failure({ error }: { error: unknown }) {
  if (!error) return null;
  const known = error instanceof SessionsApiError ? error : null;
  return (
    <ErrorLine>
      {messageOf(error)} {known?.code === 'VALIDATION_FAILED' && known.issues.map(issueText).join(' ')}
      {known && known.status >= 500 && known.requestId && <small> Reference {known.requestId}</small>}
    </ErrorLine>
  );
}
export const issueText = ({ path, message }: Issue) => `${(path.split('.').at(-1) ?? '').replaceAll('_', ' ')} ${message}.`;

/** A modal dialog; Escape and the cross close it, and focus returns to what opened it. */
export function Dialog({
  title,
  onClose,
  wide,
  children,
}: {
  title: string;
  onClose(): void;
  wide?: boolean;
  children: ReactNode;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current?.showModal();
    return () => before?.focus();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      className={wide ? 'wide' : undefined}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <Head id={id} title={title} onClose={onClose} />
      {children}
    </dialog>
  );
}

/** A drawer beside the page, which stays usable; a sheet over it on a phone. */
export function Panel({
  title,
  onClose,
  children,
  label,
}: {
  title: string;
  onClose(): void;
  children: ReactNode;
  label?: ReactNode;
}) {
  const id = useId();
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || document.querySelector('dialog[open]')) return;
      event.preventDefault();
      onClose();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [onClose]);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const first = panel.current?.querySelector<HTMLElement>('[data-autofocus]');
    (first ?? panel.current)?.focus();
    return () => {
      if (before?.isConnected) before.focus();
      else document.querySelector<HTMLElement>('main h1')?.focus();
    };
  }, []);
  return (
    <aside className="panel" aria-labelledby={id} ref={panel} tabIndex={-1}>
      <Head id={id} title={title} onClose={onClose} label={label} />
      {children}
    </aside>
  );
}

function Head({ id, title, onClose, label }: { id: string; title: string; onClose(): void; label?: ReactNode }) {
  return (
    <div className="head">
      <h2 id={id}>{title}</h2>
      {label}
      <button type="button" className="icon" aria-label="Close" onClick={onClose}>
        <X size={18} aria-hidden />
      </button>
    </div>
  );
}

/** What was just done, and for ten seconds a way back. */
export interface Notice {
  readonly text: string;
  readonly undo?: () => Promise<unknown>;
}
export function NoticeBar({ notice, onDone }: { notice: Notice | null; onDone(): void }) {
  const { busy, run } = useAction();
  useEffect(() => {
    const timer = notice ? setTimeout(onDone, 10_000) : undefined;
    return () => clearTimeout(timer);
  }, [notice, onDone]);
  return (
    <div role="status" className={notice ? 'notice shown' : 'notice'}>
      {notice && (
        <>
          <span>{notice.text}</span>
          {notice.undo && (
            <button
              type="button"
              disabled={busy}
              onClick={() =>
                void run(async () => {
                  await notice.undo?.();
                  onDone();
                })
              }
            >
              Undo
            </button>
          )}
        </>
      )}
    </div>
  );
}

/** Loading, failed or empty; null when there is something to show. */
export function State({ pending, error, empty }: { pending: boolean; error: unknown; empty?: string | false }) {
  if (error) return <Failure error={error} />;
  if (pending)
    return (
      <p className="muted loading" role="status">
        Loading…
      </p>
    );
  return empty ? <p className="muted empty">{empty}</p> : null;
}
