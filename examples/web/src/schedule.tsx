/** The schedule: a week or a day as a grid, or a list; booking, moving and everything about one session beside it. */
import { ChevronLeft, ChevronRight, ClipboardList, Keyboard, Plus, Printer, TriangleAlert } from 'lucide-react';
import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from 'react';
import {
  bookSession,
  cancelSessionHold,
  dayBounds,
  plusDays,
  type SessionRow,
  SessionsApiError,
  weekBounds,
} from 'therapist-sessions';
import { useSearchParams } from 'wouter';
import { Agenda } from './agenda.tsx';
import { blocksOf, gridHours, hoursBlocks, isShown } from './blocks.ts';
import { BookingPanel, type Draft } from './booking.tsx';
import { CancelDialog, MoveDialog, moveRequest } from './edit.tsx';
import { supabase, useClients, useExceptions, useHolds, useSchedule, useTherapists } from './queries.ts';
import { RefusalPanel } from './refusal.tsx';
import { useMe } from './session.tsx';
import { SessionDrawer } from './session-drawer.tsx';
import { minutesSeconds } from './times.ts';
import { Dialog, Failure, type Notice, NoticeBar, noteError, useOnline, useSeconds } from './ui.tsx';
import { Waitlist } from './waitlist.tsx';
import type { Slot } from './week-calendar.tsx';

const WeekCalendar = lazy(() => import('./week-calendar.tsx').then((module) => ({ default: module.WeekCalendar })));

type View = 'week' | 'day' | 'list';
type Open =
  | { kind: 'booking'; draft: Draft }
  | { kind: 'refused'; error: SessionsApiError; session: SessionRow; slot: Slot }
  | { kind: 'waitlist' | 'keys' }
  | { kind: 'move' | 'cancel'; session: SessionRow }
  | null;

const isPhone = () => matchMedia('(max-width: 40rem)').matches;

export default function Schedule() {
  const me = useMe();
  const { times, role } = me;
  const isAdmin = role === 'admin' || role === 'super_admin';
  const canBook = role !== 'client';
  const online = useOnline();
  const [search, setSearch] = useSearchParams();
  const set = useCallback(
    (changes: Record<string, string | null>, replace = false) =>
      setSearch(
        (before) => {
          const next = new URLSearchParams(before);
          for (const [name, value] of Object.entries(changes)) value === null ? next.delete(name) : next.set(name, value);
          return next;
        },
        { replace },
      ),
    [setSearch],
  );
  const date = /^\d{4}-\d\d-\d\d$/.test(search.get('date') ?? '') ? (search.get('date') as string) : times.today();
  const fallback: View = role === 'client' || isPhone() ? 'list' : isAdmin && !search.get('therapist') ? 'day' : 'week';
  const view = (search.get('view') as View | null) ?? fallback;
  const therapistId = role === 'therapist' ? me.userId : search.get('therapist');
  const [showCancelled, setShowCancelled] = useState(false);
  const [open, setOpen] = useState<Open>(null);
  const [notice, setNotice] = useState<Notice | null>(null);
  const [announced, setAnnounced] = useState('');

  const bounds = view === 'day' ? dayBounds(date, times.timeZone) : weekBounds(date, times.timeZone);
  const span = { from: bounds.from, to: bounds.to, therapistId };
  const schedule = useSchedule(span, (count) => setAnnounced(count === 1 ? '1 session changed' : `${count} sessions changed`));
  const { therapists, byId: therapistById } = useTherapists();
  const clients = useClients();
  const { data: holds = [] } = useHolds(span, canBook);
  const { data: exceptions = [] } = useExceptions(span, canBook);
  const shownTherapists = useMemo(
    () => (therapistId ? therapists.filter(({ id }) => id === therapistId) : therapists),
    [therapists, therapistId],
  );
  const columns = useMemo(
    () =>
      view === 'day' && isAdmin && !therapistId
        ? shownTherapists.map(({ id, display_name, credential }) => ({
            id,
            title: `${display_name} · ${credential}`,
          }))
        : undefined,
    [view, isAdmin, therapistId, shownTherapists],
  );
  const all = schedule.sessions ?? [];
  const sessions = all.filter((session) => isShown(session, showCancelled));
  const cancelledCount = all.filter(({ status }) => status === 'cancelled').length;
  const draft = open?.kind === 'booking' ? open.draft : null;
  const context = { times, nameOf: clients.nameOf, therapistById, showTherapist: !therapistId && !columns };
  const blocks = useMemo(
    () => [
      ...blocksOf(sessions, holds, context, role !== 'client' && online),
      ...(columns || shownTherapists.length === 1 ? hoursBlocks(shownTherapists, exceptions, bounds.days, times, !!columns) : []),
      ...(draft
        ? [
            {
              id: 'draft',
              start: draft.start,
              end: draft.end,
              title: 'New session',
              detail: '',
              kind: 'draft',
              column: columns ? draft.therapistId : undefined,
            },
          ]
        : []),
    ],
    [schedule.sessions, holds, exceptions, columns, clients, draft, showCancelled, online, shownTherapists, date],
  );
  const hours = useMemo(() => gridHours(blocks, shownTherapists), [blocks, shownTherapists]);

  const sessionId = search.get('session');
  const opened = sessionId ? all.find(({ id }) => id === sessionId) : null;
  const close = useCallback(() => {
    setOpen(null);
    if (new URLSearchParams(location.search).has('session')) set({ session: null }, true);
  }, [set]);
  const startBooking = useCallback(
    (start: string, end: string, column?: string, clientId?: string) => {
      if (!canBook) return;
      const forTherapist = column ?? therapistId ?? therapists[0]?.id ?? '';
      setOpen({ kind: 'booking', draft: { opening: performance.now(), start, end, therapistId: forTherapist, clientId } });
    },
    [canBook, therapistId, therapists],
  );
  const newSession = useCallback(() => {
    const [day = date] = [date, times.today()].sort().reverse();
    startBooking(`${day}T10:00:00`, `${day}T11:00:00`);
  }, [date, startBooking, times]);

  const done = useCallback(
    (next: Notice) => {
      setNotice(next);
      void schedule.refresh();
    },
    [schedule],
  );
  const move = async (session: SessionRow, slot: Slot): Promise<boolean> => {
    const request = moveRequest(session, slot, times);
    if (
      request.session.start_time === session.start_time &&
      request.session.end_time === session.end_time &&
      request.session.therapist_id === session.therapist_id
    )
      return false;
    setNotice({ text: 'Moving…' });
    try {
      await bookSession(supabase, request);
      const back: Slot = {
        start: times.civil(session.start_time),
        end: times.civil(session.end_time),
        column: session.therapist_id,
      };
      const to =
        slot.column && slot.column !== session.therapist_id ? ` with ${therapistById.get(slot.column)?.display_name}` : '';
      done({
        text: `Moved to ${times.dayRange(request.session.start_time, request.session.end_time)}${to}.`,
        undo: async () => {
          await bookSession(supabase, moveRequest(session, back, times));
          await schedule.refresh();
        },
      });
      return true;
    } catch (error) {
      noteError(error);
      setNotice(null);
      if (error instanceof SessionsApiError) setOpen({ kind: 'refused', error, session, slot });
      await schedule.refresh();
      return false;
    }
  };
  const step = view === 'day' ? 1 : 7;
  const go = (days: number) => set({ date: plusDays(date, days) });
  useKeys({
    n: newSession,
    t: () => set({ date: null }),
    j: () => go(step),
    k: () => go(-step),
    d: () => set({ view: 'day' }),
    w: () => set({ view: 'week' }),
    a: () => set({ view: 'list' }),
    m: () => opened && setOpen({ kind: 'move', session: opened }),
    c: () => opened && setOpen({ kind: 'cancel', session: opened }),
    '?': () => setOpen({ kind: 'keys' }),
  });

  const first = `${bounds.days[0]}T12:00:00`;
  const last = `${bounds.days.at(-1)}T12:00:00`;
  const heading =
    view === 'day'
      ? times.longDay(times.instant(first))
      : `${times.day(times.instant(first))} – ${times.day(times.instant(last))}`;
  const offsetMinutes = Math.round((Date.parse(`${times.civil(Date.now())}Z`) - Date.now()) / 900_000) * 15;
  const panel = open || opened;
  return (
    <div className={panel ? 'schedule with-panel' : 'schedule'}>
      <div className="schedule-main">
        <div className="toolbar" role="toolbar" aria-label="Schedule">
          <button
            type="button"
            className="icon"
            aria-label={view === 'day' ? 'Previous day' : 'Previous week'}
            onClick={() => go(-step)}
          >
            <ChevronLeft size={18} aria-hidden />
          </button>
          <button type="button" onClick={() => set({ date: null })}>
            Today
          </button>
          <button type="button" className="icon" aria-label={view === 'day' ? 'Next day' : 'Next week'} onClick={() => go(step)}>
            <ChevronRight size={18} aria-hidden />
          </button>
          <h1 aria-live="polite" tabIndex={-1}>
            {heading}
          </h1>
          <fieldset className="segments">
            <legend className="hidden">View</legend>
            {(['week', 'day', 'list'] as const).map((option) => (
              <button key={option} type="button" aria-pressed={view === option} onClick={() => set({ view: option })}>
                {{ week: 'Week', day: 'Day', list: 'List' }[option]}
              </button>
            ))}
          </fieldset>
          {isAdmin && (
            <label className="inline">
              <span className="hidden">Therapist</span>
              <select
                value={therapistId ?? ''}
                onChange={(event) => set({ therapist: event.target.value || null, view: event.target.value ? 'week' : null })}
              >
                <option value="">All therapists</option>
                {therapists.map(({ id, display_name }) => (
                  <option key={id} value={id}>
                    {display_name}
                  </option>
                ))}
              </select>
            </label>
          )}
          <span className="spacer" />
          {cancelledCount > 0 && (
            <label className="inline check">
              <input type="checkbox" checked={showCancelled} onChange={(event) => setShowCancelled(event.target.checked)} /> Show
              cancelled ({cancelledCount})
            </label>
          )}
          <button type="button" className="icon wide-only" aria-label="Print" onClick={() => print()}>
            <Printer size={18} aria-hidden />
          </button>
          <button type="button" className="icon wide-only" aria-label="Keys" onClick={() => setOpen({ kind: 'keys' })}>
            <Keyboard size={18} aria-hidden />
          </button>
          {isAdmin && (
            <button type="button" onClick={() => setOpen({ kind: 'waitlist' })}>
              <ClipboardList size={16} aria-hidden /> Waitlist
            </button>
          )}
          {canBook && (
            <button type="button" className="primary" onClick={newSession}>
              <Plus size={16} aria-hidden /> New session
            </button>
          )}
        </div>
        <Failure error={schedule.error} />
        {canBook && (
          <OwnHolds
            holds={holds.filter(({ isOwn }) => isOwn)}
            therapistById={therapistById}
            onLetGo={() => void schedule.refresh()}
          />
        )}
        {schedule.sessions === null && !schedule.error && (
          <p className="muted loading" role="status">
            Loading the {view === 'day' ? 'day' : 'week'}…
          </p>
        )}
        {view === 'list' ? (
          <Agenda
            days={bounds.days}
            sessions={sessions}
            context={context}
            empty={role === 'client' ? 'No sessions planned. The clinic books them for you.' : 'No sessions.'}
            pending={schedule.sessions === null}
            onOpen={(id) => set({ session: id })}
          />
        ) : (
          <Suspense fallback={<div className="calendar" />}>
            <WeekCalendar
              label={`Sessions, ${heading}`}
              date={bounds.firstDay}
              days={bounds.days.length}
              columns={columns}
              blocks={blocks}
              hours={hours}
              offsetNow={offsetText(offsetMinutes)}
              canBook={canBook && online}
              pending={schedule.sessions === null || therapists.length === 0}
              onSelect={({ start, end, column }) => startBooking(start, end, column)}
              onOpen={(id) => !id.startsWith('hold:') && id !== 'draft' && set({ session: id })}
              onMove={async (id, slot) => {
                if (id === 'draft') {
                  startBooking(slot.start, slot.end, slot.column, draft?.clientId);
                  return true;
                }
                const session = all.find((one) => one.id === id);
                return session ? await move(session, slot) : false;
              }}
            />
          </Suspense>
        )}
        {view !== 'list' && schedule.sessions !== null && sessions.length === 0 && canBook && (
          <p className="muted hint">No sessions here. Drag across a time, or press N.</p>
        )}
        {view !== 'list' && (
          <Legend
            problems={all.filter(({ status, end_time }) => status === 'scheduled' && Date.parse(end_time) < Date.now()).length}
          />
        )}
      </div>
      {open?.kind === 'booking' && (
        <BookingPanel
          key={open.draft.opening}
          draft={open.draft}
          sessions={all}
          onDraft={(next) => setOpen({ kind: 'booking', draft: next })}
          onBooked={(next) => {
            close();
            done(next);
          }}
          onChanged={() => void schedule.refresh()}
          onClose={close}
        />
      )}
      {open?.kind === 'refused' && (
        <RefusalPanel
          title="Not moved"
          error={open.error}
          context={{
            timeZone: times.timeZone,
            therapistName: therapistById.get(open.slot.column ?? open.session.therapist_id)?.display_name,
          }}
          onClose={close}
          onTake={async (startTime, endTime) => {
            close();
            await move(open.session, {
              ...open.slot,
              start: times.civil(startTime),
              end: times.civil(endTime),
            });
          }}
          onRetry={async () => {
            close();
            await move(open.session, open.slot);
          }}
        />
      )}
      {open?.kind === 'waitlist' && <Waitlist onClose={close} onBooked={done} />}
      {opened && (!open || open.kind === 'move' || open.kind === 'cancel') && (
        <SessionDrawer
          key={opened.id}
          session={opened}
          onClose={close}
          onChanged={(text) => done({ text })}
          onMove={() => setOpen({ kind: 'move', session: opened })}
          onCancel={() => setOpen({ kind: 'cancel', session: opened })}
        />
      )}
      {open?.kind === 'move' && (
        <MoveDialog
          session={open.session}
          therapists={isAdmin ? therapists : []}
          onClose={() => setOpen(null)}
          onMove={async (slot) => {
            setOpen(null);
            await move(open.session, slot);
          }}
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
      {open?.kind === 'keys' && <Keys onClose={() => setOpen(null)} />}
      <NoticeBar notice={notice} onDone={useCallback(() => setNotice(null), [])} />
      <p role="status" className="hidden">
        {announced}
      </p>
    </div>
  );
}

const offsetText = (minutes: number) => {
  const absolute = Math.abs(minutes);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(absolute / 60))}:${two(absolute % 60)}`;
};

/** Holds that outlived a reload of the page, or were made elsewhere. */
function OwnHolds({
  holds,
  therapistById,
  onLetGo,
}: {
  holds: readonly {
    batchKey: string;
    therapistId: string;
    startTime: string;
    endTime: string;
    expiresAt: string;
  }[];
  therapistById: ReturnType<typeof useTherapists>['byId'];
  onLetGo(): void;
}) {
  const { times } = useMe();
  const batches = [...new Map(holds.map((hold) => [hold.batchKey, hold])).values()];
  useSeconds(batches.length > 0);
  const live = batches
    .map((hold) => ({ ...hold, left: Math.floor((Date.parse(hold.expiresAt) - Date.now()) / 1000) }))
    .filter(({ left }) => left > 0);
  if (live.length === 0) return null;
  return (
    <ul className="own-holds" aria-label="Times you hold">
      {live.map((hold) => (
        <li key={hold.batchKey}>
          You hold {times.dayRange(hold.startTime, hold.endTime)} with {therapistById.get(hold.therapistId)?.display_name}{' '}
          <span className="tabular">({minutesSeconds(hold.left)} left)</span>
          <button
            type="button"
            className="small"
            onClick={() => void cancelSessionHold(supabase, { holdKey: hold.batchKey }).then(onLetGo, noteError)}
          >
            Let go
          </button>
        </li>
      ))}
    </ul>
  );
}

function Legend({ problems }: { problems: number }) {
  return (
    <div className="legend">
      {['scheduled:booked', 'in_progress:in progress', 'completed:completed', 'held:held', 'off:not working'].map((item) => {
        const [kind, label] = item.split(':');
        return (
          <span key={kind}>
            <i className={`swatch ${kind}`} aria-hidden /> {label}
          </span>
        );
      })}
      {problems > 0 && (
        <span className="attention">
          <TriangleAlert size={14} aria-hidden />{' '}
          {problems === 1 ? '1 session is over and not documented' : `${problems} sessions are over and not documented`}
        </span>
      )}
    </div>
  );
}

const keyHelp = [
  ['N', 'New session'],
  ['Arrows', 'Next session by time, same time next day or column'],
  ['Enter', 'Open the session'],
  ['M, C', 'Move or cancel the open session'],
  ['T, J, K', 'Today, next, previous'],
  ['D, W, A', 'Day, week, list'],
  ['Esc', 'Close, or drop a drag'],
];

function Keys({ onClose }: { onClose(): void }) {
  const [off, setOff] = useState(localStorage.getItem('keys') === 'off');
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl className="keys">
        {keyHelp.map(([keys, what]) => (
          <div key={keys}>
            <dt>{keys}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <label className="check">
        <input
          type="checkbox"
          checked={!off}
          onChange={(event) => {
            setOff(!event.target.checked);
            localStorage.setItem('keys', event.target.checked ? 'on' : 'off');
          }}
        />{' '}
        Use single keys
      </label>
    </Dialog>
  );
}

/** Single keys, while no field has the focus and no dialog is open (WCAG 2.1.4: they can be switched off). */
function useKeys(keys: Readonly<Record<string, () => void>>) {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || localStorage.getItem('keys') === 'off') return;
      if (target.closest('input, select, textarea, dialog')) return;
      const action = keys[event.key.toLowerCase()];
      if (!action) return;
      event.preventDefault();
      action();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  });
}
