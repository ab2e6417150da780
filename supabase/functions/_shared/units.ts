/**
 * Billable units: minutes of a timed service, in units of 15.
 *
 * How minutes round is the payer's rule, so it is an argument. Each session is rounded by itself; only CMS pools a day.
 *
 * @module
 */

/** The length of a unit of every adaptive-behavior code. */
export const UNIT_MINUTES = 15;

/**
 * How a payer rounds minutes to units.
 * - `midpoint`: from the 8th minute of a unit on (AMA CPT "midpoint": 8–22 → 1, 23–37 → 2). The usual one.
 * - `floor`: only whole units.
 * - `ceil`: every begun unit.
 * - `cms_pooled`: the day's minutes of all timed codes together, then shared out; see {@link poolUnits}.
 */
export type UnitRounding = 'midpoint' | 'floor' | 'ceil' | 'cms_pooled';

/**
 * The units of one session's minutes.
 *
 * @param minutes - elapsed minutes, 0 or more
 * @param rounding - the payer's rule. `cms_pooled` gives what the session would have as the only one of its day
 * @returns whole units
 * @throws RangeError when the minutes are negative or not finite
 * @example
 * ```ts
 * billableUnits(16); // 1
 * billableUnits(23); // 2
 * billableUnits(29, 'floor'); // 1
 * ```
 */
export function billableUnits(minutes: number, rounding: UnitRounding = 'midpoint'): number {
  if (!(minutes >= 0 && Number.isFinite(minutes))) throw new RangeError('Minutes must be 0 or more');
  if (rounding === 'floor') return Math.floor(minutes / UNIT_MINUTES);
  if (rounding === 'ceil') return Math.ceil(minutes / UNIT_MINUTES);
  return Math.floor((Math.floor(minutes) + 7) / UNIT_MINUTES);
}

/** The minutes of one timed code that one provider gave one client on one day. */
export interface TimedService {
  readonly code: string;
  /** Elapsed minutes, 0 or more. */
  readonly minutes: number;
}

/**
 * The units of a day by CMS's rule (Medicare Claims Processing Manual, chapter 5, §20.2): the minutes of all timed codes
 * are added up and rounded once; each code gets its whole units, and what is left goes to the codes with the most
 * minutes over.
 *
 * @param services - one client's and provider's services of one day; a code may occur more than once
 * @returns units by code, in the order the codes first occur
 * @throws RangeError when minutes are negative or not finite
 * @example
 * ```ts
 * poolUnits([{ code: '97153', minutes: 7 }, { code: '97155', minutes: 7 }]); // { '97153': 1, '97155': 0 }
 * ```
 */
export function poolUnits(services: readonly TimedService[]): Record<string, number> {
  const minutesByCode = new Map<string, number>();
  for (const { code, minutes } of services) {
    if (!(minutes >= 0 && Number.isFinite(minutes))) throw new RangeError('Minutes must be 0 or more');
    minutesByCode.set(code, (minutesByCode.get(code) ?? 0) + minutes);
  }
  const rows = [...minutesByCode].map(([code, minutes]) => ({
    code,
    units: Math.floor(minutes / UNIT_MINUTES),
    over: minutes % UNIT_MINUTES,
  }));
  const total = billableUnits([...minutesByCode.values()].reduce((sum, minutes) => sum + minutes, 0));
  let left = total - rows.reduce((sum, { units }) => sum + units, 0);
  for (const row of [...rows].sort((a, b) => b.over - a.over)) {
    if (left <= 0) break;
    row.units += 1;
    left -= 1;
  }
  return Object.fromEntries(rows.map(({ code, units }) => [code, units]));
}
