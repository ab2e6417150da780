import type {
  NoteContent,
  NoteVersion,
  NoteWithContent,
} from '../../supabase/functions/_shared/contract/types.ts';
import { type CallOptions, callEdge, type FunctionsCaller, newIdempotencyKey } from './callEdge.ts';
import { checkGiven, SessionsApiError } from './sessionsApiError.ts';

export type { NoteContent, NoteVersion };

/** A note with its content, as it was saved. */
export type Note = NoteWithContent;

/** The session a note is of. */
export interface NoteQuery extends CallOptions {
  readonly sessionId: string;
}

/** A version to save: what it says, and the version it builds on (0 for the first). */
export interface NoteDraft extends NoteQuery {
  readonly baseVersion: number;
  readonly content: Partial<NoteContent>;
}

/**
 * The newest version of a session's note. Recorded in the audit trail.
 *
 * @param supabase - a supabase-js client
 * @param query - the session; see {@link NoteQuery}
 * @returns the note, or null when there is none
 * @throws SessionsApiError 403 for a note that is not the caller's to read
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const note = await readNote(supabase, { sessionId });
 * note?.status; // 'draft', 'signed' or 'amended'
 * ```
 */
export async function readNote(supabase: FunctionsCaller, query: NoteQuery): Promise<Note | null> {
  checkGiven(query);
  try {
    return (await call<{ note: Note }>(supabase, query, { action: 'read' })).note;
  } catch (error) {
    if (error instanceof SessionsApiError && error.code === 'NOTE_NOT_FOUND') return null;
    throw error;
  }
}

/**
 * Saves a draft as a further version.
 *
 * @param supabase - a supabase-js client
 * @param draft - the content and the version it builds on; see {@link NoteDraft}
 * @returns the version as saved
 * @throws SessionsApiError 409 `NOTE_VERSION_CONFLICT` when somebody saved meanwhile, `NOTE_SIGNED` when it is signed
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { version } = await saveNoteDraft(supabase, { sessionId, baseVersion: 0, content: { progress: 'On target.' } });
 * ```
 */
export async function saveNoteDraft(supabase: FunctionsCaller, draft: NoteDraft): Promise<NoteVersion> {
  checkGiven(draft);
  const body = { action: 'save_draft', base_version: draft.baseVersion, content: draft.content };
  return (await call<{ note: NoteVersion }>(supabase, draft, body)).note;
}

/**
 * Signs a note: the rendering therapist attests it, and it no longer changes.
 *
 * @param supabase - a supabase-js client
 * @param draft - the version to sign, and its content when it is not saved yet
 * @returns the version as signed
 * @throws SessionsApiError 400 with `issues` for what a signed note must have; 409 `NOTE_VERSION_CONFLICT`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const draft = await readNote(supabase, { sessionId });
 * if (draft) await signNote(supabase, { sessionId, baseVersion: draft.version });
 * ```
 */
export async function signNote(
  supabase: FunctionsCaller,
  draft: NoteQuery & { readonly baseVersion: number; readonly content?: Partial<NoteContent> },
): Promise<NoteVersion> {
  checkGiven(draft);
  const body = { action: 'sign', base_version: draft.baseVersion, content: draft.content };
  return (await call<{ note: NoteVersion }>(supabase, draft, body)).note;
}

/**
 * Amends a signed note by a further version, which is signed as it is made. What was signed before stays.
 *
 * @param supabase - a supabase-js client
 * @param draft - the new content, the version it builds on, and why
 * @returns the version as saved
 * @throws SessionsApiError 409 `NOTE_NOT_SIGNED` or `NOTE_VERSION_CONFLICT`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const signed = await readNote(supabase, { sessionId });
 * if (signed) {
 *   const content = { ...signed.content, remarks: 'The session ended ten minutes early.' };
 *   await amendNote(supabase, { sessionId, baseVersion: signed.version, content, reason: 'Left out' });
 * }
 * ```
 */
export async function amendNote(
  supabase: FunctionsCaller,
  draft: NoteDraft & { readonly reason: string },
): Promise<NoteVersion> {
  checkGiven(draft);
  const { baseVersion: base_version, content, reason } = draft;
  return (
    await call<{ note: NoteVersion }>(supabase, draft, { action: 'amend', base_version, content, reason })
  ).note;
}

function call<Data>(supabase: FunctionsCaller, query: NoteQuery, body: object): Promise<Data> {
  const { sessionId, accessToken, signal, retry, idempotencyKey = newIdempotencyKey() } = query;
  return callEdge<Data>(
    supabase,
    'session-notes',
    { ...body, session_id: sessionId },
    { accessToken, signal, retry, idempotencyKey },
  );
}
