/** `session-notes`: write, sign, amend and read the note of a session. Notes are sealed before the database sees them. */
import { z } from 'zod';
import { cptCode } from './cpt.ts';
import type { EndpointDescription } from './endpoint.ts';
import { end, ids, start, zone } from './examples.ts';
import { type Issue, type Parsed, parseWith } from './parsed.ts';
import { expected, integer, list, optional, optionalText, text, uuid } from './primitives.ts';
import { actionError, baseVersion, fits, isoInstant, rowId } from './sealed.ts';

/** Longest narrative, response, progress or remark, in UTF-16 units. */
const MAX_TEXT = 10_000;

/** What a note says. A draft may be incomplete; see {@link missingForSignature}. */
export const noteContent = z
  .object(
    {
      narratives: optional(
        list(
          z.object(
            {
              cpt_code: cptCode(),
              narrative: text(MAX_TEXT),
            },
            { error: expected('an object') },
          ),
          0,
          12,
        ),
      ).meta({ description: 'What was done, for each service code.' }),
      client_response: optionalText(MAX_TEXT).meta({ description: 'How the client responded.' }),
      progress: optionalText(MAX_TEXT).meta({ description: 'Progress towards the goals of the plan.' }),
      participants: optional(list(text(200), 0, 20)).meta({ description: 'Who took part.' }),
      location: optionalText(200).meta({
        description: 'Where, when the session itself does not say.',
      }),
      remarks: optionalText(MAX_TEXT),
    },
    { error: expected('an object') },
  )
  .meta({ id: 'NoteContent' });
export type NoteContent = z.output<typeof noteContent>;

const content = () => fits(noteContent);

/** Saves a draft: a new version, as long as the note is not signed. */
export const saveDraftRequest = z.object({
  action: z.literal('save_draft'),
  session_id: uuid(),
  base_version: baseVersion(),
  content: content(),
});

/** Signs the note of a visit that has ended: the rendering provider attests a complete note, and it no longer changes. */
export const signRequest = z.object({
  action: z.literal('sign'),
  session_id: uuid(),
  base_version: baseVersion(),
  content: optional(content()).meta({
    description: 'Left out: the draft `base_version` is signed as it is.',
  }),
});

/** Amends a signed note: a further version, signed as it is made. What was signed before stays. */
export const amendRequest = z.object({
  action: z.literal('amend'),
  session_id: uuid(),
  base_version: baseVersion(),
  content: content(),
  reason: text(1_000).meta({ description: 'Why. Sealed with the content.' }),
});

/** Reads a version, content included. Recorded in the audit trail, as are attempts. */
export const readRequest = z.object({
  action: z.literal('read'),
  session_id: uuid(),
  version: optional(integer(1, 1_000_000)).meta({ description: 'Left out: the newest.' }),
});

/** Lists the versions, without their content. Recorded, too. */
export const historyRequest = z.object({ action: z.literal('history'), session_id: uuid() });

const noteRequest = z.discriminatedUnion(
  'action',
  [saveDraftRequest, signRequest, amendRequest, readRequest, historyRequest],
  { error: actionError('"save_draft", "sign", "amend", "read" or "history"') },
);

/** What a caller of `session-notes` sends. */
export type NoteRequest = z.input<typeof noteRequest>;

/** Reads a `session-notes` body. */
export function parseNote(body: unknown): Parsed<z.output<typeof noteRequest>> {
  return parseWith(noteRequest, body);
}

/**
 * What a note lacks to be signed: participants, a place, a narrative for the session's service, the client's response
 * and progress (the documentation federal audits look for first).
 *
 * @param session - the session's own facts: its service and its place, when it has them
 */
export function missingForSignature(
  note: Partial<NoteContent>,
  session: { cptCode: string | null; locationType: string | null },
): Issue[] {
  const missing: Issue[] = [];
  const need = (present: boolean, path: string, message = 'is required to sign') => {
    if (!present) missing.push({ path: `content.${path}`, message });
  };
  const narratives = note.narratives ?? [];
  need(narratives.length > 0, 'narratives');
  if (narratives.length > 0 && session.cptCode !== null) {
    need(
      narratives.some(({ cpt_code }) => cpt_code === session.cptCode),
      'narratives',
      `must have a narrative for ${session.cptCode}`,
    );
  }
  need(!!note.client_response, 'client_response');
  need(!!note.progress, 'progress');
  need((note.participants ?? []).length > 0, 'participants');
  need(!!note.location || session.locationType !== null, 'location');
  return missing;
}

/** A version of a note, without its content. */
export const noteVersion = z
  .object({
    sessionId: rowId(),
    versionId: rowId(),
    version: z.number().int().min(1),
    status: z.enum(['draft', 'signed', 'amended']).meta({
      description: '`amended`: a later version of a signed note, itself signed.',
    }),
    savedBy: rowId(),
    savedAt: isoInstant(),
    signature: z
      .object({
        signedBy: rowId(),
        credential: z.string().meta({ description: 'What they were at that moment, such as BCBA.' }),
        signedAt: isoInstant(),
        attested: z
          .looseObject({})
          .meta({ description: 'The visit that was signed for: who, what, where, from when until when.' }),
      })
      .nullable(),
  })
  .meta({ id: 'NoteVersion' });

/** The `data` of a saved, signed or amended note. */
export const noteSavedData = z.object({ note: noteVersion });
/** The `data` of a read note. */
export const noteReadData = z.object({
  note: noteVersion.extend({
    content: noteContent.meta({ description: 'As it was saved.' }),
    reason: z.string().nullable().meta({ description: 'Why it was amended.' }),
  }),
});
/** The `data` of a note's history, oldest version first. */
export const noteHistoryData = z.object({ sessionId: rowId(), versions: z.array(noteVersion) });

export type NoteSavedData = z.output<typeof noteSavedData>;
export type NoteReadData = z.output<typeof noteReadData>;
export type NoteHistoryData = z.output<typeof noteHistoryData>;

const exampleNote = {
  sessionId: ids.session,
  versionId: '7d1e3c52-0c1f-4a5e-9a53-2f6f0f6c9b10',
  version: 1,
  status: 'draft',
  savedBy: ids.therapist,
  savedAt: '2026-11-30T20:05:00.000Z',
  signature: null,
};
const exampleSignature = {
  signedBy: ids.therapist,
  credential: 'RBT',
  signedAt: '2026-11-30T20:10:00.000Z',
  attested: {
    therapistId: ids.therapist,
    clientId: ids.client,
    cptCode: '97153',
    cptModifiers: [],
    locationType: 'clinic',
    timeZone: zone,
    actualStartTime: start,
    actualEndTime: end,
  },
};
const exampleContent = {
  narratives: [{ cpt_code: '97153', narrative: 'Ten trials of requesting with a picture card.' }],
  client_response: 'Requested in eight of ten trials.',
  progress: 'Up from six of ten a week ago.',
  participants: ['Client', 'Technician'],
};

/** How the API description shows `session-notes`. */
export const noteEndpoint: EndpointDescription = {
  summary: 'Write, sign, amend or read the note of a session',
  description:
    'Notes are sealed (AES-256-GCM) before the database sees them. Only the session’s therapist writes and signs, once `end_session` has recorded when the visit ended; admins of the organization read. A signed note never changes: an amendment is a further version. Every read and every attempt is recorded. `content` and `reason` come back in the spelling they are sent in. Reading ignores `Idempotency-Key`.',
  request: {
    NoteSaveDraftRequest: saveDraftRequest,
    NoteSignRequest: signRequest,
    NoteAmendRequest: amendRequest,
    NoteReadRequest: readRequest,
    NoteHistoryRequest: historyRequest,
  },
  requests: {
    save_draft: {
      summary: 'Save a first draft',
      value: { action: 'save_draft', session_id: ids.session, base_version: 0, content: exampleContent },
    },
    sign: {
      summary: 'Sign the draft as it is',
      value: { action: 'sign', session_id: ids.session, base_version: 1 },
    },
    amend: {
      summary: 'Amend a signed note',
      value: {
        action: 'amend',
        session_id: ids.session,
        base_version: 2,
        content: { ...exampleContent, progress: 'Up from five of ten a week ago.' },
        reason: 'Last week’s count was misread.',
      },
    },
    read: { summary: 'Read the newest version', value: { action: 'read', session_id: ids.session } },
    history: { summary: 'List the versions', value: { action: 'history', session_id: ids.session } },
  },
  data: { NoteSavedData: noteSavedData, NoteReadData: noteReadData, NoteHistoryData: noteHistoryData },
  answers: {
    saved: { value: { note: exampleNote } },
    signed: {
      value: { note: { ...exampleNote, version: 2, status: 'signed', signature: exampleSignature } },
    },
    read: { value: { note: { ...exampleNote, content: exampleContent, reason: null } } },
    history: { value: { sessionId: ids.session, versions: [exampleNote] } },
  },
};
