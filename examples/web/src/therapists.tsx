/** Therapists, their weekly hours and time off, and what to do on a day somebody is away. */
import { Plus, Trash2 } from 'lucide-react';
import { useState } from 'react';
import {
  addAvailabilityException,
  addTherapist,
  cancelSessions,
  dayBounds,
  plusDays,
  removeAvailabilityException,
  setWeeklyHours,
  type Therapist,
  WEEKDAYS,
  type Weekday,
  type WeeklyHours,
  weekBounds,
} from 'therapist-sessions';
import { Link, useLocation } from 'wouter';
import { Attributions } from './edit.tsx';
import { queryClient, supabase, useExceptions, useReport, useSchedule, useTherapists } from './queries.ts';
import { useMe } from './session.tsx';
import { timesOf } from './times.ts';
import { Busy, Dialog, Failure, State, useAction } from './ui.tsx';

interface Utilization {
  therapist_id: string;
  therapist_name: string;
  week_start: string;
  available_hours: number | string | null;
  booked_hours: number | string;
  attended_hours: number | string;
  utilization_percent: number | string | null;
}

const capital = (day: string) => day[0]?.toUpperCase() + day.slice(1);
/** Weekly hours in a line: days with the same hours are named together. */
function hoursInWords(hours: WeeklyHours | null): string {
  if (!hours) return 'no hours set: can be booked at any time';
  const spans = WEEKDAYS.map((day) => (hours[day] ?? []).map(({ start, end }) => `${start}–${end}`).join(', '));
  const runs: { from: number; to: number; text: string }[] = [];
  for (const [index, text] of spans.entries()) {
    const last = runs.at(-1);
    if (last && last.text === text && last.to === index - 1) last.to = index;
    else runs.push({ from: index, to: index, text });
  }
  const name = (index: number) => capital(WEEKDAYS[index] ?? '').slice(0, 3);
  const written = runs
    .filter(({ text }) => text)
    .map(({ from, to, text }) => `${name(from)}${to > from ? ` – ${name(to)}` : ''} ${text}`);
  return written.join('; ') || 'does not work at present';
}

export function TherapistList() {
  const { times } = useMe();
  const { therapists, error } = useTherapists();
  const week = weekBounds(times.today(), times.timeZone);
  const { data } = useReport<Utilization>('therapist_utilization', {
    by: 'week_start',
    from: week.firstDay,
    to: plusDays(week.firstDay, 7),
  });
  return (
    <div className="page">
      <h1>Therapists</h1>
      <p className="row">
        <Link href="/therapists/new" className="button">
          <Plus size={16} aria-hidden /> Add a therapist
        </Link>
      </p>
      <State pending={therapists.length === 0 && !error} error={error} />
      <div className="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Therapist</th>
              <th scope="col">Hours</th>
              <th scope="col" className="number">
                Booked this week
              </th>
            </tr>
          </thead>
          <tbody>
            {therapists.map((therapist) => {
              const used = data?.find(({ therapist_id }) => therapist_id === therapist.id);
              return (
                <tr key={therapist.id}>
                  <th scope="row">
                    <Link href={`/therapists/${therapist.id}`}>{therapist.display_name}</Link>{' '}
                    <span className="muted">{therapist.credential}</span>
                  </th>
                  <td>{hoursInWords(therapist.availability_hours as WeeklyHours | null)}</td>
                  <td className="number">
                    {used ? `${Number(used.booked_hours)} of ${Number(used.available_hours ?? 0)} h` : '–'}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </div>
  );
}

export function TherapistPage({ id }: { id: string }) {
  const { role, userId } = useMe();
  const { byId, therapists, error } = useTherapists();
  const [away, setAway] = useState(false);
  const therapist = byId.get(id);
  if (error) return <Failure error={error} />;
  if (!therapist)
    return therapists.length === 0 ? (
      <p className="page muted loading">Loading…</p>
    ) : (
      <div className="page narrow">
        <h1>There is no such therapist</h1>
        <p>
          {role === 'therapist' ? (
            <Link href={`/therapists/${userId}`}>Your own hours</Link>
          ) : (
            <Link href="/therapists">All therapists</Link>
          )}
        </p>
      </div>
    );
  return (
    <div className="page">
      {role !== 'therapist' && (
        <p>
          <Link href="/therapists">All therapists</Link>
        </p>
      )}
      <h1>
        {therapist.display_name} <span className="muted">{therapist.credential}</span>
      </h1>
      <p className="row">
        <Link href={`/schedule?view=week&therapist=${id}`} className="button">
          Schedule
        </Link>
        <button type="button" onClick={() => setAway(true)}>
          Away…
        </button>
      </p>
      <Hours key={therapist.id} therapist={therapist} />
      <TimeOff therapist={therapist} />
      {away && <Away therapist={therapist} onClose={() => setAway(false)} />}
    </div>
  );
}

interface Span {
  start: string;
  end: string;
}

function Hours({ therapist }: { therapist: Therapist }) {
  const me = useMe();
  const [hours, setHours] = useState(() => {
    const given = (therapist.availability_hours ?? {}) as WeeklyHours;
    return Object.fromEntries(WEEKDAYS.map((day) => [day, (given[day] ?? []).map((span) => ({ ...span }))])) as Record<
      Weekday,
      Span[]
    >;
  });
  const [saved, setSaved] = useState(false);
  const { busy, run, error } = useAction();
  const set = (day: Weekday, spans: Span[]) => {
    setSaved(false);
    setHours((before) => ({ ...before, [day]: spans }));
  };
  const zone = timesOf(therapist.time_zone);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void run(async () => {
          await setWeeklyHours(supabase, { hours, therapistId: therapist.id });
          setSaved(true);
          await queryClient.invalidateQueries({ queryKey: ['therapists'] });
        });
      }}
    >
      <h2>Weekly hours</h2>
      <p className="muted">
        Times of {zone.city}
        {therapist.time_zone !== me.times.timeZone && `, which is not the clinic’s zone (${me.times.city})`}. Sessions that are
        booked stay as they are.
      </p>
      {WEEKDAYS.map((day) => (
        <fieldset key={day} className="plain hours">
          <legend>{capital(day)}</legend>
          {hours[day].map((span, index) => (
            <span key={index} className="row">
              {(['start', 'end'] as const).map((edge) => (
                <input
                  key={edge}
                  type="time"
                  required
                  aria-label={`${capital(day)}, ${edge === 'start' ? 'from' : 'to'}`}
                  value={span[edge]}
                  onChange={(event) =>
                    set(
                      day,
                      hours[day].map((one, at) => (at === index ? { ...one, [edge]: event.target.value } : one)),
                    )
                  }
                />
              ))}
              <button
                type="button"
                className="icon"
                aria-label={`Remove ${span.start} to ${span.end} on ${capital(day)}`}
                onClick={() =>
                  set(
                    day,
                    hours[day].filter((_, at) => at !== index),
                  )
                }
              >
                <Trash2 size={16} aria-hidden />
              </button>
            </span>
          ))}
          <button type="button" className="small" onClick={() => set(day, [...hours[day], { start: '09:00', end: '17:00' }])}>
            <Plus size={14} aria-hidden /> Hours on {capital(day)}
          </button>
        </fieldset>
      ))}
      <Failure error={error} />
      <div className="row">
        <Busy busy={busy} busyLabel="Saving…" className="primary">
          Save hours
        </Busy>
        <span role="status">{saved ? 'Saved.' : ''}</span>
      </div>
    </form>
  );
}

function TimeOff({ therapist }: { therapist: Therapist }) {
  const { times } = useMe();
  const today = times.today();
  const span = {
    from: times.instant(`${today}T00:00`),
    to: times.instant(`${plusDays(today, 365)}T00:00`),
    therapistId: therapist.id,
  };
  const { data, error, isPending, refetch } = useExceptions(span);
  const { busy, run, error: failure } = useAction();
  return (
    <section>
      <h2>Time off and extra hours</h2>
      <State pending={isPending} error={error} empty={data?.length === 0 && 'None entered.'} />
      <ul className="cards">
        {data?.map(({ id, kind, starts_at, ends_at }) => (
          <li key={id} className="row">
            <span>
              <strong>{kind === 'time_off' ? 'Time off' : 'Extra hours'}</strong> {times.day(starts_at)}, {times.clock(starts_at)}{' '}
              to {times.day(ends_at)}, {times.clock(ends_at)}
            </span>
            <button
              type="button"
              className="small"
              disabled={busy}
              onClick={() =>
                void run(async () => {
                  await removeAvailabilityException(supabase, { id });
                  await refetch();
                })
              }
            >
              Take back
            </button>
          </li>
        ))}
      </ul>
      <Failure error={failure} />
      <form
        className="row"
        onSubmit={(event) => {
          event.preventDefault();
          const form = event.currentTarget;
          const data = new FormData(form);
          const at = (name: string) => times.instant(String(data.get(name)));
          void run(async () => {
            await addAvailabilityException(supabase, {
              therapistId: therapist.id,
              kind: data.get('kind') as 'time_off',
              from: at('from'),
              to: at('to'),
            });
            form.reset();
            await refetch();
          });
        }}
      >
        <label>
          Kind
          <select name="kind">
            <option value="time_off">Time off</option>
            <option value="extra_hours">Extra hours</option>
          </select>
        </label>
        <label>
          From
          <input type="datetime-local" name="from" required />
        </label>
        <label>
          To
          <input type="datetime-local" name="to" required />
        </label>
        <button type="submit" disabled={busy}>
          Enter
        </button>
      </form>
    </section>
  );
}

/** A sick day: enters the day as time off and cancels its sessions, which the waitlist is then offered. */
function Away({ therapist, onClose }: { therapist: Therapist; onClose(): void }) {
  const { times } = useMe();
  const [date, setDate] = useState(times.today());
  const [done, setDone] = useState<string | null>(null);
  const { from, to } = dayBounds(date || times.today(), times.timeZone);
  const { sessions } = useSchedule({ from, to, therapistId: therapist.id });
  const open = (sessions ?? []).filter(({ status }) => status === 'scheduled');
  const { busy, run, error } = useAction();
  return (
    <Dialog title={`${therapist.display_name} is away`} onClose={onClose}>
      {done ? (
        <p role="status">{done}</p>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const attribution = new FormData(event.currentTarget).get('attribution') as 'staff';
            void run(async () => {
              await addAvailabilityException(supabase, { therapistId: therapist.id, kind: 'time_off', from, to });
              if (open.length > 0)
                await cancelSessions(supabase, {
                  sessionIds: open.map(({ id }) => id),
                  cancellationAttribution: attribution,
                  reason: 'Therapist away',
                });
              await queryClient.invalidateQueries({ queryKey: ['exceptions'] });
              setDone(`Time off is entered. ${open.length} ${open.length === 1 ? 'session is' : 'sessions are'} cancelled.`);
            });
          }}
        >
          <label>
            Day
            <input type="date" required value={date} min={times.today()} onChange={(event) => setDate(event.target.value)} />
          </label>
          <p>
            {open.length === 0
              ? 'No session is booked that day.'
              : 'These sessions will be cancelled. To hand one to somebody else, move it on the schedule first.'}
          </p>
          <ul>
            {open.map((session) => (
              <li key={session.id}>{times.range(session.start_time, session.end_time)}</li>
            ))}
          </ul>
          {open.length > 0 && <Attributions />}
          <Failure error={error} />
          <div className="row">
            <Busy busy={busy} busyLabel="Entering…" className="danger">
              {open.length > 0 ? `Enter and cancel ${open.length}` : 'Enter time off'}
            </Busy>
            <button type="button" onClick={onClose}>
              Leave it
            </button>
          </div>
        </form>
      )}
    </Dialog>
  );
}

export function NewTherapist() {
  const { clinic, times } = useMe();
  const [, go] = useLocation();
  const { busy, run, error } = useAction();
  return (
    <div className="page narrow">
      <h1>Add a therapist</h1>
      <p>
        The person needs an account first, and must be a member of {clinic.name} with the role “therapist”: your backend sends the
        invitation, and a super admin calls <code>add_member</code>. Then add the profile here.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const data = new FormData(event.currentTarget);
          const text = (name: string) => String(data.get(name)).trim();
          void run(async () => {
            const { id } = await addTherapist(supabase, {
              userId: text('user'),
              displayName: text('name'),
              credential: text('credential'),
              timeZone: times.timeZone,
            });
            await queryClient.invalidateQueries({ queryKey: ['therapists'] });
            go(`/therapists/${id}`);
          });
        }}
      >
        <label>
          Id of the account
          <input name="user" required pattern="[0-9a-fA-F-]{36}" title="A UUID, such as a0000000-0000-4000-8000-000000000003" />
        </label>
        <label>
          Name
          <input name="name" required maxLength={200} />
        </label>
        <label>
          Credential
          <select name="credential">
            {['RBT', 'BCaBA', 'BCBA', 'BCBA-D'].map((credential) => (
              <option key={credential}>{credential}</option>
            ))}
          </select>
        </label>
        <Failure error={error} />
        <div className="row">
          <Busy busy={busy} busyLabel="Adding…" className="primary">
            Add
          </Busy>
        </div>
      </form>
    </div>
  );
}
