/** Booking a session, a series or a group, or moving a session: look, then do it, or hold while somebody is asked. */
import { useState } from 'react';
import { explainBlocked, type SessionRow } from 'therapist-sessions';
import {
  type BookingFields,
  type BookingForm,
  type BookingPlace,
  type BookingStart,
  type PreviewedDate,
  useBookingForm,
  useClientSearch,
  useMe,
  useRooms,
  useTherapists,
} from 'therapist-sessions/react';
import { Held, Refusal } from './refusal.tsx';
import { Button, Check, Choice, Failure, Field, Layer, type Notice, scopes, Table } from './ui.tsx';

/** What a booking starts from: local times of the clinic. */
export interface Draft extends BookingPlace, Pick<BookingStart, 'session' | 'refused' | 'clientId' | 'dragged'> {
  /** Which opening of the panel it belongs to: a new one begins with a new form. */
  readonly opening: number;
}

const repeats = {
  '': 'Does not repeat',
  'FREQ=DAILY': 'Every day',
  'FREQ=WEEKLY': 'Every week',
  'FREQ=WEEKLY;INTERVAL=2': 'Every 2 weeks',
  'FREQ=MONTHLY': 'Every month',
};
const ends = { count: 'After a number of times', until: 'On a date' };
const places = { clinic: 'Clinic', home: 'Home', school: 'School', telehealth: 'Telehealth' };
const MOST_IN_GROUP = 8;

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
  const { options, byId } = useTherapists();
  const { session: moved, refused, dragged, clientId = '', therapistId } = draft;
  const [date, from, to] = [draft.start.slice(0, 10), draft.start.slice(11, 16), draft.end.slice(11, 16)];
  // Its client is not what a drag changes.
  const begin = { session: moved, refused, dragged, therapistId, date, from, to, ...(!dragged && { clientId }) };
  // The block in the grid follows what the form says.
  const onPlace = (place: BookingPlace) => onDraft({ ...draft, ...place });
  const form = useBookingForm(begin, { onBooked, onHeld: onChanged, onPlace });
  const { fields, set, request, booking } = form;
  const { start_time: start, end_time: end } = request?.session ?? { start_time: '', end_time: '' };
  const isTaken = sessions.some(
    ({ therapist_id, status, start_time, end_time }) =>
      therapist_id === fields.therapistId && status === 'scheduled' && start_time < end && end_time > start,
  );
  const onDevice = start && times.onDevice(start);
  const isIdle = !booking.refused && !booking.held;
  const verb = moved ? 'Move' : form.bookable > 1 ? `Book ${form.bookable} sessions` : 'Book';
  const wait = () => form.wait().then(() => onBooked({ text: 'Added to the waitlist for this day.' }));
  return (
    <Layer title={moved ? 'Move' : 'New session'} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const { submitter } = event.nativeEvent as SubmitEvent;
          void form.submit(submitter?.getAttribute('value') === 'hold' ? 'hold' : 'book');
        }}
      >
        <fieldset disabled={form.action.busy || booking.held !== null} className="plain">
          {moved && <p className="muted">Now {times.dayRange(moved.start_time, moved.end_time)}.</p>}
          {!moved && <Clients form={form} />}
          <div className="fields">
            <Field label="Date" type="date" required {...bind(form, 'date')} data-autofocus={moved && true} />
            <Field label="From" type="time" step={900} required {...bind(form, 'from')} />
            <Field label="To" type="time" step={900} required {...bind(form, 'to')} />
          </div>
          <Choice label="Therapist" options={options} disabled={role === 'therapist'} {...bind(form, 'therapistId')} />
          {request && (
            <p className="muted small-text">
              {times.longDay(start)}, {times.range(start, end)} {times.abbreviation(start)}.
              {onDevice && ` Your own clock: ${onDevice}.`}
            </p>
          )}
          <OpenSlots form={form} />
          {!moved && <Details form={form} />}
          {moved?.series_id && <Choice label="Which" options={scopes} {...bind(form, 'scope')} />}
          {moved?.group_id && <p>This moves the whole group.</p>}
          <Failure error={form.datesError} />
          {form.dates && <Preview rows={form.dates} therapistName={byId.get(fields.therapistId)?.display_name} />}
          {form.blockedDates > 0 && !moved && (
            <Check
              label={`Leave out the ${form.blockedDates} that ${form.blockedDates === 1 ? 'is' : 'are'} not free`}
              checked={fields.skip}
              onChecked={(skip) => set({ skip })}
            />
          )}
        </fieldset>
        <p className={form.wrong && 'error'} role="alert">
          {form.wrong}
        </p>
        {isIdle && <Failure error={form.action.error ?? booking.error} />}
        {isIdle && (
          <div className="row foot">
            <Button label={verb} by={form.action} saying={moved ? 'Moving…' : 'Booking…'} look="primary" />
            <Button label="Hold while I ask" value="hold" disabled={form.action.busy} />
          </div>
        )}
      </form>
      {booking.refused && (
        <Refusal
          error={booking.refused}
          therapistName={byId.get(fields.therapistId)?.display_name}
          isTaken={isTaken}
          onTry={form.retry}
          onOther={booking.dismiss}
          onWait={role === 'therapist' || moved || fields.repeat ? undefined : wait}
        />
      )}
      <Held booking={booking} label={verb} onAgain={() => form.submit('hold')} />
    </Layer>
  );
}

/** Binds an input to a field of the form. */
const bind = ({ fields, set }: BookingForm, name: Exclude<keyof BookingFields, 'others' | 'skip'>) => ({
  name,
  value: fields[name],
  onValue: (value: string) => set({ [name]: value }),
});

/** A search field above a native list: type a letter or two, Enter books with the first that matches. More make a group. */
function Clients({ form }: { form: BookingForm }) {
  const { role } = useMe();
  const { search, found, nameOf, choose } = useClientSearch(form);
  const { set } = form;
  const { clientId, others } = form.fields;
  const size = others.length + 1;
  const more = size > 1 ? `${size} of ${MOST_IN_GROUP}: one more` : 'Another client: makes a group';
  return (
    <div className="picker">
      <Field
        label="Client"
        data-autofocus
        type="search"
        placeholder="Name or number"
        value={search}
        onValue={choose}
        autoComplete="off"
      />
      <select
        size={4}
        aria-label="Clients that match"
        value={clientId}
        onChange={({ target }) => set({ clientId: target.value })}
      >
        {found.map(({ id, label }) => (
          <option key={id} value={id}>
            {label}
          </option>
        ))}
      </select>
      <div className="chips">
        {others.map((id) => (
          <Button
            key={id}
            label={`${nameOf(id)} ✕`}
            title="Leave out"
            look="small"
            press={() => set({ others: others.filter((one) => one !== id) })}
          />
        ))}
        {role !== 'therapist' && clientId && size < MOST_IN_GROUP && !others.includes(clientId) && (
          <Button label={more} look="small" press={() => set({ others: [...others, clientId], clientId: '' })} />
        )}
      </div>
    </div>
  );
}

/** What a new session is, besides when and for whom. */
function Details({ form }: { form: BookingForm }) {
  const { times } = useMe();
  const rooms = useRooms();
  const { fields, draws } = form;
  const services = form.services.map(({ code, description }) => [code, `${description} (${code})`] as const);
  return (
    <>
      <Choice label="Service" options={services} {...bind(form, 'service')} value={form.service} />
      {draws && (
        <p className="muted small-text">
          {draws.balance.left_units} of {draws.balance.approved_units} units left until {times.date(draws.balance.ends_on)}; this
          takes {draws.units} each time.
        </p>
      )}
      <div className="fields two">
        <Choice label="Place" options={places} {...bind(form, 'place')} />
        <Choice
          label="Room"
          options={[['', 'None'], ...rooms.map(({ id, name }) => [id, name] as const)]}
          {...bind(form, 'roomId')}
        />
        <Choice label="Repeats" options={repeats} {...bind(form, 'repeat')} />
        {fields.repeat && <Choice label="Ends" options={ends} {...bind(form, 'end')} />}
        {fields.repeat && fields.end === 'count' && (
          <Field label="Times" type="number" min={2} max={104} required {...bind(form, 'count')} />
        )}
        {fields.repeat && fields.end === 'until' && (
          <Field label="Last day" type="date" required min={fields.date} {...bind(form, 'until')} />
        )}
      </div>
    </>
  );
}

/** Some starts that are free that day, near the one that is chosen. */
function OpenSlots({ form: { openSlots, choose } }: { form: BookingForm }) {
  const { times } = useMe();
  if (!openSlots) return null;
  const { isOpen, near } = openSlots;
  const others = near.length > 0 ? 'Open that day:' : 'Nothing is open that day.';
  return (
    <fieldset className="plain chips">
      <legend className="hidden">Open starts</legend>
      <span className="muted small-text">{isOpen ? 'This time looks free. Also:' : others}</span>
      {near.map((slot) => (
        <Button key={slot.startTime} label={times.clock(slot.startTime)} look="small" press={() => choose(slot)} />
      ))}
    </fieldset>
  );
}

const SHOWN_AT_FIRST = 12;

/** The dates of a series, and why some are not free. */
function Preview({ rows, therapistName }: { rows: readonly PreviewedDate[]; therapistName?: string }) {
  const { times } = useMe();
  const [all, setAll] = useState(rows.length <= SHOWN_AT_FIRST);
  const shown = rows.filter(({ blockedBy }, index) => all || blockedBy !== null || index < 3);
  const offset = (row = rows[0]) => times.offset(row?.startTime ?? 0);
  const hasChanged = (row: PreviewedDate) => row.index > 0 && offset(row) !== offset(rows[row.index - 1]);
  return (
    <div className="preview">
      <p role="status">
        <strong>{rows.length} dates</strong> · {rows.filter(({ blockedBy }) => blockedBy === null).length} free
      </p>
      <Table
        rows={shown}
        columns={[
          { head: 'Date', cell: ({ startTime }) => times.day(startTime) },
          { head: 'Time', cell: ({ startTime, endTime }) => times.range(startTime, endTime) },
          {
            head: 'Free?',
            cell: (row) => (
              <span className={row.blockedBy ? 'blocked' : undefined}>
                {explainBlocked(row, therapistName)}
                {hasChanged(row) && ` · clocks have changed, still ${times.clock(row.startTime)}`}
              </span>
            ),
          },
        ]}
      />
      {shown.length < rows.length && <Button label={`Show all ${rows.length}`} look="small" press={() => setAll(true)} />}
    </div>
  );
}
