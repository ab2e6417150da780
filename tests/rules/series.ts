/** What the rules of `matrix.ts` mean for a series that changes or goes on, a new code, and a zone whose law changed. */
import type { Cell, Way } from './matrix.ts';

const because = (reason: string): Cell => ({ because: reason });
const goesOn = because('a series that breaks it is never booked, and it goes on as it is');
const sameTime = because('the time stays as it is');
const samePlace = because('who, with whom and where stay as they are');
const sameService = because('the service stays as it is');
const keepsUnits = because('what is moved keeps its units');
const joinsNoGroup = because('nobody joins a group on this way');

const extended: Readonly<Record<string, Cell>> = {
  past: because('a series goes on after now'),
  calendar: goesOn,
  length: goesOn,
  order: goesOn,
  zone: goesOn,
  abbreviation: goesOn,
  'other clinic’s client': because('the client stays who they are'),
  'other clinic’s room': because('the room stays as it is'),
  rendering: because('who gives the series renders its service'),
  'unknown service': sameService,
  'group service for one': sameService,
  'single service in a group': joinsNoGroup,
  'group size': joinsNoGroup,
};

const changed: Readonly<Record<string, Cell>> = {
  calendar: because('a change moves by at most 28 days, and nothing is booked near the end of the calendar'),
  'other clinic’s client': because('the client stays who they are'),
  'single service in a group': joinsNoGroup,
  'group size': joinsNoGroup,
  units: keepsUnits,
};

const recoded: Readonly<Record<string, Cell>> = {
  'therapist overlap': sameTime,
  'client overlap': sameTime,
  'room overlap': sameTime,
  buffer: sameTime,
  'hold overlap': sameTime,
  hours: sameTime,
  'time off': sameTime,
  closure: sameTime,
  past: sameTime,
  'too far': sameTime,
  calendar: sameTime,
  length: sameTime,
  order: sameTime,
  zone: sameTime,
  abbreviation: sameTime,
  caseload: samePlace,
  'archived therapist': samePlace,
  'archived client': samePlace,
  'archived room': samePlace,
  left: samePlace,
  'no therapist any more': samePlace,
  'other clinic’s client': samePlace,
  'other clinic’s therapist': samePlace,
  'other clinic’s room': samePlace,
  'moved to a technician': because('nothing is moved'),
  'single service in a group': joinsNoGroup,
  'group size': joinsNoGroup,
};

const resynced: Readonly<Record<string, Cell>> = {
  hours: 'allowed',
  'time off': 'allowed',
  closure: 'allowed',
  'too far': 'allowed',
  past: because('only what is to come goes back'),
  calendar: sameTime,
  length: because('it lasts as long as it did'),
  order: because('it lasts as long as it did'),
  zone: because('the zone stays as it is'),
  abbreviation: because('the zone stays as it is'),
  caseload: 'allowed',
  'own time': 'allowed',
  'archived therapist': samePlace,
  'archived client': samePlace,
  'archived room': samePlace,
  left: samePlace,
  'no therapist any more': samePlace,
  'other clinic’s client': samePlace,
  'other clinic’s therapist': samePlace,
  'other clinic’s room': samePlace,
  rendering: sameService,
  'moved to a technician': because('who gives it stays the same'),
  'unknown service': sameService,
  'group service for one': sameService,
  'single service in a group': joinsNoGroup,
  'group size': joinsNoGroup,
  units: keepsUnits,
  'payer’s code': sameService,
  'payer’s place': sameService,
};

const cells: Partial<Readonly<Record<Way, Readonly<Record<string, Cell>>>>> = {
  'extend series': extended,
  'change series': changed,
  'change following': changed,
  recode: recoded,
  resync: resynced,
};

/** A session that gets another code in spite of a rule: the code it has, none unless said so, and what is around it. */
export const recodedFrom: Readonly<Record<string, { code: string; setup?: string }>> = {
  'payer’s place': { code: '97152' },
  concurrency: {
    code: '97152',
    setup: `insert into public.payers (organization_id, id, name) values (rule_matrix.id('clinic'), rule_matrix.id('payer'), 'payer');
      insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
      select rule_matrix.id('clinic'), rule_matrix.id('payer'), code, '97155', code = '97152', '2020-01-01'
      from unnest(array['97152', '97153']) as code;
      insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from)
      values (rule_matrix.id('clinic'), rule_matrix.id('ann'), rule_matrix.id('payer'), 1, '2020-01-01');
      select rule_matrix.given_session(rule_matrix.lawful() || '{"therapist": "bcba", "code": "97155"}')`,
  },
};

/** The cell of a rule on one of these ways, where it is not what the rule says itself. */
export const seriesCell = (rule: string, way: Way): Cell | undefined => cells[way]?.[rule];
