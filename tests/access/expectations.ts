/**
 * Who may do what: every table, view and function of the schemas public, private, audit and reports, by person and
 * command. `matrix.test.ts` tries all of it on the database and fails when the catalog has something that is not here;
 * `npm run access-matrix` writes docs/access-matrix.md from it.
 *
 * A new table or view: add it to `relations`, give it a row of each scope in `world.sql`, and say in `world.ts` which
 * those are. A new function that API roles may call: add it to `functions`, with a call in `world.ts`. Functions of
 * private and audit that no API role may execute need no entry: that nobody can call them is tried for each.
 */

/** The people, in the order of every row below. */
export const people = [
  'anon',
  'nobody',
  'client',
  'therapist',
  'admin',
  'superAdmin',
  'foreignAdmin',
  'service',
] as const;

export type PersonName = (typeof people)[number];

/** What the people are called in the published table. */
export const titles: Record<PersonName, string> = {
  anon: 'anon',
  nobody: 'no membership',
  client: 'client',
  therapist: 'therapist',
  admin: 'admin',
  superAdmin: 'super_admin',
  foreignAdmin: "other tenant's admin",
  service: 'service_role',
};

/**
 * How far somebody reaches.
 * - `no grant`: an error, whatever the row (SQLSTATE 42501, permission denied)
 * - `none`: the command is granted, no row is within reach: reads, updates and deletes find nothing, inserts are an error
 * - `own`: her own rows only, or those of the client she stands for
 * - `clinic`: all rows of her organization
 * - `theirs`: all rows of the other organization, where she is the admin, and none of this one
 * - `all`: every row of every organization
 */
export type Reach = 'no grant' | 'none' | 'own' | 'clinic' | 'theirs' | 'all';

/** One reach for each of `people`. */
export type Reaches = readonly [Reach, Reach, Reach, Reach, Reach, Reach, Reach, Reach];

export type RelationExpectation = {
  select: Reaches;
  insert: Reaches;
  update: Reaches;
  delete: Reaches;
  truncate: Reaches;
  /** The columns that `authenticated` may write, where it may. */
  insertable?: readonly string[];
  updatable?: readonly string[];
};

const NOBODY = Array(people.length).fill('no grant') as unknown as Reaches;

/** No API role has any privilege. */
const closed: RelationExpectation = {
  select: NOBODY,
  insert: NOBODY,
  update: NOBODY,
  delete: NOBODY,
  truncate: NOBODY,
};

/** Read only, by these. */
const readable = (select: Reaches): RelationExpectation => ({ ...closed, select });

// biome-ignore format: a row of the matrix is a row
export const relations: Record<string, RelationExpectation> = {
  //           anon        nobody      client      therapist   admin       super_admin other admin service_role
  'public.organizations': {
    select:   ['no grant', 'none',     'clinic',   'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
    update:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    updatable: ['name', 'time_zone', 'correction_days'],
  },
  'public.memberships': {
    select:   ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    update:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    delete:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    truncate: NOBODY,
    insertable: ['organization_id', 'user_id', 'role', 'permissions'],
    updatable: ['role', 'permissions'],
  },
  'public.therapists': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'display_name', 'credential', 'specialties', 'time_zone', 'availability_hours'],
    updatable: ['display_name', 'credential', 'specialties', 'time_zone', 'availability_hours', 'deleted_at'],
  },
  'public.clients': {
    select:   ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'reference', 'time_zone'],
    updatable: ['reference', 'time_zone', 'deleted_at'],
  },
  'public.caseloads': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   NOBODY,
    delete:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    truncate: NOBODY,
    insertable: ['organization_id', 'therapist_id', 'client_id'],
  },
  'public.client_users': {
    select:   ['no grant', 'none',     'own',      'none',     'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   NOBODY,
    delete:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    truncate: NOBODY,
    insertable: ['organization_id', 'client_id', 'user_id'],
  },
  'public.rooms': {
    select:   ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'name'],
    updatable: ['name', 'deleted_at'],
  },
  'public.availability_exceptions': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
    delete:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    truncate: NOBODY,
    insertable: ['organization_id', 'therapist_id', 'kind', 'starts_at', 'ends_at'],
  },
  'public.organization_closures': {
    select:   ['no grant', 'none',     'clinic',   'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'name', 'starts_at', 'ends_at'],
    updatable: ['name', 'starts_at', 'ends_at'],
  },
  'public.sessions': {
    select:   ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: [
      'organization_id', 'therapist_id', 'client_id', 'start_time', 'end_time', 'time_zone', 'session_type', 'location_type',
      'cpt_code', 'cpt_modifiers', 'group_id', 'room_id', 'buffer_before_minutes', 'buffer_after_minutes',
    ],
    updatable: [
      'therapist_id', 'start_time', 'end_time', 'time_zone', 'session_type', 'location_type', 'status', 'cpt_code',
      'cpt_modifiers', 'room_id', 'buffer_before_minutes', 'buffer_after_minutes',
    ],
  },
  'public.session_series': readable(
              ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.series_changes': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.session_groups': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: [
      'organization_id', 'id', 'therapist_id', 'room_id', 'start_time', 'end_time', 'buffer_before_minutes',
      'buffer_after_minutes',
    ],
  },
  'public.session_cancellations': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.calendar_feeds': readable(
              ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all']),
  // Users enter, change and cancel them through functions.
  'public.staff_times': {
    ...readable(['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
    insert:   ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
    update:   ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
  },
  'public.staff_time_members': {
    ...readable(['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
    insert:   ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
    delete:   ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
  },
  'public.session_note_states': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.hold_batches': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.session_holds': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.time_zones': readable(
              ['no grant', 'all',      'all',      'all',      'all',      'all',      'all',      'all']),
  // Its own codes; those that everybody has are reference data, which every signed-in user reads.
  'public.service_codes': {
    select:   ['no grant', 'none',     'clinic',   'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    update:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: [
      'organization_id', 'code', 'description', 'levels', 'unit_minutes', 'min_clients', 'max_clients', 'supervises',
      'session_type', 'valid_from', 'valid_to',
    ],
    updatable: ['description', 'levels', 'valid_to'],
  },
  'public.therapist_credentials': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.payers': {
    select:   ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    update:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'name'],
    updatable: ['name', 'deleted_at'],
  },
  'public.payer_rules': {
    select:   ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    update:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: [
      'organization_id', 'id', 'payer_id', 'rounding', 'telehealth_modifier', 'authorization_required', 'evv_required',
      'valid_from', 'valid_to',
    ],
    updatable: ['rounding', 'telehealth_modifier', 'authorization_required', 'evv_required', 'valid_from', 'valid_to'],
  },
  'public.payer_code_rules': {
    select:   ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    update:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: [
      'organization_id', 'id', 'payer_id', 'cpt_code', 'rounding', 'modifiers', 'is_covered', 'excluded_places',
      'authorization_required', 'valid_from', 'valid_to',
    ],
    updatable: [
      'rounding', 'modifiers', 'is_covered', 'excluded_places', 'authorization_required', 'valid_from',
      'valid_to',
    ],
  },
  'public.payer_concurrency_rules': {
    select:   ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    update:   ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'payer_id', 'first_code', 'second_code', 'allowed', 'valid_from', 'valid_to'],
    updatable: ['allowed', 'valid_from', 'valid_to'],
  },
  'public.client_coverages': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'client_id', 'payer_id', 'priority', 'valid_from', 'valid_to'],
    updatable: ['priority', 'valid_from', 'valid_to'],
  },
  'public.authorizations': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: [
      'organization_id', 'id', 'client_id', 'payer_id', 'reference', 'approved_units', 'starts_on', 'ends_on',
    ],
    updatable: ['reference', 'approved_units', 'starts_on', 'ends_on'],
  },
  'public.authorization_codes': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   NOBODY,
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'authorization_id', 'cpt_code'],
  },
  'public.unit_limits': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: [
      'organization_id', 'id', 'authorization_id', 'payer_id', 'cpt_codes', 'per', 'period', 'week_starts_on', 'max_units',
      'effect', 'valid_from', 'valid_to',
    ],
    updatable: ['week_starts_on', 'max_units', 'effect', 'valid_from', 'valid_to'],
  },
  'public.waitlist_entries': {
    select:   ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all'],
    insert:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    update:   ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all'],
    delete:   NOBODY,
    truncate: NOBODY,
    insertable: ['organization_id', 'id', 'client_id', 'therapist_id', 'cpt_code', 'windows', 'minutes', 'priority'],
    updatable: ['therapist_id', 'cpt_code', 'windows', 'minutes', 'priority', 'closed_at'],
  },
  'public.authorization_units': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.session_visits': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'public.visit_versions': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  // Reports show what their reader may see of the tables beneath.
  'reports.weeks': readable(
              ['no grant', 'none',     'clinic',   'clinic',   'clinic',   'clinic',   'theirs',   'all']),
  'reports.months': readable(
              ['no grant', 'none',     'clinic',   'clinic',   'clinic',   'clinic',   'theirs',   'all']),
  'reports.therapist_utilization': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.named_sessions': readable(
              ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.staff_time_resources': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.attendance': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.cancellations': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.no_show_rates': readable(
              ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.hold_funnel': readable(
              ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'all']),
  // Has a row where somebody is booked twice, which nobody is.
  'reports.double_bookings': readable(
              ['no grant', 'none',     'none',     'none',     'none',     'none',     'none',     'none']),
  'reports.clock_change_sessions': readable(
              ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.series_start_times': readable(
              ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.moved_by_zone_rules': readable(
              ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.billable_visits': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.units_by_code_and_payer': readable(
              ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'all']),
  'reports.sessions_to_recode': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.authorization_balances': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.services_beyond_authorization': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.supervision_share': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.authorization_pace': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.schedule_problems': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.visit_problems': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.evv_gaps': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.unbilled': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.supervision_months': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.supervision_needed': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.unsigned_notes': readable(
              ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'all']),
  'reports.session_audit_trail': readable(
              ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all']),
  'reports.client_record_access': readable(
              ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all']),
  'private.active_organizations': closed,
  'private.calendar_events': closed,
  'private.calendar_tokens': closed,
  'private.claims': closed,
  'private.attestation_keys': closed,
  'private.client_detail_versions': closed,
  'private.data_keys': closed,
  'private.freed_slots': closed,
  'private.freed_slots_id_seq': closed,
  'private.idempotency_keys': closed,
  'private.imported_sessions': closed,
  'private.let_beside': closed,
  'private.rate_limits': closed,
  'private.remembered_modifiers': closed,
  'private.session_note_versions': closed,
  'private.visit_claims': closed,
  'audit.events': readable(
              ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all']),
  'audit.events, each partition': closed,
  'audit.seals': readable(
              ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all']),
  'audit.chains': readable(
              ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'all']),
  'audit.actions': readable(
              ['no grant', 'all',      'all',      'all',      'all',      'all',      'all',      'all']),
  'audit.archives': closed,
};

export type FunctionExpectation = {
  /** On whose rows a call has its effect; `no grant` where the role may not execute it. */
  reaches: Reaches;
  /** What is said of rows beyond reach: a code, `raised` before it when it is an error, or `nothing`. */
  refusal: string;
  /** What some people are told instead. Whoever has no membership is told `raised FORBIDDEN` unless it says so here. */
  told?: Partial<Record<PersonName, string>>;
};

/** Functions that API roles may call. The private function of the same name may be executed through them only. */
// biome-ignore format: a row of the matrix is a row
export const functions: Record<string, FunctionExpectation> = {
  //           anon        nobody      client      therapist   admin       super_admin other admin service_role
  'public.hold_sessions(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.confirm_sessions(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'HOLD_NOT_FOUND',
    told: { client: 'FORBIDDEN' },
  },
  'public.release_hold(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
  },
  'public.cancel_sessions(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.start_session(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.end_session(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.complete_session(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.mark_no_show(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.correct_visit(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.extend_series(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.recode_sessions(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.move_group(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.find_open_slots(uuid,timestamp with time zone,timestamp with time zone,integer,uuid,uuid,text,integer,integer,text,uuid[])': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'raised FORBIDDEN',
  },
  'public.find_alternatives(jsonb)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'raised FORBIDDEN',
  },
  'public.preview_series(jsonb)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'raised FORBIDDEN',
  },
  'public.hold_reassignment(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.find_substitutes(jsonb)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'raised FORBIDDEN',
  },
  'public.add_closure(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
    told: { client: 'FORBIDDEN', therapist: 'FORBIDDEN' },
  },
  'public.resync_zone(text,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'no grant'],
    refusal: 'FORBIDDEN',
    told: { superAdmin: 'nothing' },
  },
  'public.archive(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.set_credential(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.touched_sessions(jsonb)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
    told: { client: 'raised FORBIDDEN', therapist: 'raised FORBIDDEN' },
  },
  'public.add_time_off(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.start_data_key(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
    told: { client: 'FORBIDDEN' },
  },
  'public.prepare_note(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'none',     'none',     'none',     'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.save_note_draft(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'none',     'none',     'none',     'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.sign_note(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'none',     'none',     'none',     'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.amend_note(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'none',     'none',     'none',     'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.read_note(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.note_history(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.prepare_client_details(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.save_client_details(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.read_client_details(jsonb,text)': {
    reaches:  ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  // It answers whom somebody may read and lists the others, so that nobody is refused.
  'public.read_client_names(jsonb,text)': {
    reaches:  ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
  },
  'public.add_member(uuid,public.member_role,text[])': {
    reaches:  ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'no grant'],
    refusal: 'FORBIDDEN',
    told: { superAdmin: 'nothing' },
  },
  'public.change_member(uuid,public.member_role,text[],boolean,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'no grant'],
    refusal: 'FORBIDDEN',
    told: { superAdmin: 'MEMBER_NOT_FOUND' },
  },
  'public.remove_member(uuid,boolean,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'no grant'],
    refusal: 'FORBIDDEN',
    told: { superAdmin: 'MEMBER_NOT_FOUND' },
  },
  'public.set_active_organization(uuid)': {
    reaches:  ['no grant', 'none',     'clinic',   'clinic',   'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'raised FORBIDDEN',
  },
  'public.my_organizations()': {
    reaches:  ['no grant', 'none',     'clinic',   'clinic',   'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
    told: { nobody: 'nothing' },
  },
  'public.import_sessions(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
    told: { client: 'FORBIDDEN', therapist: 'FORBIDDEN' },
  },
  'public.create_calendar_feed(text)': {
    reaches:  ['no grant', 'none',     'clinic',   'clinic',   'none',     'none',     'none',     'no grant'],
    refusal: 'FORBIDDEN',
    told: { client: 'nothing', therapist: 'nothing' },
  },
  'public.revoke_calendar_feed(jsonb,text)': {
    reaches:  ['no grant', 'none',     'own',      'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.read_calendar_feed(text,text)': {
    reaches:  ['no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'no grant', 'all'],
    refusal: 'nothing',
  },
  'public.add_staff_time(jsonb,text,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.change_staff_time(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.cancel_staff_time(jsonb,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.offer_freed_slots(text)': {
    reaches:  ['no grant', 'none',     'none',     'clinic',   'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
    told: { client: 'raised FORBIDDEN' },
  },
  'public.own_therapists()': {
    reaches:  ['no grant', 'none',     'own',      'none',     'none',     'none',     'none',     'no grant'],
    refusal: 'nothing',
    told: { nobody: 'nothing' },
  },
  'public.set_availability_hours(jsonb,uuid,text)': {
    reaches:  ['no grant', 'none',     'none',     'own',      'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'FORBIDDEN',
  },
  'public.session_history(uuid)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'clinic',   'clinic',   'theirs',   'no grant'],
    refusal: 'nothing',
    told: { client: 'raised FORBIDDEN', therapist: 'raised FORBIDDEN' },
  },
  'public.audit_checkpoint()': {
    reaches:  ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'no grant'],
    refusal: 'raised FORBIDDEN',
    told: { superAdmin: 'nothing' },
  },
  'public.verify_audit(jsonb)': {
    reaches:  ['no grant', 'none',     'none',     'none',     'none',     'clinic',   'none',     'no grant'],
    refusal: 'raised FORBIDDEN',
    told: { superAdmin: 'nothing' },
  },
};

/** Functions of schema private that stand behind public ones of other names, each with one of these. */
export const standsBehind: Readonly<Record<string, string>> = {
  'private.alter_member(boolean,uuid,public.member_role,text[],boolean,text)':
    'public.change_member(uuid,public.member_role,text[],boolean,text)',
  'private.change_lifecycle(text,jsonb,text)': 'public.start_session(jsonb,text)',
  'private.read_client_details(boolean,jsonb,text)': 'public.read_client_details(jsonb,text)',
  'private.read_note(text,jsonb,text)': 'public.read_note(jsonb,text)',
  'private.save_note(text,jsonb,text,text)': 'public.save_note_draft(jsonb,text,text)',
};

/** Functions of schema private that row-level policies, checks and reports call; nobody can call them by name. */
export const policyHelpers: readonly string[] = [
  'private.active_organization_id()',
  'private.active_role()',
  'private.availability_hours_are_valid(jsonb)',
  'private.billable_units(numeric,public.unit_rounding,integer)',
  'private.caseload_client_ids()',
  'private.claimed_organization_id()',
  'private.client_lanes(uuid,uuid,text,timestamp with time zone,timestamp with time zone)',
  'private.day_units(private.rendered_service[])',
  'private.events_of(uuid,uuid[])',
  'private.has_permission(text)',
  'private.hours_worked(uuid,uuid,tstzrange)',
  'private.is_admin()',
  'private.is_direct_write()',
  'private.leave_booking(jsonb,text)',
  'private.member_ids()',
  'private.modifiers_are_valid(jsonb)',
  'private.organization_as(public.member_role)',
  'private.organizations_of(uuid)',
  'private.own_client_ids()',
  'private.pair_lanes(integer)',
  'private.place_of(text)',
  'private.places_are_valid(text[])',
  'private.provider_level(text)',
  'private.refuse_lanes()',
  'private.rendered_services(uuid,uuid[])',
  'private.schedule_problems(uuid,uuid[])',
  'private.service_code(uuid,text,text,date)',
  'private.service_code_at(uuid,uuid,text,text,timestamp with time zone)',
  'private.service_code_on(uuid,text,date)',
  'private.service_date(uuid,uuid,timestamp with time zone)',
  'private.service_zone(uuid,uuid)',
  'private.start_of_day(date,text)',
  'private.visit_problems(uuid,uuid[])',
  'private.visits_between(uuid,timestamp with time zone,timestamp with time zone)',
  'private.words_are_valid(text[],integer,text)',
];
