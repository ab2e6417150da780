/** `sessions-confirm`: turn a live hold into sessions. */
import { z } from 'zod';
import { type CptInput, cpt } from './cpt.ts';
import type { EndpointDescription } from './endpoint.ts';
import { end, ids, offsets, people, start, zone } from './examples.ts';
import { type Parsed, parseWith, type RpcCall, UNWANTED } from './parsed.ts';
import {
  expected,
  instant,
  isBlank,
  list,
  offsetMinutes,
  optional,
  optionalText,
  timeZone,
  uuid,
} from './primitives.ts';
import { MAX_OCCURRENCES } from './windows.ts';

/** Notes are sealed by `session-notes`; plaintext here would reach the database. */
function noNotes() {
  return z
    .unknown()
    .refine(isBlank, {
      error: 'is not accepted here: session notes are saved, encrypted, through session-notes',
      params: UNWANTED,
    })
    .optional()
    .meta({
      type: 'null',
      description: 'Refused when it has text. Session notes have their own, encrypted way.',
    });
}

const session = z.object(
  {
    therapist_id: uuid(),
    client_id: uuid(),
    start_time: instant(),
    end_time: instant(),
    id: optional(uuid()).meta({ description: 'The session being moved. Checked against what was held.' }),
    session_type: optionalText(64).meta({ inputExamples: ['individual'] }),
    location_type: optionalText(64).meta({ inputExamples: ['clinic'] }),
    notes: noNotes(),
  },
  { error: expected('an object') },
);

const confirmOccurrence = z.object(
  {
    hold_key: uuid(),
    session,
    cpt: optional(cpt).meta({ description: 'Left out: as at the top.' }),
    start_time_offset_minutes: optional(offsetMinutes()),
    end_time_offset_minutes: optional(offsetMinutes()),
    time_zone: optional(timeZone()).meta({ description: 'Left out: as at the top.' }),
    notes: noNotes(),
  },
  { error: expected('an object') },
);

/** The body of `POST /functions/v1/sessions-confirm`. */
export const confirmRequest = z.object(
  {
    hold_key: uuid().meta({
      description: 'The batch key from `sessions-hold`, or the key of a batch’s only occurrence.',
    }),
    session,
    cpt: optional(cpt),
    start_time_offset_minutes: optional(offsetMinutes()).meta({
      description: 'Minutes east of UTC at the start, to be checked by the database. Left out: not checked.',
      inputExamples: [-480],
    }),
    end_time_offset_minutes: optional(offsetMinutes()).meta({ inputExamples: [-480] }),
    time_zone: timeZone(),
    occurrences: optional(list(confirmOccurrence, 0, MAX_OCCURRENCES)).meta({
      description:
        'Every held occurrence exactly once, each by its own key. Left out or empty: the session above is the only one.',
    }),
    notes: noNotes(),
  },
  { error: expected('a JSON object') },
);

/** What a caller of `sessions-confirm` sends. */
export type ConfirmRequest = z.input<typeof confirmRequest>;

/**
 * Reads a `sessions-confirm` body into the call of `confirm_sessions`: defaults filled in, instants in UTC, each
 * occurrence complete. What its times mean, and whether they are what was held, is the database's to say.
 */
export function parseConfirm(body: unknown): Parsed<RpcCall> {
  const parsed = parseWith(confirmRequest, body, true);
  if (!parsed.ok) return parsed;
  const { occurrences = [], notes: _notes, session, ...request } = parsed.value;
  const zone = request.time_zone;
  const topCpt: CptInput | undefined = request.cpt;
  return {
    ok: true,
    value: {
      rpc: 'confirm_sessions',
      request: {
        ...request,
        session: withoutNotes(session),
        occurrences: occurrences.map(({ notes: _ignored, session: each, ...occurrence }) => ({
          ...occurrence,
          session: withoutNotes(each),
          cpt: occurrence.cpt ?? topCpt,
          time_zone: occurrence.time_zone ?? zone,
        })),
      },
    },
  };
}

function withoutNotes<Value extends { notes?: unknown }>({
  notes: _notes,
  ...rest
}: Value): Omit<Value, 'notes'> {
  return rest;
}

/** A session row as stored: snake_case, every column a permitted reader may see. */
export const sessionRow = z
  .looseObject({
    id: z.string().meta({ format: 'uuid' }),
    organization_id: z.string().meta({ format: 'uuid' }),
    therapist_id: z.string().meta({ format: 'uuid' }),
    client_id: z.string().meta({ format: 'uuid' }),
    start_time: z.iso.datetime({ offset: true }),
    end_time: z.iso.datetime({ offset: true }),
    status: z.enum(['scheduled', 'in_progress', 'completed', 'cancelled', 'no_show']),
  })
  .meta({
    id: 'SessionRow',
    description: 'A row of `public.sessions`, as stored. Other columns follow the table.',
  });

/** The `data` of a 200 answer of `sessions-confirm`. */
export const confirmData = z.object({
  session: sessionRow.meta({ description: 'The first occurrence’s session.' }),
  sessions: z.array(sessionRow).meta({
    description:
      'All sessions, in the order the occurrences were held; of a group that moved, the named member’s first.',
  }),
  roundedDurationMinutes: z.number().int().meta({
    description: 'Elapsed minutes of the first session, rounded to whole 15-minute units.',
  }),
});
export type ConfirmData = z.output<typeof confirmData>;

const exampleSession = {
  id: ids.hold,
  organization_id: ids.organization,
  ...people,
  start_time: '2026-11-30T18:00:00+00:00',
  end_time: '2026-11-30T20:00:00+00:00',
  status: 'scheduled',
};

/** How the API description shows `sessions-confirm`. */
export const confirmEndpoint: EndpointDescription = {
  summary: 'Turn a live hold into sessions',
  description:
    'A live hold always confirms, if the caller may still book. Confirming again answers the same sessions. Every held occurrence is listed exactly once, as it was held.',
  request: { ConfirmRequest: confirmRequest },
  requests: {
    one: {
      value: {
        hold_key: ids.batch,
        session: { ...people, start_time: start, end_time: end, session_type: 'individual' },
        cpt: { code: '97153', modifiers: [] },
        ...offsets,
        time_zone: zone,
      },
    },
  },
  data: { ConfirmData: confirmData },
  answers: {
    confirmed: {
      value: { session: exampleSession, sessions: [exampleSession], roundedDurationMinutes: 120 },
    },
  },
};
