/** Booking a session or a series: look, then book at once, or hold while somebody is asked. */
import { useEffect, useMemo, useRef, useState } from 'react';
import {
  type BookSessionRequest,
  bookSession,
  cancelSessions,
  civilDayBounds,
  deriveCptMetadata,
  fetchPayerRules,
  findOpenSlots,
  type HeldBooking,
  holdBooking,
  joinWaitlist,
  type PreviewedOccurrence,
  previewSeries,
  providerLevel,
  SERVICE_CODES,
  type SessionRow,
  SessionsApiError,
} from 'therapist-sessions';
import { type Booked, Held } from './hold.tsx';
import { type Balance, supabase, useClients, useRead, useReport, useRooms, useTherapists } from './queries.ts';
import { Refusal } from './refusal.tsx';
import { useMe } from './session.tsx';
import { minutesBetween, ownClock, type Times } from './times.ts';
import { Busy, Failure, issueText, type Notice, Panel, useAction } from './ui.tsx';

/** What a booking starts from: local times of the clinic. */
export interface Draft {
  /** Which opening of the panel it belongs to: a new one begins with a new form. */
  readonly opening: number;
  readonly start: string;
  readonly end: string;
  readonly therapistId: string;
  readonly clientId?: string;
}

interface Form {
  clientId: string;
  therapistId: string;
  date: string;
  from: string;
  to: string;
  service: string;
  place: string;
  roomId: string;
  repeat: keyof typeof repeats;
  count: number;
  skip: boolean;
}

const repeats = {
  none: ['Does not repeat', ''],
  daily: ['Every day', 'FREQ=DAILY'],
  weekly: ['Every week', 'FREQ=WEEKLY'],
  fortnightly: ['Every 2 weeks', 'FREQ=WEEKLY;INTERVAL=2'],
  monthly: ['Every month', 'FREQ=MONTHLY'],
} as const;
const places = { clinic: 'Clinic', home: 'Home', school: 'School', telehealth: 'Telehealth' };
/** The kind of session a service is, where it is not one to one. */
const kindOfService: Readonly<Record<string, string>> = {
  ...{
    '97151': 'assessment',
    '97152': 'assessment',
    '0362T': 'assessment',
    '97155': 'supervision',
    '97156': 'consultation',
  },
};

function requestOf(form: Form, times: Times): BookSessionRequest {
  const rule = repeats[form.repeat][1];
  return {
    session: {
      therapist_id: form.therapistId,
      client_id: form.clientId,
      start_time: times.instant(`${form.date}T${form.from}`),
      end_time: times.instant(`${form.date}T${form.to}`),
      session_type: kindOfService[form.service] ?? 'individual',
      location_type: form.place,
    },
    recurrence: rule ? { rule: `${rule};COUNT=${form.count}` } : null,
    overrides: { cptCode: form.service },
    roomId: form.roomId || null,
    timeZone: times.timeZone,
    onConflict: rule && form.skip ? 'skip' : 'refuse',
  };
}

interface Props {
  readonly draft: Draft;
  /** What the page shows: a rival's session that appears there ends the waiting. */
  readonly sessions: readonly SessionRow[];
  onDraft(draft: Draft): void;
  onBooked(notice: Notice): void;
  /** Something was held or let go. */
  onChanged(): void;
  onClose(): void;
}

export function BookingPanel({ draft, sessions, onDraft, onBooked, onChanged, onClose }: Props) {
  const { times, role } = useMe();
  const { therapists, byId } = useTherapists();
  const clients = useClients();
  const [form, setForm] = useState<Form>({
    clientId: draft.clientId ?? '',
    therapistId: draft.therapistId,
    date: draft.start.slice(0, 10),
    from: draft.start.slice(11, 16),
    to: draft.end.slice(11, 16),
    ...{ service: '', place: 'clinic', roomId: '', repeat: 'none', count: 12, skip: false },
  });
  const set = (changes: Partial<Form>) => setForm((before) => ({ ...before, ...changes }));
  const shown = `${form.date} ${form.from} ${form.to} ${form.therapistId}`;
  const follow = useRef(onDraft);
  follow.current = onDraft;
  // The block in the grid follows what the form says.
  useEffect(() => {
    const [date = '', from = '', to = '', therapistId = ''] = shown.split(' ');
    if (date && from && to > from)
      follow.current({ ...draft, start: `${date}T${from}:00`, end: `${date}T${to}:00`, therapistId });
  }, [shown]);
  const therapist = byId.get(form.therapistId);
  const level = providerLevel(therapist?.credential ?? '');
  const services = SERVICE_CODES.filter(
    ({ levels, clients: size, validFrom, validTo }) =>
      size.min === 1 &&
      (level === null || levels.includes(level)) &&
      validFrom <= form.date &&
      (validTo === null || validTo >= form.date),
  );
  const preferred = level === 'technician' ? '97153' : '97155';
  const service = services.some(({ code }) => code === form.service) ? form.service : preferred;
  const filled: Form = { ...form, service };
  const isComplete = form.clientId !== '' && form.therapistId !== '' && form.to > form.from;
  const series = form.repeat !== 'none';
  const preview = usePreview(filled, times, isComplete && series);
  const blocked = preview.data?.filter(({ blockedBy }) => blockedBy !== null).length ?? 0;
  const bookable = series ? (preview.data?.length ?? form.count) - (form.skip ? blocked : 0) : 1;

  const [refused, setRefused] = useState<SessionsApiError | null>(null);
  const [held, setHeld] = useState<HeldBooking | null>(null);
  const [issues, setIssues] = useState<readonly string[]>([]);
  const { busy, run, error } = useAction();
  const kept = useRef<HeldBooking | null>(null);
  kept.current = held;
  // Leaving gives back what is held; what cannot be given back expires.
  useEffect(() => () => void kept.current?.release().catch(() => {}), []);

  // One key as long as the wish is the same and its outcome unknown: pressing again cannot book twice.
  const intent = useRef<{ wish: string; key: string } | null>(null);
  const keyFor = (wish: string) => {
    if (intent.current?.wish !== wish) intent.current = { wish, key: crypto.randomUUID() };
    return intent.current.key;
  };

  const attempt = (wanted: Form, how: 'book' | 'hold') =>
    run(async () => {
      setRefused(null);
      setIssues([]);
      const wish = JSON.stringify([wanted, how]);
      try {
        const payerRules = await fetchPayerRules(supabase, { clientId: wanted.clientId, date: wanted.date });
        const request = { ...requestOf(wanted, times), payerRules, idempotencyKey: keyFor(wish) };
        if (how === 'hold') {
          setHeld(await holdBooking(supabase, { ...request, holdSeconds: 300 }));
          intent.current = null;
          return onChanged();
        }
        const { sessions: made, skipped } = await bookSession(supabase, { ...request, holdSeconds: 30 });
        onBooked(booked(made, skipped.length, times));
      } catch (failure) {
        if (!(failure instanceof SessionsApiError) || failure.status === 0 || failure.status >= 500) throw failure;
        intent.current = null;
        if (failure.status === 409) return setRefused(failure);
        if (failure.status === 400) return setIssues(failure.issues.map(issueText));
        throw failure;
      }
    });
  const at = (startTime: string, endTime: string): Form => ({
    ...filled,
    date: times.civil(startTime).slice(0, 10),
    from: times.civil(startTime).slice(11, 16),
    to: times.civil(endTime).slice(11, 16),
  });
  const start = isComplete ? times.instant(`${form.date}T${form.from}`) : null;
  const hint = start && ownClock(start, times);

  return (
    <Panel title="New session" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const how = (event.nativeEvent as SubmitEvent).submitter?.getAttribute('value') === 'hold' ? 'hold' : 'book';
          if (!form.clientId) return setIssues(['Choose a client.']);
          if (form.to <= form.from) return setIssues(['The end must be after the start.']);
          void attempt(filled, how);
        }}
      >
        <fieldset disabled={busy || held !== null} className="plain">
          <ClientPicker clients={clients} value={form.clientId} onChange={(clientId) => set({ clientId })} />
          <label>
            Therapist
            <select
              value={form.therapistId}
              disabled={role === 'therapist'}
              onChange={(event) => set({ therapistId: event.target.value })}
            >
              {therapists.map(({ id, display_name, credential }) => (
                <option key={id} value={id}>
                  {display_name} · {credential}
                </option>
              ))}
            </select>
          </label>
          <div className="fields">
            <label>
              Date
              <input type="date" required value={form.date} onChange={(event) => set({ date: event.target.value })} />
            </label>
            <label>
              From
              <input type="time" step={900} required value={form.from} onChange={(event) => set({ from: event.target.value })} />
            </label>
            <label>
              To
              <input type="time" step={900} required value={form.to} onChange={(event) => set({ to: event.target.value })} />
            </label>
          </div>
          {start && (
            <p className="muted small-text">
              {times.longDay(start)}, {times.range(start, times.instant(`${form.date}T${form.to}`))} {times.abbreviation(start)}.
              {hint && ` Your own clock: ${hint}.`}
            </p>
          )}
          {isComplete && (
            <OpenSlots form={filled} times={times} onChoose={(startTime, endTime) => setForm(at(startTime, endTime))} />
          )}
          <label>
            Service
            <select value={service} onChange={(event) => set({ service: event.target.value })}>
              {services.map(({ code, description }) => (
                <option key={code} value={code}>
                  {description} ({code})
                </option>
              ))}
            </select>
          </label>
          {form.clientId && <UnitsLeft form={filled} times={times} />}
          <div className="fields two">
            <label>
              Place
              <select value={form.place} onChange={(event) => set({ place: event.target.value })}>
                {Object.entries(places).map(([value, label]) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
            <Rooms value={form.roomId} onChange={(roomId) => set({ roomId })} />
            <label>
              Repeats
              <select value={form.repeat} onChange={(event) => set({ repeat: event.target.value as Form['repeat'] })}>
                {Object.entries(repeats).map(([value, [label]]) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
            {series && (
              <label>
                Times
                <input
                  type="number"
                  min={2}
                  max={104}
                  required
                  value={form.count}
                  onChange={(event) => set({ count: Number(event.target.value) })}
                />
              </label>
            )}
          </div>
          {series && (
            <>
              <Failure error={preview.error} />
              {preview.data && <Preview rows={preview.data} times={times} therapistName={therapist?.display_name ?? ''} />}
              {blocked > 0 && (
                <label className="check">
                  <input type="checkbox" checked={form.skip} onChange={(event) => set({ skip: event.target.checked })} /> Leave
                  out the {blocked} that {blocked === 1 ? 'is' : 'are'} not free
                </label>
              )}
            </>
          )}
        </fieldset>
        {issues.length > 0 && (
          <p className="error" role="alert">
            {issues.join(' ')}
          </p>
        )}
        <Failure error={error} />
        {refused && (
          <Refusal
            error={refused}
            context={{ timeZone: times.timeZone, therapistName: therapist?.display_name }}
            isTaken={
              start !== null &&
              sessions.some(
                (one) =>
                  one.therapist_id === form.therapistId &&
                  one.status === 'scheduled' &&
                  one.start_time < times.instant(`${form.date}T${form.to}`) &&
                  one.end_time > start,
              )
            }
            busy={busy}
            onTake={(startTime, endTime) => {
              const wanted = at(startTime, endTime);
              setForm(wanted);
              return attempt(wanted, 'book');
            }}
            onRetry={() => attempt(filled, 'book')}
            onOther={() => setRefused(null)}
            onWait={
              role === 'therapist' || series
                ? undefined
                : async () => {
                    const { start: from, end: to } = civilDayBounds(form.date, times.timeZone);
                    await joinWaitlist(supabase, {
                      clientId: form.clientId,
                      cptCode: service,
                      windows: [{ from: new Date(from).toISOString(), to: new Date(to).toISOString() }],
                      minutes: minutesBetween(`${form.date}T${form.from}Z`, `${form.date}T${form.to}Z`),
                    });
                    onBooked({ text: 'Added to the waitlist for this day.' });
                  }
            }
          />
        )}
        {held ? (
          <Held
            held={held}
            onConfirmed={(made) => {
              kept.current = null;
              setHeld(null);
              onBooked(booked(made, held.skipped.length, times));
            }}
            onLetGo={() => {
              setHeld(null);
              onChanged();
            }}
            onAgain={() => {
              setHeld(null);
              void attempt(filled, 'hold');
            }}
          />
        ) : (
          !refused && (
            <div className="row foot">
              <Busy busy={busy} busyLabel="Booking…" className="primary">
                {bookable > 1 ? `Book ${bookable} sessions` : 'Book'}
              </Busy>
              <button type="submit" value="hold" disabled={busy}>
                Hold while I ask
              </button>
            </div>
          )
        )}
      </form>
    </Panel>
  );
}

function booked(made: readonly Booked[], leftOut: number, times: Times): Notice {
  const [first] = made;
  const left = leftOut > 0 ? ` Left out: ${leftOut}.` : '';
  const text =
    made.length === 1 && first
      ? `Booked: ${times.dayRange(first.start_time, first.end_time)}.`
      : `Booked ${made.length} sessions.`;
  return {
    text: text + left,
    undo: () =>
      cancelSessions(supabase, {
        sessionIds: made.map(({ id }) => id),
        reason: 'Booked by mistake',
        cancellationAttribution: 'staff',
      }),
  };
}

/** A value that has not changed for a moment, so that typing asks once. */
function useSettled<Value>(value: Value, key: string): Value {
  const [settled, setSettled] = useState(value);
  const latest = useRef(value);
  latest.current = value;
  useEffect(() => {
    const timer = setTimeout(() => setSettled(latest.current), 300);
    return () => clearTimeout(timer);
  }, [key]);
  return settled;
}

function usePreview(form: Form, times: Times, enabled: boolean) {
  const settled = useSettled(form, JSON.stringify(form));
  return useRead(
    ['preview', settled, times.timeZone],
    (signal) => {
      const { session, recurrence, roomId, timeZone } = requestOf(settled, times);
      return previewSeries(supabase, { session, recurrence, roomId, timeZone, signal });
    },
    { enabled: enabled && settled.repeat !== 'none', staleTime: 0 },
  );
}

/** Why a date of a series is not free. */
function reasonOf({ blockedBy, by }: PreviewedOccurrence, therapistName: string): string {
  if (blockedBy === null) return 'free';
  if (by === 'hold') return 'somebody is holding this time';
  const words: Record<NonNullable<typeof blockedBy>, string> = {
    therapist: `${therapistName} has a session`,
    client: 'the client is busy',
    room: 'the room is taken',
    availability: `${therapistName} does not work then`,
    closure: 'the clinic is closed',
    authorization: 'not authorized, or too few units are left',
  };
  return words[blockedBy];
}

const SHOWN_AT_FIRST = 12;

function Preview({ rows, times, therapistName }: { rows: readonly PreviewedOccurrence[]; times: Times; therapistName: string }) {
  const [all, setAll] = useState(false);
  const free = rows.filter(({ blockedBy }) => blockedBy === null).length;
  const shown =
    all || rows.length <= SHOWN_AT_FIRST ? rows : rows.filter(({ blockedBy }, index) => blockedBy !== null || index < 3);
  return (
    <div className="preview">
      <p role="status">
        <strong>{rows.length} dates</strong> · {free} free
      </p>
      <table>
        <tbody>
          {shown.map((row) => {
            const before = rows[row.index - 1];
            const changed = before && before.startOffsetMinutes !== row.startOffsetMinutes;
            return (
              <tr key={row.startTime} className={row.blockedBy ? 'blocked' : undefined}>
                <th scope="row">{times.day(row.startTime)}</th>
                <td className="tabular">{times.range(row.startTime, row.endTime)}</td>
                <td>
                  {reasonOf(row, therapistName)}
                  {changed && <span className="muted"> · clocks have changed, still {times.clock(row.startTime)}</span>}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {shown.length < rows.length && (
        <button type="button" className="small" onClick={() => setAll(true)}>
          Show all {rows.length}
        </button>
      )}
    </div>
  );
}

/** Starts that are free that day, near the one that is chosen. */
function OpenSlots({ form, times, onChoose }: { form: Form; times: Times; onChoose(startTime: string, endTime: string): void }) {
  const wanted = {
    therapistId: form.therapistId,
    clientId: form.clientId,
    roomId: form.roomId || null,
    cptCode: form.service,
    date: form.date,
    minutes: minutesBetween(`${form.date}T${form.from}Z`, `${form.date}T${form.to}Z`),
  };
  const settled = useSettled(wanted, JSON.stringify(wanted));
  const { data } = useRead(['open-slots', settled], (signal) => {
    const { start, end } = civilDayBounds(settled.date, times.timeZone);
    return findOpenSlots(supabase, {
      ...settled,
      from: new Date(start).toISOString(),
      to: new Date(end).toISOString(),
      timeZone: times.timeZone,
      signal,
    });
  });
  if (!data) return null;
  const near = (slot: { startTime: string }) =>
    Math.abs(minutesBetween(`${form.date}T${form.from}Z`, `${times.civil(slot.startTime)}Z`));
  const chosen = data.some((slot) => near(slot) === 0);
  const slots = [...data]
    .sort((a, b) => near(a) - near(b))
    .filter((slot) => near(slot) > 0)
    .slice(0, 5)
    .sort((a, b) => a.startTime.localeCompare(b.startTime));
  return (
    <fieldset className="plain chips">
      <legend className="hidden">Open starts</legend>
      <span className="muted small-text">
        {chosen ? 'This time looks free. Also:' : data.length > 0 ? 'Open that day:' : 'Nothing is open that day.'}
      </span>
      {slots.map(({ startTime, endTime }) => (
        <button key={startTime} type="button" className="small" onClick={() => onChoose(startTime, endTime)}>
          {times.clock(startTime)}
        </button>
      ))}
    </fieldset>
  );
}

/** What is left of the authorization this session would draw on. */
function UnitsLeft({ form, times }: { form: Form; times: Times }) {
  const { data } = useReport<Balance>('authorization_balances', {
    where: { client_id: form.clientId, cpt_code: form.service },
  });
  const balance = data?.find(({ starts_on, ends_on }) => starts_on <= form.date && ends_on >= form.date);
  const { units } = useMemo(() => deriveCptMetadata(requestOf(form, times)), [form, times]);
  if (!balance || form.to <= form.from) return null;
  return (
    <p className="muted small-text">
      {balance.left_units} of {balance.approved_units} units left until {times.date(balance.ends_on)}; this takes {units} each
      time.
    </p>
  );
}

function Rooms({ value, onChange }: { value: string; onChange(roomId: string): void }) {
  const { data: rooms = [] } = useRooms();
  return (
    <label>
      Room
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">None</option>
        {rooms.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A search field above a native list: type a letter or two, Enter books with the first that matches. */
export function ClientPicker({
  clients,
  value,
  onChange,
}: {
  clients: ReturnType<typeof useClients>;
  value: string;
  onChange(clientId: string): void;
}) {
  const [search, setSearch] = useState('');
  const matches = clients.clients
    .map((client) => ({ id: client.id, label: clients.full(client) }))
    .filter(({ label }) => label.toLowerCase().includes(search.trim().toLowerCase()))
    .sort((a, b) => a.label.localeCompare(b.label));
  return (
    <div className="picker">
      <label>
        Client
        <input
          data-autofocus
          type="search"
          placeholder="Name or number"
          autoComplete="off"
          value={search}
          onChange={(event) => {
            setSearch(event.target.value);
            const wanted = event.target.value.trim().toLowerCase();
            const first =
              wanted &&
              clients.clients
                .map((client) => ({ id: client.id, label: clients.full(client) }))
                .sort((a, b) => a.label.localeCompare(b.label))
                .find(({ label }) => label.toLowerCase().includes(wanted));
            onChange(first ? first.id : '');
          }}
        />
      </label>
      <select size={4} aria-label="Clients that match" value={value} onChange={(event) => onChange(event.target.value)}>
        {matches.map(({ id, label }) => (
          <option key={id} value={id}>
            {label}
          </option>
        ))}
      </select>
    </div>
  );
}
