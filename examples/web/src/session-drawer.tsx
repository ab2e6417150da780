/** One session: what it is, what can be done with it, its note and its completion. */
import { Check, Lock, Pen, Play, Square, UserX } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import {
  completeSession,
  endSession,
  markNoShow,
  type NoteContent,
  readNote,
  type SessionRow,
  SessionsApiError,
  saveNoteDraft,
  serviceCode,
  signNote,
  startSession,
} from 'therapist-sessions';
import { statusWords } from './blocks.ts';
import { supabase, useClients, useRead, useRooms, useTherapists } from './queries.ts';
import { useMe } from './session.tsx';
import { minutesBetween } from './times.ts';
import { Busy, Dialog, Failure, issueText, Panel, useAction } from './ui.tsx';

interface Props {
  readonly session: SessionRow;
  onClose(): void;
  onChanged(text: string): void;
  onMove(): void;
  onCancel(): void;
}

export function SessionDrawer({ session, onClose, onChanged, onMove, onCancel }: Props) {
  const { times, role, userId } = useMe();
  const { nameOf, byId } = useClients();
  const { byId: therapists } = useTherapists();
  const therapist = therapists.get(session.therapist_id);
  const isStaff = role !== 'client';
  const service = session.cpt_code ? serviceCode(session.cpt_code) : null;
  const reference = byId.get(session.client_id)?.reference;
  const name = nameOf(session.client_id);
  const isOpen = session.status === 'scheduled' || session.status === 'in_progress';
  const isOwn = session.therapist_id === userId;
  return (
    <Panel
      title={name === reference || !reference ? name : `${name} · ${reference}`}
      onClose={onClose}
      label={<span className={`status ${session.status}`}>{statusWords[session.status]}</span>}
    >
      <p>
        {times.longDay(session.start_time)}
        <br />
        <span className="tabular">{times.range(session.start_time, session.end_time)}</span>{' '}
        {times.abbreviation(session.start_time)} · {minutesBetween(session.start_time, session.end_time)} min
      </p>
      <p>
        {isStaff && service && (
          <>
            {service.description} ({session.cpt_code}) {session.cpt_modifiers.join(' ')}
            <br />
          </>
        )}
        {session.location_type && <span className="capital">{session.location_type}</span>}
        <RoomName id={isStaff ? session.room_id : null} />
        {therapist && ` · ${therapist.display_name}${therapist.credential ? `, ${therapist.credential}` : ''}`}
      </p>
      {isStaff && session.status === 'scheduled' && (
        <div className="row">
          <button type="button" onClick={onMove}>
            Move…
          </button>
          <button type="button" onClick={onCancel}>
            Cancel…
          </button>
        </div>
      )}
      {isStaff && isOpen && <Lifecycle session={session} onChanged={onChanged} />}
      {isStaff && session.status !== 'cancelled' && session.status !== 'no_show' && (isOwn || role !== 'therapist') && (
        <NoteEditor session={session} canWrite={isOwn} onChanged={onChanged} />
      )}
    </Panel>
  );
}

function RoomName({ id }: { id: string | null }) {
  const { data: rooms } = useRooms();
  const room = id && rooms?.find((one) => one.id === id);
  return room ? <> · Room {room.name}</> : null;
}

/** How early a session may be started, as the database has it. */
const EARLY_HOURS = 12;

function Lifecycle({ session, onChanged }: { session: SessionRow; onChanged(text: string): void }) {
  const { times } = useMe();
  const { busy, run, error } = useAction();
  const [endedAt, setEndedAt] = useState('');
  const [missing, setMissing] = useState<readonly string[]>([]);
  const [otherDayReason, setOtherDayReason] = useState('');
  const asksReason =
    otherDayReason !== '' || (error instanceof SessionsApiError && error.issues.some(({ path }) => path === 'other_day_reason'));
  const begins = Date.parse(session.start_time);
  const tooEarly = begins - Date.now() > EARLY_HOURS * 3_600_000;
  const sessionId = session.id;
  return (
    <section aria-label="Progress">
      <div className="row">
        {session.status === 'scheduled' ? (
          <>
            <Busy
              busy={busy}
              busyLabel="Starting…"
              type="button"
              className="primary"
              disabled={tooEarly}
              onClick={() =>
                void run(async () => {
                  await startSession(supabase, { sessionId, otherDayReason });
                  onChanged('Started.');
                })
              }
            >
              <Play size={16} aria-hidden /> Start
            </Busy>
            {begins < Date.now() && (
              <button
                type="button"
                disabled={busy}
                onClick={() =>
                  void run(async () => {
                    await markNoShow(supabase, { sessionId });
                    onChanged('Noted that the client did not come.');
                  })
                }
              >
                <UserX size={16} aria-hidden /> Did not come
              </button>
            )}
          </>
        ) : (
          <>
            <label>
              Ended at
              <input type="time" value={endedAt} onChange={(event) => setEndedAt(event.target.value)} />
            </label>
            <button
              type="button"
              disabled={busy}
              onClick={() =>
                void run(async () => {
                  const day = times.civil(session.start_time).slice(0, 10);
                  const actualEndTime = endedAt ? times.instant(`${day}T${endedAt}`) : null;
                  const ended = await endSession(supabase, { sessionId, actualEndTime });
                  onChanged(`Ended at ${times.clock(ended.actualEndTime)}. Sign the note, then complete the session.`);
                })
              }
            >
              <Square size={16} aria-hidden /> End
            </button>
            <Busy
              busy={busy}
              busyLabel="Completing…"
              type="button"
              className="primary"
              onClick={() =>
                void run(async () => {
                  setMissing([]);
                  try {
                    const { units } = await completeSession(supabase, { sessionId });
                    onChanged(`Completed, ${units} units.`);
                  } catch (failure) {
                    if (failure instanceof SessionsApiError && failure.code === 'SESSION_INCOMPLETE')
                      return setMissing(failure.issues.map(({ message }) => message));
                    throw failure;
                  }
                })
              }
            >
              <Check size={16} aria-hidden /> Complete
            </Busy>
          </>
        )}
      </div>
      {tooEarly && session.status === 'scheduled' && (
        <p className="muted small-text">Can be started from {EARLY_HOURS} hours before.</p>
      )}
      {asksReason && session.status === 'scheduled' && (
        <label>
          Why not on the day it is booked for
          <input maxLength={500} value={otherDayReason} onChange={(event) => setOtherDayReason(event.target.value)} />
        </label>
      )}
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
      <Failure error={error} />
    </section>
  );
}

const emptyNote = { narrative: '', response: '', progress: '', participants: '' };
type NoteFields = typeof emptyNote;
const noteLabels: Readonly<Record<keyof NoteFields, string>> = {
  narrative: 'What was done',
  response: 'How the client responded',
  progress: 'Progress towards the goals',
  participants: 'Who took part, with commas between',
};
const AUTOSAVE_MS = 2000;

function fieldsOf(content: Partial<NoteContent> | undefined): NoteFields {
  return {
    narrative: content?.narratives?.[0]?.narrative ?? '',
    response: content?.client_response ?? '',
    progress: content?.progress ?? '',
    participants: content?.participants?.join(', ') ?? '',
  };
}

function contentOf(fields: NoteFields, code: string | null): Partial<NoteContent> {
  const participants = fields.participants
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
  return {
    ...(fields.narrative.trim() && code && { narratives: [{ cpt_code: code, narrative: fields.narrative.trim() }] }),
    ...(fields.response.trim() && { client_response: fields.response.trim() }),
    ...(fields.progress.trim() && { progress: fields.progress.trim() }),
    ...(participants.length > 0 && { participants }),
  };
}

/** The note, read on a press because reading is recorded; drafts save themselves. */
function NoteEditor({ session, canWrite, onChanged }: { session: SessionRow; canWrite: boolean; onChanged(text: string): void }) {
  const [opened, setOpened] = useState(false);
  if (!opened && !(session.status === 'in_progress' && canWrite))
    return (
      <p>
        <button type="button" onClick={() => setOpened(true)}>
          <Pen size={16} aria-hidden /> {canWrite ? 'Note' : 'Show note'} <span className="muted">(recorded)</span>
        </button>
      </p>
    );
  return <OpenNote session={session} canWrite={canWrite} onChanged={onChanged} />;
}

function OpenNote({ session, canWrite, onChanged }: { session: SessionRow; canWrite: boolean; onChanged(text: string): void }) {
  const { times } = useMe();
  const sessionId = session.id;
  const {
    data: note,
    isPending,
    error,
    refetch,
  } = useRead(['note', sessionId], (signal) => readNote(supabase, { sessionId, signal }), {
    staleTime: Number.POSITIVE_INFINITY,
  });
  const [fields, setFields] = useState<NoteFields | null>(null);
  const [base, setBase] = useState<number | null>(null);
  const [saved, setSaved] = useState('');
  const [theirs, setTheirs] = useState<NoteFields | null>(null);
  const [issues, setIssues] = useState<readonly string[]>([]);
  const [signing, setSigning] = useState(false);
  const { busy, run, error: failure } = useAction();
  const text = fields ?? fieldsOf(note?.content);
  const baseVersion = base ?? note?.version ?? 0;
  const isSigned = note?.status === 'signed' || note?.status === 'amended';
  const changed = fields !== null && JSON.stringify(fields) !== saved;

  /** Saves, or shows what somebody else has saved meanwhile. */
  const guarded = (action: () => Promise<void>) =>
    run(async () => {
      try {
        await action();
      } catch (refusal) {
        if (!(refusal instanceof SessionsApiError)) throw refusal;
        if (refusal.code === 'NOTE_VERSION_CONFLICT') {
          const newest = (await refetch()).data;
          setTheirs(fieldsOf(newest?.content));
          return setBase(newest?.version ?? 0);
        }
        if (refusal.status === 400) return setIssues(refusal.issues.map(issueText));
        throw refusal;
      }
    });
  const save = () =>
    guarded(async () => {
      const kept = JSON.stringify(text);
      const { version } = await saveNoteDraft(supabase, {
        sessionId,
        baseVersion,
        content: contentOf(text, session.cpt_code),
      });
      setBase(version);
      setSaved(kept);
    });
  const latest = useRef(save);
  latest.current = save;
  useEffect(() => {
    if (!changed || theirs || !canWrite) return;
    const timer = setTimeout(() => void latest.current(), AUTOSAVE_MS);
    return () => clearTimeout(timer);
  }, [fields, theirs, busy]);

  if (isPending || error) return <Failure error={error} />;
  if (isSigned || !canWrite)
    return (
      <section aria-labelledby="note">
        <h3 id="note">
          <Lock size={16} aria-hidden /> Note {note ? `(${note.status})` : ''}
        </h3>
        {!note && <p className="muted">There is no note yet.</p>}
        {note && (
          <dl>
            {Object.entries(noteLabels).map(([name, label]) => (
              <div key={name}>
                <dt>{label.split(',')[0]}</dt>
                <dd>{fieldsOf(note.content)[name as keyof NoteFields] || '–'}</dd>
              </div>
            ))}
          </dl>
        )}
        {note?.signature && (
          <p className="muted">
            Signed {times.day(note.signature.signedAt)}, {times.clock(note.signature.signedAt)} as {note.signature.credential}.
          </p>
        )}
      </section>
    );
  return (
    <section aria-labelledby="note">
      <h3 id="note">Note</h3>
      <p role="status" className="muted small-text">
        {busy ? 'Saving…' : theirs ? '' : changed ? 'Not saved yet' : base ? 'Draft saved' : ''}
      </p>
      {theirs && (
        <div className="refusal" role="alert">
          <h3>Somebody has saved another text meanwhile</h3>
          <p>{theirs.narrative || '(nothing under “What was done”)'}</p>
          <div className="row">
            <button type="button" onClick={() => setTheirs(null)}>
              Keep mine on top
            </button>
            <button
              type="button"
              onClick={() => {
                setFields(theirs);
                setSaved(JSON.stringify(theirs));
                setTheirs(null);
              }}
            >
              Take theirs
            </button>
          </div>
        </div>
      )}
      {Object.entries(noteLabels).map(([name, label]) => (
        <label key={name}>
          {label}
          <textarea
            rows={name === 'narrative' ? 4 : 2}
            maxLength={10_000}
            value={text[name as keyof NoteFields]}
            onChange={(event) => setFields({ ...text, [name]: event.target.value })}
          />
        </label>
      ))}
      {issues.length > 0 && (
        <p className="error" role="alert">
          {issues.join(' ')}
        </p>
      )}
      <Failure error={failure} />
      {session.status === 'in_progress' && (
        <button
          type="button"
          disabled={busy}
          onClick={() => {
            setIssues([]);
            setSigning(true);
          }}
        >
          <Lock size={16} aria-hidden /> Sign…
        </button>
      )}
      {signing && (
        <Dialog title="Sign the note" onClose={() => setSigning(false)}>
          <p>
            {times.dayRange(session.start_time, session.end_time)}, service {session.cpt_code}.
          </p>
          <p>Your signature states that this is what happened. It cannot be changed, only amended.</p>
          <div className="row">
            <Busy
              busy={busy}
              busyLabel="Signing…"
              type="button"
              className="primary"
              onClick={() =>
                void guarded(async () => {
                  setSigning(false);
                  await signNote(supabase, {
                    sessionId,
                    baseVersion,
                    content: contentOf(text, session.cpt_code),
                  });
                  setFields(null);
                  await refetch();
                  onChanged('Signed.');
                })
              }
            >
              Sign
            </Busy>
          </div>
        </Dialog>
      )}
    </section>
  );
}
