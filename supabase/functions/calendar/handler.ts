import { createAdminClient } from '@supabase/server/core';
import type { SupabaseClient } from '@supabase/supabase-js';
import { env } from '../_shared/env.ts';
import { calendarFeed, writeCalendar } from '../_shared/icalendar.ts';
import { classOf, logError } from '../_shared/log.ts';

/** Longest wait for the database, in milliseconds: above its own statement timeout, so that its answer comes first. */
const TIMEOUT_MS = 15_000;

/** Nothing longer is anybody's address. */
const MAX_TOKEN = 200;

/** Of every answer. A token in an address must not reach caches, other sites or search engines. */
const HEADERS = {
  'Cache-Control': 'private, no-cache',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Robots-Tag': 'noindex',
};

let known: { project: string; client: SupabaseClient } | undefined;

/** The secret key, for one function that asks for the feed's own token: whoever reads a calendar has no session. */
function client(): SupabaseClient {
  const project = `${env('SUPABASE_URL')} ${env('SUPABASE_SECRET_KEYS')}`;
  if (known?.project !== project) known = { project, client: createAdminClient() };
  return known.client;
}

function problem(
  status: number,
  title: string,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  const body = JSON.stringify({ type: 'about:blank', title, status, detail });
  return new Response(body, {
    status,
    headers: { ...HEADERS, 'Content-Type': 'application/problem+json', ...headers },
  });
}

/** The same to the byte for an address that is wrong, revoked, or of somebody who is no member any more. */
const notFound = () => problem(404, 'Not Found', 'There is no such calendar.');

async function etagOf(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return `"${Array.from(digest.slice(0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('')}"`;
}

/** Whether the reader has this text. Proxies that compress make a tag weak, and a reader may send several (RFC 9110, 13.1.2). */
function isKnownTo(request: Request, etag: string): boolean {
  const tags = request.headers.get('if-none-match')?.split(',') ?? [];
  return tags.some((tag) => ['*', etag].includes(tag.trim().replace(/^W\//, '')));
}

async function answer(request: Request, requestId: string): Promise<Response> {
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return problem(405, 'Method Not Allowed', 'A calendar is only read.', { Allow: 'GET, HEAD' });
  const token = /^\/calendar\/([^/]+)\.ics$/.exec(new URL(request.url).pathname)?.[1];
  if (token === undefined || token.length > MAX_TOKEN) return notFound();

  const { data, error, status } = await client()
    .rpc('read_calendar_feed', { token, request_id: requestId })
    .abortSignal(AbortSignal.timeout(TIMEOUT_MS));
  if (error) {
    logError('no_calendar', requestId, error.code || String(status));
    return problem(503, 'Service Unavailable', 'The calendar cannot be read just now.', {
      'Retry-After': '60',
    });
  }
  if (data === null) return notFound();
  const text = writeCalendar(calendarFeed.parse(data));
  const headers = { ...HEADERS, ETag: await etagOf(text) };
  if (isKnownTo(request, headers.ETag)) return new Response(null, { status: 304, headers });
  return new Response(request.method === 'HEAD' ? null : text, {
    headers: { ...headers, 'Content-Type': 'text/calendar; charset=utf-8' },
  });
}

/** `GET /functions/v1/calendar/<token>.ics`: somebody's sessions, for the calendar of their phone. */
export async function handleCalendar(request: Request): Promise<Response> {
  const requestId = crypto.randomUUID();
  try {
    return await answer(request, requestId);
  } catch (thrown) {
    logError('no_calendar', requestId, classOf(thrown));
    return problem(500, 'Internal Server Error', 'Something went wrong on our side.');
  }
}
