-- Whatever is wrong with a request is said with the name of the field, before anything is written: also to somebody who
-- calls the functions directly, past the edge functions' own checks. Every story below leaves no row behind.
begin;
select plan(280);
select tests.open_clinic();

create temporary table before on commit drop as select tests.footprint() as footprint;
create temporary table good (call text, body jsonb) on commit drop;
insert into good values
  ('hold_sessions', tests.request('rbt', 'ann', tests.at(1))),
  ('cancel_sessions', jsonb_build_object('session_ids', array[gen_random_uuid()]));
insert into good
select 'confirm_sessions', jsonb_build_object(
  'hold_key', gen_random_uuid(),
  'session', jsonb_build_object('therapist_id', tests.id('rbt'), 'client_id', tests.id('ann'),
    'start_time', tests.at(1), 'end_time', tests.at(1, '11:00')),
  'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0, 'time_zone', 'UTC');
insert into good values ('release_hold', jsonb_build_object('hold_key', gen_random_uuid()));

-- The paths a call complains of, or what it answers instead.
create function tests.complaint(call text, body jsonb, person text default 'rbt') returns text language plpgsql as $$
declare
  failure jsonb := tests.error(person, format('select public.%I(%L)', call, body));
begin
  if failure is null then
    return 'accepted';
  elsif failure ->> 'code' <> 'PT400' then
    return format('%s %s', failure ->> 'code', failure ->> 'message');
  end if;
  return (select string_agg(issue ->> 'path', ' ' order by position)
    from jsonb_array_elements((failure ->> 'details')::jsonb) with ordinality as item (issue, position));
end $$;

create temporary table wrong (call text, path text, change text, value text) on commit drop;

-- sessions-hold, one field at a time.
insert into wrong
select 'hold_sessions', field, field, value
from (values
  ('therapist_id'), ('client_id'), ('session_id'), ('room_id')
) as ids (field),
unnest(array['"nope"', '"00000000-0000-0000-0000-00000000000g"', '42', 'true', '{}', '[]',
  '["00000000-0000-4000-8000-000000000001"]', '{"id": "00000000-0000-4000-8000-000000000001"}']) as value;
insert into wrong
select 'hold_sessions', field, field, 'null'
from unnest(array['therapist_id', 'client_id', 'start_time', 'end_time', 'time_zone']) as field;
insert into wrong
select 'hold_sessions', field, field, value
from unnest(array['start_time', 'end_time']) as field,
unnest(array['""', '"now"', '"tomorrow"', '"infinity"', '"-infinity"', '"2027-01-01"', '"2027-01-01T10:00:00"', '"2027-02-30T10:00:00Z"',
  '"2027-01-01T25:00:00Z"', '"10000-01-01T00:00:00Z"', '"0001-01-01T00:00:00Z BC"', '"epoch"', '1798797600000', '{}',
  '["2027-01-01T10:00:00Z"]']) as value;
insert into wrong
select 'hold_sessions', 'time_zone', 'time_zone', value
from unnest(array['""', '"foo3bar"', '"PST"', '"america/los_angeles"', '"UTC+3"', '"+03:00"', '"Mars/Olympus"', '"posixrules"', '"localtime"',
  '0', '[]', '["UTC"]', '{"UTC": 1}']) as value;
insert into wrong
select 'hold_sessions', 'hold_seconds', 'hold_seconds', value
from unnest(array['-1', '0', '29', '901', '30.5', '1e400', '-1e400', '99999999999999999999', '"300"', 'true', '[300]', '{}']) as value;
insert into wrong
select 'hold_sessions', field, field, value
from unnest(array['buffer_before_minutes', 'buffer_after_minutes']) as field,
unnest(array['-1', '241', '0.5', '"15"', '[15]', '1e9', 'false']) as value;
insert into wrong
select 'hold_sessions', field, field, value
from unnest(array['start_time_offset_minutes', 'end_time_offset_minutes']) as field,
unnest(array['1', '-480', '1441', '"0"', '0.1', '[0]', 'true', '1e300']) as value;
insert into wrong
select 'hold_sessions', 'session_type', 'session_type', value
from unnest(array['7', '["individual"]', '{}', to_jsonb(repeat('x', 65))::text]) as value;
insert into wrong
select 'hold_sessions', 'cpt_code', 'cpt_code', value
from unnest(array['"9715"', '"97153-"', '97153', '["97153"]', '{"code": "97153"}', '"９７１５３"']) as value;
insert into wrong values
  ('hold_sessions', 'group_id', 'group_id', '"00000000-0000-4000-8000-000000000001"'),
  ('hold_sessions', 'group_id', 'group_id', '[null]'),
  ('hold_sessions', 'override', 'override', '"because"'),
  ('hold_sessions', 'override', 'override', '[{"reason": "because"}]'),
  ('hold_sessions', 'override.reason', 'override', '{}'),
  ('hold_sessions', 'override.reason', 'override', '{"reason": ""}'),
  ('hold_sessions', 'override.reason', 'override', '{"reason": ["because"]}'),
  ('hold_sessions', 'override.reason', 'override', format('{"reason": "%s"}', repeat('x', 501))),
  ('hold_sessions', 'recurrence', 'recurrence', '"FREQ=DAILY"'),
  ('hold_sessions', 'recurrence.rule', 'recurrence', '{}'),
  ('hold_sessions', 'recurrence.rule', 'recurrence', '{"rule": 7}'),
  ('hold_sessions', 'recurrence.rule', 'recurrence', format('{"rule": "%s"}', repeat('x', 1001))),
  ('hold_sessions', 'occurrences', 'occurrences', '"all"'),
  ('hold_sessions', 'occurrences', 'occurrences', '{}'),
  ('hold_sessions', 'occurrences', 'occurrences', '7'),
  ('hold_sessions', 'occurrences.0', 'occurrences', '[null]'),
  ('hold_sessions', 'occurrences.0', 'occurrences', '["2027-01-01T10:00:00Z"]'),
  ('hold_sessions', 'occurrences.0', 'occurrences', '[[[[[[]]]]]]');
insert into wrong values
  ('hold_sessions', 'end_time', 'end_time', to_jsonb(tests.at(1))::text),
  ('hold_sessions', 'end_time', 'end_time', to_jsonb(tests.at(1, '09:00'))::text),
  ('hold_sessions', 'end_time', 'end_time', to_jsonb(tests.at(1, '22:01'))::text),
  ('hold_sessions', 'start_time end_time', 'start_time', to_jsonb(date_trunc('milliseconds', now()) - interval '1 minute')::text),
  ('hold_sessions', 'occurrences', 'occurrences', (select jsonb_agg(tests.occurrence(tests.at(day))) from generate_series(1, 367) as day)::text);

-- confirm, release, cancel.
insert into wrong
select 'confirm_sessions', path, path, value
from (values
  ('hold_key', 'null'), ('hold_key', '"x"'), ('hold_key', '[]'), ('session', 'null'), ('session', '[]'), ('session', '"s"'),
  ('session.therapist_id', 'null'), ('session.therapist_id', '"x"'), ('session.client_id', 'null'), ('session.client_id', '{}'),
  ('session.start_time', 'null'), ('session.start_time', '"now"'), ('session.end_time', '"2027-13-01T00:00:00Z"'),
  ('session.end_time', to_jsonb(tests.at(1))::text), ('session.id', '"x"'),
  ('session.location_type', '5'), ('session.notes', '"He said"'), ('notes', '"He said"'), ('cpt', '"97153"'),
  ('cpt.code', 'null'), ('cpt.code', '"1"'), ('cpt.code', '["97153"]'), ('cpt.modifiers', '"HM"'), ('cpt.modifiers.0', '["H"]'), ('cpt.modifiers.0', '[["HM"]]'),
  ('cpt.modifiers', '["A1", "A2", "A3", "A4", "A5"]'), ('time_zone', 'null'), ('time_zone', '"foo3bar"'),
  ('start_time_offset_minutes', '60'), ('end_time_offset_minutes', '"0"'),
  ('occurrences', '"all"'), ('occurrences', '{}'), ('occurrences.0', '[7]')
) as one (path, value);
update wrong set change = regexp_replace(path, '\.0$', '') where call = 'confirm_sessions';
insert into wrong values
  ('release_hold', 'hold_key', 'hold_key', 'null'), ('release_hold', 'hold_key', 'hold_key', '"x"'),
  ('release_hold', 'hold_key', 'hold_key', '["00000000-0000-4000-8000-000000000001"]'),
  ('cancel_sessions', 'session_ids', 'session_ids', 'null'), ('cancel_sessions', 'session_ids', 'session_ids', '[]'),
  ('cancel_sessions', 'session_ids', 'session_ids', '"x"'), ('cancel_sessions', 'session_ids.0', 'session_ids', '["x"]'),
  ('cancel_sessions', 'session_ids.0', 'session_ids', '[null]'), ('cancel_sessions', 'session_ids.0', 'session_ids', '[["x"]]'),
  ('cancel_sessions', 'therapist_id', 'therapist_id', '7'), ('cancel_sessions', 'all_therapists', 'all_therapists', '"yes"'),
  ('cancel_sessions', 'session_ids', 'session_ids', (select jsonb_agg(gen_random_uuid()) from generate_series(1, 1001))::text),
  ('cancel_sessions', 'session_ids', 'session_ids', (select jsonb_agg(gen_random_uuid()) from generate_series(1, 5001))::text),
  ('cancel_sessions', 'reason', 'reason', '{}'),
  ('cancel_sessions', 'reason', 'reason', to_jsonb(repeat('x', 501))::text),
  ('cancel_sessions', 'cancellation_attribution', 'cancellation_attribution', '"weather"'),
  ('cancel_sessions', 'date', 'date', '"soon"'), ('cancel_sessions', 'time_zone', 'date', '"2027-01-01"'),
  ('cancel_sessions', 'time_zone', 'time_zone', '"foo3bar"');

select is(
  tests.complaint(wrong.call, jsonb_set(
    case when change like 'cpt.%' then body || '{"cpt": {"code": "97153"}}' else body end,
    string_to_array(change, '.'), value::jsonb)),
  path,
  format('%s: %s = %s', wrong.call, change, left(value, 60))
)
from wrong join good using (call);

select is(tests.footprint(), footprint, 'none of this left a row behind') from before;
select is(tests.events(), '{}', 'nor an event: it was no booking yet');

-- Requests that are no objects, and rules between fields.
select is(tests.complaint(call, body), '', format('%s does not take %s', call, coalesce(body::text, 'nothing')))
from unnest(array['hold_sessions', 'confirm_sessions', 'release_hold', 'cancel_sessions', 'preview_series', 'find_alternatives']) as call,
unnest(array[null, 'null', '[]', '"x"', '7', '[{}]']::jsonb[]) as body;
select is(tests.complaint('hold_sessions', body || change), path, what)
from good cross join lateral (values
  ('occurrences.1.start_time', 'a series may not overlap itself', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(tests.at(1, '10:59'))])),
  ('occurrences.0.start_time', 'in whatever order it comes', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1, '10:59')), tests.occurrence(tests.at(1))])),
  ('occurrences.1.start_time', 'twice the same is an overlap', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(tests.at(1))])),
  ('occurrences.1.start_time', 'buffers included', jsonb_build_object('buffer_after_minutes', 15, 'occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(tests.at(1, '11:00'))])),
  ('start_time', 'nothing in the past', tests.occurrence(date_trunc('milliseconds', now()) - interval '1 minute')),
  ('occurrences.1.start_time', 'not one of a series', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(date_trunc('milliseconds', now()) - interval '1 minute')])),
  ('occurrences.2.end_time', 'nothing beyond 730 days', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(tests.at(2)), tests.occurrence(tests.at(700))])),
  ('occurrences.0.start_time occurrences.1.end_time', 'every fault is named', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1), extra => '{"start_time": "x"}'), tests.occurrence(tests.at(2), extra => '{"end_time": "x"}')])),
  ('occurrences.1.time_zone', 'an occurrence''s zone must exist', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(tests.at(2), extra => '{"time_zone": "foo3bar"}')])),
  ('time_zone', 'the request''s zone too, though each occurrence has its own', jsonb_build_object('time_zone', 'foo3bar', 'occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(tests.at(2))])),
  ('occurrences.0.start_time_offset_minutes', 'an offset that is not the zone''s', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1), extra => jsonb_build_object(
      'time_zone', 'America/Los_Angeles', 'end_time_offset_minutes', tests.offset_of(tests.at(1), 'America/Los_Angeles')))])),
  ('session_id', 'one session for several occurrences', jsonb_build_object('session_id', gen_random_uuid(), 'occurrences',
    array[tests.occurrence(tests.at(1)), tests.occurrence(tests.at(2))])),
  ('occurrences.1.session_id', 'all occurrences move a session, or none', jsonb_build_object('occurrences',
    array[tests.occurrence(tests.at(1), extra => jsonb_build_object('session_id', gen_random_uuid())), tests.occurrence(tests.at(2))])),
  ('occurrences.1.session_id', 'each a different one', jsonb_build_object('occurrences', (
    select array_agg(tests.occurrence(tests.at(day), extra => jsonb_build_object('session_id', tests.id('some session')))) from generate_series(1, 2) as day)))
) as rule (path, what, change)
where call = 'hold_sessions';
select is(tests.error('rbt', format('select public.confirm_sessions(%L)', body #- field)) ->> 'hint', code, what)
from good cross join (values
  ('{session,therapist_id}'::text[], 'MISSING_FIELDS', 'a confirmation without its therapist is MISSING_FIELDS'),
  ('{hold_key}', 'MISSING_FIELDS', 'and without its key')
) as missing (field, code, what) where call = 'confirm_sessions';
select is(tests.error('rbt', format('select public.confirm_sessions(%L)', jsonb_set(body, '{session,end_time}', body #> '{session,start_time}'))) ->> 'hint',
  'INVALID_RANGE', 'an end at its start is INVALID_RANGE') from good where call = 'confirm_sessions';
select is(tests.complaint('cancel_sessions', body || change, 'admin'), path, what)
from good cross join (values
  ('session_ids', 'a cancellation names something', '{"session_ids": null}'::jsonb),
  ('time_zone', 'a day is some zone''s', '{"session_ids": null, "date": "2027-01-01"}'),
  ('date', 'a day exists', '{"session_ids": null, "date": "2027-02-29", "time_zone": "UTC"}'),
  ('therapist_id', 'an admin says whose day', '{"session_ids": null, "date": "2027-01-01", "time_zone": "UTC"}'),
  ('all_therapists', 'one, or all', '{"all_therapists": true, "therapist_id": "00000000-0000-4000-8000-000000000001"}')
) as rule (path, what, change) where call = 'cancel_sessions';
select is(tests.error('rbt', format('select public.hold_sessions(%L, %L)', body, key)) ->> 'details', '[{"path": "Idempotency-Key", "message": "must have 1 to 255 characters"}]',
  'an idempotency key has 1 to 255 characters')
from good, unnest(array['', repeat('k', 256)]) as key where call = 'hold_sessions';

-- What is odd but fine. H2019 is a code of the clinic's own.
insert into public.service_codes (organization_id, code, description, levels, valid_from)
values (tests.id('clinic'), 'H2019', 'Skills training', '{technician,assistant,qhp}', '2020-01-01');
select is(tests.complaint('hold_sessions', tests.request('rbt', 'ann', tests.at(position * 2, '12:00')) || change), 'accepted', what)
from (values
  (1, 'unknown fields are ignored', '{"colour": {"deep": [[[["blue"]]]]}, "__proto__": 1}'::jsonb),
  (2, 'an empty list of occurrences is none', '{"occurrences": []}'),
  (3, 'null is not given', '{"occurrences": null, "room_id": null, "session_id": null, "override": null, "hold_seconds": null, "cpt_code": null}'),
  (4, 'also when they are named as the database names its own', '{"start_times": 7, "session_ids": "x", "recurrence_rule": []}'),
  (5, 'a code in lower case', '{"cpt_code": "h2019"}'),
  (6, 'a code with spaces around it', '{"cpt_code": " H2019 "}'),
  (7, 'twelve hours', jsonb_build_object('end_time', tests.at(15, '00:00'))),
  (8, 'a start with an offset of its own', jsonb_build_object('start_time', to_char(tests.at(16, '12:00') at time zone 'UTC' + interval '5.5 hours', 'YYYY-MM-DD"T"HH24:MI:SS') || '+05:30'))
) as fine (position, what, change);
select is((select array_agg(distinct cpt_code) from public.hold_batches where organization_id = tests.id('clinic') and cpt_code is not null),
  array['H2019'], 'codes are stored in upper case, trimmed');

-- What a hold accepts, a confirmation can store: tabs and line ends too.
create temporary table held on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(30), 60, '{"session_type": "\tindividual\n"}')) as outcome;
select is(
  tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ben', '{"occurrences": null, "cpt": {"code": "\t97153\n", "modifiers": ["\thm "]}}'))
    #> '{body,session,cpt_code}', '"97153"', 'white space around a code is no part of it') from held;
select is((select cpt_modifiers from public.sessions where organization_id = tests.id('clinic')), array['HM'], 'nor around a modifier');

select * from finish();
rollback;
