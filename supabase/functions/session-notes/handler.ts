import { z } from 'zod';
import {
  missingForSignature,
  type NoteContent,
  noteVersion,
  parseNote,
} from '../_shared/contract/session-notes.ts';
import { createEndpoint } from '../_shared/http.ts';
import { type Answer, interpret } from '../_shared/outcome.ts';
import { callAudited, callRpc, type RpcContext } from '../_shared/rpc.ts';
import {
  bodyOf,
  openContent,
  sealContent,
  sealingKey,
  withSealedContent,
  wrappedKey,
} from '../_shared/sealed-content.ts';

const COLUMN = 'session_note_versions.ciphertext';

/** What is sealed: the content, and of an amendment its reason. */
type Sealed = { content: NoteContent; reason: string | null };

const prepared = z.object({
  organizationId: z.string(),
  authorId: z.string(),
  session: z.object({ cptCode: z.string().nullable(), locationType: z.string().nullable() }),
  factsDigest: z.string(),
  key: wrappedKey.nullable(),
});

const found = z.object({
  organizationId: z.string(),
  note: noteVersion,
  ciphertext: z.string(),
  keys: z.array(wrappedKey),
});

/** Reads one version and opens it. */
async function readNote(
  request: { session_id: string; version?: number; purpose?: 'reading' | 'signing' },
  context: RpcContext,
) {
  const answer = interpret(await callAudited('read_note', request, context));
  const { organizationId, note, ciphertext, keys } = bodyOf(found, answer);
  const place = { column: COLUMN, subjectId: note.sessionId, rowId: note.versionId };
  const [sealed] = await openContent(organizationId, keys, [{ place, ciphertext }]);
  return { note, sealed: sealed as Sealed };
}

/** What each action makes of a note: the status of the version it adds. */
const STATUS = { save_draft: 'draft', sign: 'signed', amend: 'amended' } as const;

const SAVING = { save_draft: 'save_note_draft', sign: 'sign_note', amend: 'amend_note' } as const;

type Saving = {
  action: keyof typeof SAVING;
  session_id: string;
  base_version: number;
  content?: NoteContent;
  reason?: string;
};

/**
 * Seals a new version and has it kept. The database is asked first whether the caller may write this note at all; what
 * is to be signed must be complete, which only somebody who can read it can tell. The proof says that this was looked at,
 * for these facts of the session; the database signs nothing without it.
 */
async function saveNote(
  { action, session_id, base_version, content, reason }: Saving,
  idempotencyKey: string | null,
  context: RpcContext,
): Promise<Answer> {
  const prepare = await callAudited('prepare_note', { session_id, attempted: action }, context);
  const {
    organizationId,
    authorId,
    session,
    factsDigest,
    key: active,
  } = bodyOf(prepared, interpret(prepare));

  // Signing what was drafted: the version the signer has seen, and no other.
  const toSeal =
    content ??
    (await readNote({ session_id, version: Math.max(base_version, 1), purpose: 'signing' }, context)).sealed
      .content;
  const issues = action === 'save_draft' ? [] : missingForSignature(toSeal, session);
  if (issues.length > 0) return { kind: 'invalid', code: 'MISSING_FIELDS', issues };

  const key = await sealingKey(organizationId, active, context);
  const sealed: Sealed = { content: toSeal, reason: reason ?? null };
  const place = { organizationId, column: COLUMN, subjectId: session_id };
  const isDraft = action === 'save_draft';
  const version = String(base_version + 1);
  const statement = [STATUS[action], version, authorId, isDraft ? 'draft' : factsDigest];
  const request = {
    session_id,
    base_version,
    ...(isDraft ? {} : { facts_digest: factsDigest }),
    ...(await sealContent(key, place, sealed, statement)),
  };
  return interpret(await callRpc({ rpc: SAVING[action], request }, idempotencyKey, context));
}

/** `POST /functions/v1/session-notes`: saves, signs, amends and reads the note of a session. */
export const handleNotes = createEndpoint((body, idempotencyKey, context) =>
  withSealedContent(context, async () => {
    const parsed = parseNote(body);
    if (!parsed.ok) return { kind: 'invalid', code: parsed.code, issues: parsed.issues };
    const { action, ...request } = parsed.value;
    switch (action) {
      case 'read': {
        const { note, sealed } = await readNote(request, context);
        return { kind: 'success', status: 200, replayed: false, data: { note: { ...note, ...sealed } } };
      }
      case 'history':
        return interpret(await callAudited('note_history', request, context));
      default:
        return saveNote({ action, ...(request as Omit<Saving, 'action'>) }, idempotencyKey, context);
    }
  }),
);
