-- Purpose: what bookings take of authorizations, keep and give back.
-- Objects: enter, schedule, move, use, give back; settle_units for direct writes; recount_units when an authorization or a
--          coverage changes. quotes.sql says what a booking takes.
-- Watch for: everything here runs behind the client's lock, or alone in the organization. A quote is made once for a
--            request, and its entries are written from it. authorizations.booked_units moves with every entry that is
--            not a hold's.

create type private.moved_session as (hold_id uuid, session_id uuid);
comment on type private.moved_session is 'A session, and the hold that moves it.';

-- The ledger -------------------------------------------------------------------------------------------------------

create function private.add_booked_units(organization_id uuid, drawn private.drawn_units[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.authorizations as approval
  set booked_units = approval.booked_units + changed.units
  from (
    select each.authorization_id as id, sum(each.units) as units
    from unnest(drawn) as each
    group by each.authorization_id
    having sum(each.units) <> 0
  ) as changed
  where approval.organization_id = add_booked_units.organization_id and approval.id = changed.id;
end
$$;
comment on function private.add_booked_units(uuid, private.drawn_units[]) is
  'Adds units to what is booked of their authorizations; what is given back is negative. Units of holds are not booked.';

create function private.enter_units(
  organization_id uuid,
  quotes private.quote[],
  state public.unit_state,
  expires_at timestamptz default null
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into public.authorization_units
  select enter_units.organization_id, quote.owner_id, quote.part, quote.client_id, quote.therapist_id, quote.payer_id,
    quote.cpt_code, quote.service_date, quote.authorization_id, quote.needs_authorization, quote.total_units,
    quote.granted_units, enter_units.state, enter_units.expires_at,
    case when enter_units.state = 'held' then quote.replaces_id end
  from unnest(quotes) as quote;
  if state <> 'held' then
    perform private.add_booked_units(organization_id, array(
      select row(quote.authorization_id, quote.granted_units)::private.drawn_units from unnest(quotes) as quote
    ));
  end if;
end
$$;
comment on function private.enter_units(uuid, private.quote[], public.unit_state, timestamptz) is
  'Enters what these services were granted; what goes beyond, by an override, is in total_units only.';

create function private.give_back_units(organization_id uuid, owner_ids uuid[])
returns public.authorization_units[]
language plpgsql
set search_path = ''
as $$
declare
  entries public.authorization_units[];
  booked private.drawn_units[];
begin
  with gone as (
    delete from public.authorization_units as entry
    using (select distinct named.id from unnest(owner_ids) as named (id)) as owner
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = give_back_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid
    returning entry.*
  )
  select array_agg(row(gone.*)::public.authorization_units),
    array_agg(row(gone.authorization_id, -gone.units)::private.drawn_units) filter (where gone.state <> 'held')
  into entries, booked
  from gone;
  if booked is not null then
    perform private.add_booked_units(organization_id, booked);
  end if;
  return coalesce(entries, '{}');
end
$$;
comment on function private.give_back_units(uuid, uuid[]) is
  'Deletes the entries of these sessions and holds, and returns them; the audit keeps what was.';

create function private.schedule_units(organization_id uuid, hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  booked private.drawn_units[];
begin
  with taken as (
    update public.authorization_units as entry
    set state = 'scheduled', expires_at = null
    from (select distinct named.id from unnest(hold_ids) as named (id)) as owner
    cross join lateral (
      select known.ctid, known.state from public.authorization_units as known
      where known.organization_id = schedule_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    -- Of what was found: asked of the table, the index of all that is held would be read for each of them.
    where entry.ctid = found.ctid and found.state = 'held'
    returning entry.authorization_id, entry.units
  )
  select array_agg(row(taken.*)::private.drawn_units) into booked from taken;
  if booked is not null then
    perform private.add_booked_units(organization_id, booked);
  end if;
end
$$;
comment on function private.schedule_units(uuid, uuid[]) is 'What these holds held, their sessions have scheduled.';

create function private.move_units(organization_id uuid, moved private.moved_session[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  before public.authorization_units[];
  held public.authorization_units[];
begin
  -- What the hold took in addition, and what the session had: together they are what the session has now.
  with gone as (
    delete from public.authorization_units as entry
    using unnest(moved) as one
    cross join lateral (values (one.hold_id), (one.session_id)) as owner (id)
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = move_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid
    returning entry.*
  )
  select
    array_agg(row(gone.*)::public.authorization_units) filter (where gone.state <> 'held'),
    array_agg(row(gone.*)::public.authorization_units) filter (where gone.state = 'held')
  into before, held
  from gone;
  held := array(
    select row(
      entry.organization_id, one.session_id, entry.part, entry.client_id, entry.therapist_id, entry.payer_id, entry.cpt_code,
      entry.service_date, entry.authorization_id, entry.needs_authorization, entry.total_units,
      entry.units + case when former.units is null then 0 else least(former.units, entry.total_units) end,
      'scheduled', null, null
    )::public.authorization_units
    from unnest(held) as entry
    join unnest(moved) as one on one.hold_id = entry.owner_id
    left join unnest(before) as former
      on former.owner_id = one.session_id and former.authorization_id = entry.authorization_id
  );
  insert into public.authorization_units select entry.* from unnest(held) as entry;
  perform private.add_booked_units(organization_id, array(
    select row(entry.authorization_id, -entry.units)::private.drawn_units from unnest(before) as entry
    union all
    select row(entry.authorization_id, entry.units)::private.drawn_units from unnest(held) as entry
  ));
end
$$;
comment on function private.move_units(uuid, private.moved_session[]) is
  'The units of sessions that a hold moves: what the hold took for them, in addition to what they had.';

-- When rows change under the ledger ----------------------------------------------------------------------------------

create function private.services_of_sessions(organization_id uuid, session_ids uuid[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
declare
  client_ids uuid[];
  dates date[];
begin
  -- Completed without recorded times: its units stand nowhere yet, and are its share of the day's.
  select array_agg(uncounted.client_id), array_agg(uncounted.date) into client_ids, dates
  from (
    select distinct session.client_id,
      private.service_date(services_of_sessions.organization_id, session.client_id, session.start_time) as date
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.client_id, known.start_time, known.status from public.sessions as known
      where known.organization_id = services_of_sessions.organization_id and known.id = named.id offset 0
    ) as session
    -- One by one, by the key: as a join it would be guessed to be of a few.
    where session.status = 'completed' and (
      select visit.units from public.session_visits as visit
      where visit.organization_id = services_of_sessions.organization_id and visit.session_id = named.id
    ) is null
  ) as uncounted;
  return array(
    select row(
      session.id, 0, session.client_id,
      private.billed_code_at(
        session.organization_id, session.client_id, session.cpt_code, session.session_type,
        coalesce(visit.actual_start_time, session.start_time)
      ),
      coalesce(visit.actual_start_time, session.start_time), coalesce(visit.actual_end_time, session.end_time), null,
      case when session.status = 'completed' then coalesce(visit.units, counted.units) end,
      session.therapist_id, null
    )::private.service
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = services_of_sessions.organization_id and known.id = named.id offset 0
    ) as session
    left join lateral (
      select known.actual_start_time, known.actual_end_time, known.units from public.session_visits as known
      -- Only what is completed is looked up.
      where session.status = 'completed'
        and known.organization_id = services_of_sessions.organization_id and known.session_id = named.id
      offset 0
    ) as visit on visit.actual_end_time is not null
    left join (
      select day.session_id, day.units
      from private.visit_units(services_of_sessions.organization_id, client_ids, dates) as day
      where client_ids is not null
    ) as counted on counted.session_id = session.id
    where session.status not in ('cancelled', 'no_show')
  );
end
$$;
comment on function private.services_of_sessions(uuid, uuid[]) is
  'What these sessions take: by their times, or, once completed, by what was rendered.';

create function private.services_of_holds(organization_id uuid, hold_ids uuid[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      hold.id, hold.occurrence_index, hold.client_id,
      private.billed_code_at(
        hold.organization_id, hold.client_id, coalesce(batch.cpt_code, moved.cpt_code),
        coalesce(batch.session_type, moved.session_type), hold.start_time
      ),
      hold.start_time, hold.end_time, hold.session_id, null, batch.therapist_id, null
    )::private.service
    from unnest(hold_ids) as named (id)
    join public.session_holds as hold
      on hold.organization_id = services_of_holds.organization_id and hold.id = named.id
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    left join public.sessions as moved
      on moved.organization_id = hold.organization_id and moved.id = hold.session_id
    where hold.status = 'held' and batch.expires_at > clock_timestamp()
      -- A hold that names no service takes its units when it is confirmed; a move whose session has begun cannot confirm.
      and (moved.status = 'scheduled' or hold.session_id is null
        and (batch.cpt_code is not null or batch.session_type is not null))
  );
end
$$;
comment on function private.services_of_holds(uuid, uuid[]) is 'What these live holds take.';

create function private.enter_sessions(organization_id uuid, quotes private.quote[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.enter_units(enter_sessions.organization_id, array_agg(quote order by quote.owner_id), entry.state)
  from unnest(quotes) as quote
  join public.sessions as session
    on session.organization_id = enter_sessions.organization_id and session.id = quote.owner_id
  cross join lateral (
    select case session.status when 'completed' then 'used' else 'scheduled' end::public.unit_state as state
  ) as entry
  group by entry.state;
end
$$;
comment on function private.enter_sessions(uuid, private.quote[]) is
  'Enters what sessions take: used once completed, else scheduled.';

create function private.enter_holds_anew(organization_id uuid, hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  quotes private.quote[];
begin
  quotes := private.quote_units(
    organization_id, private.services_of_holds(organization_id, hold_ids), clock_timestamp()
  );
  perform private.enter_units(enter_holds_anew.organization_id, array_agg(quote), 'held', batch.expires_at)
  from unnest(quotes) as quote
  join public.session_holds as hold
    on hold.organization_id = enter_holds_anew.organization_id and hold.id = quote.owner_id
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  group by batch.id, batch.expires_at;
end
$$;
comment on function private.enter_holds_anew(uuid, uuid[]) is
  'Enters what these live holds take, after what they depend on has changed: as much of it as is left.';

create function private.settle_units(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  move_ids uuid[];
  former public.authorization_units[];
  quotes private.quote[];
begin
  -- Without a payer no units are counted: most statements end here.
  if not exists (
    select from unnest(session_ids) as named (id)
    cross join lateral (
      select known.client_id from public.sessions as known
      where known.organization_id = settle_units.organization_id and known.id = named.id offset 0
    ) as session
    cross join lateral (
      select known.has_payer from public.clients as known
      where known.organization_id = settle_units.organization_id and known.id = session.client_id offset 0
    ) as client
    where client.has_payer
  ) then
    return;
  end if;
  -- What a live move takes is the difference to what its session has, and that is changing: both are counted anew.
  move_ids := array(
    select hold.id from public.session_holds as hold
    where hold.organization_id = settle_units.organization_id
      and hold.session_id = any (session_ids) and hold.status = 'held'
  );
  former := private.give_back_units(organization_id, session_ids || move_ids);
  quotes := private.quote_units(
    organization_id, private.services_of_sessions(organization_id, session_ids), clock_timestamp()
  );
  if exists (
    select from unnest(quotes) as quote
    where quote.shortages is not null
      -- What an admin booked beyond what is authorized goes on as it was.
      and (quote.owner_id, quote.cpt_code, quote.therapist_id, quote.service_date, quote.service_units) not in (
        select entry.owner_id, entry.cpt_code, entry.therapist_id, entry.service_date, sum(entry.total_units)
        from unnest(former) as entry
        group by entry.owner_id, entry.cpt_code, entry.therapist_id, entry.service_date
      )
      -- What was rendered happened, whatever was authorized.
      and (
        select known.status from public.sessions as known
        where known.organization_id = settle_units.organization_id and known.id = quote.owner_id
      ) <> 'completed'
  ) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'authorization_exceeded',
      schema = 'public',
      table = 'authorization_units',
      message = 'the payer''s authorization has too few units left, or does not cover the date',
      hint = 'Book through sessions-hold, where an admin may override with a reason.';
  end if;
  perform private.enter_sessions(organization_id, quotes);
  if move_ids <> '{}' then
    perform private.enter_holds_anew(organization_id, move_ids);
  end if;
end
$$;
comment on function private.settle_units(uuid, uuid[]) is
  'Gives sessions that were written directly the units they take now, or raises check_violation (23514), which undoes the write.';

create function private.reenter_units(organization_id uuid, session_ids uuid[], hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.give_back_units(organization_id, session_ids || hold_ids);
  perform private.enter_sessions(organization_id, private.quote_units(
    organization_id, private.services_of_sessions(organization_id, session_ids), clock_timestamp()
  ));
  perform private.enter_holds_anew(organization_id, hold_ids);
end
$$;
comment on function private.reenter_units(uuid, uuid[], uuid[]) is
  'Counts what these sessions take anew, earliest first, and live holds after them. What is not covered is entered as beyond it.';

create function private.recount_units(organization_id uuid, client_id uuid, rounds_anew boolean default false)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  session_ids uuid[];
  hold_ids uuid[];
begin
  session_ids := array(
    select session.id
    from public.sessions as session
    where session.organization_id = recount_units.organization_id
      and session.client_id = recount_units.client_id
      and session.status not in ('cancelled', 'no_show')
  );
  hold_ids := array(
    select hold.id from public.session_holds as hold
    where hold.organization_id = recount_units.organization_id
      and hold.client_id = recount_units.client_id
      and hold.status = 'held'
  );
  if rounds_anew then
    perform private.count_visits(organization_id, session_ids, '{}', hold_ids);
  else
    perform private.reenter_units(organization_id, session_ids, hold_ids);
  end if;
end
$$;
comment on function private.recount_units(uuid, uuid, boolean) is
  'Counts what a client has booked anew, earliest first, and live holds after it, when an authorization or a coverage '
  'changed. What is not covered stays booked, or held, and is entered as beyond it. rounds_anew: completed visits may have '
  'another payer by now, who rounds otherwise.';

create function private.recount_after_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
begin
  update public.clients as client
  set has_payer = true
  where client.organization_id = new.organization_id and client.id = new.client_id and not client.has_payer;
  perform private.recount_units(new.organization_id, new.client_id, tg_table_name = 'client_coverages');
  perform private.wake_slots_of(new.organization_id, array[new.client_id]);
  perform private.leave_booking(null, former);
  return null;
end
$$;
comment on function private.recount_after_change() is 'Trigger: a client''s units follow their authorizations and coverages.';

create function private.recount_after_codes()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
  authorized record;
begin
  for authorized in
    select approval.organization_id, approval.client_id
    from new_rows as code
    join public.authorizations as approval
      on approval.organization_id = code.organization_id and approval.id = code.authorization_id
    group by approval.organization_id, approval.client_id
    order by approval.organization_id, approval.client_id
  loop
    update public.clients as client
    set has_payer = true
    where client.organization_id = authorized.organization_id and client.id = authorized.client_id and not client.has_payer;
    perform private.recount_units(authorized.organization_id, authorized.client_id);
    perform private.wake_slots_of(authorized.organization_id, array[authorized.client_id]);
  end loop;
  perform private.leave_booking(null, former);
  return null;
end
$$;
comment on function private.recount_after_codes() is 'Trigger: a client''s units follow the codes of their authorizations.';

create function private.recount_after_rule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
  -- A day is local somewhere.
  first_time constant timestamptz := least(new.valid_from, case when tg_op = 'UPDATE' then old.valid_from end)::timestamptz - interval '1 day';
  last_time constant timestamptz := greatest(
    coalesce(new.valid_to, 'infinity'), case when tg_op = 'UPDATE' then coalesce(old.valid_to, 'infinity') end
  )::timestamptz + interval '2 days';
  counted record;
begin
  for counted in
    select client.id, session.ids as session_ids, hold.ids as hold_ids
    from (
      select distinct coverage.client_id as id from public.client_coverages as coverage
      where coverage.organization_id = new.organization_id
        and coverage.payer_id = new.payer_id
    ) as client
    cross join lateral (
      select array_agg(known.id) as ids from public.sessions as known
      where known.organization_id = new.organization_id and known.client_id = client.id
        and known.start_time >= first_time and known.start_time < last_time and known.status not in ('cancelled', 'no_show')
    ) as session
    cross join lateral (
      select array_agg(known.id) as ids from public.session_holds as known
      where known.organization_id = new.organization_id and known.client_id = client.id
        and known.status = 'held'
        -- A move takes the difference to what its session has.
        and (known.start_time >= first_time and known.start_time < last_time or known.session_id = any (session.ids))
    ) as hold
    where session.ids is not null or hold.ids is not null
    order by client.id
  loop
    perform private.count_visits(
      new.organization_id, coalesce(counted.session_ids, '{}'), '{}', coalesce(counted.hold_ids, '{}')
    );
  end loop;
  perform private.leave_booking(null, former);
  return null;
end
$$;
comment on function private.recount_after_rule() is
  'Trigger: where a payer''s rule changes, what is booked, held or was rendered on its days is rounded anew, and whether it '
  'needs an authorization is asked anew, in the ledger as in the reports. What is not covered is entered as beyond it.';

create function private.guard_coverage()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.take_row_organization(new.organization_id, tg_table_name);
  return new;
end
$$;
comment on function private.guard_coverage() is
  'Trigger: an authorization, a coverage, a payer''s rule, a credential or a version of a clinic''s own service code changes '
  'with its organization to itself.';

select private.write_alone('{authorizations,client_coverages,payer_rules,payer_code_rules}');
create trigger b_guard_authorization before insert or update of organization_id, id, client_id, payer_id, approved_units,
  starts_on, ends_on on public.authorizations
  for each row execute function private.guard_coverage();
create trigger b_keep_identity before update of organization_id, id, client_id on public.authorizations
  for each row
  when ((new.organization_id, new.id, new.client_id) is distinct from (old.organization_id, old.id, old.client_id))
  execute function private.refuse_write('check_violation', 'organization_id, id and client_id of an authorization never change',
    'End this authorization and enter another.');
create trigger refuse_entered_units before insert on public.authorizations
  for each row when (new.booked_units <> 0)
  execute function private.refuse_derived_column('booked_units');
create trigger refuse_booked_units before update of booked_units on public.authorizations
  for each row when (new.booked_units <> old.booked_units and private.is_direct_write())
  execute function private.refuse_derived_column('booked_units');
-- It grants nothing before it has codes.
create trigger c_recount after update of approved_units, starts_on, ends_on, payer_id on public.authorizations
  for each row execute function private.recount_after_change();
select private.write_alone('{authorization_codes}', 'insert');
create trigger b_guard_code before insert on public.authorization_codes
  for each row execute function private.guard_coverage();
create trigger c_recount after insert on public.authorization_codes
  referencing new table as new_rows
  for each statement execute function private.recount_after_codes();
create trigger b_keep_identity before update of organization_id, id, client_id on public.client_coverages
  for each row
  when ((new.organization_id, new.id, new.client_id) is distinct from (old.organization_id, old.id, old.client_id))
  execute function private.refuse_write('check_violation', 'organization_id, id and client_id of a coverage never change',
    'End this coverage and enter another.');
create trigger b_guard_coverage before insert or update on public.client_coverages
  for each row execute function private.guard_coverage();
create trigger c_recount after insert or update on public.client_coverages
  for each row execute function private.recount_after_change();

create trigger b_keep_identity before update of organization_id, id, payer_id on public.payer_rules
  for each row
  when ((new.organization_id, new.id, new.payer_id) is distinct from (old.organization_id, old.id, old.payer_id))
  execute function private.refuse_write('check_violation', 'organization_id, id and payer_id of a payer''s rule never change',
    'End this rule and enter another.');
create trigger b_guard_rule before insert or update on public.payer_rules
  for each row execute function private.guard_coverage();
create trigger c_recount after insert or update of rounding, authorization_required, valid_from, valid_to
  on public.payer_rules
  for each row execute function private.recount_after_rule();
create trigger b_keep_identity before update of organization_id, id, payer_id on public.payer_code_rules
  for each row
  when ((new.organization_id, new.id, new.payer_id) is distinct from (old.organization_id, old.id, old.payer_id))
  execute function private.refuse_write('check_violation', 'organization_id, id and payer_id of a payer''s rule never change',
    'End this rule and enter another.');
create trigger b_guard_rule before insert or update on public.payer_code_rules
  for each row execute function private.guard_coverage();
create trigger c_recount after insert or update of cpt_code, is_covered, rounding, authorization_required, valid_from, valid_to
  on public.payer_code_rules
  for each row execute function private.recount_after_rule();

create trigger refuse_derived_write
  before insert or delete or update of organization_id, owner_id, part, client_id, therapist_id, payer_id, cpt_code,
    service_date, authorization_id, needs_authorization, total_units, units, state, replaces_id on public.authorization_units
  for each statement
  when (private.is_direct_write())
  execute function private.refuse_derived_write();
create trigger refuse_truncate before truncate on public.authorization_units
  for each statement execute function private.refuse_derived_write();
