import { dsvFormat } from 'd3-dsv';
import type { Issue } from '../../supabase/functions/_shared/contract/types.ts';
import { callOutcome } from './callOutcome.ts';
import { instantOf } from './localTime.ts';
import type { ReadOptions } from './readRest.ts';
import { checkGiven, invalidArgument } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** Most rows of one call. */
const MAX_ROWS = 5000;

/** What became of a session in the other system. */
export type ImportStatus = 'scheduled' | 'completed' | 'cancelled' | 'no_show';

/** One session to import. Names are the database's; whatever is wrong with a row is told of the row. */
export interface ImportRow {
  /** The row's own id in the other system: the same row imported again changes nothing. */
  readonly external_id: string;
  readonly therapist_id: string;
  readonly client_id: string;
  /** Instants with `Z` or an offset. */
  readonly start_time: string;
  readonly end_time: string;
  /** The IANA zone it was made in. */
  readonly time_zone: string;
  /** `scheduled` when absent. What is not over yet cannot be completed or missed. */
  readonly status?: ImportStatus | null;
  readonly session_type?: string | null;
  readonly location_type?: string | null;
  readonly cpt_code?: string | null;
  readonly modifiers?: readonly string[] | null;
  readonly room_id?: string | null;
  readonly cancellation_attribution?: 'staff' | 'client' | 'unknown' | null;
}

/** What is in the way of a row. Times are the overlap. */
export interface ImportConflict {
  readonly resource: 'therapist' | 'client' | 'room';
  readonly blockedBy: 'row' | 'session' | 'hold' | 'availability' | 'closure' | 'authorization';
  /** The row of this import that has the time, from 0. */
  readonly row?: number;
  /** The session that has it. */
  readonly sessionId?: string;
  readonly startTime?: string;
  readonly endTime?: string;
  /** When the hold in the way lapses. */
  readonly expiresAt?: string;
  /** Of `authorization`: which limit, and how many units it is short of. */
  readonly limit?: string;
  readonly neededUnits?: number;
  readonly leftUnits?: number;
}

/** What became of a row. */
export interface ImportedRow {
  /** Its place in the request, from 0. */
  readonly row: number;
  readonly externalId?: string;
  /** `ok`: it is imported, or would be. `unchanged`: it was before. `issues`, `conflicts`: it cannot be, as it stands. */
  readonly status: 'ok' | 'unchanged' | 'issues' | 'conflicts';
  /** The session it became. */
  readonly sessionId?: string;
  /** Paths are `rows.17.start_time`. */
  readonly issues?: readonly Issue[];
  readonly conflicts?: readonly ImportConflict[];
}

/** What an import did, or would do. */
export interface ImportResult {
  readonly dryRun: boolean;
  /** Whether anything was written. */
  readonly written: boolean;
  readonly ok: number;
  readonly unchanged: number;
  readonly withIssues: number;
  readonly withConflicts: number;
  readonly rows: readonly ImportedRow[];
}

/**
 * Imports sessions of another system, history or to come, as an admin: up to 5,000 in one call.
 *
 * @param supabase - a supabase-js client
 * @param payload - the rows; `dryRun` writes nothing and tells what would become of each; `onConflict` says whether all
 *   or none are imported (`report`, the default) or whatever can be (`skip`)
 * @returns what became of each row
 * @throws SessionsApiError 400 for no rows or more than 5,000, 403 for who is no admin
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { rows } = parseSessionsCsv('id,start\n1,2026-12-01T10:00', { timeZone: 'America/Los_Angeles' });
 * const { withIssues, withConflicts } = await importSessions(supabase, { rows, dryRun: true });
 * if (withIssues + withConflicts === 0) await importSessions(supabase, { rows });
 * ```
 */
export async function importSessions(
  supabase: RpcCaller,
  payload: ReadOptions & {
    readonly rows: readonly (ImportRow | Record<string, unknown>)[];
    readonly dryRun?: boolean;
    readonly onConflict?: 'report' | 'skip';
  },
): Promise<ImportResult> {
  checkGiven(payload, 'rows');
  const { rows } = payload;
  if (rows.length === 0 || rows.length > MAX_ROWS)
    throw invalidArgument([{ path: 'rows', message: `must have 1 to ${MAX_ROWS} items` }]);
  const request = { rows, dry_run: payload.dryRun ?? false, on_conflict: payload.onConflict ?? 'report' };
  return await callOutcome<ImportResult>(supabase, 'import_sessions', { request }, payload);
}

const FIELDS = [
  ...['external_id', 'therapist_id', 'client_id', 'start_time', 'end_time', 'time_zone', 'status'],
  ...['session_type', 'location_type', 'cpt_code', 'modifiers', 'room_id', 'cancellation_attribution'],
] as const;

/** A field of an {@link ImportRow}. */
export type ImportField = keyof ImportRow;

/** How a table of another system becomes rows. */
export interface SessionsCsvOptions {
  /** The zone of rows that have none of their own, and of times without an offset. */
  readonly timeZone: string;
  /** The heading of each field in the table; where it is not named, the field's own name. */
  readonly columns?: Partial<Record<ImportField, string>>;
  /** What a value of the table means, by field: names of people as ids, words for a status. What is not there stays. */
  readonly values?: Partial<Record<ImportField, Readonly<Record<string, string>>>>;
  /** How long a session lasts, in minutes, where the table has no end. */
  readonly minutes?: number;
}

/**
 * Reads a table of sessions, as other systems export it: comma, semicolon or tab between columns, headings in the first
 * line. Times without an offset are local to the row's zone; modifiers are divided by spaces or commas in one cell.
 *
 * @param text - the table
 * @param options - which column is which field, what values mean, and the zone; see {@link SessionsCsvOptions}
 * @returns the rows for {@link importSessions}, one for each line after the headings, and what of the table could not be
 *   read, by row. A row that could not be read is handed on as it is: the import tells what is wrong with it.
 * @throws SessionsApiError 400 when the zone is not known
 * @example
 * ```ts
 * const { rows, issues } = parseSessionsCsv('Id,Kid,Begin\n7,Ann,2026-12-01T10:00', {
 *   timeZone: 'America/Los_Angeles',
 *   columns: { external_id: 'Id', client_id: 'Kid', start_time: 'Begin' },
 *   values: { client_id: { Ann: clientId }, therapist_id: { '': therapistId } },
 *   minutes: 60,
 * });
 * rows[0]?.start_time; // '2026-12-01T18:00:00.000Z'
 * ```
 */
export function parseSessionsCsv(
  text: string,
  options: SessionsCsvOptions,
): { readonly rows: Record<string, unknown>[]; readonly issues: Issue[] } {
  // Throws for a zone that is not known.
  instantOf('2000-01-01T00:00', options.timeZone);
  const [headings = [], ...lines] = dsvFormat(delimiterOf(text)).parseRows(text.replace(/^\uFEFF/, ''));
  const names = headings.map((heading) => heading.trim());
  const filled = lines.filter((cells) => cells.some((cell) => cell.trim() !== ''));
  const issues = filled.flatMap((cells, index): Issue[] => {
    if (cells.length === names.length) return [];
    return [{ path: `rows.${index}`, message: `has ${cells.length} cells under ${names.length} headings` }];
  });
  const rows = filled.map((cells) =>
    rowOf(Object.fromEntries(names.map((name, column) => [name, cells[column] ?? ''])), options),
  );
  return { rows, issues };
}

/** What stands between the headings: tabs or semicolons where spreadsheets write those, else commas. */
function delimiterOf(text: string): string {
  const headings = text.split(/[\r\n]/, 1)[0] ?? '';
  const count = (mark: string) => headings.split(mark).length;
  return [',', ';', '\t'].reduce((most, mark) => (count(mark) > count(most) ? mark : most));
}

function rowOf(record: Record<string, string>, options: SessionsCsvOptions): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (const field of FIELDS) {
    const cell = record[options.columns?.[field] ?? field]?.trim() ?? '';
    const value = options.values?.[field]?.[cell] ?? cell;
    if (value !== '') row[field] = field === 'modifiers' ? value.split(/[\s,;]+/) : value;
  }
  const zone = String(row.time_zone ?? options.timeZone);
  row.time_zone = zone;
  for (const field of ['start_time', 'end_time'] as const)
    if (typeof row[field] === 'string') row[field] = instantIn(row[field], zone);
  if (row.end_time === undefined && options.minutes !== undefined && typeof row.start_time === 'string') {
    const start = Date.parse(row.start_time);
    if (!Number.isNaN(start)) row.end_time = new Date(start + options.minutes * 60_000).toISOString();
  }
  return row;
}

/** A local time as an instant; what is none, as it is. */
function instantIn(time: string, zone: string): string {
  const local = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)$/.exec(time);
  if (!local) return time;
  try {
    return instantOf(`${local[1]}T${local[2]}`, zone).instant;
  } catch {
    return time;
  }
}
