/**
 * `/rest/v1/rpc/<function>` for functions that return one value, called the way PostgREST calls them.
 *
 * lite binds a JSON argument as a quoted string, so that a function which takes `jsonb` receives `"{…}"` instead of
 * `{…}`, and it needs a dozen round trips for a call. Functions that return rows stay with lite unless they take JSON;
 * so do variadic ones, overloads and calls with filters.
 */
import type { FunctionInfo } from '@supabase/lite';
import { escapeLiteral } from 'pg';
import { type PlatformConnection, type RestRequest, schemaOf } from './rest-connection.ts';
import { answerError, databaseErrorResponse } from './rest-errors.ts';
import type { ProjectConfig } from './settings.ts';

/** The call a request asks for. */
interface Call {
  definition: FunctionInfo;
  /** Names of the arguments given. */
  names: string[];
  /** The JSON body of a POST, unparsed: the database reads it, as under PostgREST. */
  body: string | null;
  /** Arguments of a GET, as text. */
  query: Record<string, string>;
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** The one plain function that takes these arguments, or null: then lite decides and words the refusal. */
function find(functions: FunctionInfo[], schema: string, name: string, given: string[]): FunctionInfo | null {
  const named = functions.filter((candidate) => candidate.schema === schema && candidate.name === name);
  const [only] = named;
  if (!only || named.length > 1) return null;
  const { arg_names, arg_types, arg_defaults, has_variadic, return_is_setof, has_out_args } = only;
  const takesJson = given.some((argument) => /^jsonb?$/.test(arg_types[arg_names.indexOf(argument)] ?? ''));
  const hasRows = return_is_setof || has_out_args || only.return_typtype === 'c';
  if (has_variadic || (hasRows && !(return_is_setof && takesJson))) return null;
  if (arg_names.length !== arg_types.length || arg_names.some((argument) => argument === '')) return null;
  const required = arg_names.slice(0, arg_names.length - arg_defaults);
  const fits =
    given.every((argument) => arg_names.includes(argument)) && required.every((a) => given.includes(a));
  return fits ? only : null;
}

/** Statement that calls the function. Names and types come from the catalog, values are quoted. */
function statement({ definition, names, body, query }: Call): string {
  const type = (name: string) => definition.arg_types[definition.arg_names.indexOf(name)] ?? 'text';
  const target = `${quoted(definition.schema)}.${quoted(definition.name)}`;
  const values = names.map((name) => {
    const value = body === null ? escapeLiteral(query[name] ?? '') : `arguments.${quoted(name)}`;
    return `${quoted(name)} := ${value}::${type(name)}`;
  });
  const columns = names.map((name) => `${quoted(name)} ${type(name)}`).join(', ');
  const source =
    body === null || names.length === 0
      ? ''
      : `from json_to_record(${escapeLiteral(body)}::json) as arguments (${columns})`;
  if (definition.return_is_setof)
    return `with call as materialized (
        select result ${source} ${source === '' ? 'from' : 'cross join lateral'} ${target}(${values.join(', ')}) as result
      )
      select coalesce(json_agg(call.result), '[]')::text as body, null as status, null as headers from call`;
  return `with call as materialized (select ${target}(${values.join(', ')}) as result ${source})
    select to_json(call.result)::text as body, current_setting('response.status', true) as status,
      current_setting('response.headers', true) as headers from call`;
}

interface CallResult {
  body: string | null;
  status: string | null;
  headers: string | null;
}

/** Deepest JSON that is read. Postgres gives up at some thousands, with an error that PostgREST makes a 500 of. */
const MAX_JSON_DEPTH = 1000;

/** Whether a JSON text is nested deeper than is read. Brackets in strings do not count. */
export function isTooDeep(text: string): boolean {
  let depth = 0;
  for (const [token] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/gs)) {
    if (token === '[' || token === '{') {
      if (++depth > MAX_JSON_DEPTH) return true;
    } else if (token === ']' || token === '}') depth--;
  }
  return false;
}

/** The answer to such a text. */
export const tooDeep = () =>
  answerError(400, { code: 'PGRST102', message: `JSON may be nested ${MAX_JSON_DEPTH} levels deep` });

function argumentsOf(body: string): Record<string, unknown> | Response {
  let parsed: unknown;
  try {
    parsed = body.trim() === '' ? {} : JSON.parse(body);
  } catch {
    return answerError(400, { code: 'PGRST102', message: 'Empty or invalid json' });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return answerError(400, { code: 'PGRST102', message: 'All object keys must match' });
  return parsed as Record<string, unknown>;
}

/**
 * Answers an RPC request.
 * @param body text of a POST, which has been read already
 * @returns null when lite should answer it
 */
export async function callFunction(
  connection: PlatformConnection,
  config: ProjectConfig,
  current: RestRequest,
  body: string | null,
): Promise<Response | null> {
  const { request, caller } = current;
  const url = new URL(request.url);
  const name = decodeURIComponent(url.pathname.slice('/rest/v1/rpc/'.length));
  const schema = schemaOf(request, config);
  const accept = request.headers.get('accept') ?? '*/*';
  if (!config.api.schemas.includes(schema) || !/\*\/\*|application\/(vnd\.pgrst\.object\+)?json/.test(accept))
    return null;

  const isPost = request.method === 'POST';
  const contentType = request.headers.get('content-type') ?? 'application/json';
  if (!isPost && request.method !== 'GET') return null;
  if (isPost && (url.search !== '' || !contentType.startsWith('application/json'))) return null;

  const given = body === null ? Object.fromEntries(url.searchParams) : argumentsOf(body);
  if (given instanceof Response) return given;
  const names = Object.keys(given);
  // Text in Postgres cannot hold it, and it would end the statement.
  if (url.search.includes('%00'))
    return answerError(400, { code: '22021', message: 'invalid byte sequence for encoding "UTF8": 0x00' });
  const schemaCache = await connection.introspect();
  const definition = find(schemaCache.functions ?? [], schema, name, names);
  if (!definition) return null;

  try {
    const query = isPost ? {} : (given as Record<string, string>);
    const [row] = await connection.runAs<CallResult>(current, statement({ definition, names, body, query }));
    const headers = new Headers({ 'access-control-allow-origin': '*', 'content-range': '0-0/*' });
    for (const header of row?.headers ? (JSON.parse(row.headers) as Record<string, string>[]) : [])
      for (const [key, value] of Object.entries(header)) headers.append(key, value);
    const status = row?.status ? Number(row.status) : 200;
    if (definition.return_type === 'void')
      return new Response(null, { status: row?.status ? status : 204, headers });
    headers.set('content-type', 'application/json; charset=utf-8');
    return new Response(row?.body ?? 'null', { status, headers });
  } catch (error) {
    const response = databaseErrorResponse(error, caller.role);
    if (response) return response;
    if (error instanceof Error && 'code' in error && error.code === 'PGRST') return null;
    throw error;
  }
}
