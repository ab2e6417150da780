/** Which rows the matrix is tried on: for each relation the own, the other and the foreign one, and for each function a call. */
import { createHash } from 'node:crypto';

/** Whose row: one of the therapist's or the parent's, one of another therapist's in the clinic, one of another clinic. */
export const scopes = ['own', 'other', 'foreign'] as const;

export type Scope = (typeof scopes)[number];

/** The id of a person or row in world.sql. */
export function id(name: string): string {
  const hex = createHash('md5').update(`access-matrix/${name}`).digest('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

type Row = {
  /** Finds the row; `{clinic}` and the like are the scope's. */
  where: string;
  /** The row an insert tries, as `(columns) values (…)` or a select. */
  insert?: string;
  /** The column an update sets to itself. */
  update?: string;
  /** There is no row of another therapist's. */
  noOther?: true;
};

const session = 'organization_id = {clinic} and session_id = {running}';

/** Relations that API roles have some privilege on; the rest is tried without a row. */
export const rows: Record<string, Row> = {
  'public.organizations': {
    where: 'id = {clinic}',
    insert: "(id, name, time_zone) values (gen_random_uuid(), 'New', 'UTC')",
    update: 'name',
    noOther: true,
  },
  'public.memberships': {
    where: 'organization_id = {clinic} and user_id = {member}',
    insert: "(organization_id, user_id, role) values ({clinic}, {newcomer}, 'admin')",
    update: 'role',
  },
  'public.therapists': {
    where: 'organization_id = {clinic} and id = {therapist}',
    insert: "(organization_id, id, display_name, time_zone) values ({clinic}, {staff}, 'New', 'UTC')",
    update: 'display_name',
  },
  'public.clients': {
    where: 'organization_id = {clinic} and id = {client}',
    insert: "(organization_id, reference) values ({clinic}, 'new')",
    update: 'reference',
  },
  'public.caseloads': {
    where: 'organization_id = {clinic} and therapist_id = {therapist}',
    insert: '(organization_id, therapist_id, client_id) values ({clinic}, {therapist}, {spare})',
  },
  'public.client_users': {
    where: 'organization_id = {clinic} and user_id = {parent}',
    insert: '(organization_id, client_id, user_id) values ({clinic}, {spare}, {parent})',
  },
  'public.rooms': {
    where: 'organization_id = {clinic} and id = {room}',
    insert: "(organization_id, name) values ({clinic}, 'New')",
    update: 'name',
  },
  'public.availability_exceptions': {
    where: 'organization_id = {clinic} and therapist_id = {therapist}',
    insert:
      "(organization_id, therapist_id, kind, starts_at, ends_at) values ({clinic}, {therapist}, 'time_off', '2020-02-01Z', '2020-02-02Z')",
    update: 'kind',
  },
  'public.organization_closures': {
    where: 'organization_id = {clinic}',
    insert:
      "(organization_id, name, starts_at, ends_at) values ({clinic}, 'New', '2020-02-01Z', '2020-02-02Z')",
    update: 'name',
  },
  'public.sessions': {
    where: 'organization_id = {clinic} and id = {session}',
    insert: `(organization_id, therapist_id, client_id, start_time, end_time, time_zone)
      values ({clinic}, {therapist}, {client}, access_matrix.at(10), access_matrix.at(11), 'UTC')`,
    update: 'location_type',
  },
  'public.session_series': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'public.series_changes': { where: 'organization_id = {clinic} and series_id = {series}' },
  'public.session_groups': {
    where: 'organization_id = {clinic} and therapist_id = {therapist}',
    insert: `(organization_id, therapist_id, start_time, end_time)
      values ({clinic}, {therapist}, access_matrix.at(10), access_matrix.at(11))`,
    update: 'created_at',
  },
  'public.session_cancellations': { where: 'organization_id = {clinic} and session_id = {cancelled}' },
  'public.calendar_feeds': { where: 'organization_id = {clinic} and id = {feed}' },
  'public.staff_times': {
    where: 'organization_id = {clinic} and id = {staffTime}',
    insert: `(organization_id, kind, start_time, end_time, time_zone)
      values ({clinic}, 'break', access_matrix.at(10), access_matrix.at(11), 'UTC')`,
    update: 'kind',
  },
  'public.staff_time_members': {
    where: 'organization_id = {clinic} and therapist_id = {therapist}',
    insert: '(organization_id, staff_time_id, therapist_id) values ({clinic}, {emptyStaffTime}, {therapist})',
  },
  'public.session_note_states': { where: session },
  'public.hold_batches': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'public.session_holds': { where: 'organization_id = {clinic} and id = {hold}' },
  'public.time_zones': { where: "name = 'UTC'" },
  'public.service_codes': {
    where: 'organization_id = {clinic}',
    insert: `(organization_id, code, description, levels, valid_from)
      values ({clinic}, 'H0031', 'New', array['qhp']::public.provider_level[], '2020-01-01')`,
    update: 'description',
    noOther: true,
  },
  'public.therapist_credentials': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'public.payers': {
    where: 'organization_id = {clinic} and id = {payer}',
    insert: "(organization_id, name) values ({clinic}, 'New')",
    update: 'name',
    noOther: true,
  },
  'public.payer_rules': {
    where: 'organization_id = {clinic} and payer_id = {payer}',
    insert:
      "(organization_id, payer_id, valid_from, valid_to) values ({clinic}, {payer}, '2021-01-01', '2021-12-31')",
    update: 'rounding',
    noOther: true,
  },
  'public.payer_code_rules': {
    where: 'organization_id = {clinic} and payer_id = {payer}',
    insert:
      "(organization_id, payer_id, cpt_code, valid_from) values ({clinic}, {payer}, '97153', '2021-01-01')",
    update: 'rounding',
    noOther: true,
  },
  'public.payer_concurrency_rules': {
    where: 'organization_id = {clinic} and payer_id = {payer}',
    insert: `(organization_id, payer_id, first_code, second_code, allowed, valid_from)
      values ({clinic}, {payer}, '97153', '97155', true, '2021-01-01')`,
    update: 'allowed',
    noOther: true,
  },
  'public.client_coverages': {
    where: 'organization_id = {clinic} and client_id = {client}',
    insert:
      "(organization_id, client_id, payer_id, valid_from) values ({clinic}, {spare}, {payer}, '2020-01-01')",
    update: 'priority',
  },
  'public.authorizations': {
    where: 'organization_id = {clinic} and client_id = {client}',
    insert: `(organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
      values ({clinic}, {spare}, {payer}, 8, '2020-01-01', '2020-12-31')`,
    update: 'approved_units',
  },
  'public.authorization_codes': {
    where: `organization_id = {clinic} and authorization_id = {authorization}`,
    insert: "(organization_id, authorization_id, cpt_code) values ({clinic}, {authorization}, '97153')",
  },
  'public.unit_limits': {
    where: `organization_id = {clinic} and authorization_id = {authorization}`,
    insert: `(organization_id, authorization_id, cpt_codes, period, max_units)
      values ({clinic}, {authorization}, array['97155'], 'day', 1000)`,
    update: 'max_units',
  },
  'public.waitlist_entries': {
    where: 'organization_id = {clinic} and client_id = {client}',
    insert: `(organization_id, client_id, cpt_code, windows)
      values ({clinic}, {spare}, '97153', '{[2030-01-01,2030-01-02)}')`,
    update: 'priority',
  },
  'public.authorization_units': { where: 'organization_id = {clinic} and client_id = {client}' },
  'public.session_visits': { where: session },
  'public.visit_versions': { where: session },
  'reports.weeks': { where: 'organization_id = {clinic}', noOther: true },
  'reports.months': { where: 'organization_id = {clinic}', noOther: true },
  'reports.therapist_utilization': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'reports.named_sessions': { where: 'organization_id = {clinic} and id = {session}' },
  'reports.staff_time_resources': { where: 'organization_id = {clinic} and id = {staffTime}' },
  'reports.attendance': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'reports.cancellations': { where: 'organization_id = {clinic} and session_id = {cancelled}' },
  'reports.no_show_rates': { where: 'organization_id = {clinic} and client_id = {client}' },
  'reports.hold_funnel': { where: 'organization_id = {clinic}', noOther: true },
  'reports.double_bookings': { where: 'organization_id = {clinic}', noOther: true },
  'reports.clock_change_sessions': { where: 'organization_id = {clinic} and session_id = {attended}' },
  'reports.series_start_times': { where: 'organization_id = {clinic} and series_id = {series}' },
  'reports.moved_by_zone_rules': { where: 'organization_id = {clinic} and session_id = {session}' },
  'reports.billable_visits': { where: 'organization_id = {clinic} and session_id = {attended}' },
  'reports.units_by_code_and_payer': { where: 'organization_id = {clinic}', noOther: true },
  'reports.sessions_to_recode': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'reports.authorization_balances': { where: 'organization_id = {clinic} and client_id = {client}' },
  'reports.services_beyond_authorization': { where: 'organization_id = {clinic} and client_id = {client}' },
  'reports.supervision_share': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'reports.authorization_pace': { where: 'organization_id = {clinic} and client_id = {client}' },
  'reports.schedule_problems': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'reports.visit_problems': { where: 'organization_id = {clinic} and session_id = {attended}' },
  'reports.evv_gaps': { where: 'organization_id = {clinic} and session_id = {attended}' },
  'reports.unbilled': { where: 'organization_id = {clinic} and session_id = {attended}' },
  'reports.supervision_months': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'reports.supervision_needed': { where: 'organization_id = {clinic} and therapist_id = {therapist}' },
  'reports.unsigned_notes': { where: 'organization_id = {clinic} and session_id = {attended}' },
  'reports.session_audit_trail': { where: 'organization_id = {clinic} and session_id = {session}' },
  'reports.client_record_access': { where: 'organization_id = {clinic} and client_id = {client}' },
  'audit.events': { where: 'organization_id = {clinic}', noOther: true },
  'audit.actions': { where: "action = 'note.read'" },
  'audit.seals': { where: 'organization_id = {clinic}', noOther: true },
  'audit.chains': { where: 'organization_id = {clinic}', noOther: true },
};

const outcome = (call: string) => `access_matrix.outcome(${call})`;
const request = (...fields: string[]) => `jsonb_build_object(${fields.join(', ')})`;
const occurrence = (from: number, to: number) =>
  `'start_time', access_matrix.at(${from}), 'end_time', access_matrix.at(${to}),
   'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0, 'time_zone', 'UTC'`;
const booking = (from: number, to: number) =>
  request("'therapist_id', {therapist}", "'client_id', {client}", occurrence(from, to));
const note = (status: string) => `access_matrix.note_request({home}, {running}, '${status}')`;
const found = (query: string) => `case when exists (${query}) then 'ok' end`;

/** A call of each function, as an expression: `ok`, the code of a refusal, or null for nothing. */
export const calls: Record<string, { call: string; noOther?: true }> = {
  'public.hold_sessions(jsonb,text,text)': { call: outcome(`public.hold_sessions(${booking(10, 11)})`) },
  'public.confirm_sessions(jsonb,text,text)': {
    call: outcome(
      `public.confirm_sessions(${request(
        "'hold_key', {holdKey}",
        `'session', jsonb_build_object('therapist_id', {therapist}, 'client_id', {client}, ${occurrence(4, 5)})`,
        occurrence(4, 5),
      )})`,
    ),
  },
  'public.release_hold(jsonb,text,text)': {
    call: "case when public.release_hold(jsonb_build_object('hold_key', {holdKey})) #>> '{body,released}' = 'true' then 'ok' end",
  },
  'public.cancel_sessions(jsonb,text,text)': {
    call: outcome("public.cancel_sessions(jsonb_build_object('session_ids', jsonb_build_array({session})))"),
  },
  // That it cannot begin, be completed or be missed yet is told only to whom it is within reach.
  'public.start_session(jsonb,text)': {
    call: `replace(${outcome("public.start_session(jsonb_build_object('session_id', {session}))")}, 'NOT_TODAY', 'ok')`,
  },
  'public.end_session(jsonb,text)': {
    call: outcome(
      `public.end_session(${request("'session_id', {running}", "'other_day_reason', 'after midnight'")})`,
    ),
  },
  'public.complete_session(jsonb,text)': {
    call: `replace(${outcome("public.complete_session(jsonb_build_object('session_id', {running}))")}, 'SESSION_INCOMPLETE', 'ok')`,
  },
  'public.mark_no_show(jsonb,text)': {
    call: `replace(${outcome("public.mark_no_show(jsonb_build_object('session_id', {session}))")}, 'STATUS_NOT_ALLOWED', 'ok')`,
  },
  'public.correct_visit(jsonb,text)': {
    call: outcome(
      `public.correct_visit(${request("'session_id', {running}", "'base_version', 2", "'undo', 'start'", "'reason_code', 'by_mistake'")})`,
    ),
  },
  'public.extend_series(jsonb,text,text)': {
    call: outcome(`public.extend_series(${request("'series_id', {series}", "'count', 1")})`),
  },
  // The member has begun, which is told only to whom the group is within reach.
  'public.recode_sessions(jsonb,text)': {
    call: outcome(
      `public.recode_sessions(${request("'session_ids', jsonb_build_array({session})", "'cpt_code', '97153'")})`,
    ),
  },
  'public.move_group(jsonb,text)': {
    call: `replace(${outcome(
      `public.move_group(${request("'group_id', {group}", occurrence(50, 51))})`,
    )}, 'SESSION_NOT_MOVABLE', 'ok')`,
  },
  'public.find_open_slots(uuid,timestamp with time zone,timestamp with time zone,integer,uuid,uuid,text,integer,integer,text,uuid[])':
    {
      call: found(
        'select from public.find_open_slots({therapist}, access_matrix.at(10), access_matrix.at(12), 60, {client})',
      ),
    },
  'public.find_alternatives(jsonb)': {
    call: `case when jsonb_array_length(public.find_alternatives(${booking(0, 1)})) > 0 then 'ok' end`,
  },
  'public.preview_series(jsonb)': {
    call: `case when public.preview_series(${booking(10, 11)}) is not null then 'ok' end`,
  },
  // The therapist has the session already, which is told only to whom it is within reach.
  'public.hold_reassignment(jsonb,text,text)': {
    call: `replace(${outcome(
      `public.hold_reassignment(${request("'session_ids', jsonb_build_array({session})", "'to_therapist_id', {therapist}")})`,
    )}, 'SESSION_NOT_MOVABLE', 'ok')`,
  },
  'public.archive(jsonb,text)': {
    call: outcome(`public.archive(${request("'client_id', {client}")})`),
  },
  'public.set_credential(jsonb,text)': {
    call: outcome(`public.set_credential(${request("'therapist_id', {therapist}", "'credential', 'RBT'")})`),
  },
  'public.touched_sessions(jsonb)': {
    call: `case when (public.touched_sessions(${request("'client_id', {client}")}) ->> 'total')::integer > 0 then 'ok' end`,
  },
  'public.find_substitutes(jsonb)': {
    call: `case when public.find_substitutes(${request("'session_id', {session}")}) is not null then 'ok' end`,
  },
  // Of whom nobody may be booked, the row has issues, and nothing is imported.
  'public.import_sessions(jsonb,text)': {
    call: `(select case when answer ->> 'code' is not null then answer ->> 'code'
        when answer #>> '{body,rows,0,status}' = 'ok' then 'ok' end
      from (select public.import_sessions(jsonb_build_object('rows', jsonb_build_array(jsonb_build_object(
        'external_id', 'x', 'therapist_id', {therapist}, 'client_id', {client}, 'time_zone', 'UTC',
        'start_time', to_char(access_matrix.at(80) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'end_time', to_char(access_matrix.at(81) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))))) as answer) as told)`,
  },
  // It is a feed of the caller's own organization, whichever that is.
  'public.create_calendar_feed(text)': {
    call: `(select case when answer <> 'ok' or auth.jwt() ->> 'org_id' = {clinic}::text then answer end from (
      select ${outcome('public.create_calendar_feed()')} as answer) as told)`,
    noOther: true,
  },
  'public.revoke_calendar_feed(jsonb,text)': {
    call: outcome("public.revoke_calendar_feed(jsonb_build_object('feed_id', {feed}))"),
  },
  // Its secret is the id of a session here.
  'public.read_calendar_feed(text,text)': {
    call: "case when public.read_calendar_feed({session}::text) is not null then 'ok' end",
  },
  'public.add_staff_time(jsonb,text,text)': {
    call: outcome(
      `public.add_staff_time(${request("'kind', 'drive'", "'therapist_ids', jsonb_build_array({therapist})", occurrence(10, 11))})`,
    ),
  },
  'public.change_staff_time(jsonb,text)': {
    call: outcome(`public.change_staff_time(${request("'staff_time_id', {staffTime}", "'kind', 'break'")})`),
  },
  'public.cancel_staff_time(jsonb,text)': {
    call: outcome(`public.cancel_staff_time(${request("'staff_time_ids', jsonb_build_array({staffTime})")})`),
  },
  // It closes the caller's own organization, whichever that is.
  'public.add_closure(jsonb,text)': {
    call: `(select case when answer <> 'ok' or auth.jwt() ->> 'org_id' = {clinic}::text then answer end from (
      select ${outcome(`public.add_closure(${request("'name', 'Holiday'", "'from_date', '2020-02-01'")})`)} as answer) as told)`,
    noOther: true,
  },
  // It moves what the caller's own organization has booked in the zone.
  'public.resync_zone(text,text)': {
    call: `(select case when answer <> 'ok' or auth.jwt() ->> 'org_id' = {clinic}::text then answer end from (
      select ${outcome("public.resync_zone('UTC')")} as answer) as told)`,
    noOther: true,
  },
  'public.add_time_off(jsonb,text)': {
    call: outcome(
      `public.add_time_off(${request("'therapist_id', {therapist}", "'from_date', '2020-02-01'")})`,
    ),
  },
  'public.set_active_organization(uuid)': {
    call: "coalesce(nullif(public.set_active_organization({clinic})::text, ''), 'ok')",
    noOther: true,
  },
  // The clinic has a key already, which is the answer.
  'public.start_data_key(jsonb,text)': {
    call: `(select case when answer #>> '{body,key,keyId}' = access_matrix.id({clinic}::text || ' key')::text then 'ok' else answer ->> 'code' end
      from public.start_data_key(access_matrix.key_request({home})) as answer)`,
    noOther: true,
  },
  'public.prepare_note(jsonb,text)': {
    call: outcome("public.prepare_note(jsonb_build_object('session_id', {running}))"),
  },
  'public.save_note_draft(jsonb,text,text)': { call: outcome(`public.save_note_draft(${note('draft')})`) },
  'public.sign_note(jsonb,text,text)': { call: outcome(`public.sign_note(${note('signed')})`) },
  // That the note is not signed yet is told only to whom it is within reach.
  'public.amend_note(jsonb,text,text)': {
    call: `replace(${outcome(`public.amend_note(${note('amended')})`)}, 'NOTE_NOT_SIGNED', 'ok')`,
  },
  'public.read_note(jsonb,text)': {
    call: outcome("public.read_note(jsonb_build_object('session_id', {running}))"),
  },
  'public.note_history(jsonb,text)': {
    call: outcome("public.note_history(jsonb_build_object('session_id', {running}))"),
  },
  'public.prepare_client_details(jsonb,text)': {
    call: outcome("public.prepare_client_details(jsonb_build_object('client_id', {client}))"),
  },
  'public.save_client_details(jsonb,text,text)': {
    call: outcome('public.save_client_details(access_matrix.details_request({home}, {client}))'),
  },
  'public.read_client_details(jsonb,text)': {
    call: outcome(
      "public.read_client_details(jsonb_build_object('client_ids', jsonb_build_array({client})))",
    ),
  },
  'public.read_client_names(jsonb,text)': {
    call: `(select case
        when answer #>> '{body,clients,0,clientId}' = {client}::text then 'ok'
        when answer #> '{body,notReadable}' <> jsonb_build_array({client}) then answer::text
      end
      from public.read_client_names(jsonb_build_object('client_ids', jsonb_build_array({client}))) as answer)`,
  },
  // There is no naming another organization: whoever is added joins the caller's.
  'public.add_member(uuid,public.member_role,text[])': {
    call: `(select case when answer -> 'ok' = 'true'
        then case when answer #>> '{body,organizationId}' = {clinic}::text then 'ok' end
        else answer ->> 'code' end
      from public.add_member({newcomer}, 'therapist') as answer)`,
    noOther: true,
  },
  'public.change_member(uuid,public.member_role,text[],boolean,text)': {
    call: outcome("public.change_member({therapist}, 'admin')"),
  },
  'public.remove_member(uuid,boolean,text)': { call: outcome('public.remove_member({therapist})') },
  'public.my_organizations()': {
    call: found('select from public.my_organizations() where organization_id = {clinic}'),
    noOther: true,
  },
  // It drains the queue of the caller's own organization: there is none to name.
  'public.offer_freed_slots(text)': {
    call: "case when public.offer_freed_slots() ->> 'offered' = 'false' and {clinic}::text = auth.jwt() ->> 'org_id' then 'ok' end",
  },
  'public.own_therapists()': { call: found('select from public.own_therapists() where id = {therapist}') },
  'public.set_availability_hours(jsonb,uuid,text)': {
    call: outcome("public.set_availability_hours('{}', {therapist})"),
  },
  'public.session_history(uuid)': { call: found('select from public.session_history({session})') },
  'public.audit_checkpoint()': {
    call: found(
      `select from jsonb_array_elements(public.audit_checkpoint() -> 'heads') as head where head.value ->> 'organizationId' = {clinic}::text`,
    ),
    noOther: true,
  },
  // A head that the chains do not have is found missing.
  'public.verify_audit(jsonb)': {
    call: found(`select from public.verify_audit(jsonb_build_object(
      'takenAt', '2020-01-01T00:00:00Z', 'heads', jsonb_build_array(jsonb_build_object(
        'organizationId', {clinic}, 'chainId', {clinic}, 'seq', 1, 'hash', repeat('0', 64))))) where chain_id = {clinic}`),
    noOther: true,
  },
};

/** What stands for `{…}` in the above. */
export function values(scope: Scope, person: string): Record<string, string> {
  const names = {
    own: { clinic: 'here', therapist: 'rbt', client: 'ann', parent: 'parent', staff: 'admin' },
    other: { clinic: 'here', therapist: 'bcba', client: 'ben', parent: 'other parent', staff: 'super' },
    foreign: {
      clinic: 'there',
      therapist: 'foreign rbt',
      client: 'foreign ann',
      parent: 'foreign parent',
      staff: 'foreign admin',
    },
  }[scope];
  const ids = {
    ...names,
    home: person === 'foreignAdmin' ? 'there' : 'here',
    newcomer: 'newcomer',
    member: scope === 'own' && person === 'client' ? names.parent : names.therapist,
    spare: `${scope} spare`,
    room: `${scope} room`,
    session: `${scope} session`,
    running: `${scope} running session`,
    cancelled: `${scope} cancelled session`,
    attended: `${scope} attended session`,
    series: `${scope} series`,
    group: `${scope} manned group`,
    feed: scope === 'own' && person === 'client' ? 'own parent feed' : `${scope} feed`,
    staffTime: `${scope} staff time`,
    emptyStaffTime: `${scope} empty staff time`,
    hold: `${scope} hold`,
    holdKey: `${scope} hold key`,
    authorization: `${scope} authorization`,
  };
  // A clinic's payer has the clinic's id in its name.
  const named = { ...ids, payer: `${id(names.clinic)} payer` };
  return Object.fromEntries(Object.entries(named).map(([key, name]) => [key, `'${id(name)}'::uuid`]));
}

/** Fills in a scope's values. */
export function fill(template: string, scope: Scope, person: string): string {
  const known = values(scope, person);
  return template.replace(/\{(\w+)\}/g, (_, key: string) => {
    const value = known[key];
    if (value === undefined) throw new Error(`world.ts knows no {${key}}`);
    return value;
  });
}
