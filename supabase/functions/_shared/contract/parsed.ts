/** What becomes of a request body: either one call of one database function, or the reasons it is refused. */
import type { z } from 'zod';
import { isBlank } from './primitives.ts';

/** Codes of the 400 answers about fields. What a range means, the database says. */
export type InputErrorCode = 'VALIDATION_FAILED' | 'MISSING_FIELDS' | 'INVALID_RANGE';

/**
 * One thing wrong with a request. `path` is dotted: `occurrences.0.start_time`. `expected` is the right value where the
 * database knows it: minutes east of UTC, of an offset.
 */
export type Issue = { path: string; message: string; expected?: number | undefined };

/** A request ready for the database: the function to call and its `request` argument. */
export type RpcCall = {
  rpc:
    | 'hold_sessions'
    | 'confirm_sessions'
    | 'release_hold'
    | 'cancel_sessions'
    | 'save_note_draft'
    | 'sign_note'
    | 'amend_note'
    | 'save_client_details';
  request: Record<string, unknown>;
  /** Names what the database finds wrong by the fields that were sent, where the call has others. */
  issueOf?: (issue: Issue) => Issue;
};

/** Database functions that take no idempotency key; each call is recorded. */
export type AuditedRpc =
  | 'start_data_key'
  | 'prepare_note'
  | 'read_note'
  | 'note_history'
  | 'prepare_client_details'
  | 'read_client_details'
  | 'read_client_names';

export type Parsed<Value> = { ok: true; value: Value } | { ok: false; code: InputErrorCode; issues: Issue[] };

/** Most issues ever reported at once: enough to mend a form, too few to echo a hostile body back. */
const MAX_ISSUES = 50;

/** Marks a custom issue about a field that must not be there, so that a blank one does not count as missing. */
export const UNWANTED = { kind: 'unwanted' } as const;

/** Whether an issue is that a field is missing. */
function isMissing(issue: z.core.$ZodIssue, body: unknown): boolean {
  if (issue.code === 'custom' && issue.params?.kind === UNWANTED.kind) return false;
  return issue.path.length > 0 && isBlank(valueAt(body, issue.path));
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** The dotted form of a path; the body itself is called `body`. */
export function dotted(path: readonly PropertyKey[]): string {
  return path.length === 0 ? 'body' : path.map(String).join('.');
}

/** Refuses with one issue. */
export function refuse(path: string, message: string, code: InputErrorCode = 'VALIDATION_FAILED') {
  return { ok: false as const, code, issues: [{ path, message }] };
}

/**
 * Checks a body against a schema.
 *
 * @param distinguish - whether missing fields have a code of their own, as in `sessions-confirm`. A missing field
 *   outranks the rest.
 */
export function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  body: unknown,
  distinguish = false,
): Parsed<z.output<Schema>> {
  const result = schema.safeParse(body);
  if (result.success) return { ok: true, value: result.data };
  let code: InputErrorCode = 'VALIDATION_FAILED';
  if (distinguish) {
    if (result.error.issues.some((issue) => isMissing(issue, body))) code = 'MISSING_FIELDS';
  }
  return {
    ok: false,
    code,
    issues: result.error.issues
      .slice(0, MAX_ISSUES)
      .map((issue) => ({ path: dotted(issue.path), message: issue.message })),
  };
}
