/** The schedule: a week or a day as a grid, or a list; booking, moving and everything about one session beside it. */
import { ChevronLeft, ChevronRight, ClipboardList, Keyboard, Plus, Printer, TriangleAlert } from 'lucide-react';
import { lazy, Suspense, useState } from 'react';
import {
  type LiveHold,
  minutesAndSeconds,
  plusDays,
  type SessionRow,
  type SessionsApiError,
  statusWords,
} from 'therapist-sessions';
import {
  type Draft,
  type Slot,
  useAction,
  useCalendar,
  useDrafts,
  useKept,
  useMe,
  useMedia,
  useMove,
  useOnline,
  useOwnHolds,
  usePrint,
  useSingleKeys,
  useTherapists,
  useToolbar,
  withChanges,
} from 'therapist-sessions/react';
import { useSearchParams } from 'wouter';
import { Agenda } from './agenda.tsx';
import { BookingPanel } from './booking.tsx';
import { CancelDialog, SessionPanel } from './session-panel.tsx';
import { StaffTime } from './staff-time.tsx';
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
  | { kind: 'booking' | 'staff'; draft: Draft }
  | { kind: 'waitlist' | 'keys' | 'print' }
  | { kind: 'cancel'; session: SessionRow }
  | null;

export default function Schedule() {
  const { times, role, userId, isAdmin, now } = useMe();
  const canBook = role !== 'client';
  const online = useOnline();
  const [search, setSearch] = useSearchParams();
  const set = (changes: Readonly<Record<string, string | null>>) => setSearch((before) => withChanges(before, changes));
  const asked = search.get('date') ?? '';
  const date = /^\d{4}-\d\d-\d\d$/.test(asked) ? asked : times.today();
  const therapistId = role === 'therapist' ? userId : search.get('therapist');
  const clientId = search.get('client');
  const isPhone = useMedia('(max-width: 40rem)');
  const usual: View = role === 'client' || isPhone ? 'list' : isAdmin && !therapistId ? 'day' : 'week';
  const wanted = (search.get('view') as View | null) ?? usual;
  // Seven columns are too narrow to read on a phone.
  const view = isPhone && wanted === 'week' ? 'day' : wanted;
  const options = Object.entries(views).filter(([option]) => !isPhone || option !== 'week');
  const [showCancelled, setShowCancelled] = useState(false);
  const [open, setOpen] = useState<Open>(null);
  const [notice, setNotice] = useState<Notice | null>(null);
  const [announced, setAnnounced] = useState('');

  const { options: everybody } = useTherapists();
  const draft = open && 'draft' in open ? open.draft : null;
  const inColumns = view === 'day' && isAdmin && !therapistId;
  const { numbersOnly, print } = usePrint(() => setOpen(null));
  const shown = { date, isDay: view === 'day', therapistId, clientId, inColumns, showCancelled, numbersOnly, draft };
  const calendar = useCalendar(shown, setAnnounced);
  const { bounds, heading, cancelled, refresh } = calendar;
  const all = calendar.sessions ?? [];
  const sessionId = search.get('session');
  const opened = all.find(({ id }) => id === sessionId);
  const staffTime = calendar.staffTimes.find(({ id }) => `staff:${id}` === sessionId);

  const close = () => {
    setOpen(null);
    if (sessionId) set({ session: null });
  };
  const done = ({ text, undo }: Notice) => {
    setNotice({ text, undo: undo && (() => undo().then(refresh)) });
    void refresh();
  };
  const finish = (notice: Notice) => {
    close();
    done(notice);
  };
  const drafts = useDrafts(therapistId);
  const startBooking = (begun: Draft) => canBook && setOpen({ kind: 'booking', draft: begun });
  const newSession = () => startBooking(drafts.on(date));
  const startMove = (session: SessionRow, to?: Slot, refused?: SessionsApiError) =>
    startBooking(drafts.move(session, to, refused));
  const move = useMove({
    onMoving: () => setNotice({ text: 'Moving…' }),
    onStays: () => {
      setNotice(null);
      void refresh();
    },
    onRefused: (refused, session, slot) => startMove(session, slot, refused),
    onMoved: (text, undo) => done({ text, undo }),
  });
  const step = view === 'day' ? 1 : 7;
  const go = (days: number) => set({ date: plusDays(date, days) });
  const [keysOn, setKeysOn] = useKept<'on' | 'off'>('keys', 'on');
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
  useSingleKeys(keys, keysOn === 'on');

  const unit = view === 'day' ? 'day' : 'week';
  const empty = role === 'client' ? 'No sessions planned. The clinic books them for you.' : 'No sessions.';
  return (
    <div className={open || opened || staffTime ? 'schedule with-panel' : 'schedule'}>
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
            {options.map(([option, label]) => (
              <Button key={option} label={label} aria-pressed={view === option} press={() => set({ view: option })} />
            ))}
          </fieldset>
          {isAdmin && (
            <Choice
              label={<span className="hidden">Therapist</span>}
              none="All therapists"
              options={everybody}
              value={therapistId ?? ''}
              onValue={(id) => set({ therapist: id || null, view: id ? 'week' : null })}
            />
          )}
          {role !== 'client' && (
            <Choice
              label={<span className="hidden">Shown client</span>}
              none="All clients"
              options={calendar.clients}
              value={clientId ?? ''}
              onValue={(id) => set({ client: id || null })}
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
            <Agenda
              sessions={calendar.shown}
              staffTimes={calendar.staffTimes}
              naming={calendar.naming}
              empty={empty}
              onOpen={(session) => set({ session })}
            />
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
              onSelect={(slot) => startBooking(drafts.at(slot))}
              onOpen={(id) => (id.startsWith('staff:') || all.some((session) => session.id === id)) && set({ session: id })}
              onMove={async (id, slot) => {
                const session = all.find((one) => one.id === id);
                if (session && !session.series_id) return await move(session, slot);
                // Of a series the form asks which sessions are meant; its draft may be dragged on.
                if (session) startMove(session, slot);
                else if (open && 'draft' in open) setOpen({ ...open, draft: drafts.drag(open.draft, slot) });
                return !session;
              }}
            />
          </Suspense>
        )}
        {view !== 'list' && calendar.sessions?.length === 0 && canBook && (
          <p className="muted">No sessions here. Drag across a time, or press N.</p>
        )}
        {view !== 'list' && <Legend late={calendar.undocumented} onOpen={(kind) => setOpen({ kind })} />}
      </div>
      {(open ? open.kind === 'staff' : staffTime) && (
        <StaffTime
          key={sessionId}
          staffTime={open ? undefined : staffTime}
          place={draft ?? undefined}
          dragged={draft?.dragged}
          onPlace={(place) => draft && setOpen({ kind: 'staff', draft: { ...draft, ...place } })}
          onDone={finish}
          onClose={close}
        />
      )}
      {draft && open?.kind === 'booking' && (
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
          onStaffTime={() => setOpen({ kind: 'staff', draft })}
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
        <CancelDialog session={open.session} onClose={() => setOpen(null)} onChanged={(text) => finish({ text })} />
      )}
      {open?.kind === 'print' && (
        <Layer isModal title="Names on paper?" onClose={() => setOpen(null)}>
          <p>Without names, clients are printed by their number.</p>
          <p className="row">
            {(['numbers', 'names'] as const).map((what) => (
              <Button key={what} label={`Print ${what}`} press={() => print(what)} />
            ))}
          </p>
        </Layer>
      )}
      {open?.kind === 'keys' && (
        <Layer isModal title="Keys" onClose={() => setOpen(null)}>
          <Facts facts={keyHelp} />
          <Check label="Use single keys" checked={keysOn === 'on'} onChecked={(on) => setKeysOn(on ? 'on' : 'off')} />
        </Layer>
      )}
      <NoticeBar notice={notice} onDone={() => setNotice(null)} />
      <p role="status" className="hidden">
        {announced}
      </p>
    </div>
  );
}

/** Holds that outlived a reload of the page, or were made elsewhere; the one of an open form is in the form. */
function OwnHolds({ holds, onLetGo }: { holds: readonly LiveHold[]; onLetGo(): Promise<void> }) {
  const { times } = useMe();
  const { byId } = useTherapists();
  const action = useAction();
  const own = useOwnHolds(holds);
  return (
    <ul className="own-holds" aria-label="Times you hold" hidden={own.length === 0}>
      {own.map(({ batchKey, startTime, endTime, therapistId, secondsLeft, letGo }) => (
        <li key={batchKey}>
          You hold {times.dayRange(startTime, endTime)} with {byId.get(therapistId)?.display_name} (
          {minutesAndSeconds(secondsLeft)} left)
          <Button label="Let go" by={action} look="small" press={() => letGo().then(onLetGo)} />
        </li>
      ))}
    </ul>
  );
}

const { scheduled, in_progress, completed } = statusWords;
const legend = { scheduled, in_progress, completed, held: 'held', staff: 'no client', off: 'not working' };

function Legend({ late, onOpen }: { late: number; onOpen(kind: 'keys' | 'print'): void }) {
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
