/** What clinic admins ask of their data: an answer in a sentence, a picture, the table under it, and the table as CSV. */
import { barX, gridX, plot, ruleX, tickX } from '@observablehq/plot';
import { Download } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import {
  plusDays,
  type ReportQuery,
  type ReportSummary,
  type SummarizedReport,
  type SummaryRow,
  summarizeReport,
  toCsv,
  weekBounds,
} from 'therapist-sessions';
import { saveFile, useMe, useReport } from 'therapist-sessions/react';
import { Button, Field, State, Table } from './ui.tsx';

export default function Reports() {
  const { times } = useMe();
  const [month, setMonth] = useState(times.today().slice(0, 7));
  const from = `${month}-01`;
  const to = plusDays(from, 32).slice(0, 8).concat('01');
  const { firstDay } = weekBounds(from, times.timeZone);
  const instants = { from: times.instant(`${from}T00:00`), to: times.instant(`${to}T00:00`) };
  return (
    <div className="page">
      <h1>Reports</h1>
      <Field label="Month" type="month" value={month} required onValue={(value) => value && setMonth(value)} />
      <Report title="Utilization" view="therapist_utilization" query={{ by: 'week_start', from: firstDay, to }} />
      <Report title="Authorizations" view="authorization_balances" />
      <Report title="Cancellations" view="cancellations" query={{ by: 'start_time', ...instants }} />
      <Report title="Supervision of technicians" view="supervision_share" query={{ by: 'month', from, to }} />
      <Report title="From hold to booking" view="hold_funnel" query={{ by: 'day', from, to }} />
    </div>
  );
}

function Report({ title, view, query }: { title: string; view: SummarizedReport; query?: ReportQuery }) {
  const { times } = useMe();
  const { data, error, isPending } = useReport<SummaryRow>(view, query);
  const written = (value: SummaryRow[string] | undefined): string => {
    if (typeof value === 'boolean') return value ? 'yes' : 'no';
    const isInstant = typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value);
    return isInstant ? `${times.day(value)}, ${times.clock(value)}` : [value ?? '–'].flat().join(', ');
  };
  const { sentence, columns, ...picture } = summarizeReport(view, data ?? [], times.today());
  const table = (data ?? []).map((row) => Object.fromEntries(columns.map((name) => [name, written(row[name])])));
  const isNumber = (name: string) => typeof data?.[0]?.[name] === 'number' || /hours|percent/.test(name);
  const id = `report-${view}`;
  return (
    <section className="report" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <State pending={isPending} error={error} />
      {data && <p>{sentence}</p>}
      {picture.pieces.some(({ value }) => value > 0) && <Bars {...picture} />}
      <details>
        <summary>
          Table, {table.length} {table.length === 1 ? 'row' : 'rows'}
        </summary>
        <Table
          rows={table}
          columns={columns.map((name) => ({
            head: name.replaceAll('_', ' '),
            isNumber: isNumber(name),
            cell: (row: Readonly<Record<string, string>>) => row[name],
          }))}
        />
        <Button label="CSV" icon={Download} press={() => saveFile(`${view}.csv`, toCsv(table, [...columns]), 'text/csv')} />
      </details>
    </section>
  );
}

const colours = ['var(--chart-1)', 'var(--chart-2)', 'var(--chart-3)', 'var(--chart-4)'];

function Bars({ pieces, ticks, unit }: Pick<ReportSummary, 'pieces' | 'ticks' | 'unit'>) {
  const box = useRef<HTMLDivElement>(null);
  const parts = [...new Set(pieces.map(({ part }) => part))];
  const bars = [...new Set(pieces.map(({ bar }) => bar))];
  const drawn = JSON.stringify([pieces, ticks]);
  useEffect(() => {
    const picture = plot({
      width: Math.min(box.current?.clientWidth ?? 720, 820),
      height: 60 + bars.length * 34,
      marginLeft: 150,
      marginBottom: 44,
      x: { label: unit, labelOffset: 40 },
      y: { label: null, domain: bars },
      color: { domain: parts, range: colours },
      marks: [
        gridX(),
        barX(pieces, { x: 'value', y: 'bar', fill: 'part', insetTop: 4, insetBottom: 4 }),
        tickX(ticks, { x: 'value', y: 'bar', strokeWidth: 3 }),
        ruleX([0]),
      ],
    });
    // The page's own rules forbid styles inside documents; this style sheet has what the picture needs of them.
    for (const style of picture.querySelectorAll('style')) style.remove();
    // The picture says nothing that the sentence and the table do not.
    picture.setAttribute('aria-hidden', 'true');
    box.current?.replaceChildren(picture);
  }, [drawn]);
  return (
    <figure>
      {parts.length > 1 && parts.length < pieces.length && (
        <figcaption className="legend">
          {parts.map((part, index) => (
            <span key={part}>
              <i className="swatch" aria-hidden style={{ background: colours[index] }} /> {part}
            </span>
          ))}
        </figcaption>
      )}
      <div ref={box} />
    </figure>
  );
}
