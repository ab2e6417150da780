-- Purpose: what payers have authorized, and a ledger of the units that bookings take of it.
-- Objects: authorizations, authorization_codes, authorization_units, and who may see and write them. ledger.sql has what
--          writes the ledger.
-- Watch for: an authorization belongs to one client, and whoever takes units of it holds that client's advisory lock, or
--            has the organization alone. A hold's entry counts until its expires_at and not a moment longer, swept or not.

create table public.authorizations (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  payer_id uuid not null,
  reference text check (length(reference) between 1 and 64),
  approved_units integer not null check (approved_units > 0),
  booked_units integer not null default 0 check (booked_units >= 0),
  starts_on date not null,
  ends_on date not null check (ends_on >= starts_on and ends_on < '2100-01-01'),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id)
-- A clinic with forty of them is analysed too: without statistics every hold costs several times as much.
) with (fillfactor = 70, autovacuum_analyze_threshold = 5, autovacuum_analyze_scale_factor = 0.02);
comment on table public.authorizations is
  'Units that a payer grants a client between two dates, both included, for the codes in authorization_codes. Several may '
  'overlap, as supplemental ones do: the one that ends first is drawn first. Never deleted.';
comment on column public.authorizations.booked_units is
  'Scheduled and used units: the sum of its entries that are not holds. Written behind the client''s lock.';
comment on column public.authorizations.reference is 'The payer''s number of the authorization.';
-- A booking looks from its date on: what has ended costs nothing.
create index authorizations_client_idx on public.authorizations (organization_id, client_id, ends_on);
create index authorizations_payer_idx on public.authorizations (organization_id, payer_id);

create table public.authorization_codes (
  organization_id uuid not null,
  authorization_id uuid not null,
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  primary key (organization_id, authorization_id, cpt_code),
  foreign key (organization_id, authorization_id) references public.authorizations (organization_id, id)
);
comment on table public.authorization_codes is
  'The codes whose services draw on an authorization: one code, or a set that shares its units. An authorization without '
  'codes grants nothing. Never deleted: end an authorization that is wrong, and enter another.';

create type public.unit_state as enum ('held', 'scheduled', 'used');
comment on type public.unit_state is 'A hold holds units, a confirmation schedules them, a completion uses them.';

create table public.authorization_units (
  organization_id uuid not null,
  owner_id uuid not null,
  part smallint not null default 0 check (part >= 0),
  client_id uuid not null,
  therapist_id uuid not null,
  payer_id uuid,
  cpt_code text not null,
  service_date date not null,
  authorization_id uuid,
  needs_authorization boolean not null default true,
  total_units integer not null check (total_units >= 0),
  units integer not null check (units >= 0),
  state public.unit_state not null,
  expires_at timestamptz check (isfinite(expires_at)),
  replaces_id uuid,
  primary key (organization_id, owner_id, part),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, authorization_id) references public.authorizations (organization_id, id),
  check (units <= total_units),
  check (units = 0 or authorization_id is not null),
  check ((state = 'held') = (expires_at is not null)),
  check (replaces_id is null or state = 'held')
);
comment on table public.authorization_units is
  'What each booking of a client who has had a payer takes: an entry for each authorization it draws on, one without '
  'authorization where there is none. approved = used + scheduled + held + left, always: what goes beyond, by an override, '
  'is in total_units and not in units. Given back: the entries are gone (the audit keeps what was).';
comment on column public.authorization_units.owner_id is 'The session or the hold, which share an id as claims do.';
comment on column public.authorization_units.part is
  'A service that draws on several authorizations has an entry for each: 0 for the one that ends first.';
comment on column public.authorization_units.therapist_id is
  'Who renders it, for limits by therapist. The booking has the foreign key.';
comment on column public.authorization_units.payer_id is 'Who pays first on that day, for payers'' limits; null when nobody does.';
comment on column public.authorization_units.needs_authorization is
  'False where neither the payer nor another authorization of the code asks for one: then nothing is beyond.';
comment on column public.authorization_units.total_units is
  'What the service takes of this authorization; all parts together are what the service takes. The last part has what '
  'goes beyond.';
comment on column public.authorization_units.replaces_id is 'A hold that moves a session: the session.';
comment on column public.authorization_units.units is
  'What counts against the authorization. For a hold that moves a session: what the move takes in addition to what the '
  'session has now; it is counted anew whenever the session changes.';
comment on column public.authorization_units.expires_at is 'A hold''s entry counts for nothing from here on.';
-- Two indexes that share no entry. A look for holds cannot use the other, however long an authorization's ledger is and
-- whatever the planner believes of it.
create index authorization_units_authorization_idx
  on public.authorization_units (organization_id, authorization_id) where state <> 'held';
-- Live holds only: a range of expires_at, so that what has lapsed unseen costs nothing.
create index authorization_units_held_idx
  on public.authorization_units (organization_id, authorization_id, expires_at) where state = 'held';
-- Limits of a day, a week or a month read the entries of its days.
create index authorization_units_client_idx on public.authorization_units (organization_id, client_id, service_date);
create index authorization_units_therapist_idx on public.authorization_units (organization_id, therapist_id, service_date);

create trigger refuse_delete before delete or truncate on public.authorizations
  for each statement execute function private.refuse_delete();
create trigger refuse_change before delete or update on public.authorization_codes
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.authorization_codes
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete or truncate on public.client_coverages
  for each statement execute function private.refuse_delete();

-- Audit of what rules bookings ------------------------------------------------------------------------------------------

create function private.audit_rule_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  entity constant text := tg_argv[0];
begin
  perform private.record_event(
    new.organization_id,
    entity || case tg_op when 'INSERT' then '.created' else '.changed' end,
    entity, array[new.id], clock_timestamp(),
    before => case when tg_op = 'UPDATE' then to_jsonb(old) - 'organization_id' end,
    after => to_jsonb(new) - 'organization_id'
  );
  return null;
end
$$;
comment on function private.audit_rule_change() is
  'Trigger: one event for each payer, rule, coverage or authorization that is entered or changed.';

create trigger z_audit after insert or update on public.payers
  for each row execute function private.audit_rule_change('payer');
create trigger z_audit after insert or update on public.payer_rules
  for each row execute function private.audit_rule_change('payer_rule');
create trigger z_audit after insert or update on public.payer_code_rules
  for each row execute function private.audit_rule_change('payer_code_rule');
create trigger z_audit after insert or update on public.payer_concurrency_rules
  for each row execute function private.audit_rule_change('payer_concurrency_rule');
create trigger z_audit after insert or update on public.client_coverages
  for each row execute function private.audit_rule_change('coverage');
create trigger z_audit after insert on public.authorizations
  for each row execute function private.audit_rule_change('authorization');
-- What bookings take of it is in their own events.
create trigger z_audit_update after update of reference, approved_units, starts_on, ends_on, payer_id on public.authorizations
  for each row
  when ((new.reference, new.approved_units, new.starts_on, new.ends_on, new.payer_id)
    is distinct from (old.reference, old.approved_units, old.starts_on, old.ends_on, old.payer_id))
  execute function private.audit_rule_change('authorization');

create function private.audit_authorization_code()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.record_event(
    new.organization_id, 'authorization.code_added', 'authorization', array[new.authorization_id], clock_timestamp(),
    after => jsonb_build_object('cpt_code', new.cpt_code)
  );
  return null;
end
$$;
comment on function private.audit_authorization_code() is 'Trigger: one event for each code that an authorization is given.';
create trigger z_audit after insert on public.authorization_codes
  for each row execute function private.audit_authorization_code();

-- Row-level security -----------------------------------------------------------------------------------------------------

alter table public.authorizations enable row level security;
create policy role_scoped_select on public.authorizations for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
  );
create policy role_scoped_select_insert on public.authorizations for insert to authenticated
  with check (organization_id = (select private.organization_as('admin')));
create policy role_scoped_select_update on public.authorizations for update to authenticated
  using (organization_id = (select private.organization_as('admin')))
  with check (organization_id = (select private.organization_as('admin')));
comment on policy role_scoped_select on public.authorizations is
  'Admins read all authorizations, a therapist those of her caseload.';
comment on policy role_scoped_select_insert on public.authorizations is 'Admins enter authorizations.';
comment on policy role_scoped_select_update on public.authorizations is 'Admins change units and dates; what is booked is counted anew.';
grant select,
  insert (organization_id, id, client_id, payer_id, reference, approved_units, starts_on, ends_on),
  update (reference, approved_units, starts_on, ends_on)
  on public.authorizations to authenticated;
grant select, insert, update on public.authorizations to service_role;

alter table public.authorization_codes enable row level security;
create policy role_scoped_select on public.authorization_codes for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and exists (
      select from public.authorizations as approval
      where approval.organization_id = authorization_codes.organization_id and approval.id = authorization_codes.authorization_id
    )
  );
create policy role_scoped_select_insert on public.authorization_codes for insert to authenticated
  with check (organization_id = (select private.organization_as('admin')));
comment on policy role_scoped_select on public.authorization_codes is 'Who may read an authorization reads its codes.';
comment on policy role_scoped_select_insert on public.authorization_codes is 'Admins enter the codes of an authorization.';
grant select, insert (organization_id, authorization_id, cpt_code) on public.authorization_codes to authenticated;
grant select, insert on public.authorization_codes to service_role;

alter table public.authorization_units enable row level security;
create policy role_scoped_select on public.authorization_units for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
  );
comment on policy role_scoped_select on public.authorization_units is
  'As authorizations. Nobody writes the ledger but the booking functions and triggers.';
grant select on public.authorization_units to authenticated, service_role;
