/** One therapist: weekly hours, time off, and what to do on a day they are away. */
import { Plus, Trash2 } from 'lucide-react';
import { clinicTimes, type Therapist } from 'therapist-sessions';
import { useAction, useExceptionsOf, useHours, useMe, useTherapists } from 'therapist-sessions/react';
import { Link } from 'wouter';
import { Feeds } from './feeds.tsx';
import { HandOver } from './hand-over.tsx';
import { Button, Choice, Failure, Field, Form, Narrow, Opener, State } from './ui.tsx';

export default function TherapistPage({ id }: { id: string }) {
  const { role, userId } = useMe();
  const { byId, isPending, error } = useTherapists();
  const therapist = byId.get(id);
  const all = role !== 'therapist' && <Link href="/therapists">All therapists</Link>;
  if (error || isPending) return <State pending={isPending} error={error} />;
  if (!therapist)
    return (
      <Narrow title="There is no such therapist">{all || <Link href={`/therapists/${userId}`}>Your own hours</Link>}</Narrow>
    );
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
      <h2>Calendars that read along</h2>
      <Feeds ownerId={therapist.id} />
    </div>
  );
}

function Hours({ therapist }: { therapist: Therapist }) {
  const { times } = useMe();
  const { days, saved, add, change, remove, copyMonday, save } = useHours(therapist);
  const { city } = clinicTimes(therapist.time_zone);
  return (
    <Form submit="Save hours" saying="Saving…" onSubmit={save}>
      <h2>Weekly hours</h2>
      <p className="muted">
        Times of {city}
        {therapist.time_zone !== times.timeZone && `, which is not the clinic’s zone (${times.city})`}. Sessions that are booked
        stay as they are.
      </p>
      {days.map(({ day, label, spans }) => (
        <fieldset key={day} className="plain hours">
          <legend>{label}</legend>
          {spans.map((span, index) => (
            <span key={index} className="row">
              {(['start', 'end'] as const).map((edge) => (
                <input
                  key={edge}
                  type="time"
                  required
                  aria-label={`${label}, ${edge === 'start' ? 'from' : 'to'}`}
                  value={span[edge]}
                  onChange={({ target }) => change(day, index, { [edge]: target.value })}
                />
              ))}
              <Button
                label={`Remove ${span.start} to ${span.end} on ${label}`}
                icon={Trash2}
                look="icon"
                press={() => remove(day, index)}
              />
            </span>
          ))}
          <Button label={`Hours on ${label}`} icon={Plus} look="small" press={() => add(day)} />
          {day === 'monday' && spans.length > 0 && <Button label="Same until Friday" look="small" press={copyMonday} />}
        </fieldset>
      ))}
      <p role="status">{saved}</p>
    </Form>
  );
}

const kinds = { time_off: 'Time off', extra_hours: 'Extra hours' };

function TimeOff({ therapist }: { therapist: Therapist }) {
  const { times } = useMe();
  const { data, error, isPending, add, takeBack } = useExceptionsOf(therapist.id);
  const action = useAction();
  return (
    <section>
      <h2>Time off and extra hours</h2>
      <State pending={isPending} error={error} empty={data?.length === 0 && 'None entered.'} />
      <ul className="cards">
        {data?.map(({ id, kind, starts_at, ends_at }) => (
          <li key={id} className="row">
            <span>
              <strong>{kinds[kind]}</strong> {times.moment(starts_at)} to {times.moment(ends_at)}
            </span>
            <Button label="Take back" by={action} look="small" press={() => takeBack(id)} />
          </li>
        ))}
      </ul>
      <Failure error={action.error} />
      <Form
        submit="Enter"
        saying="Entering…"
        className="row"
        onSubmit={({ kind, from = '', to = '' }, form) => add(kind as keyof typeof kinds, from, to).then(() => form.reset())}
      >
        <Choice label="Kind" name="kind" options={kinds} />
        <Field label="From" type="datetime-local" name="from" required />
        <Field label="To" type="datetime-local" name="to" required />
      </Form>
    </section>
  );
}
