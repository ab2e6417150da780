/**
 * Writes `openapi.yaml` and `docs/codes.md` from the contract's zod schemas and its table of codes.
 *
 * `--check` writes nothing and fails when a file differs from what the contract says now.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { z } from 'zod';
import {
  amendRequest,
  type CodeEntry,
  cancelData,
  cancelRequest,
  confirmData,
  confirmRequest,
  conflictProblem,
  detailsReadData,
  detailsSavedData,
  type Endpoint,
  ERROR_CODES,
  type ErrorCode,
  historyRequest,
  holdData,
  holdRequest,
  invalidRequestProblem,
  noteHistoryData,
  noteReadData,
  noteSavedData,
  problem,
  problemType,
  readDetailsRequest,
  readRequest,
  releaseData,
  releaseRequest,
  saveDetailsRequest,
  saveDraftRequest,
  signRequest,
} from '../supabase/functions/_shared/contract/index.ts';

type Json = Record<string, unknown>;

const codes = Object.entries(ERROR_CODES) as [ErrorCode, CodeEntry][];

/** A schema as JSON Schema 2020-12, which is OpenAPI 3.1's own. Components are referred to, not repeated. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): { schema: Json; components: Json } {
  const {
    $schema: _dialect,
    $defs = {},
    ...rest
  } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json & { $defs?: Json };
  return JSON.parse(
    JSON.stringify({ schema: rest, components: $defs }).replaceAll('#/$defs/', '#/components/schemas/'),
    // Bounds zod adds for safe integers, and the pattern behind each `format`, tell a reader nothing.
    (key, value) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      const {
        minimum,
        maximum,
        pattern,
        additionalProperties,
        inputExamples,
        inputDefault,
        id: _id,
        ...kept
      } = value as Json;
      if (key === 'properties') return value;
      return {
        ...kept,
        // zod drops `examples` and `default` of a field it transforms, so those carry other names.
        ...(inputExamples !== undefined && { examples: inputExamples }),
        ...(inputDefault !== undefined && { default: inputDefault }),
        ...(minimum !== undefined && minimum !== Number.MIN_SAFE_INTEGER && { minimum }),
        ...(maximum !== undefined && maximum !== Number.MAX_SAFE_INTEGER && { maximum }),
        ...(pattern !== undefined && !('format' in kept) && { pattern }),
        // Unknown fields are ignored in requests and may be added to answers.
        ...(additionalProperties !== undefined && additionalProperties !== false && { additionalProperties }),
      };
    },
  );
}

const components: Json = {};

/** Registers a schema under a name and refers to it. */
function component(name: string, schema: z.ZodType, io: 'input' | 'output'): Json {
  const { schema: body, components: inner } = schemaOf(schema, io);
  Object.assign(components, inner);
  // A schema with a name of its own comes back as a reference to itself.
  if (!('$ref' in body)) components[name] = body;
  return { $ref: `#/components/schemas/${name}` };
}

const ids = {
  therapist: '5a1e0000-0000-4000-8000-000000000003',
  client: 'c11e0000-0000-4000-8000-000000000001',
  session: '5e550000-0000-4000-8000-000000000001',
  organization: '0a900000-0000-4000-8000-000000000001',
  batch: '0b7c8f0e-7a51-4d53-9f0e-1f0a0e8c7d11',
  hold: '3f2a6c1d-2c5e-4a8f-8b1d-9a6e5d4c3b21',
  holdKey: 'e4d909c2-90d0-4b1c-8a36-6a1a7fd0c601',
  request: '1b4e28ba-2fa1-41d2-883f-0016d3cca427',
};
const start = '2026-11-30T18:00:00.000Z';
const end = '2026-11-30T20:00:00.000Z';
const offsets = { start_time_offset_minutes: -480, end_time_offset_minutes: -480 };
const window = { start_time: start, end_time: end, ...offsets };
const zone = 'America/Los_Angeles';
const people = { therapist_id: ids.therapist, client_id: ids.client };
const held = {
  holdKey: ids.holdKey,
  holdId: ids.hold,
  startTime: start,
  endTime: end,
  expiresAt: '2026-11-25T17:05:00.000Z',
};
const sessionRow = {
  id: ids.hold,
  organization_id: ids.organization,
  ...people,
  start_time: '2026-11-30T18:00:00+00:00',
  end_time: '2026-11-30T20:00:00+00:00',
  status: 'scheduled',
};

const note = {
  sessionId: ids.session,
  versionId: '7d1e3c52-0c1f-4a5e-9a53-2f6f0f6c9b10',
  version: 1,
  status: 'draft',
  savedBy: ids.therapist,
  savedAt: '2026-11-30T20:05:00.000Z',
  signature: null,
};
const attested = {
  therapistId: ids.therapist,
  clientId: ids.client,
  startTime: start,
  endTime: end,
  timeZone: zone,
  cptCode: '97153',
  cptModifiers: [],
  locationType: 'clinic',
};
const signature = {
  signedBy: ids.therapist,
  credential: 'RBT',
  signedAt: '2026-11-30T20:10:00.000Z',
  attested,
};
const noteContent = {
  narratives: [{ cpt_code: '97153', narrative: 'Ten trials of requesting with a picture card.' }],
  client_response: 'Requested in eight of ten trials.',
  progress: 'Up from six of ten a week ago.',
  participants: ['Client', 'Technician'],
};
const details = {
  given_name: 'Sample',
  family_name: 'Client',
  birth_date: '2019-03-09',
  guardians: [{ name: 'Sample Guardian', relationship: 'mother' }],
};
const saved = {
  clientId: ids.client,
  versionId: '4c2b7a9e-5d0c-4f6a-8a0b-6f9d1c2e3b40',
  version: 1,
  savedAt: '2026-11-25T17:00:00.000Z',
};

const endpoints: Record<
  Endpoint,
  { summary: string; description: string; request: Json; requests: Json; data: Json; answers: Json }
> = {
  'sessions-hold': {
    summary: 'Claim a slot or a series for a few minutes',
    description:
      'All or nothing: a series with one blocked date creates nothing and reports every blocked date. Occurrences that name a `session_id` are new places for existing sessions, whose old slots are kept until the move is confirmed.',
    request: component('HoldRequest', holdRequest, 'input'),
    requests: {
      one: { summary: 'One session', value: { ...people, ...window, time_zone: zone } },
      series: {
        summary: 'Twelve Mondays, 10:00 local time, also across a clock change',
        value: {
          ...people,
          ...window,
          time_zone: zone,
          cpt_code: '97153',
          recurrence: { rule: 'FREQ=WEEKLY;COUNT=12', exceptions: ['2026-12-28'] },
        },
      },
      move: {
        summary: 'Move a session',
        value: { ...people, ...window, time_zone: zone, session_id: ids.session },
      },
    },
    data: component('HoldData', holdData, 'output'),
    answers: {
      held: {
        value: {
          success: true,
          data: { holdKey: ids.batch, holdId: ids.batch, expiresAt: held.expiresAt, holds: [held] },
        },
      },
    },
  },
  'sessions-confirm': {
    summary: 'Turn a live hold into sessions',
    description:
      'A live hold always confirms, if the caller may still book. Confirming again answers the same sessions. Every held occurrence is listed exactly once, as it was held.',
    request: component('ConfirmRequest', confirmRequest, 'input'),
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
    data: component('ConfirmData', confirmData, 'output'),
    answers: {
      confirmed: {
        value: {
          success: true,
          data: { session: sessionRow, sessions: [sessionRow], roundedDurationMinutes: 120 },
        },
      },
    },
  },
  'sessions-cancel': {
    summary: 'Release a hold, or cancel sessions',
    description:
      'With `hold_key`: gives held slots back; repeating it answers `released: false`. Otherwise cancels sessions by id, by local day, or both (their intersection). Any id out of the caller’s scope refuses the whole request.',
    request: {
      anyOf: [
        component('ReleaseRequest', releaseRequest, 'input'),
        component('CancelRequest', cancelRequest, 'input'),
      ],
    },
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
      day: {
        summary: 'Cancel a therapist’s day',
        value: { date: '2026-11-30', time_zone: zone, therapist_id: ids.therapist, reason: 'Ill' },
      },
    },
    data: {
      anyOf: [component('ReleaseData', releaseData, 'output'), component('CancelData', cancelData, 'output')],
    },
    answers: {
      released: { value: { success: true, data: { released: true } } },
      cancelled: {
        value: {
          success: true,
          data: {
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
    },
  },
  'session-notes': {
    summary: 'Write, sign, amend or read the note of a session',
    description:
      'Notes are sealed (AES-256-GCM) before the database sees them. Only the session’s therapist writes and signs; admins of the organization read. A signed note never changes: an amendment is a further version. Every read and every attempt is recorded. `content` and `reason` come back in the spelling they are sent in. Reading ignores `Idempotency-Key`.',
    request: {
      oneOf: [
        component('NoteSaveDraftRequest', saveDraftRequest, 'input'),
        component('NoteSignRequest', signRequest, 'input'),
        component('NoteAmendRequest', amendRequest, 'input'),
        component('NoteReadRequest', readRequest, 'input'),
        component('NoteHistoryRequest', historyRequest, 'input'),
      ],
    },
    requests: {
      save_draft: {
        summary: 'Save a first draft',
        value: { action: 'save_draft', session_id: ids.session, base_version: 0, content: noteContent },
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
          content: { ...noteContent, progress: 'Up from five of ten a week ago.' },
          reason: 'Last week’s count was misread.',
        },
      },
      read: { summary: 'Read the newest version', value: { action: 'read', session_id: ids.session } },
      history: { summary: 'List the versions', value: { action: 'history', session_id: ids.session } },
    },
    data: {
      anyOf: [
        component('NoteSavedData', noteSavedData, 'output'),
        component('NoteReadData', noteReadData, 'output'),
        component('NoteHistoryData', noteHistoryData, 'output'),
      ],
    },
    answers: {
      saved: { value: { success: true, data: { note } } },
      signed: {
        value: { success: true, data: { note: { ...note, version: 2, status: 'signed', signature } } },
      },
      read: {
        value: { success: true, data: { note: { ...note, content: noteContent, reason: null } } },
      },
      history: { value: { success: true, data: { sessionId: ids.session, versions: [note] } } },
    },
  },

  'client-details': {
    summary: 'Save or read who a client is',
    description:
      'Names, birth date, contacts, guardians and address, sealed (AES-256-GCM) before the database sees them. Admins save; therapists read the clients on their caseload, users of role client their own. Versions are kept. Every read and every attempt is recorded. Reading ignores `Idempotency-Key`.',
    request: {
      oneOf: [
        component('DetailsSaveRequest', saveDetailsRequest, 'input'),
        component('DetailsReadRequest', readDetailsRequest, 'input'),
      ],
    },
    requests: {
      save: {
        summary: 'Save a client’s details',
        value: { action: 'save', client_id: ids.client, base_version: 0, details },
      },
      read: { summary: 'Read several clients’', value: { action: 'read', client_ids: [ids.client] } },
    },
    data: {
      anyOf: [
        component('DetailsSavedData', detailsSavedData, 'output'),
        component('DetailsReadData', detailsReadData, 'output'),
      ],
    },
    answers: {
      saved: { value: { success: true, data: { client: saved } } },
      read: { value: { success: true, data: { clients: [{ ...saved, details }] } } },
    },
  },
};

const problemSchemas: Record<number, Json> = {
  400: component('InvalidRequestProblem', invalidRequestProblem, 'output'),
  409: component('ConflictProblem', conflictProblem, 'output'),
};
const plainProblem = component('Problem', problem, 'output');

function exampleProblem(code: ErrorCode, { status, title, meaning }: CodeEntry): Json {
  const detail = meaning.replaceAll('`', '');
  const base = {
    type: problemType(code),
    title,
    status,
    detail,
    success: false,
    error: detail,
    code,
    requestId: ids.request,
  };
  if (status === 400) return { ...base, issues: [exampleIssue(code)] };
  if (status !== 409) return base;
  if (!code.endsWith('_CONFLICT') || code.endsWith('_VERSION_CONFLICT')) {
    return { ...base, retryAfter: null, retryAfterSeconds: null, conflicts: [], alternatives: [] };
  }
  const isHold = code.includes('_HOLD_');
  const until = '2026-11-25T17:04:10.000Z';
  const resource = code.split('_')[0]?.toLowerCase();
  return {
    ...base,
    retryAfter: isHold ? until : null,
    retryAfterSeconds: isHold ? 250 : null,
    conflicts: [
      {
        occurrenceIndex: 0,
        resource,
        blockedBy: isHold ? 'hold' : 'session',
        startTime: start,
        endTime: end,
        ...(isHold && { expiresAt: until }),
      },
    ],
    alternatives: [{ startTime: '2026-11-30T20:00:00.000Z', endTime: '2026-11-30T22:00:00.000Z' }],
  };
}

function exampleIssue(code: ErrorCode): Json {
  switch (code) {
    case 'INVALID_JSON':
      return { path: 'body', message: 'is not valid JSON' };
    case 'MISSING_FIELDS':
      return { path: 'hold_key', message: 'is required' };
    case 'INVALID_RANGE':
      return { path: 'session.end_time', message: 'must be after start_time' };
    default:
      return { path: 'occurrences.0.start_time', message: 'must be a date and time that exist' };
  }
}

const common = ['X-Request-Id', 'Idempotency-Key'];

function headerRefs(names: string[]): Json {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

function extraHeaders(status: number): string[] {
  if (status === 405) return ['Allow'];
  if (status === 409 || status === 503) return ['Retry-After'];
  return status === 401 ? ['WWW-Authenticate'] : [];
}

function failureResponses(endpoint: Endpoint): Json {
  const mine = codes.filter(([, { endpoints }]) => endpoints === 'all' || endpoints.includes(endpoint));
  const statuses = [...new Set(mine.map(([, { status }]) => status))].sort((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => {
      const here = mine.filter(([, entry]) => entry.status === status);
      return [
        String(status),
        {
          description: here.map(([code, { title }]) => `\`${code}\`: ${title}.`).join(' '),
          headers: headerRefs([...common, ...extraHeaders(status)]),
          content: {
            'application/problem+json': {
              schema: problemSchemas[status] ?? plainProblem,
              examples: Object.fromEntries(
                here.map(([code, entry]) => [
                  code,
                  { summary: entry.title, value: exampleProblem(code, entry) },
                ]),
              ),
            },
          },
        },
      ];
    }),
  );
}

function operation(endpoint: Endpoint): Json {
  const { summary, description, request, requests, data, answers } = endpoints[endpoint];
  return {
    post: {
      operationId: endpoint.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()),
      summary,
      description,
      parameters: [
        { $ref: '#/components/parameters/IdempotencyKey' },
        { $ref: '#/components/parameters/RequestId' },
      ],
      requestBody: {
        required: true,
        description:
          'At most 1 MiB. Unknown fields are ignored; `null` means the same as leaving a field out.',
        content: { 'application/json': { schema: request, examples: requests } },
      },
      responses: {
        '200': {
          description: 'Done, or done before under the same `Idempotency-Key` (`Idempotent-Replay: true`).',
          headers: headerRefs([...common, 'Idempotent-Replay']),
          content: {
            'application/json': {
              schema: {
                type: 'object',
                properties: { success: { const: true }, data },
                required: ['success', 'data'],
              },
              examples: answers,
            },
          },
        },
        ...failureResponses(endpoint),
      },
    },
  };
}

function openapi(): Json {
  const paths = Object.fromEntries(
    (Object.keys(endpoints) as Endpoint[]).map((name) => [`/${name}`, operation(name)]),
  );
  return {
    openapi: '3.1.0',
    info: {
      title: 'therapist-sessions',
      version: '1',
      description:
        'Books ABA therapy sessions so that nobody is ever double-booked. Failures are RFC 9457 problem details; compare `code`, show `detail` to developers.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      { url: 'http://127.0.0.1:54321/functions/v1', description: 'The local stack' },
      {
        url: 'https://{project}.supabase.co/functions/v1',
        description: 'A Supabase project',
        variables: { project: { default: 'your-project-ref', description: 'The project’s reference' } },
      },
    ],
    security: [{ accessToken: [], apiKey: [] }],
    paths,
    components: {
      securitySchemes: {
        accessToken: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The access token of a signed-in user.',
        },
        apiKey: {
          type: 'apiKey',
          in: 'header',
          name: 'apikey',
          description: 'The project’s publishable key, `sb_publishable_…`.',
        },
      },
      parameters: {
        IdempotencyKey: {
          name: 'Idempotency-Key',
          in: 'header',
          required: false,
          description:
            'Makes a retry safe: the same key with the same request has one effect, and answers the same. Scoped to organization, user and endpoint; lapses after 24 hours, a hold’s key also when the hold is released or expires. A refused request keeps no key.',
          schema: { type: 'string', pattern: '^[\\x21-\\x7E]{1,255}$', maxLength: 255 },
        },
        RequestId: {
          name: 'X-Request-Id',
          in: 'header',
          required: false,
          description:
            'Your id for this request, repeated in the answer and in the audit trail. One is made when it is absent or of another form.',
          schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,128}$' },
        },
      },
      headers: {
        'X-Request-Id': { description: 'The request’s id.', schema: { type: 'string' } },
        'Idempotency-Key': {
          description: 'The key of the request, when it had one.',
          schema: { type: 'string' },
        },
        'Idempotent-Replay': {
          description: '`true` when this is the kept answer to an earlier request with the same key.',
          schema: { const: 'true' },
        },
        'Retry-After': {
          description: 'Seconds to wait. On 409 only when nothing but holds is in the way.',
          schema: { type: 'integer', minimum: 1 },
        },
        Allow: { description: 'The methods that are allowed.', schema: { const: 'POST, OPTIONS' } },
        'WWW-Authenticate': { description: 'How to authenticate.', schema: { const: 'Bearer' } },
      },
      schemas: components,
    },
  };
}

function codesMarkdown(): string {
  const rows = codes.map(([code, { status, endpoints: where, meaning, action }]) => {
    const answeredBy =
      where === 'all' ? 'all' : where.map((name) => name.replace('sessions-', '')).join(', ');
    return `| ${status} | \`${code}\` | ${answeredBy} | ${meaning} | ${action} |`;
  });
  return [
    '# What can go wrong, and what the app should do',
    '',
    '<!-- Generated by `npm run openapi` from supabase/functions/_shared/contract/codes.ts. Do not edit. -->',
    '',
    'Every failure is `application/problem+json` (RFC 9457) with a `code` from this table. `detail` is for developers,',
    '`requestId` finds the request in the logs and the audit trail.',
    '',
    '| status | code | answered by | meaning | what the app should do |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

const files: [path: string, content: string][] = [
  [
    'openapi.yaml',
    `# Generated by \`npm run openapi\` from supabase/functions/_shared/contract. Do not edit.\n${stringify(openapi(), { lineWidth: 110, aliasDuplicateObjects: false, compat: 'yaml-1.1' })}`,
  ],
  ['docs/codes.md', codesMarkdown()],
];

const check = process.argv.includes('--check');
for (const [path, content] of files) {
  const url = new URL(`../${path}`, import.meta.url);
  if (!check) await writeFile(url, content);
  else if ((await readFile(url, 'utf8').catch(() => '')) !== content) {
    console.error(`${path} differs from the contract. Run: npm run openapi`);
    process.exitCode = 1;
  }
}
