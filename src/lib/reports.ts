import type { Database } from './database.types.ts';
import { type ReadOptions, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { type SchemaReader, viewOf } from './supabaseClient.ts';

/** A row of a report, as `docs/reports.md` describes it. */
export type ReportRow<Name extends keyof Database['reports']['Views']> =
  Database['reports']['Views'][Name]['Row'];

/** Which rows of a report are wanted. */
export interface ReportQuery extends ReadOptions {
  /** The view's first time column, such as `week_start` or `month`: filtering by it is what the indexes serve. */
  readonly by?: string;
  /** Its least value. */
  readonly from?: string;
  /** Its upper bound, which is not part of the span. */
  readonly to?: string;
  /** Further columns that must have a value, such as `therapist_id`. */
  readonly where?: Readonly<Record<string, string>>;
}

/**
 * The rows of a report (a view of the schema `reports`), of the caller's clinic.
 *
 * @param supabase - a supabase-js client
 * @param name - the view, such as `therapist_utilization`; see `docs/reports.md`
 * @param query - which rows; see {@link ReportQuery}
 * @returns all its rows
 * @throws SessionsApiError 401 without a session, 403 for who may not read it
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const weeks = await fetchReport(supabase, 'therapist_utilization', {
 *   ...{ by: 'week_start', from: '2026-11-02', to: '2026-11-30' },
 * });
 * weeks.map(({ therapist_name, utilization_percent }) => [therapist_name, utilization_percent]);
 * ```
 */
export async function fetchReport<Name extends keyof Database['reports']['Views']>(
  supabase: SchemaReader,
  name: Name,
  query?: ReportQuery,
): Promise<ReportRow<Name>[]>;
/** As above, for a view of the app's own: the caller says what its rows are. */
export async function fetchReport<Row>(
  supabase: SchemaReader,
  name: string,
  query?: ReportQuery,
): Promise<Row[]>;
export async function fetchReport<Row>(
  supabase: SchemaReader,
  name: string,
  query: ReportQuery = {},
): Promise<Row[]> {
  const { organizationId } = await readScope(supabase, query.accessToken);
  return await readWholeList<Row>(
    () => {
      let asked = viewOf(supabase, 'reports', name).select('*').eq('organization_id', organizationId);
      for (const [column, value] of Object.entries(query.where ?? {})) asked = asked.eq(column, value);
      if (query.by && query.from) asked = asked.gte(query.by, query.from);
      if (query.by && query.to) asked = asked.lt(query.by, query.to);
      return query.by ? asked.order(query.by) : asked;
    },
    query,
    supabase,
  );
}

/**
 * Rows as CSV (RFC 4180). A cell that a spreadsheet would take for a formula gets an apostrophe in front; a number, negative
 * ones too, stays a number. Of a file put U+FEFF first: without it Excel takes the names for another encoding's.
 *
 * @param rows - objects with the same keys
 * @param columns - the columns, in order; those of the first row when absent
 * @returns the text, with a header line
 * @example
 * ```ts
 * toCsv([{ name: 'Bell, Avery', hours: 7 }]).split('\r\n'); // ['name,hours', '"Bell, Avery",7', '']
 * ```
 */
export function toCsv(rows: readonly object[], columns = Object.keys(rows[0] ?? {})): string {
  const cell = (value: unknown) => {
    const text = value === null || value === undefined ? '' : String(value);
    const isFormula = /^[=+\-@\t\r\n＝＋－＠]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text);
    const safe = isFormula ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = rows.map((row) => columns.map((column) => cell((row as Record<string, unknown>)[column])));
  return [columns.map(cell), ...lines].map((cells) => `${cells.join(',')}\r\n`).join('');
}
