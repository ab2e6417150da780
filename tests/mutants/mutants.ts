/**
 * Mistakes that somebody could make, and the tests that should see them: `npm run mutants` plants one after the other in
 * a copy of the project. Each stands for a kind: a check left out, a bound off by one, a comparison that says nothing.
 *
 * Add one where a mistake was found that no test saw, or where a rule is easy to lose in an edit.
 */

/** A mistake. */
export interface Mutant {
  /** What is wrong then, for the person who uses the product. */
  name: string;
  /** Path from the project's folder. */
  file: string;
  /** Occurs exactly once in the file. */
  from: string;
  to: string;
  /** Filters for vitest: the quick tests whose business it is. */
  tests: string[];
}

const matrix = 'tests/access/matrix.test.ts';
const checks = 'tests/tools/check.test.ts';

export const mutants: Mutant[] = [
  // --- Policies, and who is calling
  {
    name: 'a permission held in one clinic counts in another',
    file: 'supabase/schemas/tenancy/tenancy.sql',
    from: `    where membership.organization_id = private.claimed_organization_id()
      and membership.user_id = auth.uid()
      and has_permission.permission`,
    to: `    where membership.user_id = auth.uid()
      and has_permission.permission`,
    tests: ['one_person_in_two_clinics.sql', 'reading_a_sessions_history.sql'],
  },
  {
    name: 'an admin makes a profile for somebody who is no member',
    file: 'supabase/schemas/tenancy/tenancy.sql',
    from: `
    and id = any ((select private.member_ids())::uuid[])`,
    to: '',
    tests: ['one_person_in_two_clinics.sql', matrix],
  },
  {
    name: 'a parent reads the rooms',
    file: 'supabase/schemas/tenancy/tenancy.sql',
    from: " and (select private.active_role()) <> 'client')",
    to: ')',
    tests: [matrix],
  },
  {
    name: 'a therapist reads the caseload of all therapists',
    file: 'supabase/schemas/tenancy/tenancy.sql',
    from: `
      and caseload.therapist_id = auth.uid()`,
    to: '',
    tests: ['tenants_apart.sql', 'who_may_book.sql', matrix],
  },
  {
    name: 'a therapist reads who pays for clients that are not hers',
    file: 'supabase/schemas/payers/coverages.sql',
    from: `
        and client_id = any ((select private.caseload_client_ids())::uuid[])`,
    to: '',
    tests: ['two_services_at_once.sql', matrix],
  },

  // --- Members
  {
    name: 'an admin adds members',
    file: 'supabase/schemas/members/members.sql',
    from: `elsif actor.role <> 'super_admin' then
    return private.refuse_member(actor, user_id, 403, 'FORBIDDEN', 'Only a super_admin manages members.');
  elsif`,
    to: `elsif actor.role not in ('super_admin', 'admin') then
    return private.refuse_member(actor, user_id, 403, 'FORBIDDEN', 'Only a super_admin manages members.');
  elsif`,
    tests: ['managing_members.sql', 'tests/access/members.test.ts', matrix],
  },
  {
    name: 'the last super_admin of a clinic leaves, when another clinic has one',
    file: 'supabase/schemas/members/members.sql',
    from: "where membership.organization_id = organization.id and membership.role = 'super_admin'",
    to: "where membership.role = 'super_admin'",
    tests: ['managing_members.sql', 'tests/access/concurrency.test.ts'],
  },
  {
    name: 'two super_admins who demote each other at the same moment both succeed',
    file: 'supabase/schemas/members/members.sql',
    from: 'where locked.id = any (affected) order by',
    to: 'where locked.id = any (affected) and false order by',
    tests: ['managing_members.sql', 'tests/access/concurrency.test.ts'],
  },
  {
    name: 'a token names the clinic that was joined last',
    file: 'supabase/schemas/tenancy/access_token_hook.sql',
    from: 'membership.created_at, membership.organization_id',
    to: 'membership.created_at desc, membership.organization_id',
    tests: ['access_token_hook.sql'],
  },
  {
    name: 'somebody works in a clinic that only others are members of',
    file: 'supabase/schemas/tenancy/access_token_hook.sql',
    from: 'where membership.organization_id = set_active_organization.organization_id and membership.user_id = auth.uid()',
    to: 'where membership.organization_id = set_active_organization.organization_id',
    tests: ['access_token_hook.sql', 'managing_members.sql', 'tests/access/members.test.ts', matrix],
  },

  // --- Notes, details and their keys
  {
    name: 'an archived therapist writes notes',
    file: 'supabase/schemas/clinical/session_notes.sql',
    from: `
        and therapist.deleted_at is null
    ));`,
    to: `
    ));`,
    tests: ['notes_nobody_may_write.sql'],
  },
  {
    name: 'a signed note is written over by SQL',
    file: 'supabase/schemas/clinical/session_notes.sql',
    from: "elsif latest.is_signed and new.status <> 'amended' then",
    to: "elsif latest.is_signed and new.status = 'signed' then",
    tests: ['notes_nobody_may_write.sql'],
  },
  {
    name: 'random bytes are a signed note',
    file: 'supabase/schemas/clinical/session_notes.sql',
    from: 'elsif not private.proof_holds(new.proof, private.note_statement(new)) then',
    to: "elsif new.proof = '' then",
    tests: ['writing_and_signing_session_notes.sql', 'tests/phi/'],
  },
  {
    name: 'a data key that was retired long ago still seals',
    file: 'supabase/schemas/clinical/data_keys.sql',
    from: "data_key.retired_at > clock_timestamp() - interval '1 minute'",
    to: "data_key.retired_at > clock_timestamp() - interval '1 year'",
    tests: ['notes_nobody_may_write.sql'],
  },
  {
    name: 'retired data keys are not wrapped anew, and are lost with the old master key',
    file: 'scripts/rotate-keys.ts',
    from: 'good.filter(({ master_key_id }) => master_key_id !== masters.activeId)',
    to: 'good.filter((key) => key.master_key_id !== masters.activeId && key.retired_at === null)',
    tests: ['tests/phi/rotation.test.ts'],
  },
  {
    name: 'the public development key is accepted in production when it is not the active one',
    file: 'supabase/functions/_shared/master-keys.ts',
    from: '([id, bytes]) => id === DEVELOPMENT_KEY_ID || bytes.every((byte, index) => byte === index),',
    to: '([id, bytes]) => id === active && bytes.every((byte, index) => byte === index),',
    tests: ['_shared/master-keys.test.ts'],
  },
  {
    name: 'a data key opens for another organization',
    file: 'supabase/functions/_shared/master-keys.ts',
    from: "['twk1', organizationId, keyId]",
    to: "['twk1', organizationId.slice(0, 0), keyId]",
    tests: ['_shared/master-keys.test.ts'],
  },

  // --- The audit trail
  {
    name: 'a copy of a genuine event under another time goes unnoticed',
    file: 'supabase/schemas/audit/proof.sql',
    from: `
          and seal.event_recorded_at = event.recorded_at
      )`,
    to: `
      )`,
    tests: ['tampering_with_the_audit.sql', 'tests/audit/'],
  },
  {
    name: 'the head of a chain is removed and nobody is told',
    file: 'supabase/schemas/audit/proof.sql',
    from: 'and (head.seq, head.hash) is distinct from (newest.seq, newest.hash)',
    to: 'and (head.seq, head.hash) <> (newest.seq, newest.hash)',
    tests: ['tampering_with_the_audit.sql', 'tests/audit/'],
  },
  {
    name: 'archiving something is recorded as a change like any other',
    file: 'supabase/schemas/members/members.sql',
    from: "when item.value #>> '{before,deleted_at}' is null and item.value #>> '{after,deleted_at}' is not null",
    to: "when item.value #>> '{after,deleted_at}' is null and item.value #>> '{before,deleted_at}' is null and false",
    tests: [
      'managing_members.sql',
      'ones_own_profile.sql',
      'a_removed_member.sql',
      'tests/audit/actions.test.ts',
    ],
  },

  // --- Payers and reports
  {
    name: 'the payer who pays last pays first',
    file: 'supabase/schemas/payers/coverages.sql',
    from: 'order by coverage.priority\n',
    to: 'order by coverage.priority desc\n',
    tests: ['supabase/tests/'],
  },
  {
    name: 'the last day of a coverage is not covered',
    file: 'supabase/schemas/payers/coverages.sql',
    from: "on_date <= coalesce(coverage.valid_to, 'infinity')",
    to: "on_date < coalesce(coverage.valid_to, 'infinity')",
    tests: ['supabase/tests/'],
  },
  {
    name: 'begun minutes are billed',
    file: 'supabase/schemas/payers/units.sql',
    from: 'return floor(extract(epoch from end_time - start_time) / 60);',
    to: 'return ceil(extract(epoch from end_time - start_time) / 60);',
    tests: [
      'tests/clinical/units.test.ts',
      'tests/clinical/billable-visits.test.ts',
      'reports_on_the_seed.sql',
    ],
  },
  {
    name: 'supervision that did not take place counts',
    file: 'supabase/schemas/reports/supervision_months.sql',
    from: "session.status = 'completed' as is_attended",
    to: 'true as is_attended',
    tests: ['reports_on_the_seed.sql'],
  },
  {
    name: 'sessions that were cancelled count as due',
    file: 'supabase/schemas/reports/no_show_rates.sql',
    from: "and session.status in ('completed', 'no_show')",
    to: "and session.status in ('completed', 'no_show', 'cancelled')",
    tests: ['reports_on_the_seed.sql'],
  },
  {
    name: 'a note that was amended is called unsigned',
    file: 'supabase/schemas/reports/unsigned_notes.sql',
    from: "not in ('signed', 'amended')",
    to: "<> 'signed'",
    tests: ['reports_on_the_seed.sql', 'writing_and_signing_session_notes.sql'],
  },

  // --- Edge functions and library
  {
    name: 'a serialization failure is an error nobody foresaw, instead of "try again"',
    file: 'supabase/functions/_shared/busy.ts',
    from: "  '40001',\n",
    to: '',
    tests: ['_shared/outcome.test.ts', 'tests/unit/'],
  },
  {
    name: 'a page that names a region cannot reach any function',
    file: 'supabase/functions/_shared/cors.ts',
    from: "'x-region', ",
    to: '',
    tests: ['_shared/cors.test.ts'],
  },
  {
    name: 'an authorization header with a small "bearer" is refused',
    file: 'supabase/functions/_shared/auth.ts',
    from: '/^Bearer +([^\\s]+)$/i',
    to: '/^Bearer +([^\\s]+)$/',
    tests: ['_shared/http.test.ts', 'tests/functions/http.test.ts'],
  },
  {
    name: 'each attempt of a call has a key of its own, and may book again',
    file: 'src/lib/callEdge.ts',
    from: "'Idempotency-Key': idempotencyKey,",
    to: "'Idempotency-Key': idempotencyKey && crypto.randomUUID(),",
    tests: ['tests/lib/faults.test.ts'],
  },
  {
    name: 'a booking that fails keeps its hold',
    file: 'src/lib/bookSession.ts',
    from: 'const released = await release(supabase, booking.intent, booking.held.hold.holdKey);',
    to: 'const released = (release, true);',
    tests: ['tests/lib/faults.test.ts'],
  },
  {
    name: 'what happened while Realtime was away is never shown',
    file: 'src/lib/scheduleFeed.ts',
    from: 'if (told && !isTold) void refresh();',
    to: '',
    tests: ['tests/lib/feed.test.ts'],
  },
  {
    name: 'two looks at a schedule overlap, and the older answer may come last',
    file: 'src/lib/scheduleFeed.ts',
    from: 'reading ??= (async () => {',
    to: 'reading = (async () => {',
    tests: ['tests/lib/feed.test.ts'],
  },

  // --- Checks that cannot fail
  {
    name: 'npm run check succeeds whatever fails',
    file: 'scripts/check.ts',
    from: 'process.exitCode = 1;',
    to: 'process.exitCode = 0;',
    tests: [checks],
  },
  {
    name: 'the platform’s warnings are let through',
    file: 'scripts/check.ts',
    from: "'--fail-on=warn',",
    to: "'--fail-on=error',",
    tests: [checks],
  },
  {
    name: 'stale database types pass',
    file: 'scripts/generate-types.ts',
    from: "(await readFile(target, 'utf8').catch(() => '')) !== content",
    to: "content.length === (await readFile(target, 'utf8').catch(() => '')).length + 1_000_000",
    tests: [checks],
  },
  {
    name: 'a stale access matrix passes',
    file: 'scripts/access-matrix.ts',
    from: 'if (current !== text) {',
    to: 'if (current.length === 0 && text) {',
    tests: [checks],
  },
  {
    name: 'a baseline migration that is not the schema files’ passes',
    file: 'scripts/generate-migrations.ts',
    from: '(await stored()) !== (await baseline())',
    to: '(await stored()).length !== (await baseline()).length - 1_000_000',
    tests: [checks],
  },
  {
    name: 'tests run on yesterday’s seed after it was edited',
    file: 'local/migrate.ts',
    from: "    join(root, 'supabase', 'seed.sql'),\n",
    to: '',
    tests: ['tests/unit/schema-fingerprint.test.ts'],
  },
  // --- What a request may say
  {
    name: 'a hold of zero seconds is accepted',
    file: 'supabase/schemas/booking/request_types.sql',
    from: 'check (value between 30 and 900)',
    to: 'check (value between 0 and 900)',
    tests: ['reading_a_request.sql', 'tests/model/contract.test.ts'],
  },
  {
    name: 'a UUID in braces is accepted',
    file: 'supabase/schemas/booking/request_types.sql',
    from: `          then format('exists(%s ? (!(@ like_regex "^.{8}-.{4}-.{4}-.{4}-.{12}$")))', item.path) end,`,
    to: `          then format('%s == "no"', item.path) end,`,
    tests: ['reading_a_request.sql', 'tests/model/contract.test.ts'],
  },
  {
    name: 'an empty field of a form is refused',
    file: 'supabase/schemas/booking/request_types.sql',
    from: 'if fewer <> request then',
    to: 'if false then',
    tests: ['reading_a_request.sql', 'tests/model/contract.test.ts'],
  },
  {
    name: 'an instant that is finer than a millisecond is accepted',
    file: 'supabase/schemas/booking/request_types.sql',
    from: '(:[0-5][0-9](\\.[0-9]{1,3}0{0,6})?)?(Z|',
    to: '(:[0-5][0-9](\\.[0-9]{1,9})?)?(Z|',
    tests: ['reading_a_request.sql', 'tests/model/contract.test.ts'],
  },
  {
    name: 'CET is a zone, an hour off in summer',
    file: 'supabase/schemas/foundations/foundations.sql',
    from: `    zone.name in ('UTC', 'GMT', 'UCT', 'Zulu')
`,
    to: `    true
`,
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'of a repeated hour the second is booked',
    file: 'supabase/schemas/booking/slots.sql',
    from: 'return case when earlier < latest and earlier at time zone zone = civil then earlier else latest end;',
    to: 'return latest;',
    tests: ['reading_a_request.sql', 'tests/model/zones.test.ts'],
  },
  {
    name: 'a session without length is accepted',
    file: 'supabase/schemas/booking/slots.sql',
    from: 'elsif slot.end_time <= slot.start_time then',
    to: 'elsif slot.end_time < slot.start_time then',
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'a session of 13 hours is accepted',
    file: 'supabase/schemas/booking/slots.sql',
    from: "> interval '12 hours'",
    to: "> interval '13 hours'",
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'a series is booked 731 days ahead',
    file: 'supabase/schemas/booking/slots.sql',
    from: "interval '17520 hours'",
    to: "interval '17544 hours'",
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'an end is held against the offset of its start',
    file: 'supabase/schemas/booking/slots.sql',
    from: 'end_offset <> private.zone_offset(slot.end_time, slot.time_zone)',
    to: 'end_offset <> private.zone_offset(slot.start_time, slot.time_zone)',
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'occurrences back to back are an overlap',
    file: 'supabase/schemas/booking/slots.sql',
    from: 'where item.busy_until > item.start_time',
    to: 'where item.busy_until >= item.start_time',
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'a series is compared with its last occurrence only',
    file: 'supabase/schemas/booking/slots.sql',
    from: `max(placed.end_time) over (
          order by placed.start_time, placed.occurrence_index rows between unbounded preceding and 1 preceding
        )`,
    to: 'lag(placed.end_time) over (order by placed.start_time, placed.occurrence_index)',
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'each client of a group gets a group',
    file: 'supabase/schemas/booking/slots.sql',
    from: 'slot.hold_key, member.id, slot.group_id, slot.session_id,',
    to: 'slot.hold_key, member.id, gen_random_uuid(), slot.session_id,',
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'a service named at the top is forgotten',
    file: 'supabase/schemas/booking/slots.sql',
    from: 'case when place.cpt is distinct from null then place.cpt else wanted.cpt end',
    to: 'place.cpt',
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'a day is cancelled in no zone in particular',
    file: 'supabase/schemas/booking/slots.sql',
    from: 'if by_days and wanted.time_zone is null then',
    to: 'if false then',
    tests: ['reading_a_request.sql'],
  },
  {
    name: 'zod counts characters as JavaScript does',
    file: 'supabase/functions/_shared/contract/primitives.ts',
    from: 'return text.length > 200_000 ? text.length : [...text].length;',
    to: 'return text.length;',
    tests: ['contract/hold.test.ts'],
  },
];
