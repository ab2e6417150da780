/**
 * The rules of bookings, the ways to write one, and what should come of each rule on each way. `matrix.test.ts` tries all of
 * it; `npm run rule-matrix` writes `docs/rule-matrix.md` from it.
 */

import { handOverCell } from './hand-over.ts';
import { importCell } from './import.ts';
import { seriesCell } from './series.ts';
import { staffTimeCell } from './staff-time.ts';

/** What comes of an attempt that breaks a rule. */
export type Outcome = 'refused' | 'allowed';

/** What should come of it, or why the question does not arise. */
export type Cell = Outcome | { readonly because: string };

/** Who acts: members of the clinic, the secret key, and a session of the database's owner. */
export type Person = 'rbt' | 'admin' | 'super' | 'service_role' | 'SQL';

/** How a row is written. */
export type Way =
  | 'hold'
  | 'confirm'
  | 'move'
  | 'move group'
  | 'hand over'
  | 'change series'
  | 'change following'
  | 'extend series'
  | 'recode'
  | 'resync'
  | 'offer'
  | 'insert'
  | 'update'
  | 'update group'
  | 'staff time'
  | 'change staff time'
  | 'change staff series'
  | 'insert staff time'
  | 'update staff time'
  | 'import'
  | 'record';

/** One way, by one person. */
export interface Path {
  readonly id: string;
  readonly way: Way;
  readonly person: Person;
  readonly title: string;
}

const path = (way: Way, person: Person, title: string): Path => ({
  id: `${way} · ${person}`,
  way,
  person,
  title,
});

export const paths: readonly Path[] = [
  path('hold', 'rbt', 'hold, therapist'),
  path('hold', 'admin', 'hold, admin'),
  path('confirm', 'rbt', 'confirm, therapist'),
  path('confirm', 'admin', 'confirm, admin'),
  path('move', 'rbt', 'move, therapist'),
  path('move', 'admin', 'move, admin'),
  path('move group', 'rbt', 'move a group, therapist'),
  path('move group', 'admin', 'move a group, admin'),
  path('hand over', 'admin', 'hand over, admin'),
  path('change series', 'rbt', 'change a whole series, therapist'),
  path('change series', 'admin', 'change a whole series, admin'),
  path('change following', 'rbt', 'change the following, therapist'),
  path('change following', 'admin', 'change the following, admin'),
  path('extend series', 'rbt', 'extend a series, therapist'),
  path('extend series', 'admin', 'extend a series, admin'),
  path('recode', 'rbt', 'recode, therapist'),
  path('recode', 'admin', 'recode, admin'),
  path('resync', 'super', 'resync a zone, super_admin'),
  path('offer', 'admin', 'waitlist offer'),
  path('insert', 'rbt', 'insert, therapist'),
  path('insert', 'admin', 'insert, admin'),
  path('insert', 'service_role', 'insert, service_role'),
  path('insert', 'SQL', 'insert, SQL'),
  path('update', 'rbt', 'update, therapist'),
  path('update', 'admin', 'update, admin'),
  path('update', 'service_role', 'update, service_role'),
  path('update', 'SQL', 'update, SQL'),
  path('update group', 'service_role', 'update a group, service_role'),
  path('update group', 'SQL', 'update a group, SQL'),
  path('import', 'rbt', 'import, therapist'),
  path('import', 'admin', 'import, admin'),
  path('staff time', 'rbt', 'staff time, therapist'),
  path('staff time', 'admin', 'staff time, admin'),
  path('change staff time', 'rbt', 'change staff time, therapist'),
  path('change staff time', 'admin', 'change staff time, admin'),
  path('change staff series', 'rbt', 'change a series of staff time, therapist'),
  path('change staff series', 'admin', 'change a series of staff time, admin'),
  path('insert staff time', 'service_role', 'insert staff time, service_role'),
  path('insert staff time', 'SQL', 'insert staff time, SQL'),
  path('update staff time', 'service_role', 'update staff time, service_role'),
  path('update staff time', 'SQL', 'update staff time, SQL'),
];

/** Functions of the API and the ways they are; a reason where they write no booking. */
export const functions: Readonly<Record<string, readonly Way[] | string>> = {
  hold_sessions: ['hold', 'move', 'change series', 'change following'],
  confirm_sessions: ['confirm', 'move', 'hand over', 'change series', 'change following'],
  extend_series: ['extend series'],
  move_group: ['move group'],
  hold_reassignment: ['hand over'],
  offer_freed_slots: ['offer'],
  cancel_sessions: ['offer', 'record'],
  start_session: ['record'],
  end_session: ['record'],
  complete_session: ['record'],
  mark_no_show: ['record'],
  correct_visit: ['record'],
  add_staff_time: ['staff time'],
  change_staff_time: ['change staff time', 'change staff series'],
  cancel_staff_time: 'only gives time back',
  import_sessions: ['import'],
  create_calendar_feed: 'writes no booking',
  revoke_calendar_feed: 'writes no booking',
  read_calendar_feed: 'reads, and records that it did',
  release_hold: 'only gives time back',
  recode_sessions: ['recode'],
  resync_zone: ['resync'],
  add_closure: 'cancels at most; where a closure stands is a rule here',
  add_time_off: 'cancels at most; where time off stands is a rule here',
  set_availability_hours: 'changes what can be booked, no booking',
  set_active_organization: 'changes the token of the caller',
  add_member: 'changes who may book',
  change_member: 'changes who may book and be booked',
  remove_member: 'changes who may book and be booked',
  archive: 'changes who may be booked; cancels at most',
  set_credential: 'changes what may be rendered; cancels at most',
  start_data_key: 'writes no booking',
  prepare_note: 'writes no booking',
  save_note_draft: 'writes a note',
  sign_note: 'signs a note',
  amend_note: 'writes a note',
  read_note: 'reads, and records that it did',
  note_history: 'reads, and records that it did',
  prepare_client_details: 'writes no booking',
  save_client_details: 'writes a client’s details',
  read_client_details: 'reads, and records that it did',
  read_client_names: 'reads, and records that it did',
};

/** Tables that API roles may write and the ways that is; a reason where what they hold is no booking. */
export const tables: Readonly<Record<string, readonly Way[] | string>> = {
  sessions: ['insert', 'update', 'record'],
  session_groups: ['update group'],
  staff_times: ['insert staff time', 'update staff time'],
  staff_time_members: ['insert staff time', 'update staff time'],
  waitlist_entries: ['offer'],
  organizations: 'settings',
  organization_closures: 'where a closure stands is a rule here',
  memberships: 'who may book and be booked is a rule here',
  therapists: 'who may be booked is a rule here',
  clients: 'who may be booked is a rule here',
  rooms: 'what may be booked is a rule here',
  caseloads: 'who books whom is a rule here',
  client_users: 'who reads what',
  availability_exceptions: 'where time off stands is a rule here',
  payers: 'a payer’s rules',
  payer_rules: 'a payer’s rules',
  payer_code_rules: 'a payer’s rules',
  payer_concurrency_rules: 'a payer’s rules; what they forbid is a rule here',
  client_coverages: 'who pays',
  authorizations: 'what is authorized; that it is not exceeded is a rule here',
  authorization_codes: 'what is authorized; that it is not exceeded is a rule here',
  unit_limits: 'what is authorized; that it is not exceeded is a rule here',
  service_codes: 'which services there are; that others are refused is a rule here',
};

/**
 * What would be booked, by the names of `world.sql`. Times are instants, or `monday 10:00` (of a week well ahead),
 * `days 3 10:00` or `minutes 30` from now.
 */
export interface Place {
  therapist?: string;
  client?: string;
  clients?: string[];
  room?: string;
  start?: string;
  end?: string;
  zone?: string;
  code?: string;
  /** Its place, as the payer would call it: `telehealth`. */
  location?: string;
  group?: string;
  /** Buffer before the start, in minutes. */
  before?: number;
  /** Whether an override of every rule that has a name is asked for. */
  override?: boolean;
}

/** A rule of placement, and how a place breaks it. */
interface Rule {
  readonly name: string;
  /** A sentence that is true of every row, whoever wrote it. */
  readonly title: string;
  /** Codes and constraints of its refusals: a refusal that says something else is of another rule. */
  readonly says?: readonly string[];
  /** What the place has that a lawful one has not. */
  readonly place?: Place;
  /** Where the session that is moved or changed stands before; a lawful place of the day after, with these changes. */
  readonly from?: Place;
  /** SQL of the operator that makes the place break the rule. `{start}` and `{end}` are the place's. */
  readonly setup?: string;
  /** Who is refused among users; default both. */
  readonly refused?: 'therapists' | 'users' | 'nobody';
  /** What comes of it for `service_role` and SQL; default refused. */
  readonly service?: Outcome;
  /** Cells that are otherwise, by way or by path. */
  readonly cells?: Readonly<Record<string, Cell>>;
}

const clinic = "rule_matrix.id('clinic')";
const given = (place: string) => `select rule_matrix.given_session(rule_matrix.lawful() || '${place}')`;
const archive = (table: string, name: string) =>
  `update public.${table} set deleted_at = now() where organization_id = ${clinic} and id = rule_matrix.id('${name}')`;
const held = { because: 'a hold that breaks it is never made' };
const claimed = { because: 'what is held is claimed: nobody else can have taken it' };
const noService = { because: 'the service stays as it is' };
const alone = { because: 'this way moves a whole group' };
const newOnly = { because: 'what is moved keeps its client and its group' };
const freed = { because: 'what is offered has just been booked, lawfully' };
const inGroup = { because: 'a group has several clients' };
const noPlace = { because: 'where it takes place is said when it is confirmed' };
const samePeople = { because: 'the client stays who they are' };

/** A client with a payer. */
const payerOfAnn = `insert into public.payers (organization_id, id, name) values (${clinic}, rule_matrix.id('payer'), 'payer');
      insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from)
      values (${clinic}, rule_matrix.id('ann'), rule_matrix.id('payer'), 1, '2020-01-01');`;

const closed = ['OUTSIDE_AVAILABILITY', 'outside_availability'];
const times = [
  ...['VALIDATION_FAILED', 'sessions_times', 'session_groups_times', 'session_groups_end_time_in_reason'],
  ...['staff_times_times', 'staff_times_end_time_in_reason'],
];
const authority = ['FORBIDDEN', 'no privilege', 'no row', 'session_bookable', 'staff_time_bookable'];
const tenancy = [
  ...[...authority, 'session_identity'],
  ...['staff_time_members_organization_id_therapist_id_fkey', 'staff_times_organization_id_room_id_fkey'],
  'session_groups_organization_id_therapist_id_fkey',
];

/** Rules about where, when, with whom and for what a session is booked. */
const rulesOfPlacement: readonly Rule[] = [
  {
    name: 'lawful',
    title: 'What breaks no rule is booked',
    refused: 'nobody',
    service: 'allowed',
  },
  {
    name: 'therapist overlap',
    title: 'A therapist is in one place at a time',
    says: ['THERAPIST_CONFLICT', 'sessions_no_therapist_overlap', 'claims_no_overlap'],
    setup: given('{"client": "ben"}'),
    cells: { confirm: claimed, offer: freed },
  },
  {
    name: 'client overlap',
    title: 'A client is in one place at a time',
    says: ['CLIENT_CONFLICT', 'claims_no_overlap'],
    setup: given('{"therapist": "bcba"}'),
    cells: { confirm: claimed },
  },
  {
    name: 'room overlap',
    title: 'A room is used by one session at a time',
    says: ['ROOM_CONFLICT', 'claims_no_overlap'],
    place: { room: 'blue' },
    setup: given('{"therapist": "bcba", "client": "ben", "room": "blue"}'),
    cells: {
      confirm: claimed,
      offer: { because: 'a room that the freed session had is free' },
      'update group': { because: 'the room of a group is tried by move a group' },
    },
  },
  {
    name: 'buffer',
    title: 'Nobody is booked within the buffer before or after a session',
    says: ['THERAPIST_CONFLICT', 'claims_no_overlap'],
    place: { before: 30 },
    setup: `select rule_matrix.given_session(rule_matrix.lawful() || jsonb_build_object('client', 'ben',
      'start', rule_matrix.monday('09:00'), 'end', rule_matrix.monday('09:45')))`,
    cells: {
      confirm: claimed,
      offer: freed,
      'move group': { because: 'a group that moves keeps its buffers' },
      'update group': { because: 'a group that moves keeps its buffers' },
    },
  },
  {
    name: 'hold overlap',
    title: 'What somebody else holds is not booked',
    says: ['THERAPIST_HOLD_CONFLICT', 'claims_no_overlap'],
    setup: `select rule_matrix.become('admin');
      select public.hold_sessions(rule_matrix.hold_body(rule_matrix.lawful() || '{"client": "ben"}'));
      select rule_matrix.become('SQL')`,
    cells: { confirm: claimed, offer: freed },
  },
  {
    name: 'concurrency',
    title: 'A client has two services at once only where the payer allows that pair',
    says: ['CONCURRENT_SERVICE_NOT_ALLOWED', 'claims_no_overlap'],
    place: { code: '97153' },
    setup: `${payerOfAnn}
      insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
      values (${clinic}, rule_matrix.id('payer'), '97153', '97155', false, '2020-01-01');
      ${given('{"therapist": "bcba", "code": "97155"}')}`,
    cells: { confirm: claimed, 'move group': alone, 'update group': alone },
  },
  {
    name: 'hours',
    title: 'Nobody is booked outside the therapist’s hours',
    says: closed,
    setup: `update public.therapists set time_zone = 'UTC', availability_hours = '{"monday": [{"start": "06:00", "end": "07:00"}]}'
      where organization_id = ${clinic} and id = rule_matrix.id('rbt')`,
    service: 'allowed',
    cells: { confirm: 'allowed' },
  },
  {
    name: 'time off',
    title: 'Nobody is booked in the therapist’s time off',
    says: closed,
    setup: `insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
      values (${clinic}, rule_matrix.id('rbt'), 'time_off', {start}, {end})`,
    service: 'allowed',
    cells: { confirm: 'allowed' },
  },
  {
    name: 'closure',
    title: 'Nobody is booked while the clinic is closed',
    says: closed,
    setup: `insert into public.organization_closures (organization_id, name, starts_at, ends_at)
      values (${clinic}, 'Snow day', {start}, {end})`,
    service: 'allowed',
    cells: { confirm: 'allowed' },
  },
  {
    name: 'past',
    title: 'Nobody is booked in the past',
    says: ['VALIDATION_FAILED', 'session_in_bookable_time'],
    place: { start: 'days -10 10:00', end: 'days -10 11:00' },
    service: 'allowed',
    cells: { confirm: held, offer: { because: 'what has begun is not freed by a cancellation' } },
  },
  {
    name: 'too far',
    title: 'Nobody is booked more than 730 days ahead',
    says: ['VALIDATION_FAILED', 'session_in_bookable_time'],
    place: { start: 'days 740 10:00', end: 'days 740 11:00' },
    service: 'allowed',
    cells: { confirm: held, offer: freed },
  },
  {
    name: 'calendar',
    title: 'A session is in the years 2000 to 2099',
    says: times,
    place: { start: '2150-01-06T10:00:00Z', end: '2150-01-06T11:00:00Z' },
    cells: { confirm: held, offer: freed },
  },
  {
    name: 'length',
    title: 'A session lasts at most 12 hours',
    says: times,
    place: { end: 'monday 22:01' },
    cells: { confirm: held, offer: freed },
  },
  {
    name: 'order',
    title: 'A session ends after it starts',
    says: times,
    place: { end: 'monday 10:00' },
    cells: { confirm: held, offer: freed },
  },
  {
    name: 'zone',
    title: 'The zone is one that exists',
    says: ['VALIDATION_FAILED', 'sessions_time_zone_fkey', 'staff_times_time_zone_fkey'],
    place: { zone: 'foo3bar' },
    cells: {
      confirm: held,
      offer: freed,
      'update group': { because: 'a group has no zone of its own' },
    },
  },
  {
    name: 'abbreviation',
    title: 'The zone is no abbreviation, which has no summer',
    says: ['VALIDATION_FAILED', 'sessions_time_zone_fkey', 'staff_times_time_zone_fkey'],
    place: { zone: 'CET' },
    cells: {
      confirm: held,
      offer: freed,
      'update group': { because: 'a group has no zone of its own' },
    },
  },
  {
    name: 'caseload',
    title: 'A therapist books their own caseload',
    says: authority,
    setup: `delete from public.caseloads where organization_id = ${clinic} and therapist_id = rule_matrix.id('rbt') and client_id = rule_matrix.id('ann')`,
    refused: 'therapists',
    service: 'allowed',
    cells: { offer: 'refused' },
  },
  {
    name: 'own time',
    title: 'A therapist books their own time',
    says: authority,
    place: { therapist: 'rbt2' },
    from: { therapist: 'rbt' },
    refused: 'therapists',
    service: 'allowed',
    cells: {
      'confirm · rbt': { because: 'they hold their own time only' },
      offer: { because: 'nobody in particular makes an offer' },
    },
  },
  {
    name: 'archived therapist',
    title: 'Nobody books an archived therapist',
    says: authority,
    place: { therapist: 'rbt2' },
    from: { therapist: 'rbt' },
    setup: archive('therapists', 'rbt2'),
    cells: { 'confirm · rbt': { because: 'they hold their own time only' } },
  },
  {
    name: 'archived client',
    title: 'Nobody books an archived client',
    says: authority,
    setup: archive('clients', 'ann'),
  },
  {
    name: 'archived room',
    title: 'Nobody books an archived room',
    says: authority,
    place: { room: 'blue' },
    setup: archive('rooms', 'blue'),
    cells: {
      offer: { because: 'an offer has the room that the freed session had' },
      'update group': { because: 'the room of a group is tried by move a group' },
    },
  },
  {
    name: 'left',
    title: 'Nobody books a therapist who has left',
    says: authority,
    place: { therapist: 'rbt2' },
    from: { therapist: 'rbt' },
    setup: `delete from public.memberships where organization_id = ${clinic} and user_id = rule_matrix.id('rbt2')`,
    cells: { 'confirm · rbt': { because: 'they hold their own time only' } },
  },
  {
    name: 'no therapist any more',
    title: 'Nobody books somebody whose role renders nothing',
    says: authority,
    place: { therapist: 'rbt2' },
    from: { therapist: 'rbt' },
    setup: `update public.memberships set role = 'client' where organization_id = ${clinic} and user_id = rule_matrix.id('rbt2')`,
    cells: { 'confirm · rbt': { because: 'they hold their own time only' } },
  },
  {
    name: 'own membership',
    title: 'Who is no member any more books nothing',
    says: authority,
    setup: `delete from public.memberships where organization_id = ${clinic} and user_id in (rule_matrix.id('rbt'), rule_matrix.id('admin'), rule_matrix.id('super'))`,
    cells: { offer: { because: 'nobody in particular makes an offer' } },
  },
  {
    name: 'role',
    title: 'Somebody of role client books nothing',
    says: authority,
    setup: `update public.memberships set role = 'client' where organization_id = ${clinic} and user_id in (rule_matrix.id('rbt'), rule_matrix.id('admin'), rule_matrix.id('super'))`,
    cells: { offer: { because: 'nobody in particular makes an offer' } },
  },
  {
    name: 'other clinic’s client',
    title: 'Nothing of another clinic is booked: clients',
    says: tenancy,
    place: { client: 'other ann' },
    from: { client: 'ann' },
    cells: {
      confirm: held,
      'move group': samePeople,
      'update group': samePeople,
      offer: { because: 'nobody of another clinic waits' },
    },
  },
  {
    name: 'other clinic’s therapist',
    title: 'Nothing of another clinic is booked: therapists',
    says: tenancy,
    place: { therapist: 'other rbt' },
    from: { therapist: 'rbt' },
    cells: { confirm: held, offer: freed },
  },
  {
    name: 'other clinic’s room',
    title: 'Nothing of another clinic is booked: rooms',
    says: tenancy,
    place: { room: 'other blue' },
    cells: {
      confirm: held,
      offer: freed,
      'update group': { because: 'the room of a group is tried by move a group' },
    },
  },
  {
    name: 'rendering',
    title: 'A technician renders no service of a qualified professional',
    says: ['FORBIDDEN', 'technician_cannot_render'],
    place: { code: '97155' },
    from: {},
    cells: {
      'move group': noService,
      'update group': noService,
    },
  },
  {
    name: 'moved to a technician',
    title: 'A service of a qualified professional is not moved to a technician',
    says: ['FORBIDDEN', 'no row', 'technician_cannot_render'],
    place: { therapist: 'rbt', code: '97155' },
    from: { therapist: 'bcba', code: '97155' },
    cells: {
      hold: { because: 'nothing is moved' },
      confirm: { because: 'nothing is moved' },
      offer: { because: 'nothing is moved' },
      insert: { because: 'nothing is moved' },
      'move group': alone,
      'update group': alone,
    },
  },
  {
    name: 'unknown service',
    title: 'Only services that exist are booked',
    says: ['VALIDATION_FAILED', 'service_code_valid'],
    place: { code: 'ZZZZZ' },
    cells: { 'move group': noService, 'update group': noService },
  },
  {
    name: 'group service for one',
    title: 'A group service is not booked for one client',
    says: ['VALIDATION_FAILED', 'session_service'],
    place: { code: '97154' },
    cells: { 'move group': inGroup, 'update group': inGroup },
  },
  {
    name: 'single service in a group',
    title: 'A service for one client is not booked in a group',
    says: ['VALIDATION_FAILED', 'session_service', 'no privilege'],
    place: { client: 'fay', group: 'group', code: '97153' },
    from: { client: 'fay' },
    setup: `select rule_matrix.given_group('group', rule_matrix.lawful(), array['ben', 'eve'])`,
    cells: {
      confirm: { because: 'the group is there when the hold is made' },
      move: newOnly,
      offer: { because: 'an offer of a place in a group has the group’s service' },
      'move group': noService,
      'update group': noService,
    },
  },
  {
    name: 'group size',
    title: 'A group has at most 8 clients',
    says: ['GROUP_FULL', 'group_of_at_most_eight', 'no privilege'],
    place: { client: 'fay', group: 'group', code: '97154' },
    from: { client: 'fay' },
    setup: `select rule_matrix.given_group('group', rule_matrix.lawful(), array['c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8'])`,
    cells: {
      confirm: { because: 'the group is there when the hold is made' },
      move: newOnly,
      offer: { because: 'what is offered is the place that became free' },
      'move group': newOnly,
      'update group': newOnly,
    },
  },
  {
    name: 'units',
    title: 'No more units are booked than are authorized',
    says: ['AUTHORIZATION_EXCEEDED', 'authorization_exceeded'],
    place: { code: '97153' },
    setup: `${payerOfAnn}
      select rule_matrix.authorize('ann', 'payer', '97153', 1)`,
    cells: {
      move: { because: 'what is moved keeps its units' },
      update: { because: 'what is moved keeps its units' },
      'move group': noService,
      'update group': noService,
    },
  },
  {
    name: 'payer’s code',
    title: 'Nothing is booked that the payer does not pay for',
    says: ['AUTHORIZATION_EXCEEDED', 'VALIDATION_FAILED', 'session_paid'],
    place: { code: '97152' },
    from: {},
    setup: `${payerOfAnn}
      insert into public.payer_code_rules (organization_id, payer_id, cpt_code, is_covered, valid_from)
      values (${clinic}, rule_matrix.id('payer'), '97152', false, '2020-01-01')`,
    cells: { 'move group': noService, 'update group': noService },
  },
  {
    name: 'payer’s place',
    title: 'Nothing is booked at a place where the payer does not pay for it',
    says: ['VALIDATION_FAILED', 'session_paid'],
    place: { code: '97153', location: 'telehealth' },
    from: { code: '97153' },
    setup: `${payerOfAnn}
      insert into public.payer_code_rules (organization_id, payer_id, cpt_code, excluded_places, valid_from)
      values (${clinic}, rule_matrix.id('payer'), '97153', '{telehealth}', '2020-01-01')`,
    cells: {
      hold: noPlace,
      offer: noPlace,
      'move group': { because: 'the members stay at their places' },
      'update group': { because: 'the members stay at their places' },
    },
  },
];

/** What nobody sets aside, though an override names it. */
const setAside: readonly Rule[] = [
  {
    name: 'buffer, set aside',
    title: 'No override sets travel aside',
    says: ['THERAPIST_CONFLICT', 'FORBIDDEN'],
    place: { before: 30, override: true },
    setup: `select rule_matrix.given_session(rule_matrix.lawful() || jsonb_build_object('client', 'ben',
      'start', rule_matrix.monday('09:00'), 'end', rule_matrix.monday('09:45')))`,
    cells: {
      'move group': { because: 'a group that moves keeps its buffers' },
      recode: { because: 'the session stays where it is' },
    },
  },
  {
    name: 'rendering, set aside',
    title: 'No override lets a technician render a service of a qualified professional',
    says: ['FORBIDDEN'],
    place: { code: '97155', override: true },
    from: {},
    cells: {
      'move group': noService,
      'extend series': { because: 'who gives the series renders its service' },
    },
  },
];

/** All rules of placement. */
export const placementRules: readonly Rule[] = [...rulesOfPlacement, ...setAside];

/** The ways on which an override may be asked for by name. */
const OVERRIDING: readonly Way[] = [
  ...(['hold', 'move', 'move group', 'hand over'] as const),
  ...(['change series', 'change following', 'extend series', 'recode'] as const),
];

/** Rules about what becomes of a session. Each is tried on the ways that are listed. */
export interface RecordRule {
  readonly name: string;
  readonly title: string;
  /** When the session is booked for; default the lawful place. */
  readonly place?: Place;
  /** SQL of the operator; `{session}` is the session. */
  readonly setup?: string;
  /** Codes and constraints of its refusals: a refusal that says something else is of another rule. */
  readonly says?: readonly string[];
  /** What is tried, by whom, and what should come of it. */
  readonly trials: readonly { who: Person; title: string; statement: string; outcome: Outcome }[];
}

const users = ['rbt', 'admin'] as const;
const everybody: readonly Person[] = ['rbt', 'admin', 'service_role', 'SQL'];
const set = (change: string) => `update public.sessions set ${change} where id = {session}::uuid`;
const rpc = (name: string, more = '') =>
  `select public.${name}(jsonb_build_object('session_id', {session}${more}))`;
const status = (...steps: string[]) =>
  steps.map((step) => `update public.sessions set status = '${step}' where id = {session}::uuid`).join('; ');
/** The same statement by several people. */
const by = (people: readonly Person[], title: string, statement: string, outcome: Outcome = 'refused') =>
  people.map((who) => ({ who, title, statement, outcome }));

const aDayBack = ", 'other_day_reason', 'after midnight'";
const today: Place = { start: 'minutes 30', end: 'minutes 90' };

export const recordRules: readonly RecordRule[] = [
  {
    name: 'begins',
    title: 'A session that is due begins, and is missed only once it should have begun',
    place: today,
    trials: [
      ...by(everybody, 'update to in_progress', set("status = 'in_progress'"), 'allowed'),
      ...by(users, 'start_session', rpc('start_session'), 'allowed'),
      ...by(everybody, 'update to no_show', set("status = 'no_show'")),
      ...by(users, 'mark_no_show', rpc('mark_no_show')),
    ],
  },
  {
    name: 'not today',
    title: 'A session begins at most 12 hours before its time',
    trials: [
      ...by(everybody, 'update to in_progress', set("status = 'in_progress'")),
      ...by(users, 'start_session', rpc('start_session')),
    ],
  },
  {
    name: 'status',
    title: 'A session goes from scheduled to in progress to completed, and otherwise to cancelled or missed',
    place: today,
    trials: [
      ...by(everybody, 'update to completed', set("status = 'completed'")),
      ...by(users, 'complete_session', rpc('complete_session')),
    ],
  },
  {
    name: 'revived',
    title: 'A cancelled session is not revived',
    place: today,
    setup: status('cancelled'),
    trials: [
      ...by(everybody, 'update to scheduled', set("status = 'scheduled'")),
      ...by(everybody, 'update to in_progress', set("status = 'in_progress'")),
      ...by(users, 'start_session', rpc('start_session')),
    ],
  },
  {
    name: 'completed with its record',
    title: 'A user completes a session with what its record needs, on every way',
    place: { start: 'minutes -90', end: 'minutes -30' },
    setup: status('in_progress'),
    trials: [
      ...by(users, 'update to completed', set("status = 'completed'")),
      ...by(users, 'complete_session', rpc('complete_session')),
    ],
  },
  {
    name: 'not movable',
    title: 'A session that has begun is not moved',
    place: today,
    setup: status('in_progress'),
    trials: [
      ...by(
        everybody,
        'update',
        set("start_time = start_time + interval '1 day', end_time = end_time + interval '1 day'"),
      ),
    ],
  },
  {
    name: 'not cancelled after',
    title: 'What is completed is not cancelled',
    place: today,
    setup: status('in_progress', 'completed'),
    trials: [
      ...by(everybody, 'update to cancelled', set("status = 'cancelled'")),
      ...by(everybody, 'update to no_show', set("status = 'no_show'")),
    ],
  },
  {
    name: 'frozen',
    title: 'The record of a completed session does not change',
    place: today,
    setup: `${status('in_progress', 'completed')}`,
    trials: [
      ...by(everybody, 'update cpt_code', set("cpt_code = '97153'")),
      ...by(everybody, 'update cpt_modifiers', set("cpt_modifiers = '{95}'")),
      ...by(everybody, 'update location_type', set("location_type = 'moon'")),
      ...by(everybody, 'update session_type', set("session_type = 'individual'")),
      ...by(everybody, 'update time_zone', set("time_zone = 'Asia/Tokyo'")),
      ...by(everybody, 'update start_time', set("start_time = start_time - interval '15 minutes'")),
      ...by(everybody, 'update end_time', set("end_time = end_time + interval '15 minutes'")),
      ...by(everybody, 'update therapist_id', set("therapist_id = rule_matrix.id('rbt2')")),
      ...by(everybody, 'update client_id', set("client_id = rule_matrix.id('ben')")),
      ...by(
        [...users, 'service_role'],
        'update its visit',
        'update public.session_visits set actual_end_time = now() where session_id = {session}::uuid',
      ),
    ],
  },
  {
    name: 'visit overlap',
    title: 'No two visits of one therapist take place at once: completed ones do not overlap in actual time',
    says: ['VISIT_OVERLAPS', 'visits_no_overlap'],
    place: { start: 'minutes -90', end: 'minutes -30', code: '97153' },
    setup: `select rule_matrix.given_visit('minutes -160', 'minutes -100', 'minutes -60'); ${status('in_progress')};
      select rule_matrix.given_note({session})`,
    trials: [
      ...by(everybody, 'update to completed', set("status = 'completed'")),
      ...by(users, 'complete_session', rpc('complete_session', aDayBack)),
      {
        who: 'admin',
        title: 'complete_session with a reason',
        statement: rpc('complete_session', `${aDayBack}, 'overlap_reason', 'both were there'`),
        outcome: 'allowed',
      },
    ],
  },
  {
    name: 'visit after visit',
    title: 'A visit may begin as the one before it ends',
    place: { start: 'minutes -90', end: 'minutes -30', code: '97153' },
    setup: `select rule_matrix.given_visit('minutes -160', 'minutes -100', 'minutes -90'); ${status('in_progress')};
      select rule_matrix.given_note({session})`,
    trials: [
      ...by(everybody, 'update to completed', set("status = 'completed'"), 'allowed'),
      ...by(users, 'complete_session', rpc('complete_session', aDayBack), 'allowed'),
    ],
  },
  {
    name: 'signed as rendered',
    title: 'A user completes a session only as its note was signed',
    says: ['SESSION_INCOMPLETE', 'session_incomplete'],
    place: { start: 'minutes -90', end: 'minutes -30', code: '97153' },
    setup: `${status('in_progress')}; select rule_matrix.given_note({session});
      update public.sessions set location_type = 'home' where id = {session}::uuid`,
    trials: [
      ...by(users, 'update to completed', set("status = 'completed'")),
      ...by(users, 'complete_session', rpc('complete_session', aDayBack)),
      ...by(['service_role', 'SQL'], 'update to completed', set("status = 'completed'"), 'allowed'),
    ],
  },
  {
    name: 'corrected visit overlap',
    title: 'A correction does not make two visits of one therapist overlap',
    says: ['VISIT_OVERLAPS', 'visits_no_overlap'],
    place: { start: 'minutes -90', end: 'minutes -30', code: '97153' },
    setup: `select rule_matrix.given_visit('minutes -160', 'minutes -100', 'minutes -100'); ${status('in_progress', 'completed')}`,
    trials: [
      ...by(
        users,
        'correct_visit',
        rpc(
          'correct_visit',
          `${aDayBack}, 'base_version', 1, 'reason_code', 'wrong_time', 'actual_start_time', rule_matrix.wire(rule_matrix.time_of('minutes -101')::text)`,
        ),
      ),
      {
        who: 'SQL',
        title: 'insert its visit',
        statement: `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units)
          select organization_id, id, start_time - interval '11 minutes', end_time, 4 from public.sessions where id = {session}::uuid`,
        outcome: 'refused',
      },
    ],
  },
  {
    name: 'identity',
    title: 'A session stays the client’s and the clinic’s it is',
    trials: [
      ...by(everybody, 'update client_id', set("client_id = rule_matrix.id('ben')")),
      ...by(everybody, 'update organization_id', set("organization_id = rule_matrix.id('other clinic')")),
    ],
  },
  {
    name: 'being moved',
    title: 'While a session is being moved its service stays as it is',
    setup: `select rule_matrix.become('admin');
      select public.hold_sessions(rule_matrix.hold_body(rule_matrix.lawful() || jsonb_build_object(
        'start', rule_matrix.monday('15:00'), 'end', rule_matrix.monday('16:00')), jsonb_build_object('session_id', {session})));
      select rule_matrix.become('SQL')`,
    trials: [
      ...by(everybody, 'update cpt_code', set("cpt_code = '97153'")),
      ...by(everybody, 'update session_type', set("session_type = 'of another kind'")),
    ],
  },
  {
    name: 'given away',
    title: 'A therapist gives none of their sessions away',
    trials: [
      {
        who: 'rbt',
        title: 'update',
        statement: set("therapist_id = rule_matrix.id('rbt2')"),
        outcome: 'refused',
      },
      {
        who: 'admin',
        title: 'update',
        statement: set("therapist_id = rule_matrix.id('rbt2')"),
        outcome: 'allowed',
      },
    ],
  },
  {
    name: 'deleted',
    title: 'A session is never deleted',
    trials: [...by(everybody, 'delete', 'delete from public.sessions where id = {session}::uuid')],
  },
];

/** What should come of a placement rule on a path. */
export function expectedCell(rule: Rule, { id, way, person }: Path): Cell {
  const own =
    rule.cells?.[id] ??
    rule.cells?.[way] ??
    handOverCell(rule.name, way) ??
    staffTimeCell(rule.name, way) ??
    importCell(rule.name, id) ??
    seriesCell(rule.name, way);
  if (own !== undefined) return own;
  if (rule.place?.override && !OVERRIDING.includes(way)) return { because: 'no override is asked for here' };
  if (way === 'offer') return rule.refused === 'nobody' ? 'allowed' : 'refused';
  if (person === 'service_role' || person === 'SQL') {
    if (rule.name === 'own membership' || rule.name === 'role') return { because: 'they are no member' };
    return rule.service ?? 'refused';
  }
  if (rule.refused === 'nobody') return 'allowed';
  return rule.refused !== 'therapists' || person === 'rbt' ? 'refused' : 'allowed';
}

export type { Rule };
