/** One session: what it is, what can be done with it, its completion, its correction and its end. */
import { Play, Square, Check as Tick, UserX } from 'lucide-react';
import { useState } from 'react';
import { type CorrectionReason, type SessionRow, serviceCode, statusWords } from 'therapist-sessions';
import {
  EARLY_HOURS,
  useCancel,
  useClients,
  useCorrections,
  useMe,
  useRooms,
  useTherapists,
  useVisit,
} from 'therapist-sessions/react';
import { places, serviceOption } from './booking.tsx';
import { Note } from './note.tsx';
import { Button, Choice, Failure, Field, Form, Layer, Opener, scopes } from './ui.tsx';

interface Props {
  readonly session: SessionRow;
  onChanged(text: string): void;
}

export function SessionPanel({
  session,
  onClose,
  onChanged,
  onMove,
  onCancel,
}: Props & { onClose(): void; onMove(): void; onCancel(): void }) {
  const { times, role, userId, isAdmin } = useMe();
  const { nameOf, full, byId } = useClients([session.client_id]);
  const therapist = useTherapists().byId.get(session.therapist_id);
  const room = useRooms().find(({ id }) => id === session.room_id);
  const { status, start_time, end_time, cpt_code, location_type } = session;
  const isStaff = role !== 'client';
  const service = isStaff && cpt_code ? serviceCode(cpt_code) : null;
  const client = byId.get(session.client_id);
  const isOwn = session.therapist_id === userId;
  const isOpen = status === 'scheduled' || status === 'in_progress';
  const where = [location_type, room && `Room ${room.name}`, therapist?.display_name, therapist?.credential];
  return (
    <Layer
      title={client ? full(client) : nameOf(session.client_id)}
      badge={<span className={`status ${status}`}>{statusWords[status]}</span>}
      onClose={onClose}
    >
      <p>
        {times.longDay(start_time)}
        <br />
        <span className="tabular">{times.range(start_time, end_time)}</span> {times.abbreviation(start_time)} ·{' '}
        {(Date.parse(end_time) - Date.parse(start_time)) / 60_000} min
      </p>
      {service && (
        <p>
          {service.description} ({cpt_code}) {session.cpt_modifiers.join(' ')}
        </p>
      )}
      <p className="capital">{where.filter(Boolean).join(' · ')}</p>
      {isStaff && status === 'scheduled' && (
        <div className="row">
          <Button label="Move…" press={onMove} />
          <Button label="Cancel…" press={onCancel} />
        </div>
      )}
      {isStaff && isOpen && <Progress session={session} onChanged={onChanged} />}
      {(isOwn || isAdmin) && (isOpen || status === 'completed') && <Note session={session} isOwn={isOwn} onChanged={onChanged} />}
      {(isOwn || isAdmin) && (status === 'completed' || status === 'no_show') && (
        <Opener label="Correct…">{(close) => <Correct session={session} onChanged={onChanged} onClose={close} />}</Opener>
      )}
    </Layer>
  );
}

function Progress({ session, onChanged }: Props) {
  const visit = useVisit(session, onChanged);
  const { action, isEarly, missing } = visit;
  const [endedAt, setEndedAt] = useState('');
  const isScheduled = session.status === 'scheduled';
  return (
    <section aria-label="Progress">
      <div className="row">
        {isScheduled ? (
          <Button
            label="Start"
            icon={Play}
            by={action}
            saying="Starting…"
            look="primary"
            disabled={isEarly}
            press={visit.start}
          />
        ) : (
          <>
            <Field label="Ended at" type="time" value={endedAt} onValue={setEndedAt} />
            <Button label="End" icon={Square} by={action} saying="Ending…" press={() => visit.end(endedAt)} />
            <Button label="Complete" icon={Tick} by={action} saying="Completing…" look="primary" press={visit.complete} />
          </>
        )}
        {isScheduled && visit.hasBegun && <Button label="Did not come" icon={UserX} by={action} press={visit.noShow} />}
      </div>
      {isScheduled && isEarly && <p className="muted small-text">Can be started from {EARLY_HOURS} hours before.</p>}
      {visit.asks && <Field label={visit.asks} maxLength={500} value={visit.reason} onValue={visit.setReason} />}
      {missing.length === 0 && <Failure error={action.error} />}
      {missing.length > 0 && (
        <div className="refusal" role="alert">
          <h3>To complete it, first</h3>
          <ul>
            {missing.map((message) => (
              <li key={message}>{message}</li>
            ))}
          </ul>
        </div>
      )}
    </section>
  );
}

const reasons: Readonly<Record<CorrectionReason, string>> = {
  wrong_time: 'The times are wrong',
  wrong_service: 'The service is wrong',
  wrong_place: 'The place is wrong',
  wrong_people: 'The therapist or the client is wrong',
  by_mistake: 'It was done by mistake',
  payer_request: 'The payer asks for it',
  other: 'Another reason',
};

const AS_IT_IS = 'As it is';

/** Corrects what was recorded, or takes it back; what was before is kept and listed. */
function Correct({ session, onChanged, onClose }: Props & { onClose(): void }) {
  const { times, isAdmin } = useMe();
  const { options: therapists } = useTherapists();
  const { matching } = useClients();
  const clients = matching('').map(({ id, label }) => [id, label] as const);
  const { versions, services, error, correct } = useCorrections(session, onChanged);
  const isCompleted = session.status === 'completed';
  return (
    <Layer isModal title="Correct the record" onClose={onClose}>
      <Failure error={error} />
      <ul>
        {versions.map(({ version, reason_code, remark, corrected_at }) => (
          <li key={version}>
            {times.day(corrected_at)}: {reasons[reason_code as CorrectionReason]}. {remark}
          </li>
        ))}
      </ul>
      <Form submit="Correct" saying="Correcting…" onSubmit={(fields) => correct(fields).then(onClose)}>
        {isCompleted && (
          <>
            <Field label="It began" name="from" type="time" />
            <Field label="It ended" name="to" type="time" />
            <Choice label="Service" name="cptCode" none={AS_IT_IS} options={services.map(serviceOption)} />
            <Choice label="Place" name="locationType" none={AS_IT_IS} options={places} />
            {isAdmin && <Choice label="Therapist" name="therapistId" none={AS_IT_IS} options={therapists} />}
            {isAdmin && <Choice label="Client" name="clientId" none={AS_IT_IS} options={clients} />}
          </>
        )}
        <Choice
          label="Take back"
          name="undo"
          options={isCompleted ? { '': 'Nothing', completion: 'The completion' } : { no_show: 'That they did not come' }}
        />
        <Choice label="Why" name="reasonCode" options={reasons} />
        <Field label="In words" name="remark" maxLength={500} />
      </Form>
    </Layer>
  );
}

const attributions = { '': 'Choose…', client: 'Family', staff: 'Clinic or staff', unknown: 'Not known' };

export function CancelDialog({ session, onChanged, onClose }: Props & { onClose(): void }) {
  const { times } = useMe();
  return (
    <Layer isModal title={`Cancel ${times.dayRange(session.start_time, session.end_time)}`} onClose={onClose}>
      <Form
        submit="Cancel session"
        saying="Cancelling…"
        danger
        cancel="Keep"
        onCancel={onClose}
        onSubmit={useCancel(session, onChanged)}
      >
        <Choice label="Who cancelled?" name="attribution" required options={attributions} />
        <Field label="Reason, without clinical details" name="reason" maxLength={500} />
        {session.series_id && <Choice label="Which" name="scope" options={scopes} />}
      </Form>
    </Layer>
  );
}
