-- Purpose: the services a clinic renders.
-- Objects: service_codes; which code a booking names; who may render it.

create function private.pair_lanes(ordinal integer)
returns int4multirange
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select range_agg(lane.range)
    from (
      select int4range(lower.ordinal * 100 + pair_lanes.ordinal, lower.ordinal * 100 + pair_lanes.ordinal + 1) as range
      from generate_series(1, pair_lanes.ordinal - 1) as lower (ordinal)
      union all
      select int4range(pair_lanes.ordinal * 100 + pair_lanes.ordinal, pair_lanes.ordinal * 100 + 100)
    ) as lane
  );
end
$$;
comment on function private.pair_lanes(integer) is
  'The lanes of a code that may run beside no other: one for each pair it belongs to. The pair of ordinals i <= j is '
  'lane 100 i + j, so two codes share exactly the lane of their pair, and a code shares its own with itself.';

create table public.service_codes (
  code text primary key check (code ~ '^[0-9A-Z]{5}$'),
  ordinal smallint not null unique check (ordinal between 1 and 99),
  description text not null check (length(description) between 1 and 200),
  qhp_only boolean not null,
  min_clients smallint not null default 1 check (min_clients >= 1),
  max_clients smallint not null default 1,
  session_type text unique check (session_type = lower(session_type)),
  lanes int4multirange not null generated always as (private.pair_lanes(ordinal)) stored,
  check (max_clients >= min_clients)
);
comment on table public.service_codes is
  'Adaptive-behavior services, timed in units of 15 minutes. Descriptions are this product''s own: the CPT descriptors '
  'are the AMA''s.';
comment on column public.service_codes.ordinal is 'The code''s number in lanes; never changes once it has been used.';
comment on column public.service_codes.qhp_only is 'Only a qualified professional may render it; a technician may not.';
comment on column public.service_codes.session_type is 'The session type that means this code when none is named.';
comment on column public.service_codes.lanes is 'Its lanes where no payer allows it beside another; see private.pair_lanes.';

insert into public.service_codes (code, ordinal, description, qhp_only, min_clients, max_clients, session_type)
values
  ('97151', 1, 'Assessment and treatment planning', true, 1, 1, 'assessment'),
  ('97152', 2, 'Supporting assessment by a technician', false, 1, 1, null),
  ('97153', 3, 'One-to-one treatment by protocol', false, 1, 1, 'individual'),
  ('97154', 4, 'Group treatment by protocol', false, 2, 8, 'group'),
  ('97155', 5, 'Treatment with protocol modification', true, 1, 1, null),
  ('97156', 6, 'Guidance for a family', true, 1, 1, 'consultation'),
  ('97157', 7, 'Guidance for a group of families', true, 2, 8, null),
  ('97158', 8, 'Group treatment with protocol modification', true, 2, 8, null),
  ('0362T', 9, 'Supporting assessment of severe behavior', true, 1, 1, null),
  ('0373T', 10, 'Treatment of severe behavior', true, 1, 1, null);

alter table public.service_codes enable row level security;
create policy service_codes_select on public.service_codes for select to authenticated using (true);
comment on policy service_codes_select on public.service_codes is 'Reference data: every signed-in user may list services.';
grant select on public.service_codes to authenticated, service_role;

create function private.service_code(cpt_code text, session_type text)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(cpt_code, (
    select service.code
    from public.service_codes as service
    where service.session_type = lower(btrim(service_code.session_type))
  ));
end
$$;
comment on function private.service_code(text, text) is
  'The code a booking names: outright, or by its session type. Null when it names no service.';

create function private.billed_code(cpt_code text, session_type text)
returns text
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return coalesce(private.service_code(cpt_code, session_type), '97153');
end
$$;
comment on function private.billed_code(text, text) is
  'The code a booking is billed as, as deriveCptMetadata derives it: without any, one-to-one treatment. Runs as its owner, '
  'so that reports may call it: within it, names of the private schema are looked up.';
grant execute on function private.billed_code(text, text) to authenticated, service_role;

create function private.may_render(organization_id uuid, therapist_id uuid, cpt_code text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return cpt_code is null or not exists (
    select 1
    from public.service_codes as service
    join public.therapists as therapist
      on therapist.organization_id = may_render.organization_id and therapist.id = may_render.therapist_id
    where service.code = may_render.cpt_code
      and service.qhp_only
      and therapist.credential = 'RBT'
  );
end
$$;
comment on function private.may_render(uuid, uuid, text) is
  'False where a technician (RBT) would render a code that is a qualified professional''s. What an assistant (BCaBA) '
  'may bill differs by payer, and is not refused here.';
