-- The long way round, for offered.test.ts: every place is tried with a hold, which is undone.

-- What a hold of this request would answer right now: ok, the code of the refusal, or PT400 where it is malformed.
create function pg_temp.verdict(request jsonb) returns text language plpgsql as $$
declare
  outcome jsonb;
begin
  outcome := public.hold_sessions(request);
  raise exception using errcode = 'ZZ001';
exception
  when sqlstate 'ZZ001' then return case outcome ->> 'ok' when 'true' then 'ok' else outcome ->> 'code' end;
  when sqlstate 'PT400' then return 'PT400';
end $$;

-- The instants at which clocks in a zone show a time: none in a gap, two in an hour that comes twice.
create function pg_temp.instants(civil timestamp, zone text) returns setof timestamptz language sql stable as $$
  select distinct instant
  from unnest(array['-2 hours', '-1 hour', '-30 minutes', '0', '30 minutes', '1 hour', '2 hours']::interval[]) as shift,
    lateral (select (civil at time zone zone) + shift as instant) as candidate
  where instant at time zone zone = civil $$;

create function pg_temp.minutes_east(instant timestamptz, zone text) returns integer language sql stable as $$
  select (extract(epoch from (instant at time zone zone) - (instant at time zone 'UTC')) / 60)::integer $$;

-- Some windows as occurrences of a request.
create function pg_temp.occurrences(starts timestamptz[], lasts interval, zone text, session_id uuid) returns jsonb language sql stable as $$
  select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
    'start_time', start, 'end_time', start + lasts, 'time_zone', zone, 'session_id', session_id,
    'start_time_offset_minutes', pg_temp.minutes_east(start, zone), 'end_time_offset_minutes', pg_temp.minutes_east(start + lasts, zone)
  )) order by position)
  from unnest(starts) with ordinality as item (start, position) $$;

-- A series moved in civil time to another first start, at one of its instants; the others at the first that clocks show.
-- Null where one of them would be in a gap.
create function pg_temp.moved(starts timestamptz[], first timestamptz, zone text) returns timestamptz[] language sql stable as $$
  select case when bool_and(start is not null) then array_agg(start order by position) end
  from (
    select position, case when position = 1 then first else (
      select min(instant) from pg_temp.instants(start at time zone zone + ((first at time zone zone) - (starts[1] at time zone zone)), zone) as instant
    ) end as start
    from unnest(starts) with ordinality as item (start, position)
  ) as item $$;

-- Every start of the grid in a stretch, with what a hold of it answers.
create function pg_temp.slots(request jsonb, zone text, since timestamptz, until timestamptz, lasts interval)
returns table (start timestamptz, verdict text) language sql as $$
  select instant, pg_temp.verdict(request || jsonb_build_object('occurrences', pg_temp.occurrences(array[instant], lasts, zone, null)))
  from generate_series(date_bin('15 minutes', since at time zone zone, '2000-01-01') - interval '2 hours', until at time zone zone + interval '2 hours', interval '15 minutes') as civil,
    pg_temp.instants(civil, zone) as instant
  where instant >= since and instant + lasts <= until
  order by instant $$;

-- Every first start near a request to which all of it could move, with what a hold of it answers; away is in civil seconds.
create function pg_temp.moves(request jsonb, starts timestamptz[], zone text, lasts interval, session_id uuid, reach interval)
returns table (start timestamptz, away integer, verdict text) language sql as $$
  select instant, extract(epoch from civil - asked)::integer, pg_temp.verdict(request || jsonb_build_object('occurrences', pg_temp.occurrences(places, lasts, zone, session_id)))
  from (select starts[1] at time zone zone as asked) as first,
    generate_series(date_bin('15 minutes', asked - reach, '2000-01-01'), asked + reach, interval '15 minutes') as civil,
    pg_temp.instants(civil, zone) as instant,
    pg_temp.moved(starts, instant, zone) as places
  where civil >= asked - reach and places is not null
  order by greatest(civil - asked, asked - civil), civil - asked, instant $$;

-- What a preview says blocks each of the dates, and what trying them says: those that are free held together, each of the
-- others by itself. Null where the request is malformed, which a hold of it must say as well.
create function pg_temp.preview(request jsonb, starts timestamptz[], zone text, lasts interval, session_id uuid)
returns table (blocked text[], together text, alone text[]) language plpgsql as $$
declare
  everything jsonb := request || jsonb_build_object('occurrences', pg_temp.occurrences(starts, lasts, zone, session_id));
  shown jsonb;
begin
  begin
    shown := public.preview_series(everything) -> 'occurrences';
  exception
    when sqlstate 'PT400' then
      return query select null::text[], pg_temp.verdict(everything), '{}'::text[];
      return;
  end;
  return query
  with item as materialized (
    select position, value ->> 'blockedBy' as blocked_by
    from jsonb_array_elements(shown) with ordinality as element (value, position)
  )
  select array_agg(blocked_by order by position),
    (select pg_temp.verdict(request || jsonb_build_object('occurrences', pg_temp.occurrences(free.starts, lasts, zone, session_id)))
      from (select array_agg(starts[position] order by position) as starts from item where blocked_by is null) as free where free.starts is not null),
    array_agg(case when blocked_by <> 'authorization' then pg_temp.verdict(request || jsonb_build_object('occurrences', pg_temp.occurrences(array[starts[position]], lasts, zone, session_id))) end order by position)
  from item;
end $$;
