/** `sessions-confirm`: turn a live hold into sessions. */
import { z } from 'zod';
import { type CptInput, cpt } from './cpt.ts';
import { type Parsed, parseWith, type RpcCall, UNWANTED } from './parsed.ts';
import {
  expected,
  instant,
  list,
  offsetMinutes,
  optional,
  optionalText,
  timeZone,
  uuid,
} from './primitives.ts';
import { checkWindow, MAX_OCCURRENCES } from './windows.ts';

/** Notes are sealed by `session-notes`; plaintext here would reach the database. */
function noNotes() {
  return z
    .unknown()
    .refine((notes) => notes === undefined || notes === null, {
      error: 'is not accepted here: session notes are saved, encrypted, through session-notes',
      params: UNWANTED,
    })
    .optional()
    .meta({ type: 'null', description: 'Refused when given. Session notes have their own, encrypted way.' });
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
    start_time_offset_minutes: offsetMinutes(),
    end_time_offset_minutes: offsetMinutes(),
    time_zone: optional(timeZone()).meta({ description: 'Left out: as at the top.' }),
    notes: noNotes(),
  },
  { error: expected('an object') },
);

/** The body of `POST /functions/v1/sessions-confirm`. */
export const confirmRequest = z
  .object(
    {
      hold_key: uuid().meta({
        description: 'The batch key from `sessions-hold`, or the key of a batch’s only occurrence.',
      }),
      session,
      cpt: optional(cpt),
      start_time_offset_minutes: offsetMinutes(),
      end_time_offset_minutes: offsetMinutes(),
      time_zone: timeZone(),
      occurrences: optional(list(confirmOccurrence, 0, MAX_OCCURRENCES)).meta({
        description:
          'Every held occurrence exactly once, each by its own key. Left out or empty: the session above is the only one.',
      }),
      notes: noNotes(),
    },
    { error: expected('a JSON object') },
  )
  .superRefine((request, context) => {
    const { occurrences = [], session, time_zone } = request;
    checkWindow({ ...session, ...offsetsOf(request) }, time_zone, context, {
      timePath: ['session'],
      offsetPath: [],
      limitLength: false,
    });
    for (const [index, occurrence] of occurrences.entries()) {
      checkWindow(
        { ...occurrence.session, ...offsetsOf(occurrence) },
        occurrence.time_zone ?? time_zone,
        context,
        {
          timePath: ['occurrences', index, 'session'],
          offsetPath: ['occurrences', index],
          limitLength: false,
        },
      );
    }
  });

/** What a caller of `sessions-confirm` sends. */
export type ConfirmRequest = z.input<typeof confirmRequest>;

function offsetsOf(value: { start_time_offset_minutes: number; end_time_offset_minutes: number }) {
  const { start_time_offset_minutes, end_time_offset_minutes } = value;
  return { start_time_offset_minutes, end_time_offset_minutes };
}

/**
 * Reads a `sessions-confirm` body into the call of `confirm_sessions`: defaults filled in, instants in UTC, each
 * occurrence complete. Lengths and times that differ from the hold are the database's to refuse, as a mismatch.
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
