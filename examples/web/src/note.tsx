/** The note of a session: read on a press because reading is recorded, kept as a draft, signed, amended. */
import { Lock, Pen } from 'lucide-react';
import { useState } from 'react';
import { issueSentence, type SessionRow } from 'therapist-sessions';
import { type NoteFields, type NoteState, useMe, useNote } from 'therapist-sessions/react';
import { Button, Facts, Failure, Field, Form, Layer, State, takeFocus } from './ui.tsx';

interface Props {
  readonly session: SessionRow;
  readonly isOwn: boolean;
  onChanged(text: string): void;
}

const labels: Readonly<Record<keyof NoteFields, string>> = {
  narrative: 'What was done',
  response: 'How the client responded',
  progress: 'Progress towards the goals',
  participants: 'Who took part, with commas between',
};
const names = Object.keys(labels) as (keyof NoteFields)[];
const savingWords = { no: '', unsaved: 'Not saved yet', saving: 'Saving…', saved: 'Draft saved' };

export function Note(props: Props) {
  const [isOpen, setOpen] = useState(false);
  if (isOpen || (props.isOwn && props.session.status === 'in_progress')) return <OpenNote {...props} isAsked={isOpen} />;
  return <Button label={`${props.isOwn ? 'Note' : 'Show note'} (recorded)`} icon={Pen} press={() => setOpen(true)} />;
}

function OpenNote({ session, isOwn, isAsked, onChanged }: Props & { readonly isAsked: boolean }) {
  const { times } = useMe();
  const note = useNote(session, isOwn);
  const [step, setStep] = useState<'sign' | 'amend' | null>(null);
  const { note: stored, fields, isSigned } = note;
  const isPending = stored === undefined;
  const isReadOnly = !isOwn || (isSigned && step !== 'amend');
  const finish = async (isDone: boolean, text: string) => {
    if (isDone || step === 'sign') setStep(null);
    if (isDone) onChanged(text);
  };
  return (
    <section aria-labelledby="note">
      <h3 id="note" tabIndex={-1} ref={isAsked ? takeFocus : undefined}>
        {isReadOnly && <Lock size={16} aria-hidden />} Note {stored && isSigned && `(${stored.status.replace('_', ' ')})`}
      </h3>
      <State pending={isPending} error={isPending && note.error} />
      {stored === null && isReadOnly && <p className="muted">There is no note yet.</p>}
      {stored && isReadOnly && <Facts facts={Object.fromEntries(names.map((name) => [labels[name], fields[name] || '–']))} />}
      {!isReadOnly && !isPending && <Editor note={note} />}
      {stored?.signature && (
        <p className="muted">
          Signed {times.moment(stored.signature.signedAt)} as {stored.signature.credential}.
        </p>
      )}
      {isOwn && isSigned && step === null && <Button label="Amend…" icon={Pen} press={() => setStep('amend')} />}
      {step === 'amend' && (
        <Form
          submit="Sign the amendment"
          saying="Signing…"
          onCancel={() => setStep(null)}
          onSubmit={async ({ reason = '' }) => finish(await note.amend(reason), 'Amended.')}
        >
          <Field label="Why it is amended" name="reason" required maxLength={500} />
          <p className="muted small-text">What was signed before stays, beside the new text.</p>
        </Form>
      )}
      {!isReadOnly && !isPending && !isSigned && session.status === 'in_progress' && (
        <Button label="Sign…" icon={Lock} disabled={note.busy || !!note.theirs} press={() => setStep('sign')} />
      )}
      {step === 'sign' && (
        <Layer isModal title="Sign the note" onClose={() => setStep(null)}>
          <p>
            {times.dayRange(session.start_time, session.end_time)}, service {session.cpt_code}.
          </p>
          <p>Your signature states that this is what happened. It cannot be changed, only amended.</p>
          <Form submit="Sign" saying="Signing…" onSubmit={async () => finish(await note.sign(), 'Signed.')} />
        </Layer>
      )}
    </section>
  );
}

function Editor({ note }: { note: NoteState }) {
  const { fields, theirs, invalid, saving, failure } = note;
  return (
    <>
      <p role="status" className="muted small-text">
        {savingWords[saving]}
      </p>
      {theirs && (
        <div className="refusal" role="alert">
          <h3>Somebody has saved another text meanwhile</h3>
          <p>{theirs.narrative || '(nothing under “What was done”)'}</p>
          <div className="row">
            <Button label="Keep mine on top" press={note.keepMine} />
            <Button label="Take theirs" press={note.takeTheirs} />
          </div>
        </div>
      )}
      {names.map((name) => (
        <label key={name}>
          {labels[name]}
          <textarea
            rows={name === 'narrative' ? 4 : 2}
            maxLength={10_000}
            value={fields[name]}
            onChange={({ target }) => note.set({ [name]: target.value })}
          />
        </label>
      ))}
      {invalid && (
        <p className="error" role="alert">
          {invalid.issues.map(issueSentence).join(' ')}
        </p>
      )}
      <Failure error={failure} />
    </>
  );
}
