/** What the rules of `matrix.ts` mean for time without a client. */
import type { Cell, Way } from './matrix.ts';

/** The ways it is written. */
export const STAFF_TIME_WAYS: readonly Way[] = [
  'staff time',
  'change staff time',
  'change staff series',
  'insert staff time',
  'update staff time',
];

const noClient = { because: 'it has no client and no service' };
const noZone = { because: 'a change keeps the zone' };

const cells: Readonly<Record<string, Cell>> = {
  'client overlap': noClient,
  concurrency: noClient,
  caseload: noClient,
  'archived client': noClient,
  'other clinic’s client': noClient,
  rendering: noClient,
  'moved to a technician': noClient,
  'unknown service': noClient,
  'group service for one': noClient,
  'single service in a group': noClient,
  'group size': noClient,
  units: noClient,
  'payer’s code': noClient,
  'payer’s place': noClient,
  buffer: { because: 'it has no buffers; travel is time of its own' },
};

const sameDays = { because: 'a series of it changes its hours, not its days' };
const days: Readonly<Record<string, Cell>> = {
  past: sameDays,
  'too far': sameDays,
  calendar: sameDays,
  zone: noZone,
  abbreviation: noZone,
};

/** The cell of a rule on one of these ways, where it is not what the rule says itself. */
export function staffTimeCell(rule: string, way: Way): Cell | undefined {
  if (!STAFF_TIME_WAYS.includes(way)) return undefined;
  if (way === 'change staff time' && ['zone', 'abbreviation'].includes(rule)) return noZone;
  if (way === 'change staff series' && rule in days) return days[rule];
  return cells[rule];
}
