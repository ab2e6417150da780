/** `sessions-hold`: claim one slot, or a whole series, for a few minutes. */
import { z } from 'zod';
import { cptCode } from './cpt.ts';
import type { EndpointDescription } from './endpoint.ts';
import { end, window as exampleWindow, ids, people, start, zone } from './examples.ts';
import { expandRule, issueOfRule } from './expand.ts';
import { type Parsed, parseWith, type RpcCall, refuse } from './parsed.ts';
import {
  expected,
  instant,
  integer,
  isBlank,
  list,
  offsetMinutes,
  optional,
  optionalOrNull,
  optionalText,
  secondsLeft,
  text,
  timeZone,
  uuid,
  withDefault,
} from './primitives.ts';
import { MAX_OCCURRENCES } from './windows.ts';

const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;

/** Most exception dates a rule may carry. */
const MAX_EXCEPTIONS = 1000;

/** A day or a moment of a rule; `recurrence.ts` reads it. */
function dayOrMoment() {
  return text(40).meta({ examples: ['2026-12-24'] });
}

const window = {
  start_time: instant(),
  end_time: instant().meta({ description: 'After `start_time`, by at most 12 hours.' }),
  start_time_offset_minutes: optional(offsetMinutes()).meta({
    description:
      'Minutes east of UTC in the time zone at `start_time` (Los Angeles in winter: -480), to be checked by the database. An issue about another value has the right one as `expected`.',
    inputExamples: [-480],
  }),
  end_time_offset_minutes: optional(offsetMinutes()).meta({
    description: 'Minutes east of UTC in the time zone at `end_time`, likewise.',
    inputExamples: [-480],
  }),
};

const holdOccurrence = z.object(
  {
    ...window,
    time_zone: optional(timeZone()).meta({ description: 'Left out: as at the top.' }),
    session_id: optional(uuid()).meta({
      description: 'The session this occurrence moves: with its whole group, if it has one.',
    }),
  },
  { error: expected('an object') },
);

const recurrence = z.object(
  {
    rule: text(1000).meta({
      description:
        'An RFC 5545 recurrence rule: DAILY, WEEKLY or MONTHLY, with INTERVAL, BYDAY, BYMONTHDAY, COUNT, UNTIL, WKST. Expanded in local civil time: 10:00 stays 10:00 across DST.',
      examples: ['FREQ=WEEKLY;BYDAY=MO;COUNT=12'],
    }),
    count: optional(integer(1, MAX_OCCURRENCES)).meta({
      description: 'Occurrences, before exceptions are taken out.',
    }),
    until: optional(dayOrMoment()).meta({
      description:
        'The last moment an occurrence may start: a date (that whole local day), a local date-time or an instant.',
    }),
    exceptions: optional(list(dayOrMoment(), 0, MAX_EXCEPTIONS)).meta({
      description:
        'Occurrences to leave out: dates (whatever starts that local day), local date-times or instants.',
    }),
    time_zone: optional(timeZone()).meta({ description: 'The zone of the rule. Left out: as at the top.' }),
  },
  { error: expected('an object') },
);

/** Rules that an admin sets aside, each by its name. */
export const OVERRIDABLE_RULES = ['availability', 'authorization', 'concurrency'] as const;

/** Rules that an override may name. Who may render a service, and travel, hold all the same. */
export const OVERRIDE_RULES = [...OVERRIDABLE_RULES, 'credential', 'travel'] as const;

const override = z.object(
  {
    reason: text(500),
    rules: optional(
      list(
        z.enum(OVERRIDE_RULES, {
          error: expected('"availability", "authorization", "concurrency", "credential" or "travel"'),
        }),
        1,
        OVERRIDE_RULES.length,
      ),
    ).meta({
      description:
        'Only these rules. Left out: every rule that can be overridden. `credential` (who may render a service) and `travel` (buffers) are never set aside: naming them has no effect.',
    }),
  },
  { error: expected('an object') },
);

/** The body of `POST /functions/v1/sessions-hold`. */
export const holdRequest = z
  .object(
    {
      therapist_id: uuid(),
      client_id: uuid(),
      ...window,
      start_time: optional(instant()).meta({ description: 'May be left out beside `occurrences`.' }),
      end_time: optional(instant()).meta({
        description: 'Likewise. After `start_time`, by at most 12 hours.',
      }),
      time_zone: timeZone(),
      session_id: optional(uuid()).meta({
        description:
          'The session to move. With several occurrences, each names its own instead. A member of a group stands for the whole group, which moves whole.',
      }),
      hold_seconds: withDefault(integer(30, 900), 300).meta({
        description: 'How long the slot is kept, in seconds.',
      }),
      session_type: optionalText(64).meta({ inputExamples: ['individual'] }),
      cpt_code: optional(cptCode()),
      client_ids: optional(list(uuid(), 0, 8)).meta({
        description:
          'All clients of a new group, 2 to 8, `client_id` among them: one hold for each of them and occurrence.',
      }),
      group_id: optional(uuid()).meta({
        description: 'The group this client joins, at the group’s own time. Excludes `client_ids`.',
      }),
      room_id: optionalOrNull(uuid()).meta({
        description: 'Left out of a move: the room the sessions are in. `null`: no room.',
      }),
      buffer_before_minutes: optional(integer(0, 240)).meta({
        description:
          'Minutes kept free before each start (travel time). Left out: 0, or in a move as the sessions have it.',
      }),
      buffer_after_minutes: optional(integer(0, 240)).meta({
        description: 'Minutes kept free after each end. Left out: 0, or in a move as the sessions have it.',
      }),
      override: optional(override).meta({
        description: 'For admins: hold in spite of an overridable refusal. The reason is audited.',
      }),
      occurrences: optional(list(holdOccurrence, 0, MAX_OCCURRENCES)).meta({
        description: 'The windows of a series. Left out or empty: the window above is the only one.',
      }),
      recurrence: optional(recurrence).meta({
        description: 'A rule that makes the series, starting with the window above. Excludes `occurrences`.',
      }),
    },
    { error: expected('a JSON object') },
  )
  // What the fields mean together, the database says: it decides the same for whoever calls it without this.
  .superRefine((request, context) => {
    const listed = request.occurrences !== undefined && request.occurrences.length > 0;
    for (const field of ['start_time', 'end_time'] as const)
      if (!listed && request[field] === undefined)
        context.addIssue({ code: 'custom', path: [field], message: 'is required' });
    if (listed && request.recurrence) {
      context.addIssue({
        code: 'custom',
        path: ['recurrence'],
        message: 'must not accompany occurrences: give the windows or the rule, not both',
      });
    }
  });

const seriesChange = z.object(
  {
    shift_minutes: optional(integer(-40_320, 40_320)).meta({
      description:
        'Minutes later by the clocks, or earlier when negative. Excludes `weekday` and `local_start`.',
      inputExamples: [30],
    }),
    weekday: optional(
      z.enum(WEEKDAYS, { error: expected('an English weekday in lower case, like "monday"') }),
    ).meta({ description: 'The day of the same week, which begins on Monday.' }),
    local_start: optional(
      z.string({ error: expected('a local time of day, like 16:30') }).regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, {
        error: 'must be a local time of day from 00:00 to 23:59, like 16:30',
      }),
    ).meta({
      description: 'The new start by the clocks: the same in winter and summer.',
      inputExamples: ['16:30'],
    }),
    duration_minutes: optional(integer(1, 720)).meta({ description: 'How long each is from then on.' }),
    therapist_id: optional(uuid()),
    room_id: optionalOrNull(uuid()).meta({
      description: 'Left out: the room the sessions are in. `null`: no room.',
    }),
  },
  { error: expected('an object') },
);

const seriesPart = z.object(
  {
    series_id: uuid(),
    scope: z.enum(['this', 'following', 'all'], { error: expected('"this", "following" or "all"') }).meta({
      description:
        'One session, it and those after it, or all that are to come. What has begun, ended or been cancelled stays.',
    }),
    from: optional(instant()).meta({
      description: 'The start of the session, or of the first of those that change. Not with `all`.',
    }),
    change: seriesChange.meta({ description: 'What changes; everything else stays as each session has it.' }),
  },
  { error: expected('an object') },
);

/** The body of `POST /functions/v1/sessions-hold` that changes sessions of a series. */
export const seriesHoldRequest = z.object(
  {
    series: seriesPart,
    therapist_id: optional(uuid()).meta({ description: 'Only sessions of this therapist.' }),
    client_id: optional(uuid()).meta({ description: 'Checked against the series.' }),
    time_zone: optional(timeZone()).meta({
      description: 'By whose clocks the change is meant. Left out: those of each session.',
    }),
    hold_seconds: withDefault(integer(30, 900), 300),
    session_type: optionalText(64),
    cpt_code: optional(cptCode()).meta({ description: 'The service from then on. Left out: it stays.' }),
    buffer_before_minutes: optional(integer(0, 240)),
    buffer_after_minutes: optional(integer(0, 240)),
    override: optional(override),
  },
  { error: expected('a JSON object') },
);

/** What a caller of `sessions-hold` sends. */
export type HoldRequest = z.input<typeof holdRequest> | z.input<typeof seriesHoldRequest>;

/** Fields that say which windows are held, and so cannot accompany a series. */
const WINDOW_FIELDS = [
  'start_time',
  'end_time',
  'start_time_offset_minutes',
  'end_time_offset_minutes',
  'session_id',
  'client_ids',
  'group_id',
  'room_id',
  'occurrences',
  'recurrence',
] as const;

/** Reads a body that changes a series. Which sessions those are, and where they go, the database works out. */
function parseSeries(fields: Record<string, unknown>): Parsed<RpcCall> {
  const isGiven = (value: unknown) => !isBlank(value) && !(Array.isArray(value) && value.length === 0);
  const clash = WINDOW_FIELDS.find((name) => isGiven(fields[name]));
  if (clash) return refuse(clash, 'must not accompany series');
  const parsed = parseWith(seriesHoldRequest, fields);
  return parsed.ok ? { ok: true, value: { rpc: 'hold_sessions', request: parsed.value } } : parsed;
}

/**
 * Reads a `sessions-hold` body into the call of `hold_sessions`: defaults filled in, the rule expanded, instants
 * in UTC, so that the same intent always has the same fingerprint.
 */
export function parseHold(body: unknown): Parsed<RpcCall> {
  const fields: Record<string, unknown> = typeof body === 'object' && body !== null ? { ...body } : {};
  if (!Array.isArray(body) && !isBlank(fields.series)) return parseSeries(fields);
  const parsed = parseWith(holdRequest, body);
  if (!parsed.ok) return parsed;
  const {
    occurrences: listed = [],
    recurrence: rule,
    // Both are there unless occurrences are listed.
    start_time = '',
    end_time = '',
    start_time_offset_minutes,
    end_time_offset_minutes,
    ...request
  } = parsed.value;
  const top = { start_time, end_time, start_time_offset_minutes, end_time_offset_minutes };
  if (!rule) {
    const occurrences = listed.map((each) => ({ ...each, time_zone: each.time_zone ?? request.time_zone }));
    // A lone window stays at the top, so that what the database finds wrong with it is named as the caller named it.
    const windows = occurrences.length > 0 ? { occurrences } : top;
    return {
      ok: true,
      value: { rpc: 'hold_sessions', request: { ...request, ...windows, recurrence: null } },
    };
  }

  const zone = rule.time_zone ?? request.time_zone;
  const expanded = expandRule(top, rule, zone);
  if (!expanded.ok) return expanded;
  const occurrences = expanded.value;
  return {
    ok: true,
    value: {
      rpc: 'hold_sessions',
      issueOf: issueOfRule(occurrences, start_time),
      // The window at the top tells how long each occurrence lasts.
      request: { ...request, start_time, end_time, occurrences, recurrence: { ...rule, time_zone: zone } },
    },
  };
}

const heldSlot = z.object({
  holdKey: z.string().meta({ format: 'uuid', description: 'Confirms or releases this occurrence.' }),
  holdId: z.string().meta({ format: 'uuid' }),
  startTime: z.iso.datetime({ offset: true }),
  endTime: z.iso.datetime({ offset: true }),
  expiresAt: z.iso.datetime({ offset: true }),
  secondsLeft: secondsLeft(),
  clientIds: z
    .array(z.string().meta({ format: 'uuid' }))
    .optional()
    .meta({ description: 'In a group: the clients this hold is for, in the order they were named.' }),
  groupId: z.string().optional().meta({ format: 'uuid', description: 'In a group: the group.' }),
  sessionId: z
    .string()
    .optional()
    .meta({ format: 'uuid', description: 'Of a series that changes: the session that goes here.' }),
  timeZone: z.string().optional().meta({ description: 'Likewise: the zone of its clocks.' }),
  previousStartTime: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'Likewise: where it was.' }),
  previousEndTime: z.iso.datetime({ offset: true }).optional(),
});

/** What a hold may still be told of, though it succeeded. */
const holdWarning = z.discriminatedUnion('code', [
  z.object({
    code: z.literal('AUTHORIZATION_NEARLY_USED'),
    authorizationId: z.string().meta({ format: 'uuid' }),
    cptCode: z.string(),
    approvedUnits: z.int(),
    leftUnits: z.int().meta({ description: 'Units left, this hold counted.' }),
  }),
  z.object({
    code: z.literal('UNIT_LIMIT_EXCEEDED'),
    cptCode: z.string(),
    date: z.iso.date().meta({ description: 'The local day of service.' }),
    limit: z
      .enum(['total', 'day', 'week', 'month'])
      .meta({ description: 'The period of the limit; `total`: all of its authorization.' }),
    units: z.int().meta({ description: 'Units within the period, this hold counted.' }),
    maxUnits: z.int(),
  }),
]);

/** The `data` of a 200 answer of `sessions-hold`. */
export const holdData = z.object({
  holdKey: z.string().meta({ format: 'uuid', description: 'The batch key: stands for all occurrences.' }),
  holdId: z.string().meta({ format: 'uuid' }),
  expiresAt: z.iso
    .datetime({ offset: true })
    .meta({ description: 'From this moment the slots are free again.' }),
  secondsLeft: secondsLeft(),
  holds: z.array(heldSlot).meta({
    description:
      'One per occurrence, in request order; that of a group stands for all its clients. Where a group moves, the hold of the session that was named stands for all its members.',
  }),
  warnings: z.array(holdWarning).optional().meta({
    description:
      'Absent when there are none: an authorization 90 % or more taken, a payer’s daily limit exceeded.',
  }),
  overridden: z.array(z.enum(OVERRIDABLE_RULES)).optional().meta({
    description:
      'The rules that would have refused this hold, but for `override`. A rule that was named and not needed is not listed.',
  }),
  series: z
    .object({
      seriesId: z.string().meta({ format: 'uuid' }),
      scope: z.enum(['this', 'following', 'all']),
      therapistId: z.string().meta({ format: 'uuid', description: 'With whom the sessions will be.' }),
      clientId: z.string().meta({ format: 'uuid' }),
    })
    .optional()
    .meta({ description: 'Of a series that changes. With `holds`, all that confirming asks for.' }),
});
export type HoldData = z.output<typeof holdData>;

const exampleHold = {
  holdKey: ids.holdKey,
  holdId: ids.hold,
  startTime: start,
  endTime: end,
  expiresAt: '2026-11-25T17:05:00.000Z',
  secondsLeft: 300,
};

/** How the API description shows `sessions-hold`. */
export const holdEndpoint: EndpointDescription = {
  summary: 'Claim a slot or a series for a few minutes',
  description:
    'All or nothing: a series with one blocked date creates nothing and reports every blocked date. Occurrences that name a `session_id` are new places for existing sessions, whose old slots are kept until the move is confirmed. With `series`, the database works out which sessions of a series move where; what is in the way of one then names it by `sessionId`.',
  request: { HoldRequest: holdRequest, SeriesHoldRequest: seriesHoldRequest },
  requests: {
    one: { summary: 'One session', value: { ...people, ...exampleWindow, time_zone: zone } },
    series: {
      summary: 'Twelve Mondays, 10:00 local time, also across a clock change',
      value: {
        ...people,
        ...exampleWindow,
        time_zone: zone,
        cpt_code: '97153',
        recurrence: { rule: 'FREQ=WEEKLY;COUNT=12', exceptions: ['2026-12-28'] },
      },
    },
    move: {
      summary: 'Move a session',
      value: { ...people, ...exampleWindow, time_zone: zone, session_id: ids.session },
    },
    following: {
      summary: 'From one session of a series on: Thursdays at four',
      value: {
        series: {
          series_id: ids.series,
          scope: 'following',
          from: start,
          change: { weekday: 'thursday', local_start: '16:00' },
        },
      },
    },
    override: {
      summary: 'As an admin, in spite of the therapist’s hours',
      value: {
        ...people,
        ...exampleWindow,
        time_zone: zone,
        override: { reason: 'Make-up session the family asked for', rules: ['availability'] },
      },
    },
  },
  data: { HoldData: holdData },
  answers: {
    held: {
      value: {
        holdKey: ids.batch,
        holdId: ids.batch,
        expiresAt: exampleHold.expiresAt,
        secondsLeft: 300,
        holds: [exampleHold],
      },
    },
  },
};
