/** The note of a session: a draft that saves itself, what others saved meanwhile, signature and amendment. */
import { useEffect, useRef, useState } from 'react';
import {
  amendNote,
  type Note,
  type NoteContent,
  readNote,
  SessionsApiError,
  saveNoteDraft,
  signNote,
} from '../lib/index.ts';
import { useAction } from './actions.ts';
import { useRead } from './reads.ts';
import { useSupabase } from './session.ts';

/** A note as a form has it. */
export interface NoteFields {
  readonly narrative: string;
  readonly response: string;
  readonly progress: string;
  /** Names, with commas between. */
  readonly participants: string;
}

function fieldsOf(content: Partial<NoteContent> | undefined): NoteFields {
  return {
    narrative: content?.narratives?.[0]?.narrative ?? '',
    response: content?.client_response ?? '',
    progress: content?.progress ?? '',
    participants: content?.participants?.join(', ') ?? '',
  };
}

function contentOf(fields: NoteFields, code: string | null): Partial<NoteContent> {
  const [narrative, response, progress] = [fields.narrative, fields.response, fields.progress].map((text) =>
    text.trim(),
  );
  const names = fields.participants.split(',').map((name) => name.trim());
  const participants = names.filter((name) => name !== '');
  return {
    ...(narrative && code && { narratives: [{ cpt_code: code, narrative }] }),
    ...(response && { client_response: response }),
    ...(progress && { progress }),
    ...(participants.length > 0 && { participants }),
  };
}

/** How a note is doing. */
export interface NoteState {
  /** The newest version; null when there is none, undefined while it is read. */
  readonly note: Note | null | undefined;
  readonly error: unknown;
  readonly isSigned: boolean;
  readonly fields: NoteFields;
  set(changes: Partial<NoteFields>): void;
  readonly saving: 'no' | 'unsaved' | 'saving' | 'saved';
  readonly busy: boolean;
  readonly failure: unknown;
  /** What somebody else saved meanwhile; saving waits until one of the two is chosen. */
  readonly theirs: NoteFields | null;
  keepMine(): void;
  takeTheirs(): void;
  /** The 400 of a signature, with its `issues`. */
  readonly invalid: SessionsApiError | null;
  /** Signs what is in the fields, unless somebody else's text is still to be chosen from; answers whether it is signed. */
  sign(): Promise<boolean>;
  /** Amends a signed note by what is in the fields; answers whether it is. */
  amend(reason: string): Promise<boolean>;
}

/**
 * Reads a note and, for who may write it, keeps what is typed.
 *
 * @param session - its id and service code
 * @param canWrite - whether drafts are to be saved
 * @param autosaveMs - how long after the last key
 */
export function useNote(
  { id: sessionId, cpt_code: code }: { readonly id: string; readonly cpt_code: string | null },
  canWrite: boolean,
  autosaveMs = 2000,
): NoteState {
  const supabase = useSupabase();
  const read = (signal: AbortSignal) => readNote(supabase, { sessionId, signal });
  const {
    data: note,
    error,
    refetch,
  } = useRead(['note', sessionId], read, { staleTime: Number.POSITIVE_INFINITY });
  const [typed, setTyped] = useState<NoteFields | null>(null);
  const [base, setBase] = useState<number | null>(null);
  const [saved, setSaved] = useState('');
  const [theirs, setTheirs] = useState<NoteFields | null>(null);
  const [invalid, setInvalid] = useState<SessionsApiError | null>(null);
  const { busy, run, error: failure } = useAction();
  const fields = typed ?? fieldsOf(note?.content);
  /** What is saved now and which version came of it last, also for what waits since an earlier rendering. */
  const underWay = useRef<Promise<boolean> | null>(null);
  const version = useRef<number | null>(null);
  const knowVersion = (known: number | null) => {
    version.current = known;
    setBase(known);
  };
  const baseVersion = () => version.current ?? note?.version ?? 0;
  const isSigned = note != null && note.status !== 'draft';
  const isChanged = typed !== null && JSON.stringify(typed) !== saved;

  /** Does it, or shows what somebody else has saved meanwhile; answers whether it was done. */
  const guarded = async (work: () => Promise<void>): Promise<boolean> => {
    let isDone = false;
    await run(async () => {
      setInvalid(null);
      try {
        await work();
        isDone = true;
      } catch (refusal) {
        if (!(refusal instanceof SessionsApiError)) throw refusal;
        if (refusal.code === 'NOTE_VERSION_CONFLICT') {
          const { data: newest } = await refetch();
          setTheirs(fieldsOf(newest?.content));
          knowVersion(newest?.version ?? 0);
        } else if (refusal.status === 400) setInvalid(refusal);
        else throw refusal;
      }
    });
    return isDone;
  };
  const save = () =>
    guarded(async () => {
      const content = contentOf(fields, code);
      const draft = await saveNoteDraft(supabase, { sessionId, baseVersion: baseVersion(), content });
      knowVersion(draft.version);
      setSaved(JSON.stringify(fields));
    });
  const latest = useRef(save);
  latest.current = save;
  useEffect(() => {
    if (!isChanged || isSigned || theirs || !canWrite) return;
    const timer = setTimeout(() => {
      underWay.current ??= latest.current().finally(() => {
        underWay.current = null;
      });
    }, autosaveMs);
    return () => clearTimeout(timer);
  }, [typed, theirs, busy, isSigned]);

  const settle = async () => {
    await refetch();
    knowVersion(null);
    setTyped(null);
  };
  return {
    ...{ note, error, isSigned, fields, busy, failure, theirs, invalid },
    saving: busy ? 'saving' : theirs ? 'no' : isChanged ? 'unsaved' : base ? 'saved' : 'no',
    set: (changes) => setTyped({ ...fields, ...changes }),
    keepMine: () => setTheirs(null),
    takeTheirs() {
      setTyped(theirs);
      setSaved(JSON.stringify(theirs));
      setTheirs(null);
    },
    async sign() {
      // One that failed says why: somebody else's text or the network is to be seen first.
      if (theirs || (underWay.current && !(await underWay.current))) return false;
      return await guarded(async () => {
        const content = contentOf(fields, code);
        await signNote(supabase, { sessionId, baseVersion: baseVersion(), content });
        await settle();
      });
    },
    amend: (reason) =>
      guarded(async () => {
        const content = { ...note?.content, ...contentOf(fields, code) };
        await amendNote(supabase, { sessionId, baseVersion: baseVersion(), content, reason });
        await settle();
      }),
  };
}
