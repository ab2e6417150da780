/** Cancelling a session. Moving one is booking it elsewhere, by the same form. */
import { cancelSessions, type SessionRow } from 'therapist-sessions';
import { useMe } from 'therapist-sessions/react';
import { supabase } from './api.ts';
import { Choice, Field, Form, Layer, scopes } from './ui.tsx';

const attributions = { '': 'Choose…', client: 'Family', staff: 'Clinic or staff', unknown: 'Not known' };

interface Props {
  readonly session: SessionRow;
  onClose(): void;
  onCancelled(text: string): void;
}

export function CancelDialog({ session, onClose, onCancelled }: Props) {
  const { times } = useMe();
  return (
    <Layer isModal title={`Cancel ${times.dayRange(session.start_time, session.end_time)}`} onClose={onClose}>
      <Form
        submit="Cancel session"
        saying="Cancelling…"
        danger
        cancel="Keep"
        onCancel={onClose}
        onSubmit={async ({ attribution, reason, scope = 'this' }) => {
          await cancelSessions(supabase, {
            ...(scope === 'this' ? { sessionIds: [session.id] } : { seriesId: session.series_id ?? '' }),
            from: scope === 'following' ? session.start_time : undefined,
            cancellationAttribution: attribution as 'client' | 'staff' | 'unknown',
            reason: reason || undefined,
          });
          onCancelled('Cancelled. The time is free again, and is offered to the waitlist.');
        }}
      >
        <Choice label="Who cancelled?" name="attribution" required options={attributions} />
        <Field label="Reason, without clinical details" name="reason" maxLength={500} />
        {session.series_id && <Choice label="Which" name="scope" options={scopes} />}
      </Form>
    </Layer>
  );
}
