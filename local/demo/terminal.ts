/** How the demo speaks: steps, calls with their answers, tables. */
import { inspect } from 'node:util';
import Table from 'cli-table3';
import colors from 'picocolors';
import type { Exchange } from './exchange.ts';

const print = (line = '') => process.stdout.write(`${line}\n`);
const indent = (text: string) => text.replace(/^(?=.)/gm, '   ');

let steps = 0;

/** Begins a step: its number, what happens, and why a reader should care. */
export function step(title: string, why: string): void {
  steps += 1;
  print(`\n${colors.bold(colors.cyan(`${steps}. ${title}`))}`);
  print(indent(colors.dim(why)));
}

/** How many steps were shown. */
export function stepCount(): number {
  return steps;
}

/** A finding, after it was checked. */
export function checked(sentence: string): void {
  print(indent(`${colors.green('✓')} ${sentence}`));
}

/** Rows under a heading. Cells are text; colours are the caller's. */
export function table(head: string[], rows: (string | number)[][]): void {
  const drawn = new Table({
    head: head.map((title) => colors.bold(title)),
    style: { head: [], border: colors.isColorSupported ? ['gray'] : [], compact: true },
  });
  drawn.push(...rows.map((row) => row.map(String)));
  print(indent(drawn.toString()));
}

/** One call and its real answer: of long lists the first items, of the headers those that matter. */
export function answer(exchange: Exchange, shown: unknown = exchange.body): void {
  const good = exchange.status < 400;
  const status = (good ? colors.green : colors.yellow)(String(exchange.status));
  const took = colors.dim(`${Math.round(exchange.milliseconds)} ms`);
  print();
  print(indent(`${colors.bold(exchange.method)} ${exchange.path}  ${colors.dim('→')} ${status}  ${took}`));
  for (const name of ['idempotency-key', 'idempotent-replay', 'retry-after', 'x-request-id']) {
    const value = exchange.headers.get(name);
    if (value !== null) print(indent(colors.dim(`${name}: ${value}`)));
  }
  const options = { depth: 6, maxArrayLength: 2, breakLength: 110, colors: colors.isColorSupported };
  print(indent(inspect(shown, options)));
}

/** A line of its own. */
export function say(line = ''): void {
  print(line);
}
