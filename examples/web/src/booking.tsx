/** Booking a session, a series or a group, or moving a session: look, then do it, or hold while somebody is asked. */
import { useState } from 'react';
import type { ServiceCode, SessionRow } from 'therapist-sessions';
import {
  type BookingForm,
  type BookingPlace,
  type Draft,
  type TimeFields,
  useBookingForm,
  useClientSearch,
  useMe,
  useRooms,
  useTherapists,
} from 'therapist-sessions/react';
import { Held, Refusal } from './refusal.tsx';
import { Button, bind, Check, Choice, Failure, Field, Layer, type Notice, scopes, Table } from './ui.tsx';

const repeats = {
  'FREQ=DAILY': 'Every day',
  'FREQ=WEEKLY': 'Every week',
  'FREQ=WEEKLY;INTERVAL=2': 'Every 2 weeks',
  'FREQ=MONTHLY': 'Every month',
};
const ends = { count: 'After a number of times', until: 'On a date' };
export const places = { clinic: 'Clinic', home: 'Home', school: 'School', telehealth: 'Telehealth' };
export const serviceOption = ({ code, description }: ServiceCode) => [code, `${description} (${code})`] as const;
const MOST_IN_GROUP = 8;

interface Props {
  readonly draft: Draft;
  /** What the page shows: a rival's session that appears there ends the waiting. */
  readonly sessions: readonly SessionRow[];
  onDraft(draft: Draft): void;
  onBooked(notice: Notice): void;
  /** Something was held or let go. */
  onChanged(): void;
  /** The time is to be taken without a client. */
  onStaffTime(): void;
  onClose(): void;
}

export function BookingPanel({ draft, sessions, onDraft, onBooked, onChanged, onStaffTime, onClose }: Props) {
  const { times, role } = useMe();
  const { options, byId } = useTherapists();
  const { session: moved } = draft;
  // The block in the grid follows what the form says.
  const onPlace = (place: BookingPlace) => onDraft({ ...draft, ...place });
  const form = useBookingForm(draft, { onBooked, onHeld: onChanged, onPlace });
  const { fields, set, request, booking } = form;
  const { start_time: start, end_time: end } = request?.session ?? { start_time: '', end_time: '' };
  const onDevice = start && times.onDevice(start);
  const isIdle = !booking.refused && !booking.held;
  const verb = moved ? 'Move' : form.bookable > 1 ? `Book ${form.bookable} sessions` : 'Book';
  const wait = () => form.wait().then(() => onBooked({ text: 'Added to the waitlist for this day.' }));
  return (
    <Layer title={moved ? 'Move' : 'New session'} onClose={onClose}>
      <form onSubmit={form.onSubmit}>
        <fieldset disabled={form.action.busy || booking.held !== null} className="plain">
          {moved && <p className="muted">Now {times.dayRange(moved.start_time, moved.end_time)}.</p>}
          {!moved && <Clients form={form} />}
          <When form={form} isFirst={moved !== undefined} />
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
          {form.dates && <Preview form={form} therapistName={byId.get(fields.therapistId)?.display_name} />}
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
            {!moved && <Button label="Without a client…" press={onStaffTime} />}
          </div>
        )}
      </form>
      {booking.refused && (
        <Refusal
          error={booking.refused}
          therapistName={byId.get(fields.therapistId)?.display_name}
          isTaken={form.isTaken(sessions)}
          onTry={form.retry}
          onOther={booking.dismiss}
          onWait={role === 'therapist' || moved || fields.repeat ? undefined : wait}
        />
      )}
      <Held booking={booking} label={verb} onAgain={() => form.submit('hold')} />
    </Layer>
  );
}

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

interface Times<Extra = object> {
  readonly form: { readonly fields: TimeFields; set(changes: Partial<TimeFields>): void } & Extra;
}

/** When it is, on one day. */
export function When({ form, isFirst }: Times & { readonly isFirst?: boolean }) {
  return (
    <div className="fields">
      <Field label="Date" type="date" required {...bind(form, 'date')} data-autofocus={isFirst || undefined} />
      <Field label="From" type="time" step={900} required {...bind(form, 'from')} />
      <Field label="To" type="time" step={900} required {...bind(form, 'to')} />
    </div>
  );
}

/** How often it is. */
export function Repeats({ form }: Times) {
  const { repeat, end, date } = form.fields;
  return (
    <>
      <Choice label="Repeats" none="Does not repeat" options={repeats} {...bind(form, 'repeat')} />
      {repeat && <Choice label="Ends" options={ends} {...bind(form, 'end')} />}
      {repeat && end === 'count' && <Field label="Times" type="number" min={2} max={104} required {...bind(form, 'count')} />}
      {repeat && end === 'until' && <Field label="Last day" type="date" required min={date} {...bind(form, 'until')} />}
    </>
  );
}

/** What a new session is, besides when and for whom. */
function Details({ form }: { form: BookingForm }) {
  const { times } = useMe();
  const rooms = useRooms().map(({ id, name }) => [id, name] as const);
  const { draws } = form;
  return (
    <>
      <Choice label="Service" options={form.services.map(serviceOption)} {...bind(form, 'service')} value={form.service} />
      {draws && (
        <p className="muted small-text">
          {draws.balance.left_units} of {draws.balance.approved_units} units left until {times.date(draws.balance.ends_on)}; this
          takes {draws.units} each time.
        </p>
      )}
      <div className="fields two">
        <Choice label="Place" options={places} {...bind(form, 'place')} />
        <Choice label="Room" none="None" options={rooms} {...bind(form, 'roomId')} />
        <Repeats form={form} />
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

/** The dates of a series, and why some are not free. */
function Preview({ form, therapistName }: { form: BookingForm; therapistName?: string }) {
  const { times } = useMe();
  const [all, setAll] = useState(false);
  const { shown, total, free } = form.previewOf(all, therapistName);
  return (
    <div className="preview">
      <p role="status">
        <strong>{total} dates</strong> · {free} free
      </p>
      <Table
        rows={shown}
        columns={[
          { head: 'Date', cell: ({ startTime }) => times.day(startTime) },
          { head: 'Time', cell: ({ startTime, endTime }) => times.range(startTime, endTime) },
          { head: 'Free?', cell: ({ blockedBy, words }) => <span className={blockedBy ? 'blocked' : undefined}>{words}</span> },
        ]}
      />
      {shown.length < total && <Button label={`Show all ${total}`} look="small" press={() => setAll(true)} />}
    </div>
  );
}
