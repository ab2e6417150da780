/** A day somebody is away: each session goes to somebody else or is cancelled, and the day is entered as time off. */
import { useState } from 'react';
import type { SessionRow, Therapist } from 'therapist-sessions';
import { useAbsence, useClients, useMe } from 'therapist-sessions/react';
import { Choice, Field, Form, Layer, State, Table } from './ui.tsx';

export function HandOver({ therapist, onClose }: { therapist: Therapist; onClose(): void }) {
  const { times } = useMe();
  const [date, setDate] = useState(times.today());
  const { sessions, pending, error, chosen, choose, settle, outcomes } = useAbsence(therapist.id, date);
  const { nameOf } = useClients(sessions.map(({ session }) => session.client_id));
  const taken = sessions.filter(({ session }) => chosen[session.id]).length;
  const cancelled = sessions.length - taken;
  const what = [taken > 0 && `hand over ${taken}`, cancelled > 0 && `cancel ${cancelled}`].filter(Boolean);
  const when = ({ start_time, end_time, client_id }: SessionRow) => `${times.range(start_time, end_time)}, ${nameOf(client_id)}`;
  return (
    <Layer isModal title={`${therapist.display_name} is away`} onClose={onClose}>
      {outcomes ? (
        <>
          <p role="status">{times.date(date)} is entered as time off.</p>
          <Table
            rows={outcomes}
            columns={[
              { head: 'Session', cell: ({ session }) => when(session) },
              { head: 'What was done', cell: (row) => row.what },
            ]}
          />
        </>
      ) : (
        <Form
          submit={['Enter time off', ...what].join(', ')}
          saying="Entering…"
          danger={cancelled > 0}
          onCancel={onClose}
          onSubmit={settle}
        >
          <Field label="Day" type="date" required value={date} min={times.today()} onValue={(day) => day && setDate(day)} />
          <State pending={pending} error={error} empty={sessions.length === 0 && 'No session is booked that day.'} />
          {sessions.map(({ session, substitutes }) => (
            <Choice
              key={session.id}
              label={when(session)}
              options={[
                ['', substitutes.length > 0 ? 'Cancel it' : 'Nobody is free: cancel it'],
                ...substitutes.map(({ therapistId, name, credential }) => [therapistId, `${name} · ${credential}`] as const),
              ]}
              value={chosen[session.id] ?? ''}
              onValue={(therapistId) => choose(session.id, therapistId)}
            />
          ))}
        </Form>
      )}
    </Layer>
  );
}
