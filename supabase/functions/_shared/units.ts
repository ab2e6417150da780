/**
 * Billable units: minutes of a timed service, in units of 15 unless the code says otherwise.
 *
 * How minutes round is the payer's rule, so it is an argument. Seconds are cut before anything is rounded or added. The
 * database computes the same (`private.billable_units`, `private.day_units`).
 *
 * @module
 */

/** The length of a unit of every adaptive-behavior code. */
export const UNIT_MINUTES = 15;

/**
 * How a payer rounds minutes to units.
 * - `midpoint`: each visit by itself, from the 8th minute of a unit on (AMA CPT "midpoint": 8–22 → 1, 23–37 → 2).
 * - `midpoint_daily`: the minutes of one client, provider, code and day together, then midpoint; see {@link dayUnits}.
 * - `floor`: only whole units.
 * - `ceil`: every begun unit.
 * - `cms_pooled`: the day's minutes of all timed codes together, then shared out; see {@link poolUnits}.
 */
export type UnitRounding = 'midpoint' | 'midpoint_daily' | 'floor' | 'ceil' | 'cms_pooled';

/**
 * The units of one service's minutes.
 *
 * @param minutes - elapsed minutes, 0 or more; a begun minute does not count
 * @param rounding - the payer's rule. `midpoint_daily` and `cms_pooled` give what the service would have as the only one
 *   of its day
 * @param unitMinutes - the length of the code's unit
 * @returns whole units
 * @throws RangeError when the minutes are negative or not finite
 * @example
 * ```ts
 * billableUnits(16); // 1
 * billableUnits(23); // 2
 * billableUnits(29, 'floor'); // 1
 * billableUnits(60.9, 'ceil'); // 4
 * ```
 */
export function billableUnits(
  minutes: number,
  rounding: UnitRounding = 'midpoint',
  unitMinutes: number = UNIT_MINUTES,
): number {
  const whole = wholeMinutes(minutes);
  if (rounding === 'floor') return Math.floor(whole / unitMinutes);
  if (rounding === 'ceil') return Math.ceil(whole / unitMinutes);
  return Math.floor((whole + Math.floor((unitMinutes - 1) / 2)) / unitMinutes);
}

/** The minutes of one timed code that one provider gave one client on one day. */
export interface TimedService {
  readonly code: string;
  /** Elapsed minutes, 0 or more; a begun minute does not count. */
  readonly minutes: number;
}

/**
 * The units of a day by CMS's rule (Medicare Claims Processing Manual, chapter 5, §20.2): the minutes of all timed codes
 * are added up and rounded once; each code gets its whole units, and what is left goes to the codes with the most
 * minutes over.
 *
 * @param services - one client's and provider's services of one day, earliest first; a code may occur more than once
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
    minutesByCode.set(code, (minutesByCode.get(code) ?? 0) + wholeMinutes(minutes));
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

/** One client's service as it was rendered. */
export interface RenderedService extends TimedService {
  readonly sessionId: string;
  readonly clientId: string;
  readonly therapistId: string;
  /** The local day of service, `YYYY-MM-DD`. */
  readonly date: string;
  /** When it began, as an instant: earlier visits of a day take their units first. */
  readonly startTime: Date;
  readonly rounding: UnitRounding;
  /** The length of the code's unit. Default 15. */
  readonly unitMinutes?: number;
}

/**
 * The units of each rendered service: by itself, or, for `midpoint_daily` and `cms_pooled`, its share of the day's, so
 * that the shares add up to the day's units. A visit's share is what it adds to the visits of its code before it that day.
 *
 * @param services - whole days of services, in any order
 * @returns units by session id
 * @throws RangeError when minutes are negative or not finite
 * @example
 * ```ts
 * const day = { clientId: 'c', therapistId: 't', date: '2026-12-01', code: '97153', rounding: 'midpoint_daily' } as const;
 * const units = dayUnits([
 *   { ...day, sessionId: 'morning', startTime: new Date('2026-12-01T17:00:00Z'), minutes: 23 },
 *   { ...day, sessionId: 'noon', startTime: new Date('2026-12-01T20:00:00Z'), minutes: 23 },
 * ]);
 * [...units]; // [['morning', 2], ['noon', 1]]
 * ```
 */
export function dayUnits(services: readonly RenderedService[]): Map<string, number> {
  const inOrder = [...services].sort(
    (a, b) => a.startTime.getTime() - b.startTime.getTime() || (a.sessionId < b.sessionId ? -1 : 1),
  );
  const units = new Map<string, number>();
  const isPooled = ({ rounding, unitMinutes }: RenderedService) =>
    rounding === 'cms_pooled' && (unitMinutes ?? UNIT_MINUTES) === UNIT_MINUTES;
  for (const service of inOrder) {
    if (service.rounding !== 'midpoint_daily' && !isPooled(service)) {
      units.set(service.sessionId, billableUnits(service.minutes, service.rounding, service.unitMinutes));
    }
  }
  const byDay = inOrder.filter((service) => service.rounding === 'midpoint_daily');
  for (const day of Map.groupBy(byDay, (service) =>
    [dayOf(service), service.code, service.unitMinutes ?? UNIT_MINUTES].join(),
  ).values()) {
    share(day, units, (minutes, { rounding, unitMinutes }) => billableUnits(minutes, rounding, unitMinutes));
  }
  for (const day of Map.groupBy(inOrder.filter(isPooled), dayOf).values()) {
    // Codes that begin at one instant take what is left in the order of their numbers.
    const pooled = poolUnits(
      [...day].sort((a, b) => a.startTime.getTime() - b.startTime.getTime() || (a.code < b.code ? -1 : 1)),
    );
    for (const visits of Map.groupBy(day, ({ code }) => code).values()) {
      const all = visits.reduce((sum, { minutes }) => sum + wholeMinutes(minutes), 0);
      share(visits, units, (minutes, { code }) => {
        const ofCode = pooled[code] ?? 0;
        return minutes === all ? ofCode : Math.min(ofCode, billableUnits(minutes));
      });
    }
  }
  return units;
}

/** Gives each visit what it adds to those before it, where `unitsOf` says what the first minutes of them are worth. */
function share(
  visits: readonly RenderedService[],
  units: Map<string, number>,
  unitsOf: (minutes: number, visit: RenderedService) => number,
): void {
  let before = 0;
  for (const visit of visits) {
    const upTo = before + wholeMinutes(visit.minutes);
    units.set(visit.sessionId, unitsOf(upTo, visit) - unitsOf(before, visit));
    before = upTo;
  }
}

function dayOf({ clientId, therapistId, date }: RenderedService): string {
  return [clientId, therapistId, date].join();
}

function wholeMinutes(minutes: number): number {
  if (!(minutes >= 0 && Number.isFinite(minutes))) throw new RangeError('Minutes must be 0 or more');
  return Math.floor(minutes);
}
