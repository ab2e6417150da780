/** `sessions-cancel`: give a held slot back, or cancel booked sessions. */
import { z } from 'zod';
import type { EndpointDescription } from './endpoint.ts';
import { end, ids, start, zone } from './examples.ts';
import { type Parsed, parseWith, type RpcCall, refuse } from './parsed.ts';
import {
  civilDate,
  expected,
  instant,
  isBlank,
  list,
  optional,
  optionalText,
  secondsLeft,
  timeZone,
  uuid,
} from './primitives.ts';

/** Most sessions named in one request. */
export const MAX_SESSION_IDS = 1000;

/** Who called the session off, for attendance reports. */
export const cancellationAttribution = z.enum(['staff', 'client', 'unknown'], {
  error: expected('"staff", "client" or "unknown"'),
});

/** The body of `POST /functions/v1/sessions-cancel` that releases a hold. */
export const releaseRequest = z.object(
  {
    hold_key: uuid().meta({
      description: 'A batch key, which stands for all its occurrences, or the key of one occurrence.',
    }),
  },
  { error: expected('a JSON object') },
);

/** The body of `POST /functions/v1/sessions-cancel` that cancels sessions. */
export const cancelRequest = z
  .object(
    {
      session_ids: optional(list(uuid(), 1, MAX_SESSION_IDS)).meta({
        description: 'The sessions to cancel. With `date`: those of them that start on that day.',
      }),
      series_id: optional(uuid()).meta({
        description: 'The sessions of a series: all, or with `from` the later ones.',
      }),
      from: optional(instant()).meta({
        description: 'With `series_id`: its sessions that start at this moment or after it.',
      }),
      date: optional(civilDate()).meta({
        description: 'A local day: sessions that start in it. Needs `time_zone`.',
      }),
      from_date: optional(civilDate()).meta({
        description: 'Several local days, with `to_date`: the first of them. Needs `time_zone`.',
      }),
      to_date: optional(civilDate()).meta({ description: 'The last of them, at most 366 days later.' }),
      time_zone: optional(timeZone()).meta({ description: 'The zone in which the days are meant.' }),
      therapist_id: optional(uuid()).meta({ description: 'For admins: whose day.' }),
      all_therapists: optional(z.boolean({ error: expected('true or false') })).meta({
        description: 'For admins: everybody’s day.',
      }),
      reason: optionalText(500).meta({ description: 'Why. Kept beside the session, never in its notes.' }),
      cancellation_attribution: optional(cancellationAttribution),
    },
    { error: expected('a JSON object') },
  )
  // What the fields mean together, the database says; here only what it would name otherwise.
  .superRefine((request, context) => {
    const { session_ids, series_id, date, from_date, to_date } = request;
    if (!session_ids && !series_id && !date && !from_date && !to_date) {
      for (const path of ['hold_key', 'session_ids', 'series_id', 'date']) {
        context.addIssue({
          code: 'custom',
          path: [path],
          message: 'is required: give hold_key, or session_ids, or series_id, or date with time_zone',
        });
      }
    }
    if (request.date && !request.time_zone) {
      context.addIssue({ code: 'custom', path: ['time_zone'], message: 'is required with date' });
    }
    if (request.therapist_id && request.all_therapists) {
      context.addIssue({
        code: 'custom',
        path: ['all_therapists'],
        message: 'must not be true when therapist_id names one therapist',
      });
    }
  });

/** What a caller of `sessions-cancel` sends. */
export type CancelRequest = z.input<typeof releaseRequest> | z.input<typeof cancelRequest>;

/** Fields that choose sessions, and so cannot accompany a hold key. */
const SESSION_FILTERS = [
  ...(['session_ids', 'series_id', 'from', 'date', 'from_date', 'to_date'] as const),
  ...(['therapist_id', 'all_therapists'] as const),
];

/**
 * Reads a `sessions-cancel` body into the call of `release_hold` (when it has a `hold_key`) or of
 * `cancel_sessions`.
 */
export function parseCancel(body: unknown): Parsed<RpcCall> {
  const fields: Record<string, unknown> = typeof body === 'object' && body !== null ? { ...body } : {};
  if (isBlank(fields.hold_key)) {
    const parsed = parseWith(cancelRequest, body);
    if (!parsed.ok) return parsed;
    const { session_ids, ...request } = parsed.value;
    return {
      ok: true,
      value: {
        rpc: 'cancel_sessions',
        request: { ...request, session_ids: session_ids && [...new Set(session_ids)] },
      },
    };
  }
  const clash = SESSION_FILTERS.find((name) => (fields[name] ?? false) !== false);
  if (clash) return refuse(clash, 'must not accompany hold_key: release a hold or cancel sessions, not both');
  const parsed = parseWith(releaseRequest, body);
  return parsed.ok ? { ok: true, value: { rpc: 'release_hold', request: parsed.value } } : parsed;
}

const sessionIds = z.array(z.string().meta({ format: 'uuid' }));

const uuidText = () => z.string().meta({ format: 'uuid' });
const releasedSlot = {
  holdKey: uuidText(),
  holdId: uuidText(),
  startTime: z.iso.datetime({ offset: true }),
  endTime: z.iso.datetime({ offset: true }),
};
/** What was let go: all of a batch, or one occurrence of it. */
const releasedHold = z.object({
  ...releasedSlot,
  holdKey: uuidText().meta({ description: 'The key that was given.' }),
  startTime: releasedSlot.startTime.meta({ description: 'Of the first window that was held.' }),
  therapistId: uuidText(),
  clientId: uuidText().meta({ description: 'Of a group: the first of its clients.' }),
  expiresAt: z.iso.datetime({ offset: true }).meta({ description: 'Until when it would have been kept.' }),
  secondsLeft: secondsLeft(),
  holds: z.array(z.object(releasedSlot)).meta({ description: 'Each occurrence that was released.' }),
});

/** The `data` of a 200 answer that released a hold. */
export const releaseData = z.object({
  released: z.boolean().meta({
    description: 'True when this request gave the slot back; false when there was nothing left to give back.',
  }),
  hold: releasedHold.nullish().meta({ description: 'The hold that was released.' }),
});
export type ReleaseData = z.output<typeof releaseData>;

/** The `data` of a 200 answer that cancelled sessions. */
export const cancelData = z.object({
  summary: z.object({
    cancelledCount: z.number().int(),
    alreadyCancelledCount: z.number().int(),
    nonCancellableCount: z.number().int(),
    totalCount: z.number().int(),
    cancelledSessionIds: sessionIds,
    alreadyCancelledSessionIds: sessionIds,
    nonCancellableSessionIds: sessionIds,
  }),
});
export type CancelData = z.output<typeof cancelData>;

const exampleWindow = { startTime: start, endTime: end };

/** How the API description shows `sessions-cancel`. */
export const cancelEndpoint: EndpointDescription = {
  summary: 'Release a hold, or cancel sessions',
  description:
    'With `hold_key`: gives held slots back; repeating it answers `released: false`. Otherwise cancels sessions by id, by series (from a moment on), by local days, or their intersection. Any id out of the caller’s scope refuses the whole request.',
  request: { ReleaseRequest: releaseRequest, CancelRequest: cancelRequest },
  requests: {
    release: { summary: 'Release a hold', value: { hold_key: ids.batch } },
    cancel: {
      summary: 'Cancel sessions',
      value: {
        session_ids: [ids.session],
        reason: 'Family is travelling',
        cancellation_attribution: 'client',
      },
    },
    series: {
      summary: 'Cancel a series from one of its sessions on',
      value: { series_id: ids.series, from: '2026-11-30T18:00:00Z', reason: 'Moved away' },
    },
    day: {
      summary: 'Cancel a therapist’s day',
      value: { date: '2026-11-30', time_zone: zone, therapist_id: ids.therapist, reason: 'Ill' },
    },
  },
  data: { ReleaseData: releaseData, CancelData: cancelData },
  answers: {
    released: {
      value: {
        released: true,
        hold: {
          ...exampleWindow,
          holdKey: ids.batch,
          holdId: ids.batch,
          therapistId: ids.therapist,
          clientId: ids.client,
          expiresAt: '2026-11-25T17:05:00.000Z',
          secondsLeft: 120,
          holds: [{ ...exampleWindow, holdKey: ids.holdKey, holdId: ids.hold }],
        },
      },
    },
    cancelled: {
      value: {
        summary: {
          cancelledCount: 1,
          alreadyCancelledCount: 0,
          nonCancellableCount: 0,
          totalCount: 1,
          cancelledSessionIds: [ids.session],
          alreadyCancelledSessionIds: [],
          nonCancellableSessionIds: [],
        },
      },
    },
  },
};
