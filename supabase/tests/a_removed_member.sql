-- A therapist leaves. Her token is still valid, and worth nothing from the next statement on.
begin;
select plan(35);
select tests.open_clinic();
select tests.open_clinic('other ');
create temporary table made on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as session_id,
  tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2))) as held,
  jsonb_build_object('org_id', tests.id('clinic'), 'user_role', 'therapist') as token;
grant select on made to public;

select is(tests.rows('rbt', 'select from public.sessions'), 1::bigint, 'she reads her session');
select is(tests.call('super', format('select public.remove_member(%L)', tests.id('rbt'))) -> 'ok', 'true', 'she is removed');

select is(tests.rows('rbt', format('select from %s', readable), token), 0::bigint, format('she reads nothing of %s', readable))
from made, unnest(array['public.organizations', 'public.memberships', 'public.therapists', 'public.clients', 'public.caseloads',
  'public.sessions', 'public.session_series', 'public.hold_batches', 'public.session_holds', 'public.availability_exceptions',
  'public.rooms', 'public.session_note_states', 'audit.events']) as readable;
select is(tests.rows('rbt', format('update public.sessions set status = ''cancelled'' where id = %L', session_id), token), 0::bigint,
  'she cancels nothing over REST') from made;
select is(tests.error_code('rbt', format($$ insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
  values (%L, %L, 'time_off', now(), now() + interval '1 day') $$, tests.id('clinic'), tests.id('rbt')), token), '42501', 'she adds nothing') from made;
select is(tests.error('rbt', statement, token) ->> 'hint', 'FORBIDDEN', statement)
from made, unnest(array[
  format('select public.hold_sessions(%L)', tests.request('rbt', 'ann', tests.at(3))),
  format('select public.confirm_sessions(%L)', tests.confirmation(held, 'rbt', 'ann')),
  format('select public.release_hold(%L)', jsonb_build_object('hold_key', held #> '{body,holdKey}')),
  format('select public.cancel_sessions(%L)', jsonb_build_object('session_ids', array[session_id])),
  format('select public.prepare_note(%L)', jsonb_build_object('session_id', session_id)),
  'select public.set_availability_hours(''{}'')',
  format('select * from public.find_open_slots(%L, now(), now() + interval ''1 day'', 60)', tests.id('rbt')),
  format('select public.set_active_organization(%L)', tests.id('clinic')),
  format('select * from public.session_history(%L)', session_id)
]) as statement;
select is_empty(format($$ select * from jsonb_array_elements(tests.call('rbt', 'select to_jsonb(array(select organization_id from public.my_organizations()))', %L)) $$, token),
  'she belongs nowhere') from made;
select is(private.custom_access_token_hook(jsonb_build_object('user_id', tests.id('rbt'), 'claims', jsonb_build_object('role', 'authenticated')))
  -> 'claims', '{"role": "authenticated"}', 'her next token names no organization');

-- Nobody books her, nor is anything of hers offered.
select is(tests.error_code('admin', format('select * from public.find_open_slots(%L, %L, %L, 60, %L)', tests.id('rbt'), tests.at(20), tests.at(21), tests.id('ann'))), 'PT403', 'an admin finds no open slots of hers');
select is(tests.error_code('admin', format('select public.' || name || '(%L)', tests.request('rbt', 'ann', tests.at(20)))), 'PT403', name || ': nor does anything else offer her')
from unnest(array['find_alternatives', 'preview_series']) as name;
select is(tests.hold('admin', tests.request('rbt', 'ann', tests.at(20))) ->> 'code', 'FORBIDDEN', 'nor can she be held');

-- What she did stays.
select is((select status::text from public.sessions where id = session_id), 'scheduled', 'her session stays') from made;
select is((select display_name from public.therapists where id = tests.id('rbt')), 'rbt', 'and her profile');
select is((select count(*) from audit.events where actor_user_id = tests.id('rbt') and organization_id = tests.id('clinic')), 3::bigint, 'and what the audit says of her');

select * from finish();
rollback;
