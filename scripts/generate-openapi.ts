/**
 * Writes `openapi.yaml` and `docs/codes.md`: the edge functions from the contract's zod schemas and its table of codes, the
 * database functions from the catalog of a database with the migrations alone.
 *
 * `--check` writes nothing and fails when a file differs from what the contract says now.
 */
import { readFile, writeFile } from 'node:fs/promises';
import pg from 'pg';
import { stringify } from 'yaml';
import { z } from 'zod';
import { startStack } from '../local/stack.ts';
import {
  type CodeEntry,
  cancelEndpoint,
  confirmEndpoint,
  conflictProblem,
  detailsEndpoint,
  type Endpoint,
  type EndpointDescription,
  ERROR_CODES,
  type ErrorCode,
  type Example,
  exampleIds,
  holdEndpoint,
  invalidRequestProblem,
  noteEndpoint,
  problem,
  problemType,
  type Schemas,
} from '../supabase/functions/_shared/contract/index.ts';
import { ANSWERS, PLAIN_ANSWERS } from './rpc-answers.ts';
import { type CallableFunction, type Json, REQUESTS, readRpcs, readTypes, type TypeSchemas } from './rpcs.ts';

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
  for (const [id, part] of Object.entries(inner)) {
    // A part of both a request and an answer is described as it may be sent: of what was transformed, zod knows no type.
    if (io === 'input' || !(id in components)) components[id] = part;
  }
  // A schema with a name of its own comes back as a reference to itself.
  if (!('$ref' in body)) components[name] = body;
  return { $ref: `#/components/schemas/${name}` };
}

/** One schema, or a choice of several. */
function choice(schemas: Schemas, io: 'input' | 'output'): Json {
  const references = Object.entries(schemas).map(([name, schema]) => component(name, schema, io));
  return references.length === 1 ? (references[0] as Json) : { anyOf: references };
}

/** The endpoints, each described beside its contract. */
const endpoints: Readonly<Record<Endpoint, EndpointDescription>> = {
  'sessions-hold': holdEndpoint,
  'sessions-confirm': confirmEndpoint,
  'sessions-cancel': cancelEndpoint,
  'session-notes': noteEndpoint,
  'client-details': detailsEndpoint,
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
    requestId: exampleIds.request,
  };
  if (status === 400) return { ...base, issues: [exampleIssue(code)] };
  if (status === 429) return { ...base, retryAfterSeconds: 20 };
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
        startTime: '2026-11-30T18:00:00.000Z',
        endTime: '2026-11-30T20:00:00.000Z',
        ...(isHold && { expiresAt: until, secondsLeft: 250 }),
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
  if ([409, 429, 503].includes(status)) return ['Retry-After'];
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
  const examples = Object.entries(answers).map(([name, example]): [string, Example] => [
    name,
    { ...example, value: { success: true, data: example.value } },
  ]);
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
        content: { 'application/json': { schema: choice(request, 'input'), examples: requests } },
      },
      responses: {
        '200': {
          description: 'Done, or done before under the same `Idempotency-Key` (`Idempotent-Replay: true`).',
          headers: headerRefs([...common, 'Idempotent-Replay']),
          content: {
            'application/json': {
              schema: {
                type: 'object',
                properties: { success: { const: true }, data: choice(data, 'output') },
                required: ['success', 'data'],
              },
              examples: Object.fromEntries(examples),
            },
          },
        },
        ...failureResponses(endpoint),
      },
    },
  };
}

/** The one endpoint that is no booking: it is read by calendar programs, and the secret in its address is the key. */
const calendarFeed: Json = {
  get: {
    operationId: 'calendar',
    summary: 'Somebody’s sessions, for the calendar of their phone',
    description:
      'iCalendar (RFC 5545) of what begins from 30 days ago on: when, and nothing about whom or where. An event keeps its UID; its SEQUENCE grows by one with each change; one that is cancelled or left the feed stays for 30 days with `STATUS:CANCELLED`. `create_calendar_feed` makes the address, `revoke_calendar_feed` ends it. An address that is wrong, revoked, or of somebody who is no member any more is 404, alike.',
    security: [],
    parameters: [
      {
        name: 'token',
        in: 'path',
        required: true,
        description: 'The secret of the feed.',
        schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{43}$' },
      },
    ],
    responses: {
      '200': {
        description: 'The calendar. `ETag` and `If-None-Match` spare sending it again.',
        content: { 'text/calendar': { schema: { type: 'string' } } },
      },
      '304': { description: 'It is as the program has it.' },
      '404': { description: 'There is no such calendar.' },
      '405': { description: 'It is only read: `GET`, `HEAD`.' },
      '503': { description: 'The database is busy: try again later.' },
    },
  },
};

/** Database functions are called on the project's own address. */
const restServers = [
  { url: 'http://127.0.0.1:54321' },
  { url: 'https://{project}.supabase.co', variables: { project: { default: 'your-project-ref' } } },
];

const rpcSchemas: Json = {
  RpcDone: {
    type: 'object',
    description: 'It was done.',
    properties: {
      ok: { const: true },
      status: { const: 200 },
      replayed: { type: 'boolean', description: 'It was done before, under the same `idempotency_key`.' },
      body: { type: 'object' },
      freed: {
        type: 'boolean',
        description: 'Something was left for the waitlist: call `offer_freed_slots`.',
      },
    },
    required: ['ok', 'status', 'body'],
  },
  RpcError: {
    type: 'object',
    description:
      'What a database function raises. `hint` is a code as in `docs/codes.md`; `details` of a 400 is JSON text, `[{"path", "message"}]`, of a 429 or 503 the seconds to wait.',
    properties: {
      code: {
        type: 'string',
        description: '`PT` and the status, like `PT400`; else PostgREST’s or Postgres’ own.',
      },
      message: { type: 'string' },
      details: { type: ['string', 'null'] },
      hint: { type: ['string', 'null'] },
    },
    required: ['code', 'message', 'details', 'hint'],
  },
  RpcRefusal: {
    type: 'object',
    description:
      'Refused. Nothing of it was done, and the audit trail has it. The HTTP status is 200; `status` says which it stands for.',
    properties: {
      ok: { const: false },
      status: { type: 'integer' },
      code: { type: 'string', enum: codes.map(([code]) => code) },
      detail: { type: 'string' },
      retryAfter: { type: ['string', 'null'], format: 'date-time' },
      retryAfterSeconds: { type: ['integer', 'null'] },
      conflicts: { type: 'array', items: { type: 'object' } },
      alternatives: { type: 'array', items: { type: 'object' } },
    },
    required: ['ok', 'status', 'code', 'detail'],
  },
};

const rpcErrors = {
  400: 'The request is malformed.',
  401: 'Nobody is signed in, or the token has lapsed.',
  403: 'This is not the caller’s to do or to read.',
  503: 'The database is busy: try again.',
};

const rpcResponses: Json = Object.fromEntries(
  Object.entries(rpcErrors).map(([status, description]) => [
    `Rpc${status}`,
    { description, content: { 'application/json': { schema: { $ref: '#/components/schemas/RpcError' } } } },
  ]),
);

/** The first sentence of a comment, without what is in brackets. */
function summaryOf(comment: string): string {
  const plain = comment
    .replace(/^(For [^:]*functions?): /, '$1, ')
    .replace(/\s*(\([^()]*\)|\{[^{}]*\})/g, '');
  const [first = ''] = plain.split(/[.:;](?=[\s,.]|$)/);
  return first.trim();
}

/** What a function answers, or `body` has in its outcome, as a component of its own. */
function answerComponent(name: string, kind: 'Answer' | 'Body'): Json {
  const schema = (kind === 'Body' ? ANSWERS : PLAIN_ANSWERS)[name];
  if (!schema) throw new Error(`scripts/rpc-answers.ts does not say what ${name} answers.`);
  const words = name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return component(`Rpc${words}${kind}`, schema, 'output');
}

function answerOf(rpc: CallableFunction, types: TypeSchemas): Json {
  if (rpc.columns.length > 0) {
    const properties = Object.fromEntries(
      rpc.columns.map(({ name, type }) => [name, nullable(types.of(type))]),
    );
    return { type: 'array', items: { type: 'object', properties } };
  }
  if (rpc.result !== 'jsonb') return { type: 'null' };
  if (rpc.name in PLAIN_ANSWERS) return answerComponent(rpc.name, 'Answer');
  const done = { $ref: '#/components/schemas/RpcDone' };
  return {
    oneOf: [
      { allOf: [done, { properties: { body: answerComponent(rpc.name, 'Body') } }] },
      { $ref: '#/components/schemas/RpcRefusal' },
    ],
  };
}

/** A schema that null fits too. */
const nullable = (schema: Json): Json =>
  typeof schema.type === 'string' ? { ...schema, type: [schema.type, 'null'] } : schema;

function requestOf(name: string, types: TypeSchemas): Json {
  const form = REQUESTS[name];
  if (!form) throw new Error(`scripts/rpcs.ts does not say what the request of ${name} has.`);
  const required = form.required && { required: form.required };
  if (form.fields) {
    const fields = Object.entries(form.fields).map(([field, type]) => [field, types.named(type)]);
    return { type: 'object', properties: Object.fromEntries(fields), ...required };
  }
  const schemas = [form.type ?? []].flat().map((type) => {
    const component = String(type).replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
    rpcSchemas[`Rpc${component}`] = types.named(type);
    return { $ref: `#/components/schemas/Rpc${component}` };
  });
  const [only, ...others] = schemas;
  if (others.length > 0) return { anyOf: schemas };
  return form.required ? { allOf: [only, required] } : (only as Json);
}

function rpcOperation(rpc: CallableFunction, types: TypeSchemas): Json {
  const properties = rpc.inputs.map(({ name, type }) => [
    name,
    name === 'request' ? requestOf(rpc.name, types) : types.of(type),
  ]);
  const required = rpc.inputs.filter(({ optional }) => !optional).map(({ name }) => name);
  return {
    servers: restServers,
    post: {
      operationId: rpc.name,
      tags: ['Database functions'],
      summary: summaryOf(rpc.comment ?? ''),
      description: `${rpc.comment ?? ''}${rpc.volatility === 'v' ? '' : ' Reads only.'}`,
      ...(rpc.inputs.length > 0 && {
        requestBody: {
          required: required.length > 0,
          content: {
            'application/json': {
              schema: {
                type: 'object',
                properties: Object.fromEntries(properties),
                ...(required.length > 0 && { required }),
              },
            },
          },
        },
      }),
      responses: {
        ...(rpc.result === 'void'
          ? { '204': { description: 'Done.' } }
          : {
              '200': {
                description: 'The answer.',
                content: { 'application/json': { schema: answerOf(rpc, types) } },
              },
            }),
        ...Object.fromEntries(
          Object.keys(rpcErrors).map((status) => [status, { $ref: `#/components/responses/Rpc${status}` }]),
        ),
      },
    },
  };
}

async function rpcPaths(): Promise<Json> {
  const stack = await startStack({ api: false, seed: false });
  const client = new pg.Client({ connectionString: stack.dbUrl });
  try {
    await client.connect();
    const [rpcs, types] = [await readRpcs(client), await readTypes(client)];
    const paths = Object.fromEntries(
      rpcs.map((rpc) => [`/rest/v1/rpc/${rpc.name}`, rpcOperation(rpc, types)]),
    );
    Object.assign(components, rpcSchemas);
    return paths;
  } finally {
    await client.end();
    await stack.stop();
  }
}

async function openapi(): Promise<Json> {
  const paths = {
    ...Object.fromEntries(
      (Object.keys(endpoints) as Endpoint[]).map((name) => [`/${name}`, operation(name)]),
    ),
    '/calendar/{token}.ics': calendarFeed,
    ...(await rpcPaths()),
  };
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
      responses: rpcResponses,
      schemas: components,
    },
  };
}

function codesMarkdown(): string {
  const rows = codes.map(([code, { status, endpoints: where, rpcs = [], meaning, action }]) => {
    const functions = where === 'all' ? ['all'] : where.map((name) => name.replace('sessions-', ''));
    const answeredBy = [...functions, ...rpcs.map((name) => `\`${name}\``)].join(', ');
    return `| ${status} | \`${code}\` | ${answeredBy} | ${meaning} | ${action} |`;
  });
  return [
    '# What can go wrong, and what the app should do',
    '',
    '<!-- Generated by `npm run openapi` from supabase/functions/_shared/contract/codes.ts. Do not edit. -->',
    '',
    'Every failure is `application/problem+json` (RFC 9457) with a `code` from this table. `detail` is for developers,',
    '`requestId` finds the request in the logs and the audit trail. A database function that an app calls itself (its name',
    'is in code type) answers an outcome instead, `{"ok": false, "status", "code", "detail"}`, with the same codes.',
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
    `# Generated by \`npm run openapi\` from supabase/functions/_shared/contract and the database’s functions. Do not edit.\n${stringify(await openapi(), { lineWidth: 110, aliasDuplicateObjects: false, compat: 'yaml-1.1' })}`,
  ],
  ['docs/codes.md', codesMarkdown()],
];

const check = process.argv.includes('--check');
for (const [path, content] of files) {
  const url = new URL(`../${path}`, import.meta.url);
  if (!check) await writeFile(url, content);
  else if ((await readFile(url, 'utf8').catch(() => '')) !== content) {
    console.error(`${path} differs from the contract or the migrations. Run: npm run openapi`);
    process.exitCode = 1;
  }
}
