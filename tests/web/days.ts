/**
 * The days of the tests in a browser are written as days of 2027, and are those of the first year whose February lies
 * ahead: as far from the changes of clocks, on the same day of the week. A test of one year would fail after it.
 */

const DAY_MS = 86_400_000;

/** The second Sunday of March, on which clocks go forward in the United States. */
function springForward(year: number): number {
  const march1 = Date.UTC(year, 2, 1);
  return march1 + (((7 - new Date(march1).getUTCDay()) % 7) + 7) * DAY_MS;
}

const today = new Date();
const isAhead = today.getTime() < Date.UTC(today.getUTCFullYear(), 0, 20);
const year = Number(process.env.YEAR_OF_DAYS ?? today.getUTCFullYear() + (isAhead ? 0 : 1));
/** Whole weeks. */
const shift = springForward(year) - springForward(2027);

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const moved = (date: number) => new Date(date + shift);

/**
 * A text that names days of 2027, with the days they stand for. `YEAR_OF_DAYS=2029` tries those of another year.
 *
 * @example
 * ```ts
 * on`Moved to Wed, Feb 3, 2027`; // 'Moved to Wed, Feb 2, 2028' in the summer of 2027
 * ```
 */
export function on(texts: TemplateStringsArray, ...values: unknown[]): string {
  return String.raw({ raw: texts }, ...values)
    .replace(/2027-\d\d-\d\d/g, (date) => moved(Date.parse(date)).toISOString().slice(0, 10))
    .replace(
      /\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)([a-z]*) (\d{1,2})(, 2027)?\b/g,
      (_, short: string, long: string, day: string, ofYear = '') => {
        const date = moved(Date.UTC(2027, months.indexOf(short), Number(day)));
        const month = date.toLocaleDateString('en-US', { month: long ? 'long' : 'short', timeZone: 'UTC' });
        return `${month} ${date.getUTCDate()}${ofYear && `, ${date.getUTCFullYear()}`}`;
      },
    );
}
