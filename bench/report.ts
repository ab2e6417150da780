/** The lines of a run: told as they come, and written as a table, as data and as a picture. */
import { writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import pc from 'picocolors';
import { type Aim, chart, type Line, meets } from './chart.ts';

/** An aim that is met up to a limit. */
export const atMost = (limit: number, unit: string): Aim => ({
  text: `≤ ${limit} ${unit}`,
  limit,
  atLeast: false,
});

/** Collects the lines of a run. */
export class Report {
  readonly #lines: Line[] = [];
  readonly #started = performance.now();

  /** Says what is being done. */
  say(text: string): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(0).padStart(4);
    console.log(`${pc.dim(`${seconds} s`)}  ${text}`);
  }

  /**
   * Adds a line.
   *
   * @param value what is held against the aim, in its unit
   */
  add(what: string, measured: string, value: number | null = null, aim?: Aim): void {
    const met = aim && value !== null ? meets(value, aim) : null;
    this.#lines.push({ what, measured, ratio: value, aim: aim ?? null, met });
    this.say(
      `${what}: ${measured}${aim ? ` ${met ? pc.green('meets') : pc.red('misses')} ${aim.text}` : ''}`,
    );
  }

  /** Prints the table and writes `<name>.md`, `<name>.json` and `<name>.svg` into this folder. */
  async write(name: string, title: string, postgres: string): Promise<void> {
    const lines = this.#lines;
    const table = new Table({
      head: ['What', 'Measured', 'Aim', ''],
      wordWrap: true,
      colWidths: [50, 62, 22, 8],
    });
    for (const { what, measured, aim, met } of lines)
      table.push([
        what,
        measured,
        aim?.text ?? '',
        met === null ? '' : met ? pc.green('met') : pc.red('missed'),
      ]);
    console.log(table.toString());

    const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'CPU'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
    const date = new Date().toISOString().slice(0, 10);
    await writeFile(
      join(import.meta.dirname, `${name}.md`),
      [
        `# ${title} of ${date}`,
        '',
        `Postgres ${postgres}, Node ${process.versions.node}, ${machine}. Compare within this table only.`,
        '',
        '| What | Measured | Aim | |',
        '|---|---|---|---|',
        ...lines.map(
          ({ what, measured, aim, met }) =>
            `| ${what} | ${measured} | ${aim?.text ?? ''} | ${met === null ? '' : met ? 'met' : '**missed**'} |`,
        ),
        '',
      ].join('\n'),
    );
    const data = { date, machine, postgres, node: process.versions.node, lines };
    await writeFile(join(import.meta.dirname, `${name}.json`), `${JSON.stringify(data, null, 2)}\n`);
    await writeFile(join(import.meta.dirname, `${name}.svg`), chart(lines, `${date}, ${machine}`));
    this.say(`Written to bench/${name}.md, bench/${name}.json and bench/${name}.svg`);
  }
}
