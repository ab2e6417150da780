/** What clinic admins ask of their data: an answer in a sentence, a picture, the table under it, and the table as CSV. */
import { barX, gridX, plot, ruleX, tickX } from '@observablehq/plot';
import { Download } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import type { ReportSummary, SummarizedReport } from 'therapist-sessions';
import { useMe, useMonthlyReport } from 'therapist-sessions/react';
import { Button, Field, State, Table } from './ui.tsx';

export default function Reports() {
  const { times } = useMe();
  const [month, setMonth] = useState(times.today().slice(0, 7));
  return (
    <div className="page">
      <h1>Reports</h1>
      <Field label="Month" type="month" value={month} required onValue={(value) => value && setMonth(value)} />
      <Report title="Utilization" view="therapist_utilization" month={month} />
      <Report title="Authorizations" view="authorization_balances" month={month} />
      <Report title="Cancellations" view="cancellations" month={month} />
      <Report title="Supervision of technicians" view="supervision_share" month={month} />
      <Report title="From hold to booking" view="hold_funnel" month={month} />
    </div>
  );
}

function Report({ title, view, month }: { title: string; view: SummarizedReport; month: string }) {
  const { sentence, columns, table, isNumber, ...report } = useMonthlyReport(view, month);
  const id = `report-${view}`;
  return (
    <section className="report" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <State pending={report.isPending} error={report.error} />
      {!report.isEmpty && <p>{sentence}</p>}
      {report.pieces.some(({ value }) => value > 0) && <Bars {...report} />}
      <details>
        <summary>
          Table, {table.length} {table.length === 1 ? 'row' : 'rows'}
        </summary>
        <Table
          rows={table}
          columns={columns.map((name) => ({
            ...{ head: name.replaceAll('_', ' '), isNumber: isNumber(name) },
            cell: (row: Readonly<Record<string, string>>) => row[name],
          }))}
        />
        <Button label="CSV" icon={Download} press={report.saveCsv} />
      </details>
    </section>
  );
}

const colours = ['var(--chart-1)', 'var(--chart-2)', 'var(--chart-3)', 'var(--chart-4)'];

function Bars({ pieces, ticks, unit }: Pick<ReportSummary, 'pieces' | 'ticks' | 'unit'>) {
  const box = useRef<HTMLDivElement>(null);
  const parts = [...new Set(pieces.map(({ part }) => part))];
  const bars = [...new Set(pieces.map(({ bar }) => bar))];
  // Of a few there is no half.
  const isWhole = pieces.every(({ value }) => Number.isInteger(value) && value < 10);
  const drawn = JSON.stringify([pieces, ticks]);
  useEffect(() => {
    const picture = plot({
      width: Math.min(box.current?.clientWidth ?? 720, 820),
      height: 40 + bars.length * 34,
      marginLeft: 150,
      x: { label: null, tickFormat: 'd', interval: isWhole ? 1 : undefined },
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
      <p className="muted small-text">In {unit}.</p>
    </figure>
  );
}
