/**
 * The frame around every endpoint: method, CORS, size, JSON, identity, idempotency key, and RFC 9457 answers.
 * Handlers are plain `(Request) => Promise<Response>`, so they run in Deno, in Node and in tests alike.
 */
import { authenticate } from './auth.ts';
import { drain, MAX_BODY_BYTES, readBody } from './body.ts';
import { ERROR_CODES, type ErrorCode, problemType } from './contract/codes.ts';
import { IDEMPOTENCY_KEY_RULE, readIdempotencyKey, readRequestId } from './contract/headers.ts';
import type { Parsed, RpcCall } from './contract/parsed.ts';
import { setCorsHeaders, setPreflightHeaders } from './cors.ts';
import { classOf, logError } from './log.ts';
import { hasFreed, offerFreedSlots } from './offers.ts';
import { type Answer, DEFAULT_RETRY_SECONDS, interpret } from './outcome.ts';
import { callRpc, type RpcContext } from './rpc.ts';
import { withSecondsLeft } from './seconds-left.ts';

/** A web-standard request handler. */
export type Handler = (request: Request) => Promise<Response>;

/** Adds to the database's answer before it is sent. */
export type Amend = (
  answer: Answer,
  request: Record<string, unknown>,
  context: RpcContext,
) => Promise<Answer>;

/** Answers a request: its body, its `Idempotency-Key`, and who sent it. */
export type Run = (body: object, idempotencyKey: string | null, context: RpcContext) => Promise<Answer>;

const ALLOW = 'POST, OPTIONS';

function baseHeaders(request: Request, requestId: string): Headers {
  const headers = new Headers({ 'Cache-Control': 'no-store', 'X-Request-Id': requestId });
  setCorsHeaders(headers, request);
  return headers;
}

/** The body of a failure (RFC 9457 §3). `error` repeats `detail` for clients that know only `{success, error}`. */
function problemBody(
  code: ErrorCode,
  detail: string,
  requestId: string,
  extra: Record<string, unknown> = {},
) {
  const { status, title } = ERROR_CODES[code];
  return {
    type: problemType(code),
    title,
    status,
    detail,
    success: false,
    error: detail,
    code,
    requestId,
    ...extra,
  };
}

function problemResponse(
  headers: Headers,
  code: ErrorCode,
  detail: string,
  extra: Record<string, unknown> = {},
): Response {
  headers.set('Content-Type', 'application/problem+json');
  const body = problemBody(code, detail, headers.get('X-Request-Id') ?? '', extra);
  return new Response(JSON.stringify(body), { status: body.status, headers });
}

/** Turns an answer into HTTP. */
function respond(headers: Headers, answer: Answer): Response {
  switch (answer.kind) {
    case 'success':
      headers.set('Content-Type', 'application/json');
      if (answer.replayed) headers.set('Idempotent-Replay', 'true');
      return new Response(JSON.stringify({ success: true, data: answer.data }), {
        status: answer.status,
        headers,
      });
    case 'invalid': {
      const [first, ...others] = answer.issues;
      const more = others.length > 0 ? ` (and ${others.length} more)` : '';
      const detail = first ? `${first.path} ${first.message}${more}` : ERROR_CODES[answer.code].title;
      return problemResponse(headers, answer.code, detail, { issues: answer.issues });
    }
    case 'conflict': {
      const { retryAfter, retryAfterSeconds, conflicts, alternatives, shortages } = answer;
      if (retryAfterSeconds !== null) headers.set('Retry-After', String(retryAfterSeconds));
      return problemResponse(headers, answer.code, answer.detail, {
        retryAfter,
        retryAfterSeconds,
        conflicts,
        alternatives,
        ...(shortages && { shortages }),
      });
    }
    case 'limited':
      headers.set('Retry-After', String(answer.retryAfterSeconds));
      return problemResponse(
        headers,
        'TOO_MANY_REQUESTS',
        'Too many requests. Repeat this one with the same Idempotency-Key after Retry-After seconds.',
        { retryAfterSeconds: answer.retryAfterSeconds },
      );
    case 'busy':
      headers.set('Retry-After', String(answer.retryAfterSeconds));
      return problemResponse(
        headers,
        'DATABASE_BUSY',
        'The database is busy. Repeat the request with the same Idempotency-Key after Retry-After seconds.',
        { retryAfterSeconds: answer.retryAfterSeconds },
      );
    case 'refused':
      if (answer.code === 'UNAUTHENTICATED') headers.set('WWW-Authenticate', 'Bearer');
      return problemResponse(headers, answer.code, answer.detail);
    case 'unexpected':
      logError('unexpected_answer', headers.get('X-Request-Id') ?? '', answer.errorClass);
      return problemResponse(
        headers,
        'INTERNAL_ERROR',
        'Something went wrong on our side. Quote requestId when you report it.',
      );
  }
}

function invalidJson(message: string): Answer {
  return { kind: 'invalid', code: 'INVALID_JSON', issues: [{ path: 'body', message }] };
}

function parseJsonObject(text: string): { ok: true; body: object } | { ok: false; message: string } {
  if (text.trim() === '') return { ok: false, message: 'must be a JSON object, not empty' };
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return { ok: false, message: 'is not valid JSON' };
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return { ok: false, message: 'must be a JSON object' };
  }
  return { ok: true, body };
}

async function answer(request: Request, headers: Headers, run: Run): Promise<Response> {
  const requestId = headers.get('X-Request-Id') ?? '';
  if (request.method === 'OPTIONS') {
    setPreflightHeaders(headers);
    return new Response(null, { status: 204, headers });
  }
  if (request.method !== 'POST') {
    await drain(request);
    headers.set('Allow', ALLOW);
    return problemResponse(
      headers,
      'METHOD_NOT_ALLOWED',
      `${request.method} is not allowed here, only POST.`,
    );
  }
  const idempotency = readIdempotencyKey(request.headers);
  if (idempotency.key !== null) headers.set('Idempotency-Key', idempotency.key);

  const authentication = await authenticate(request);
  if (!authentication.ok) {
    await drain(request);
    switch (authentication.reason) {
      case 'unauthenticated':
        return respond(headers, {
          kind: 'refused',
          code: 'UNAUTHENTICATED',
          detail: 'A valid access token of a signed-in user is required.',
        });
      case 'keys-unreachable':
        logError('jwks_unreachable', requestId, 'JWKS_FETCH_FAILED');
        return respond(headers, { kind: 'busy', retryAfterSeconds: DEFAULT_RETRY_SECONDS });
      case 'misconfigured':
        return respond(headers, { kind: 'unexpected', errorClass: 'AuthMisconfigured' });
    }
  }

  const read = await readBody(request);
  if (!read.ok) {
    return read.reason === 'too-large'
      ? problemResponse(headers, 'BODY_TOO_LARGE', `The body must have at most ${MAX_BODY_BYTES} bytes.`)
      : respond(headers, invalidJson('must be UTF-8 text'));
  }
  if (!idempotency.valid) {
    const issues = [{ path: 'Idempotency-Key', message: IDEMPOTENCY_KEY_RULE }];
    return respond(headers, { kind: 'invalid', code: 'VALIDATION_FAILED', issues });
  }
  const json = parseJsonObject(read.text);
  if (!json.ok) return respond(headers, invalidJson(json.message));
  const context = { token: authentication.caller.token, requestId };
  return respond(headers, await run(json.body, idempotency.key, context));
}

/**
 * Makes the handler of an endpoint from what it does with a JSON object sent by a signed-in user.
 *
 * @param run - answers a request; what it throws becomes a 500 that tells nothing
 */
export function createEndpoint(run: Run): Handler {
  return async (request) => {
    const headers = baseHeaders(request, readRequestId(request.headers));
    try {
      return await answer(request, headers, run);
    } catch (thrown) {
      return respond(headers, { kind: 'unexpected', errorClass: classOf(thrown) });
    }
  };
}

/**
 * Makes the handler of an endpoint from the way its body becomes one database call.
 *
 * @param parse - reads a JSON object into a call, or says what is wrong with it
 * @param amend - adds to the database's answer
 * @example export default { fetch: createHandler(parseHold) };
 */
export function createHandler(parse: (body: unknown) => Parsed<RpcCall>, amend?: Amend): Handler {
  return createEndpoint(async (body, idempotencyKey, context) => {
    const parsed = parse(body);
    if (!parsed.ok) return { kind: 'invalid', code: parsed.code, issues: parsed.issues };
    const { request, issueOf } = parsed.value;
    const told = await callRpc(parsed.value, idempotencyKey, context);
    if (hasFreed(told.data)) offerFreedSlots(context);
    const answered = interpret(told);
    if (answered.kind === 'invalid' && issueOf) return { ...answered, issues: answered.issues.map(issueOf) };
    return withSecondsLeft(amend ? await amend(answered, request, context) : answered);
  });
}
