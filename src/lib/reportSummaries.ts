/** A row of a report. */
export type SummaryRow = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/** A report in a sentence and a picture: bars made of parts, some with a mark to compare with. */
export interface ReportSummary {
  readonly sentence: string;
  readonly pieces: readonly { readonly bar: string; readonly part: string; readonly value: number }[];
  /** Marks such as a target, per bar. */
  readonly ticks: readonly { readonly bar: string; readonly value: number }[];
  /** What the bars are measured in, and what a mark is. */
  readonly unit: string;
  /** The columns that a reader wants of the table. */
  readonly columns: readonly string[];
}

const list = (value: unknown) => (Array.isArray(value) ? value.join(', ') : String(value ?? ''));
const number = (value: unknown) => Number(value ?? 0);
const sum = (rows: readonly SummaryRow[], column: string) =>
  rows.reduce((total, row) => total + number(row[column]), 0);
const by = (rows: readonly SummaryRow[], column: string) =>
  [...Map.groupBy(rows, (row) => String(row[column]))].sort(([a], [b]) => a.localeCompare(b));

function utilization(rows: readonly SummaryRow[]): ReportSummary {
  const groups = by(rows, 'therapist_name');
  const [booked, available] = [sum(rows, 'booked_hours'), sum(rows, 'available_hours')];
  return {
    sentence:
      available > 0
        ? `${Math.round((100 * booked) / available)} % of the available hours are booked.`
        : 'Nobody keeps hours in this month.',
    pieces: groups.flatMap(([bar, some]) => {
      const attended = sum(some, 'attended_hours');
      return [
        { bar, part: 'attended', value: attended },
        { bar, part: 'booked', value: sum(some, 'booked_hours') - attended },
      ];
    }),
    ticks: groups.map(([bar, some]) => ({ bar, value: sum(some, 'available_hours') })),
    unit: 'hours; the tick is what is available',
    columns: [
      'therapist_name',
      'week_start',
      'available_hours',
      'booked_hours',
      'attended_hours',
      'utilization_percent',
    ],
  };
}

function authorizations(rows: readonly SummaryRow[], today: string): ReportSummary {
  const name = (row: SummaryRow) => `${row.client_reference} ${list(row.cpt_codes)}`;
  const share = (row: SummaryRow, ...columns: string[]) =>
    (100 * columns.reduce((total, column) => total + number(row[column]), 0)) / number(row.approved_units);
  const elapsed = ({ starts_on, ends_on }: SummaryRow) => {
    const [from, to] = [Date.parse(String(starts_on)), Date.parse(String(ends_on))];
    return Math.min(1, Math.max(0, (Date.parse(today) - from) / (to - from)));
  };
  const tight = rows.filter((row) => number(row.taken_percent) >= 90);
  return {
    sentence:
      tight.length === 0
        ? 'No authorization is nearly used up.'
        : `${tight.length} of ${rows.length} authorizations are at 90 % or more: ${tight.map(name).join(', ')}.`,
    pieces: rows.flatMap((row) => [
      { bar: name(row), part: 'used', value: share(row, 'used_units') },
      { bar: name(row), part: 'planned', value: share(row, 'scheduled_units', 'held_units') },
    ]),
    ticks: rows.map((row) => ({ bar: name(row), value: 100 * elapsed(row) })),
    unit: '% of the approved units; the tick is how much of the time has passed',
    columns: [
      'client_reference',
      'payer_name',
      'cpt_codes',
      'approved_units',
      'used_units',
      'scheduled_units',
      'held_units',
      'left_units',
      'taken_percent',
      'ends_on',
    ],
  };
}

const sides: Readonly<Record<string, string>> = {
  client: 'by the family',
  therapist: 'by the therapist',
  clinic: 'by the clinic',
  unknown: 'not known',
};

function cancellations(rows: readonly SummaryRow[]): ReportSummary {
  const isLate = (row: SummaryRow) => number(row.notice_hours) < 24;
  const late = rows.filter(isLate).length;
  const were = rows.length === 1 ? 'session was' : 'sessions were';
  return {
    sentence:
      rows.length === 0
        ? 'Nothing was cancelled.'
        : `${rows.length} ${were} cancelled, ${late} of them with less than 24 hours’ notice.`,
    pieces: by(rows, 'cancelled_for').flatMap(([side, some]) => {
      const short = some.filter(isLate).length;
      const bar = sides[side] ?? side;
      return [
        { bar, part: 'under 24 h', value: short },
        { bar, part: 'earlier', value: some.length - short },
      ];
    }),
    ticks: [],
    unit: 'sessions',
    columns: ['start_time', 'cancelled_for', 'notice_hours', 'reason'],
  };
}

function supervision(rows: readonly SummaryRow[]): ReportSummary {
  const below = rows.filter((row) => !row.is_sufficient).length;
  const name = (row: SummaryRow) => String(row.therapist_name);
  return {
    sentence:
      rows.length === 0
        ? 'No technician had direct hours.'
        : `${below} of ${rows.length} technicians are supervised too little: at least 5 % in 2 contacts are needed.`,
    pieces: rows.map((row) => ({
      bar: name(row),
      part: 'supervised',
      value: number(row.supervised_percent),
    })),
    ticks: rows.map((row) => ({ bar: name(row), value: 5 })),
    unit: '% of direct hours; the tick is what is needed',
    columns: [
      'therapist_name',
      'direct_hours',
      'supervised_hours',
      'contacts',
      'supervised_percent',
      'is_sufficient',
    ],
  };
}

function funnel(rows: readonly SummaryRow[]): ReportSummary {
  const held = sum(rows, 'held');
  const booked = held === 0 ? 0 : Math.round((100 * sum(rows, 'confirmed')) / held);
  const refused = sum(rows, 'refused_requests');
  const were = refused === 1 ? 'request was' : 'requests were';
  const parts = { confirmed: 'confirmed', released: 'let go', expired: 'ran out', live: 'still held' };
  return {
    sentence:
      held === 0
        ? 'Nothing was held.'
        : `${booked} % of ${held} held times were booked; ${refused} ${were} refused.`,
    pieces: Object.entries(parts).map(([column, bar]) => ({ bar, part: bar, value: sum(rows, column) })),
    ticks: [],
    unit: 'held times',
    columns: ['day', 'held', 'confirmed', 'released', 'expired', 'live', 'refused_requests'],
  };
}

const summaries = {
  therapist_utilization: utilization,
  authorization_balances: authorizations,
  cancellations,
  supervision_share: supervision,
  hold_funnel: funnel,
};

/** The reports {@link summarizeReport} can put into a sentence. */
export type SummarizedReport = keyof typeof summaries;

/**
 * A report as people would rather look at it: the answer in a sentence, and bars to draw with any chart library.
 *
 * @param report - the view
 * @param rows - its rows, from `fetchReport`
 * @param today - the local day, `YYYY-MM-DD`
 * @returns the sentence and the bars
 * @example
 * ```ts
 * const rows = [{ held: 4, confirmed: 3, released: 1, expired: 0, live: 0, refused_requests: 2 }];
 * summarizeReport('hold_funnel', rows, '2026-12-01').sentence; // '75 % of 4 held times were booked; 2 requests were refused.'
 * ```
 */
export function summarizeReport(
  report: SummarizedReport,
  rows: readonly SummaryRow[],
  today: string,
): ReportSummary {
  return summaries[report](rows, today);
}
