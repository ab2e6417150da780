/** What the rules of `matrix.ts` mean for an import. */
import type { Cell } from './matrix.ts';

const adminsOnly = { because: 'only an admin imports' };
const noGroup = { because: 'groups are not imported' };
const noBuffer = { because: 'an imported session has no buffers' };

const cells: Readonly<Record<string, Cell>> = {
  buffer: noBuffer,
  past: 'allowed',
  'single service in a group': noGroup,
  'group size': noGroup,
  'moved to a technician': { because: 'nothing is moved' },
};

/** The cell of a rule on the way of an import, where it is not what the rule says itself. */
export function importCell(rule: string, path: string): Cell | undefined {
  if (path === 'import · rbt') return rule === 'lawful' ? 'refused' : adminsOnly;
  return path === 'import · admin' ? cells[rule] : undefined;
}

/** What an import says of a row that breaks a rule: the field of an issue, or what is in the way. */
export const IMPORT_SAYS: Readonly<Record<string, readonly string[]>> = {
  'therapist overlap': ['therapist session'],
  'client overlap': ['client session'],
  'room overlap': ['room session'],
  'hold overlap': ['therapist hold'],
  concurrency: ['client session'],
  hours: ['therapist availability'],
  'time off': ['therapist availability'],
  closure: ['therapist closure'],
  'too far': ['rows.0.end_time'],
  calendar: ['rows.0.start_time', 'rows.0.end_time'],
  length: ['rows.0.end_time'],
  order: ['rows.0.end_time'],
  zone: ['rows.0.time_zone'],
  abbreviation: ['rows.0.time_zone'],
  units: ['client authorization'],
  'payer’s code': ['rows.0.cpt_code', 'client authorization'],
};

/** Of every other rule it says who or what cannot be booked. */
export const IMPORT_SAYS_OTHERWISE: readonly string[] = [
  'rows.0.therapist_id',
  'rows.0.cpt_code',
  'FORBIDDEN',
];
