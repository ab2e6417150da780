/** Reports as people look at them: an answer in a sentence, bars, and a table in words. */
import {
  plusDays,
  type ReportSummary,
  type SummarizedReport,
  type SummaryRow,
  summarizeReport,
  toCsv,
  weekBounds,
} from '../lib/index.ts';
import { saveFile } from './elements.ts';
import { type Read, useReport } from './reads.ts';
import { useMe } from './session.ts';

/** A report of a month, ready to be drawn. */
export interface MonthlyReport extends ReportSummary, Omit<Read<SummaryRow[]>, 'data'> {
  /** Nothing has been read yet, so the sentence means nothing. */
  readonly isEmpty: boolean;
  /** The rows in words, by column. */
  readonly table: readonly Readonly<Record<string, string>>[];
  isNumber(column: string): boolean;
  /** Offers the table to be saved. */
  saveCsv(): void;
}

/**
 * A report of one month; of authorizations as they are now.
 *
 * @param view - which report
 * @param month - `YYYY-MM`
 */
export function useMonthlyReport(view: SummarizedReport, month: string): MonthlyReport {
  const { times } = useMe();
  const from = `${month}-01`;
  const to = `${plusDays(from, 32).slice(0, 7)}-01`;
  const queries = {
    therapist_utilization: { by: 'week_start', from: weekBounds(from, times.timeZone).firstDay, to },
    authorization_balances: {},
    cancellations: {
      by: 'start_time',
      ...{ from: times.instant(`${from}T00:00`), to: times.instant(`${to}T00:00`) },
    },
    supervision_share: { by: 'month', from, to },
    hold_funnel: { by: 'day', from, to },
  } as const;
  const { data, ...read } = useReport<SummaryRow>(view, queries[view]);
  const written = (value: SummaryRow[string] | undefined): string => {
    if (typeof value === 'boolean') return value ? 'yes' : 'no';
    const isInstant = typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value);
    return isInstant ? times.moment(value) : [value ?? '–'].flat().join(', ');
  };
  const summary = summarizeReport(view, data ?? [], times.today());
  const { columns } = summary;
  const table = (data ?? []).map((row) =>
    Object.fromEntries(columns.map((name) => [name, written(row[name])])),
  );
  return {
    ...{ ...read, ...summary, table, isEmpty: !data },
    isNumber: (column) => typeof data?.[0]?.[column] === 'number' || /hours|percent/.test(column),
    saveCsv: () => saveFile(`${view}.csv`, `\ufeff${toCsv(table, [...columns])}`, 'text/csv;charset=utf-8'),
  };
}
