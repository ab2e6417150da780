-- A body becomes a typed row and then slots, or a 400 that names every field that is wrong. Nothing is converted on the
-- way: "300" is no number and 97153 no text.
begin;
select plan(67);

-- What is wrong with a body: {"path": "message"}, or the code with issues when it is not VALIDATION_FAILED.
create function tests.problems(kind text, body jsonb, as_of timestamptz default '2026-11-01') returns jsonb language plpgsql as $$
declare
  detail text;
  hint text;
begin
  case kind
    when 'hold' then perform private.slots_of(private.read_hold_request(body), as_of);
    when 'confirm' then perform private.listed_of(private.read_confirm_request(body));
    when 'cancel' then perform private.read_cancel_request(body);
    when 'release' then perform private.read_request(body, null::private.release_request, '{hold_key}');
  end case;
  return '{}';
exception when sqlstate 'PT400' then
  get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
  return (
    select jsonb_object_agg(issue.value ->> 'path', issue.value ->> 'message') from jsonb_array_elements(detail::jsonb) as issue (value)
  ) || case when hint <> 'VALIDATION_FAILED' then jsonb_build_object('code', hint) else '{}' end;
end $$;
create function tests.paths(kind text, body jsonb, as_of timestamptz default '2026-11-01') returns text language sql as $$
  select coalesce(string_agg(key, ' ' order by key), '') from jsonb_object_keys(tests.problems(kind, body, as_of)) as key $$;

create function tests.hold_body(change jsonb default '{}') returns jsonb language sql as $$
  select jsonb_strip_nulls('{"therapist_id": "00000000-0000-0000-0000-000000000001", "client_id": "00000000-0000-0000-0000-000000000002",
    "start_time": "2027-02-01T18:00:00Z", "end_time": "2027-02-01T19:00:00Z", "time_zone": "America/Los_Angeles"}' || change) $$;
create function tests.confirm_body(change jsonb default '{}') returns jsonb language sql as $$
  select jsonb_strip_nulls('{"hold_key": "00000000-0000-0000-0000-000000000003", "time_zone": "America/Los_Angeles", "session": {
    "therapist_id": "00000000-0000-0000-0000-000000000001", "client_id": "00000000-0000-0000-0000-000000000002",
    "start_time": "2027-02-01T18:00:00Z", "end_time": "2027-02-01T19:00:00Z"}}' || change) $$;

-- Types
select is(tests.problems('hold', tests.hold_body()), '{}', 'a body with what it needs is accepted');
select is(tests.problems('hold', tests.hold_body('{"color": [[{}]], "occurrences": [], "client_ids": [], "override": null}')), '{}',
  'unknown fields, empty lists and nulls are as if they were left out');
select is(tests.paths('hold', tests.hold_body(bad.change)), bad.path, format('%s is refused', bad.change))
from (values
  ('{"hold_seconds": "300"}'::jsonb, 'hold_seconds'),
  ('{"hold_seconds": 29}', 'hold_seconds'),
  ('{"hold_seconds": 60.5}', 'hold_seconds'),
  ('{"cpt_code": 97153}', 'cpt_code'),
  ('{"room_id": "{00000000-0000-0000-0000-000000000001}"}', 'room_id'),
  ('{"room_id": "00000000000000000000000000000001"}', 'room_id'),
  ('{"buffer_after_minutes": 241}', 'buffer_after_minutes'),
  ('{"start_time": "tomorrow"}', 'start_time'),
  ('{"start_time": "2027-02-01T18:00:00"}', 'start_time'),
  ('{"start_time": "2027-02-30T18:00:00Z"}', 'start_time'),
  ('{"start_time": "2027-02-01T18:00:00.000500Z"}', 'start_time'),
  ('{"time_zone": "foo3bar"}', 'time_zone'),
  ('{"time_zone": "CET"}', 'time_zone'), ('{"time_zone": "MET"}', 'time_zone'), ('{"time_zone": "EET"}', 'time_zone'), ('{"time_zone": "WET"}', 'time_zone'),
  ('{"override": {}}', 'override.reason'),
  ('{"override": {"reason": " "}}', 'override.reason'),
  ('{"override": {"reason": "x", "rules": ["weather"]}}', 'override.rules.0'),
  ('{"recurrence": {"count": 3}}', 'recurrence.rule'),
  ('{"client_ids": [["00000000-0000-0000-0000-000000000002"]]}', 'client_ids.0'),
  ('{"occurrences": {}}', 'occurrences'),
  ('{"occurrences": [7, null]}', 'occurrences.0 occurrences.1')
) as bad (change, path);
select is(tests.paths('hold', tests.hold_body('{"room_id": "", "hold_seconds": " ", "override": "", "occurrences": "", "time_zone": "\t"}')), 'time_zone',
  'a blank text is as if it were left out, whatever the field is of');
select is(tests.problems('hold', '[]'), '{"": "must be a JSON object"}', 'a list is no request');
select is(tests.paths('hold', '{"hold_seconds": "x", "client_id": 5, "occurrences": [{"start_time": 1}], "recurrence": {"rule": 7}}'),
  'client_id hold_seconds occurrences.0.start_time recurrence.rule', 'all bad fields are named at once');
select is(tests.problems('hold', tests.hold_body('{"hold_seconds": 5}')), '{"hold_seconds": "must be a whole number from 30 to 900"}',
  'and what they must be');
select is(
  (select array[wanted.cpt_code, wanted.session_type, wanted.hold_seconds::text] from private.read_hold_request(
    tests.hold_body('{"cpt_code": " h2019 ", "session_type": " "}')) as wanted),
  array['H2019', null, '300'], 'codes are put in upper case, a blank text is not given, 300 seconds are the default');

-- Rules across fields
select is(tests.paths('hold', '{}'), 'client_id end_time start_time therapist_id time_zone', 'everything that is missing is named');
select is(tests.paths('hold', tests.hold_body(bad.change)), bad.path, bad.why)
from (values
  ('{"end_time": "2027-02-01T18:00:00Z"}'::jsonb, 'end_time', 'an end that is not after the start'),
  ('{"end_time": "2027-02-02T06:00:00.001Z"}', 'end_time', 'more than 12 hours'),
  ('{"start_time": "2026-10-31T23:59:59.999Z", "end_time": "2026-11-01T01:00:00Z"}', 'start_time', 'a start in the past'),
  ('{"start_time": "2028-10-30T23:30:00Z", "end_time": "2028-10-31T00:30:00Z"}', 'end_time', 'more than 730 days ahead'),
  ('{"client_ids": ["00000000-0000-0000-0000-000000000004", "00000000-0000-0000-0000-000000000004"], "group_id": "00000000-0000-0000-0000-000000000005"}',
    'client_ids group_id', 'a client twice, the client not among them, and a group beside them'),
  ('{"occurrences": [{"local_start": "2027-02-01T10:00"}, {"local_start": "2027-02-01T10:30"}, {"local_start": "2027-02-01T12:00"}]}',
    'occurrences.1.start_time', 'a series that overlaps itself'),
  ('{"buffer_before_minutes": 31, "buffer_after_minutes": 30, "occurrences": [{"local_start": "2027-02-01T10:00"}, {"local_start": "2027-02-01T12:00"}]}',
    'occurrences.1.start_time', 'or whose buffers do'),
  ('{"occurrences": [{"local_start": "2027-02-01T10:00"}, {"local_start": "2027-02-01T12:00", "session_id": "00000000-0000-0000-0000-000000000005"}]}',
    'occurrences.0.session_id', 'a series of which some move a session'),
  ('{"occurrences": [{"local_start": "2027-02-01T10:00", "start_time": "2027-02-01T18:00:00Z", "time_zone": "foo3bar"}, {"local_start": "2026-10-01T10:00"}]}',
    'occurrences.0.start_time occurrences.0.time_zone occurrences.1.start_time', 'all occurrences that are wrong are named'),
  ('{"session_id": "00000000-0000-0000-0000-000000000005", "occurrences": [{"local_start": "2027-02-01T10:00"}, {"local_start": "2027-02-01T12:00"}]}',
    'session_id', 'one session for several occurrences')
) as bad (change, path, why);

select is(tests.problems('hold', tests.hold_body('{"occurrences": [{"local_start": "2027-02-01T11:00"}, {"local_start": "2027-02-01T10:00"}]}')), '{}',
  'back to back is no overlap, in whichever order');
select is(tests.paths('hold', tests.hold_body('{"occurrences": [{"local_start": "2027-02-01T10:00", "end_time": "2027-02-01T23:00:00Z"},
  {"local_start": "2027-02-01T11:00"}, {"local_start": "2027-02-01T13:00"}]}')), 'occurrences.1.start_time occurrences.2.start_time',
  'a long occurrence overlaps all that start before it ends');

-- Zones
select is(tests.problems('hold', tests.hold_body('{"start_time": "2027-11-07T08:30:00Z", "end_time": "2027-11-07T09:30:00Z",
  "start_time_offset_minutes": -420, "end_time_offset_minutes": -480}')), '{}', 'across a change of clocks start and end have offsets of their own');
select is(
  (tests.error('postgres', format('select private.slots_of(private.read_hold_request(%L), %L)', tests.hold_body('{"end_time_offset_minutes": -420}'), '2026-11-01'))
    ->> 'details')::jsonb #> '{0,expected}',
  '-480', 'an offset that is not the zone''s is refused with the one that is');
select is(tests.problems('hold', tests.hold_body('{"start_time_offset_minutes": -480, "end_time_offset_minutes": -480}')), '{}', 'the zone''s own is accepted');
select is(
  (select array_agg(array[slot.start_time::text, (slot.end_time - slot.start_time)::text, slot.civil_start::text] order by slot.occurrence_index)
   from unnest(private.slots_of(private.read_hold_request(tests.hold_body('{"occurrences": [
     {"local_start": "2027-03-14T02:30"}, {"local_start": "2027-11-07T01:30"}, {"local_start": "2027-11-08T01:30", "time_zone": "America/New_York"}]}')),
     '2026-11-01')) as slot),
  array[array['2027-03-14 10:30:00+00', '01:00:00', '2027-03-14 02:30:00'], array['2027-11-07 08:30:00+00', '01:00:00', '2027-11-07 01:30:00'],
    array['2027-11-08 06:30:00+00', '01:00:00', '2027-11-08 01:30:00']],
  'a local start becomes an instant: a skipped one moves on by the gap, of a repeated one it is the first; it lasts as long as the window at the top');

-- Slots
create temporary table slots on commit drop as
select slot.* from unnest(private.slots_of(private.read_hold_request(tests.hold_body('{
  "client_ids": ["00000000-0000-0000-0000-000000000004", "00000000-0000-0000-0000-000000000002"],
  "occurrences": [{"local_start": "2027-02-01T10:00"}, {"start_time": "2027-02-08T18:00:00Z", "end_time": "2027-02-08T18:45:00Z"}]}')), '2026-11-01')) as slot;
select is((select array_agg(occurrence_index || right(client_id::text, 1)) from slots), array['04', '02', '14', '12'],
  'there is a slot for each occurrence and client, in request order');
select is((select array[count(distinct hold_key), count(distinct group_id), count(distinct hold_id)] from slots), array[2, 2, 4]::bigint[],
  'an occurrence has one key and one group, a slot its own id');
select is((select array_agg(distinct lanes::text) from slots), array['{[0,2147483647)}'], 'a hold claims all lanes until its service narrows them');

-- Confirming and cancelling
select is(tests.problems('confirm', tests.confirm_body('{"notes": " "}')), '{}', 'a confirmation needs no offsets, and a blank note is none');
select is(tests.paths('confirm', '{}'), 'code hold_key session time_zone', 'a confirmation names everything that is missing');
select is(tests.problems('confirm', '{}') ->> 'code', 'MISSING_FIELDS', 'with a code of its own');
select is(tests.problems('confirm', tests.confirm_body('{"occurrences": [{"hold_key": "00000000-0000-0000-0000-000000000003", "session": {
    "therapist_id": "00000000-0000-0000-0000-000000000001", "client_id": "00000000-0000-0000-0000-000000000002",
    "start_time": "2027-02-01T18:00:00Z", "end_time": "2027-02-01T18:00:00Z"}}]}')),
  '{"code": "INVALID_RANGE", "occurrences.0.session.end_time": "must be after start_time"}', 'and so has an end that is not after the start');
select is(
  (select array[listing.cpt_code, listing.cpt_modifiers::text, listing.session_type]
   from unnest(private.listed_of(private.read_confirm_request(tests.confirm_body('{"cpt": {"code": "97153", "modifiers": ["hq", "HO", "HQ"]}}')))) as listing),
  array['97153', '{HQ,HO}', null], 'modifiers are in upper case, each once');
select is(
  (select array_agg(listing.cpt_code order by listing.occurrence_index) from unnest(private.listed_of(private.read_confirm_request(tests.confirm_body(
    jsonb_build_object('cpt', '{"code": "97153"}'::jsonb, 'occurrences', jsonb_build_array(
      tests.confirm_body(), tests.confirm_body('{"cpt": {"code": "97155"}}'))))))) as listing),
  array['97153', '97155'], 'the service at the top is that of the occurrences that name none');
select is(tests.paths('confirm', tests.confirm_body('{"start_time_offset_minutes": -480, "end_time_offset_minutes": 0}')), 'end_time_offset_minutes',
  'offsets of a confirmation are compared when they are given');
select is(tests.paths('confirm', tests.confirm_body('{"notes": "Played with blocks"}')), 'notes', 'a confirmation carries no notes');
select is(tests.paths('cancel', bad.body), bad.path, format('a cancellation with %s is refused at %s', bad.body, bad.path))
from (values
  ('{}'::jsonb, 'session_ids'),
  ('{"session_ids": []}', 'session_ids'),
  ('{"date": "2027-02-29"}', 'date'),
  ('{"date": "2027-02-28"}', 'time_zone'),
  ('{"from_date": "2027-02-28", "time_zone": "UTC"}', 'to_date'),
  ('{"from_date": "2027-02-28", "to_date": "2027-02-27", "time_zone": "UTC", "all_therapists": 1}', 'all_therapists')
) as bad (body, path);
select is(tests.paths('release', '{}'), 'hold_key', 'letting a hold go needs its key');
-- A type that has got a field more is made readable again.
create type private.grown_request as (name text);
select private.make_readable('{grown_request}');
alter type private.grown_request add attribute number integer;
select private.make_readable('{grown_request}');
select is(private.read_request('{"name": "x", "number": 2}', null::private.grown_request)::text, '(x,2)', 'the new field is read');
select throws_ok($$ select private.read_request('{"number": "two"}', null::private.grown_request) $$, 'PT400', null, 'and refused when it is not what it should be');

select * from finish();
rollback;
