/** The schedule: a week or a day as a grid, or a list; booking, moving and everything about one session beside it. */
import { ChevronLeft, ChevronRight, ClipboardList, Keyboard, Plus, Printer, TriangleAlert } from 'lucide-react';
import { lazy, Suspense, useEffect, useState } from 'react';
import {
  cancelSessionHold,
  type LiveHold,
  minutesAndSeconds,
  plusDays,
  type SessionRow,
  type SessionsApiError,
} from 'therapist-sessions';
import {
  type Slot,
  useAction,
  useCalendar,
  useMe,
  useMove,
  useOnline,
  useOwnHolds,
  usePrint,
  useSingleKeys,
  useTherapists,
  useToolbar,
} from 'therapist-sessions/react';
import { useSearchParams } from 'wouter';
import { Agenda } from './agenda.tsx';
import { supabase } from './api.ts';
import { BookingPanel, type Draft } from './booking.tsx';
import { CancelDialog } from './cancel.tsx';
import { SessionPanel } from './session-panel.tsx';
import { Button, Check, Choice, Facts, Failure, Layer, type Notice, NoticeBar, State } from './ui.tsx';
import { Waitlist } from './waitlist.tsx';

const WeekCalendar = lazy(async () => {
  const [{ WeekCalendar: Calendar }] = await Promise.all([
    import('therapist-sessions/week-calendar'),
    import('@event-calendar/core/index.css'),
    import('therapist-sessions/week-calendar.css'),
  ]);
  return { default: Calendar };
});

const views = { week: 'Week', day: 'Day', list: 'List' };
type View = keyof typeof views;
type Open =
  | { kind: 'booking'; draft: Draft }
  | { kind: 'waitlist' | 'keys' | 'print' }
  | { kind: 'cancel'; session: SessionRow }
  | null;

export default function Schedule() {
  const { times, role, userId, isAdmin, now } = useMe();
  const canBook = role !== 'client';
  const online = useOnline();
  const [search, setSearch] = useSearchParams();
  const set = (changes: Readonly<Record<string, string | null>>) =>
    setSearch((before) => {
      const kept = Object.entries({ ...Object.fromEntries(before), ...changes });
      return new URLSearchParams(kept.filter((entry): entry is [string, string] => entry[1] !== null));
    });
  const asked = search.get('date') ?? '';
  const date = /^\d{4}-\d\d-\d\d$/.test(asked) ? asked : times.today();
  const therapistId = role === 'therapist' ? userId : search.get('therapist');
  const isPhone = matchMedia('(max-width: 40rem)').matches;
  const usual: View = role === 'client' || isPhone ? 'list' : isAdmin && !therapistId ? 'day' : 'week';
  const view = (search.get('view') as View | null) ?? usual;
  const [showCancelled, setShowCancelled] = useState(false);
  const [open, setOpen] = useState<Open>(null);
  const [notice, setNotice] = useState<Notice | null>(null);
  const [announced, setAnnounced] = useState('');

  const { therapists, byId } = useTherapists();
  const draft = open?.kind === 'booking' ? open.draft : null;
  const inColumns = view === 'day' && isAdmin && !therapistId;
  const { numbersOnly, print } = usePrint();
  const shown = { date, isDay: view === 'day', therapistId, inColumns, showCancelled, numbersOnly, draft };
  const calendar = useCalendar(shown, (count) => setAnnounced(count === 1 ? '1 session changed' : `${count} sessions changed`));
  const { bounds, refresh } = calendar;
  const all = calendar.sessions ?? [];
  const cancelled = all.filter(({ status }) => status === 'cancelled').length;
  const sessionId = search.get('session');
  const opened = all.find(({ id }) => id === sessionId);

  const close = () => {
    setOpen(null);
    if (sessionId) set({ session: null });
  };
  const done = ({ text, undo }: Notice) => {
    setNotice({ text, undo: undo && (() => undo().then(refresh)) });
    void refresh();
  };
  const startBooking = (start: string, end: string, column?: string | null, about: Partial<Draft> = {}) => {
    const whose = column ?? therapistId ?? therapists[0]?.id ?? '';
    const opening = performance.now();
    if (canBook) setOpen({ kind: 'booking', draft: { opening, start, end, therapistId: whose, ...about } });
  };
  const newSession = () => {
    const [day] = [date, times.today()].sort().reverse();
    startBooking(`${day}T10:00:00`, `${day}T11:00:00`);
  };
  const startMove = (session: SessionRow, to?: Slot, refused?: SessionsApiError) => {
    const { start, end, column } = to ?? { start: times.civil(session.start_time), end: times.civil(session.end_time) };
    startBooking(start, end, column ?? session.therapist_id, { session, clientId: session.client_id, refused });
  };
  const move = useMove({
    onMoving: () => setNotice({ text: 'Moving…' }),
    onStays: () => {
      setNotice(null);
      void refresh();
    },
    onRefused: (refused, session, slot) => startMove(session, slot, refused),
    onMoved: ({ start_time, end_time, therapist_id }, undo) => {
      const whom = inColumns ? ` with ${byId.get(therapist_id)?.display_name}` : '';
      done({ text: `Moved to ${times.dayRange(start_time, end_time)}${whom}.`, undo });
    },
  });
  const step = view === 'day' ? 1 : 7;
  const go = (days: number) => set({ date: plusDays(date, days) });
  const [keysOn, setKeysOn] = useState(localStorage.getItem('keys') !== 'off');
  useEffect(() => localStorage.setItem('keys', keysOn ? 'on' : 'off'), [keysOn]);
  const keys = {
    n: newSession,
    t: () => set({ date: null }),
    j: () => go(step),
    k: () => go(-step),
    d: () => set({ view: 'day' }),
    w: () => set({ view: 'week' }),
    a: () => set({ view: 'list' }),
    m: () => opened && startMove(opened),
    c: () => opened && setOpen({ kind: 'cancel', session: opened }),
    '?': () => setOpen({ kind: 'keys' }),
  };
  useSingleKeys(keys, keysOn);

  const [first = date, last = date] = [bounds.days[0], bounds.days.at(-1)].map((day) => times.instant(`${day}T12:00`));
  const heading = view === 'day' ? times.longDay(first) : `${times.day(first)} – ${times.day(last)}`;
  const unit = view === 'day' ? 'day' : 'week';
  const empty = role === 'client' ? 'No sessions planned. The clinic books them for you.' : 'No sessions.';
  return (
    <div className={open || opened ? 'schedule with-panel' : 'schedule'}>
      <div className="schedule-main">
        <div className="toolbar" role="toolbar" aria-label="Schedule" {...useToolbar<HTMLDivElement>()}>
          <Button label={`Previous ${unit}`} icon={ChevronLeft} look="icon" press={() => go(-step)} />
          <Button label="Today" press={() => set({ date: null })} />
          <Button label={`Next ${unit}`} icon={ChevronRight} look="icon" press={() => go(step)} />
          <h1 aria-live="polite" tabIndex={-1}>
            {heading}
          </h1>
          <fieldset className="segments">
            <legend className="hidden">View</legend>
            {Object.entries(views).map(([option, label]) => (
              <Button key={option} label={label} aria-pressed={view === option} press={() => set({ view: option })} />
            ))}
          </fieldset>
          {isAdmin && (
            <Choice
              label={<span className="hidden">Therapist</span>}
              options={[['', 'All therapists'], ...therapists.map(({ id, display_name }) => [id, display_name] as const)]}
              value={therapistId ?? ''}
              onValue={(id) => set({ therapist: id || null, view: id ? 'week' : null })}
            />
          )}
          <span className="spacer" />
          {cancelled > 0 && (
            <Check label={`Show cancelled (${cancelled})`} checked={showCancelled} onChecked={setShowCancelled} />
          )}
          {isAdmin && <Button label="Waitlist" icon={ClipboardList} press={() => setOpen({ kind: 'waitlist' })} />}
          {canBook && <Button label="New session" icon={Plus} look="primary" press={newSession} />}
        </div>
        <Failure error={calendar.error} />
        <OwnHolds holds={draft ? [] : calendar.holds} onLetGo={refresh} />
        <State pending={calendar.sessions === null && !calendar.error} />
        {view === 'list' ? (
          calendar.sessions && (
            <Agenda sessions={calendar.shown} naming={calendar.naming} empty={empty} onOpen={(session) => set({ session })} />
          )
        ) : (
          <Suspense fallback={<div className="calendar" />}>
            <WeekCalendar
              label={`Sessions, ${heading}`}
              date={bounds.firstDay}
              days={bounds.days.length}
              columns={calendar.columns}
              blocks={calendar.blocks}
              hours={calendar.hours}
              offsetNow={times.offset(now())}
              canBook={canBook && online}
              pending={calendar.pending}
              onSelect={({ start, end, column }) => startBooking(start, end, column)}
              onOpen={(id) => all.some((session) => session.id === id) && set({ session: id })}
              onMove={async (id, slot) => {
                const session = all.find((one) => one.id === id);
                if (session && !session.series_id) return await move(session, slot);
                // Of a series the form asks which sessions are meant; its draft may be dragged on.
                if (session) startMove(session, slot);
                else if (draft) setOpen({ kind: 'booking', draft: dragTo(draft, slot) });
                return !session;
              }}
            />
          </Suspense>
        )}
        {view !== 'list' && calendar.sessions?.length === 0 && canBook && (
          <p className="muted">No sessions here. Drag across a time, or press N.</p>
        )}
        {view !== 'list' && <Legend sessions={all} onOpen={(kind) => setOpen({ kind })} />}
      </div>
      {draft && (
        <BookingPanel
          key={draft.opening}
          draft={draft}
          sessions={all}
          onDraft={(next) => setOpen({ kind: 'booking', draft: next })}
          onBooked={(next) => {
            setOpen(null);
            done(next);
          }}
          onChanged={() => void refresh()}
          onClose={() => setOpen(null)}
        />
      )}
      {open?.kind === 'waitlist' && <Waitlist onClose={close} onDone={done} />}
      {opened && (!open || open.kind === 'cancel') && (
        <SessionPanel
          key={opened.id}
          session={opened}
          onClose={close}
          onChanged={(text) => done({ text })}
          onMove={() => startMove(opened)}
          onCancel={() => setOpen({ kind: 'cancel', session: opened })}
        />
      )}
      {open?.kind === 'cancel' && (
        <CancelDialog
          session={open.session}
          onClose={() => setOpen(null)}
          onCancelled={(text) => {
            close();
            done({ text });
          }}
        />
      )}
      {open?.kind === 'print' && (
        <Layer isModal title="Names on paper?" onClose={() => setOpen(null)}>
          <p>Without names, clients are printed by their number.</p>
          <p className="row">
            {(['numbers', 'names'] as const).map((what) => (
              <Button
                key={what}
                label={`Print ${what}`}
                look={what === 'numbers' ? 'primary' : undefined}
                press={() => {
                  setOpen(null);
                  print(what);
                }}
              />
            ))}
          </p>
        </Layer>
      )}
      {open?.kind === 'keys' && (
        <Layer isModal title="Keys" onClose={() => setOpen(null)}>
          <Facts facts={keyHelp} />
          <Check label="Use single keys" checked={keysOn} onChecked={setKeysOn} />
        </Layer>
      )}
      <NoticeBar notice={notice} onDone={() => setNotice(null)} />
      <p role="status" className="hidden">
        {announced}
      </p>
    </div>
  );
}

const dragTo = (draft: Draft, { start, end, column }: Slot): Draft => ({
  ...{ ...draft, start, end, therapistId: column || draft.therapistId },
  dragged: performance.now(),
});

/** Holds that outlived a reload of the page, or were made elsewhere; the one of an open form is in the form. */
function OwnHolds({ holds, onLetGo }: { holds: readonly LiveHold[]; onLetGo(): Promise<void> }) {
  const { times } = useMe();
  const { byId } = useTherapists();
  const action = useAction();
  const own = useOwnHolds(holds);
  const letGo = (holdKey: string) => cancelSessionHold(supabase, { holdKey }).then(onLetGo);
  return (
    <ul className="own-holds" aria-label="Times you hold" hidden={own.length === 0}>
      {own.map(({ batchKey, startTime, endTime, therapistId, secondsLeft }) => (
        <li key={batchKey}>
          You hold {times.dayRange(startTime, endTime)} with {byId.get(therapistId)?.display_name} (
          {minutesAndSeconds(secondsLeft)} left)
          <Button label="Let go" by={action} look="small" press={() => letGo(batchKey)} />
        </li>
      ))}
    </ul>
  );
}

const legend = { scheduled: 'booked', in_progress: 'in progress', completed: 'completed', held: 'held', off: 'not working' };

function Legend({ sessions, onOpen }: { sessions: readonly SessionRow[]; onOpen(kind: 'keys' | 'print'): void }) {
  const { now } = useMe();
  const late = sessions.filter(({ status, end_time }) => status === 'scheduled' && Date.parse(end_time) < now()).length;
  return (
    <div className="legend">
      {Object.entries(legend).map(([kind, label]) => (
        <span key={kind}>
          <i className={`swatch ${kind}`} aria-hidden /> {label}
        </span>
      ))}
      <Button label="Print" icon={Printer} look="small" press={() => onOpen('print')} />
      <Button label="Keys" icon={Keyboard} look="small" press={() => onOpen('keys')} />
      {late > 0 && (
        <span className="attention">
          <TriangleAlert size={14} aria-hidden /> {late === 1 ? '1 session is' : `${late} sessions are`} over and not documented
        </span>
      )}
    </div>
  );
}

const keyHelp = {
  N: 'New session',
  Arrows: 'Next session by time, same time next day or column',
  Enter: 'Open the session',
  'M, C': 'Move or cancel the open session',
  'T, J, K': 'Today, next, previous',
  'D, W, A': 'Day, week, list',
  Esc: 'Close, or drop a drag',
};
