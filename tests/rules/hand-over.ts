/** What becomes of the rules of placement when sessions are handed to another therapist: nothing but the therapist changes. */
import type { Cell, Way } from './matrix.ts';

const because = (reason: string): Cell => ({ because: reason });
const sameTime = because('the time stays as it is');
const sameClient = because('the client stays who they are, at their time');
const sameRoom = because('the room stays as it is');
const sameService = because('the service stays as it is');

const cells: Readonly<Record<string, Cell>> = {
  'client overlap': sameClient,
  concurrency: sameClient,
  'other clinic’s client': sameClient,
  'room overlap': sameRoom,
  'archived room': sameRoom,
  'other clinic’s room': sameRoom,
  past: sameTime,
  'too far': sameTime,
  calendar: sameTime,
  length: sameTime,
  order: sameTime,
  zone: sameTime,
  abbreviation: sameTime,
  'unknown service': sameService,
  'group service for one': sameService,
  'single service in a group': sameService,
  'payer’s code': sameService,
  'payer’s place': because('where it takes place stays as it is'),
  'group size': because('a group goes whole, and nobody joins it'),
  units: because('what is moved keeps its units'),
};

/** The cell of a rule on the way of a hand-over; undefined: as for everybody. */
export const handOverCell = (rule: string, way: Way): Cell | undefined =>
  way === 'hand over' ? cells[rule] : undefined;
