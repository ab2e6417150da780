/** One therapist: weekly hours, time off, and what to do on a day they are away. */
import { Plus, Trash2 } from 'lucide-react';
import { useState } from 'react';
import {
  addAvailabilityException,
  clinicTimes,
  plusDays,
  removeAvailabilityException,
  setWeeklyHours,
  type Therapist,
  WEEKDAYS,
  type Weekday,
  type WeeklyHours,
} from 'therapist-sessions';
import { useAction, useExceptions, useMe, useTherapists } from 'therapist-sessions/react';
import { Link } from 'wouter';
import { queryClient, supabase } from './api.ts';
import { HandOver } from './hand-over.tsx';
import { Button, Choice, Failure, Field, Form, Missing, Opener, State } from './ui.tsx';

export default function TherapistPage({ id }: { id: string }) {
  const { role, userId } = useMe();
  const { byId, isPending, error } = useTherapists();
  const therapist = byId.get(id);
  const all = role !== 'therapist' && <Link href="/therapists">All therapists</Link>;
  if (error || isPending) return <State pending={isPending} error={error} />;
  if (!therapist) return <Missing what="therapist">{all || <Link href={`/therapists/${userId}`}>Your own hours</Link>}</Missing>;
  return (
    <div className="page">
      <p>{all}</p>
      <h1>
        {therapist.display_name} <span className="muted">{therapist.credential}</span>
      </h1>
      <p className="row">
        <Link href={`/schedule?view=week&therapist=${id}`} className="button">
          Schedule
        </Link>
        <Opener label="Away…">{(close) => <HandOver therapist={therapist} onClose={close} />}</Opener>
      </p>
      <Hours key={therapist.id} therapist={therapist} />
      <TimeOff therapist={therapist} />
    </div>
  );
}

const capital = (day: string) => day[0]?.toUpperCase() + day.slice(1);

const usual = { start: '09:00', end: '17:00' };

function Hours({ therapist }: { therapist: Therapist }) {
  const { times } = useMe();
  const [hours, setHours] = useState((therapist.availability_hours ?? {}) as WeeklyHours);
  const [saved, setSaved] = useState(false);
  const { city } = clinicTimes(therapist.time_zone);
  const set = (day: Weekday, spans: WeeklyHours[Weekday]) => {
    setSaved(false);
    setHours((before) => ({ ...before, [day]: spans }));
  };
  return (
    <Form
      submit="Save hours"
      saying="Saving…"
      onSubmit={async () => {
        await setWeeklyHours(supabase, { hours, therapistId: therapist.id });
        setSaved(true);
        await queryClient.invalidateQueries({ queryKey: ['therapists'] });
      }}
    >
      <h2>Weekly hours</h2>
      <p className="muted">
        Times of {city}
        {therapist.time_zone !== times.timeZone && `, which is not the clinic’s zone (${times.city})`}. Sessions that are booked
        stay as they are.
      </p>
      {WEEKDAYS.map((day) => {
        const spans = hours[day] ?? [];
        return (
          <fieldset key={day} className="plain hours">
            <legend>{capital(day)}</legend>
            {spans.map((span, index) => (
              <span key={index} className="row">
                {(['start', 'end'] as const).map((edge) => (
                  <input
                    key={edge}
                    type="time"
                    required
                    aria-label={`${capital(day)}, ${edge === 'start' ? 'from' : 'to'}`}
                    value={span[edge]}
                    onChange={({ target }) => set(day, spans.with(index, { ...span, [edge]: target.value }))}
                  />
                ))}
                <Button
                  label={`Remove ${span.start} to ${span.end} on ${capital(day)}`}
                  icon={Trash2}
                  look="icon"
                  press={() => set(day, spans.toSpliced(index, 1))}
                />
              </span>
            ))}
            <Button label={`Hours on ${capital(day)}`} icon={Plus} look="small" press={() => set(day, [...spans, usual])} />
          </fieldset>
        );
      })}
      <p role="status">{saved ? 'Saved.' : ''}</p>
    </Form>
  );
}

const kinds = { time_off: 'Time off', extra_hours: 'Extra hours' };

function TimeOff({ therapist: { id: therapistId } }: { therapist: Therapist }) {
  const { times } = useMe();
  const midnight = (days: number) => times.instant(`${plusDays(times.today(), days)}T00:00`);
  const { data, error, isPending, refetch } = useExceptions({ from: midnight(0), to: midnight(365), therapistId });
  const action = useAction();
  return (
    <section>
      <h2>Time off and extra hours</h2>
      <State pending={isPending} error={error} empty={data?.length === 0 && 'None entered.'} />
      <ul className="cards">
        {data?.map(({ id, kind, starts_at, ends_at }) => (
          <li key={id} className="row">
            <span>
              <strong>{kinds[kind]}</strong> {times.day(starts_at)}, {times.clock(starts_at)} to {times.day(ends_at)},{' '}
              {times.clock(ends_at)}
            </span>
            <Button
              label="Take back"
              by={action}
              look="small"
              press={() => removeAvailabilityException(supabase, { id }).then(refetch)}
            />
          </li>
        ))}
      </ul>
      <Failure error={action.error} />
      <Form
        submit="Enter"
        saying="Entering…"
        className="row"
        onSubmit={async ({ kind, from = '', to = '' }, form) => {
          const span = { from: times.instant(from), to: times.instant(to) };
          await addAvailabilityException(supabase, { therapistId, kind: kind as keyof typeof kinds, ...span });
          form.reset();
          await refetch();
        }}
      >
        <Choice label="Kind" name="kind" options={kinds} />
        <Field label="From" type="datetime-local" name="from" required />
        <Field label="To" type="datetime-local" name="to" required />
      </Form>
    </section>
  );
}
