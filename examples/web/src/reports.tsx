/** What clinic admins ask of their data: an answer in a sentence, a picture, the table under it, and the table as CSV. */
import { barX, gridX, plot, ruleX, tickX } from '@observablehq/plot';
import { Download } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { plusDays, toCsv, weekBounds } from 'therapist-sessions';
import { type Balance, useReport } from './queries.ts';
import { useMe } from './session.tsx';
import { State } from './ui.tsx';

type Row = Readonly<Record<string, string | number | boolean | null>>;
/** One coloured piece of a bar. */
interface Piece {
  readonly bar: string;
  readonly part: string;
  readonly value: number;
}
interface Picture {
  readonly sentence: string;
  readonly pieces: readonly Piece[];
  /** Marks such as a target, per bar. */
  readonly ticks?: readonly { readonly bar: string; readonly value: number }[];
  readonly unit: string;
}

const number = (value: unknown) => Number(value ?? 0);
const sum = (rows: readonly Row[], column: string) => rows.reduce((total, row) => total + number(row[column]), 0);
const by = (rows: readonly Row[], column: string) =>
  [...Map.groupBy(rows, (row) => String(row[column]))].sort(([a], [b]) => a.localeCompare(b));

/** Bars made of parts: for each bar the sum of each column. */
function pieces(groups: readonly (readonly [string, readonly Row[]])[], parts: Readonly<Record<string, string>>): Piece[] {
  return groups.flatMap(([bar, rows]) =>
    Object.entries(parts).map(([column, part]) => ({ bar, part, value: sum(rows, column) })),
  );
}

function utilization(rows: readonly Row[]): Picture {
  const groups = by(rows, 'therapist_name');
  const booked = sum(rows, 'booked_hours');
  const available = sum(rows, 'available_hours');
  const open = rows.map((row) => ({ ...row, not_attended: number(row.booked_hours) - number(row.attended_hours) }));
  return {
    sentence:
      available > 0
        ? `${Math.round((100 * booked) / available)} % of the available hours are booked.`
        : 'Nobody keeps hours in this month.',
    pieces: pieces(by(open, 'therapist_name'), { attended_hours: 'attended', not_attended: 'booked' }),
    ticks: groups.map(([bar, some]) => ({ bar, value: sum(some, 'available_hours') })),
    unit: 'hours; the tick is what is available',
  };
}

function pace(rows: readonly Row[], today: string): Picture {
  const balances = rows as unknown as readonly Balance[];
  const name = (one: Balance) => `${one.client_reference} ${one.cpt_codes.join(', ')}`;
  const tight = balances.filter(({ taken_percent }) => number(taken_percent) >= 90);
  const elapsed = ({ starts_on, ends_on }: Balance) =>
    Math.min(1, Math.max(0, (Date.parse(today) - Date.parse(starts_on)) / (Date.parse(ends_on) - Date.parse(starts_on))));
  return {
    sentence:
      tight.length === 0
        ? 'No authorization is nearly used up.'
        : `${tight.length} of ${balances.length} authorizations are at 90 % or more: ${tight.map(name).join(', ')}.`,
    pieces: balances.flatMap((one) => [
      { bar: name(one), part: 'used', value: (100 * one.used_units) / one.approved_units },
      { bar: name(one), part: 'planned', value: (100 * (one.scheduled_units + one.held_units)) / one.approved_units },
    ]),
    ticks: balances.map((one) => ({ bar: name(one), value: 100 * elapsed(one) })),
    unit: '% of the approved units; the tick is how much of the time has passed',
  };
}

function cancellations(rows: readonly Row[]): Picture {
  const late = rows.filter((row) => number(row.notice_hours) < 24).length;
  const words: Readonly<Record<string, string>> = {
    client: 'by the family',
    therapist: 'by the therapist',
    clinic: 'by the clinic',
    unknown: 'not known',
  };
  return {
    sentence:
      rows.length === 0
        ? 'Nothing was cancelled.'
        : `${rows.length} ${rows.length === 1 ? 'session was' : 'sessions were'} cancelled, ${late} of them with less than 24 hours’ notice.`,
    pieces: by(rows, 'cancelled_for').flatMap(([side, some]) => {
      const short = some.filter((row) => number(row.notice_hours) < 24).length;
      return [
        { bar: words[side] ?? side, part: 'under 24 h', value: short },
        { bar: words[side] ?? side, part: 'earlier', value: some.length - short },
      ];
    }),
    unit: 'sessions',
  };
}

function supervision(rows: readonly Row[]): Picture {
  const below = rows.filter((row) => !row.is_sufficient);
  return {
    sentence:
      rows.length === 0
        ? 'No technician had direct hours.'
        : `${below.length} of ${rows.length} technicians are supervised too little: at least 5 % in 2 contacts are needed.`,
    pieces: rows.map((row) => ({ bar: String(row.therapist_name), part: 'supervised', value: number(row.supervised_percent) })),
    ticks: rows.map((row) => ({ bar: String(row.therapist_name), value: 5 })),
    unit: '% of direct hours; the tick is what is needed',
  };
}

function funnel(rows: readonly Row[]): Picture {
  const held = sum(rows, 'held');
  const parts = { confirmed: 'confirmed', released: 'let go', expired: 'ran out', live: 'still held' };
  return {
    sentence:
      held === 0
        ? 'Nothing was held.'
        : `${Math.round((100 * sum(rows, 'confirmed')) / held)} % of ${held} held times were booked; ${sum(rows, 'refused_requests')} requests were refused.`,
    pieces: Object.entries(parts).map(([column, part]) => ({ bar: part, part, value: sum(rows, column) })),
    unit: 'held times',
  };
}

export default function Reports() {
  const { times } = useMe();
  const [month, setMonth] = useState(times.today().slice(0, 7));
  const first = `${month}-01`;
  const next = plusDays(first, 32).slice(0, 8).concat('01');
  const from = times.instant(`${first}T00:00`);
  const to = times.instant(`${next}T00:00`);
  const names = ['therapist_name'];
  return (
    <div className="page">
      <h1>Reports</h1>
      <label className="inline">
        Month{' '}
        <input type="month" value={month} required onChange={(event) => event.target.value && setMonth(event.target.value)} />
      </label>
      <Report
        title="Utilization"
        view="therapist_utilization"
        span={{ by: 'week_start', from: weekBounds(first, times.timeZone).firstDay, to: next }}
        picture={utilization}
        columns={[...names, 'week_start', 'available_hours', 'booked_hours', 'attended_hours', 'utilization_percent']}
      />
      <Report
        title="Authorizations"
        view="authorization_balances"
        picture={(rows) => pace(rows, times.today())}
        columns={[
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
        ]}
      />
      <Report
        title="Cancellations"
        view="cancellations"
        span={{ by: 'start_time', from, to }}
        picture={cancellations}
        columns={['start_time', 'cancelled_for', 'notice_hours', 'reason']}
      />
      <Report
        title="Supervision of technicians"
        view="supervision_share"
        span={{ by: 'month', from: first, to: next }}
        picture={supervision}
        columns={[...names, 'direct_hours', 'supervised_hours', 'contacts', 'supervised_percent', 'is_sufficient']}
      />
      <Report
        title="From hold to booking"
        view="hold_funnel"
        span={{ by: 'day', from: first, to: next }}
        picture={funnel}
        columns={['day', 'held', 'confirmed', 'released', 'expired', 'live', 'refused_requests']}
      />
    </div>
  );
}

interface Card {
  readonly title: string;
  readonly view: string;
  readonly span?: { by: string; from: string; to: string };
  readonly columns: readonly string[];
  picture(rows: readonly Row[]): Picture;
}

function Report({ title, view, span, columns, picture }: Card) {
  const { times } = useMe();
  const { data, error, isPending } = useReport<Row>(view, span);
  const written = (row: Row, column: string) => {
    const value = row[column];
    if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value)) return `${times.day(value)}, ${times.clock(value)}`;
    if (typeof value === 'boolean') return value ? 'yes' : 'no';
    return value === null || value === undefined ? '–' : String(value);
  };
  const isNumber = (column: string) => /hours|units|percent|contacts|held|confirmed|released|expired|live|refused/.test(column);
  const shown = data && picture(data);
  const table = data?.map((row) => Object.fromEntries(columns.map((column) => [column, written(row, column)])));
  const id = `report-${view}`;
  return (
    <section className="report" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <State pending={isPending} error={error} />
      {shown && table && (
        <>
          <p>{shown.sentence}</p>
          {shown.pieces.some(({ value }) => value > 0) && <Bars picture={shown} />}
          <details>
            <summary>
              Table, {table.length} {table.length === 1 ? 'row' : 'rows'}
            </summary>
            <div className="scroll">
              <table>
                <thead>
                  <tr>
                    {columns.map((column) => (
                      <th key={column} scope="col" className={isNumber(column) ? 'number' : undefined}>
                        {column.replaceAll('_', ' ')}
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {table.map((row) => (
                    <tr key={JSON.stringify(row)}>
                      {columns.map((column) => (
                        <td key={column} className={isNumber(column) ? 'number' : undefined}>
                          {row[column]}
                        </td>
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            <button type="button" onClick={() => download(`${view}.csv`, toCsv(table, [...columns]))}>
              <Download size={16} aria-hidden /> CSV
            </button>
          </details>
        </>
      )}
    </section>
  );
}

const COLOURS = ['var(--chart-1)', 'var(--chart-2)', 'var(--chart-3)', 'var(--chart-4)'];

function Bars({ picture }: { picture: Picture }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const parts = [...new Set(picture.pieces.map(({ part }) => part))];
    const bars = [...new Set(picture.pieces.map(({ bar }) => bar))];
    const drawn = plot({
      width: Math.min(box.current?.clientWidth ?? 720, 820),
      height: 60 + bars.length * 34,
      marginLeft: 150,
      marginBottom: 44,
      x: { label: picture.unit, labelOffset: 40 },
      y: { label: null, domain: bars },
      color: { domain: parts, range: COLOURS },
      marks: [
        gridX(),
        barX(picture.pieces, {
          x: 'value',
          y: 'bar',
          fill: 'part',
          insetTop: 4,
          insetBottom: 4,
          title: ({ bar, part, value }: Piece) => `${bar}, ${part}: ${Math.round(value * 10) / 10}`,
        }),
        tickX(picture.ticks ?? [], { x: 'value', y: 'bar', strokeWidth: 3 }),
        ruleX([0]),
      ],
    });
    // The page's own rules forbid styles inside documents; this style sheet has what the picture needs of them.
    for (const style of drawn.querySelectorAll('style')) style.remove();
    // The picture says nothing that the sentence and the table do not.
    drawn.setAttribute('aria-hidden', 'true');
    box.current?.replaceChildren(drawn);
  }, [picture]);
  const parts = [...new Set(picture.pieces.map(({ part }) => part))];
  const isOneEach = parts.length === new Set(picture.pieces.map(({ bar }) => bar)).size;
  return (
    <figure>
      {!isOneEach && parts.length > 1 && (
        <figcaption className="legend">
          {parts.map((part, index) => (
            <span key={part}>
              <i className={`swatch chart-${index + 1}`} aria-hidden /> {part}
            </span>
          ))}
        </figcaption>
      )}
      <div ref={box} />
    </figure>
  );
}

function download(name: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
