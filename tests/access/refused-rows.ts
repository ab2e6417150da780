/**
 * Rows that break the constraints of each table that the API writes: what `refused-rows.test.ts` sends. A new constraint
 * needs an entry here, or the test says which.
 */
import { randomUUID } from 'node:crypto';

/** Columns by name. */
export type Columns = Record<string, unknown>;

/** What the rows belong to: a clinic with somebody and something of each kind. */
export interface Known {
  organization_id: string;
  therapist_id: string;
  client_id: string;
  payer_id: string;
  authorization_id: string;
  staff_time_id: string;
  /** Makes a user of Auth who belongs to no clinic yet. */
  newUser(): Promise<string>;
  newTherapist(): Promise<string>;
  newMember(role?: string): Promise<string>;
  newCode(): Promise<string>;
}

let made = 0;
/** Five digits or letters, each time others. */
const code = (of: number) => `Q${of.toString(36).toUpperCase().padStart(4, '0')}`;
const day = (of: number, year = 2030) => new Date(Date.UTC(year, 0, 1 + of)).toISOString().slice(0, 10);
/** Between 11:00 and 12:00 of a day that no other row has. */
const hour = (of: number, at: number) => `${day(of)}T${at}:00:00Z`;

/** A row that each table takes, and another one each time: as `service_role` may write it, without what has a default. */
export const validRow: Record<string, (known: Known) => Columns | Promise<Columns>> = {
  authorization_codes: async ({ authorization_id, newCode }) => ({
    authorization_id,
    cpt_code: await newCode(),
  }),
  authorizations: ({ client_id, payer_id }) => ({
    ...{ client_id, payer_id, approved_units: 10, starts_on: '2030-01-01', ends_on: '2030-02-01' },
  }),
  availability_exceptions: ({ therapist_id }) => ({
    ...{ therapist_id, kind: 'extra_hours', starts_at: hour(++made, 11), ends_at: hour(made, 12) },
  }),
  caseloads: async ({ newTherapist, client_id }) => ({ therapist_id: await newTherapist(), client_id }),
  client_users: async ({ newMember, client_id }) => ({ user_id: await newMember(), client_id }),
  client_coverages: ({ client_id, payer_id }) => ({
    ...{ client_id, payer_id, priority: 9, valid_from: day(++made, 2040), valid_to: day(made, 2040) },
  }),
  clients: () => ({ reference: randomUUID() }),
  memberships: async ({ newUser }) => ({ user_id: await newUser(), role: 'admin' }),
  organization_closures: () => ({ name: randomUUID(), starts_at: hour(++made, 11), ends_at: hour(made, 12) }),
  organizations: () => ({ name: 'Clinic', time_zone: 'UTC' }),
  payer_code_rules: ({ payer_id }) => ({
    payer_id,
    cpt_code: '97153',
    valid_from: day(++made),
    valid_to: day(made),
  }),
  payer_concurrency_rules: ({ payer_id }) => ({
    ...{ payer_id, first_code: '97153', second_code: '97155', allowed: true },
    ...{ valid_from: day(++made), valid_to: day(made) },
  }),
  payer_rules: ({ payer_id }) => ({ payer_id, valid_from: day(++made), valid_to: day(made) }),
  payers: () => ({ name: randomUUID() }),
  rooms: () => ({ name: randomUUID() }),
  service_codes: () => ({
    ...{ code: code(++made), ordinal: 20 + (made % 79), description: 'A service', levels: ['technician'] },
    ...{ valid_from: '2026-01-01' },
  }),
  session_groups: ({ therapist_id }) => ({
    therapist_id,
    start_time: hour(++made, 11),
    end_time: hour(made, 12),
  }),
  sessions: ({ therapist_id, client_id }) => ({
    ...{ therapist_id, client_id, start_time: soon(++made, 11), end_time: soon(made, 12), time_zone: 'UTC' },
  }),
  staff_times: () => ({
    kind: 'meeting',
    start_time: hour(++made, 11),
    end_time: hour(made, 12),
    time_zone: 'UTC',
  }),
  therapists: async ({ newUser }) => ({
    id: await newUser(),
    display_name: 'T',
    credential: 'RBT',
    time_zone: 'UTC',
  }),
  staff_time_members: async ({ staff_time_id, newTherapist }) => ({
    ...{ staff_time_id, therapist_id: await newTherapist() },
  }),
  unit_limits: ({ authorization_id }) => ({
    ...{ authorization_id, cpt_codes: ['97153'], period: 'week', max_units: 5 },
  }),
  waitlist_entries: ({ client_id }) => ({
    ...{ client_id, cpt_code: '97153', windows: `{[${soon(++made, 11)},${soon(made, 13)})}`, minutes: 60 },
  }),
};

/** A day within the 730 that users may book. */
const soon = (of: number, at: number) =>
  `${new Date(Date.now() + (30 + of) * 86_400_000).toISOString().slice(0, 10)}T${at}:00:00Z`;

const wrongCode = { cpt_code: 'x' };
const long = 'x'.repeat(500);

/** For each check constraint, columns that break it, whatever the rest of the row is. */
export const breaking: Record<string, Columns> = {
  authorization_codes_cpt_code_check: wrongCode,
  authorizations_approved_units_check: { approved_units: 0 },
  authorizations_booked_units_check: { booked_units: -1 },
  authorizations_check: { starts_on: '2030-01-02', ends_on: '2030-01-01' },
  authorizations_reference_check: { reference: '' },
  availability_exceptions_check: { starts_at: hour(1, 12), ends_at: hour(1, 11) },
  client_coverages_check: { valid_from: '2030-01-02', valid_to: '2030-01-01' },
  client_coverages_priority_check: { priority: 0 },
  clients_reference_check: { reference: long },
  memberships_permissions_valid: { permissions: ['Not a word'] },
  organization_closures_check: { starts_at: hour(1, 12), ends_at: hour(1, 11) },
  organization_closures_name_check: { name: ' a' },
  organizations_correction_days_check: { correction_days: 366 },
  organizations_name_check: { name: '' },
  payer_code_rules_check: { valid_from: '2030-01-02', valid_to: '2030-01-01' },
  payer_code_rules_cpt_code_check: wrongCode,
  payer_code_rules_excluded_places_check: { excluded_places: [null] },
  payer_code_rules_modifiers_check: { modifiers: { nobody: [1] } },
  payer_concurrency_rules_check: { valid_from: '2030-01-02', valid_to: '2030-01-01' },
  payer_concurrency_rules_check1: { first_code: '97155', second_code: '97153' },
  payer_concurrency_rules_first_code_check: { first_code: '9' },
  payer_concurrency_rules_second_code_check: { second_code: 'x' },
  payer_rules_check: { valid_from: '2030-01-02', valid_to: '2030-01-01' },
  payer_rules_telehealth_modifier_check: { telehealth_modifier: 'x' },
  payers_name_check: { name: '' },
  rooms_name_check: { name: long },
  service_codes_check: { valid_from: '2030-01-02', valid_to: '2030-01-01' },
  service_codes_check1: { min_clients: 3, max_clients: 2 },
  service_codes_code_check: { code: 'x' },
  service_codes_description_check: { description: '' },
  service_codes_levels_check: { levels: [] },
  service_codes_min_clients_check: { min_clients: 0 },
  service_codes_ordinal_check: { ordinal: 100 },
  service_codes_session_type_check: { session_type: 'Large' },
  service_codes_unit_minutes_check: { unit_minutes: 0 },
  session_groups_buffer_after_minutes_check: { buffer_after_minutes: 241 },
  session_groups_buffer_before_minutes_check: { buffer_before_minutes: -1 },
  session_groups_times: { start_time: hour(1, 12), end_time: hour(1, 11) },
  sessions_buffers: { buffer_after_minutes: 241 },
  sessions_cpt_code_check: wrongCode,
  sessions_cpt_modifiers_check: { cpt_modifiers: ['HM', 'HN', 'HO', 'U1', 'U2'] },
  sessions_location_type_check: { location_type: '' },
  sessions_session_type_check: { session_type: long },
  sessions_times: { start_time: soon(1, 12), end_time: soon(1, 11) },
  staff_times_times: { start_time: hour(1, 12), end_time: hour(1, 11) },
  therapists_credential_check: { credential: 'MD' },
  availability_hours_valid: { availability_hours: { monday: [{ start: '12:00', end: '11:00' }] } },
  therapists_display_name_check: { display_name: '' },
  therapists_specialties_valid: { specialties: [''] },
  unit_limits_check: { valid_from: '2030-01-02', valid_to: '2030-01-01' },
  unit_limits_cpt_codes_check: { cpt_codes: [] },
  unit_limits_max_units_check: { max_units: 0 },
  unit_limits_of_one: { authorization_id: null, payer_id: null },
  unit_limits_week_starts_on_check: { week_starts_on: 8 },
  waitlist_entries_cpt_code_check: wrongCode,
  waitlist_entries_minutes_check: { minutes: 14 },
  waitlist_entries_priority_check: { priority: 10 },
  waitlist_entries_state: { state: 'offered' },
  waitlist_entries_state_check: { state: 'lost' },
  waitlist_entries_windows: { windows: '{}' },
};

/** Constraints that no single row of the API breaks, and why. */
export const unreachable: Record<string, string> = {
  sessions_place_of_group: 'the rule of groups refuses the row first',
  unit_limits_period_of_authorization:
    'broken only together with unit_limits_of_one, or by a payer of its own row',
};

/** Columns that triggers write, whatever the caller sends. */
export const derived: Record<string, string[]> = {
  service_codes: ['ordinal'],
  sessions: ['civil_start', 'lanes', 'cpt_modifiers', 'created_at', 'updated_at'],
  staff_times: ['civil_start', 'created_at', 'updated_at'],
};

/** What other rules of the product say of such a row, when they come first. */
export const earlierRules = new RegExp(
  [
    'row-level security policy', // users write rows of their own organization, as PostgREST says it
    'never changes?$',
    'keeps its id',
    'cannot be booked:',
    'is no service code',
    "none of the authorization's codes",
    'is a service for one client, not for a group',
    'follows from bookings',
    'belongs to another booking',
  ].join('|'),
);
