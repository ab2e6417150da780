-- Purpose: which credential a therapist had on a day.
-- Objects: therapist_credentials; private.credential_on.
-- Watch for: therapists.credential is today's. What is judged by the day of service (modifiers, supervision) asks here, so
--            that a promotion changes nothing of the months before it.

create table public.therapist_credentials (
  organization_id uuid not null,
  therapist_id uuid not null,
  credential text not null check (credential in ('RBT', 'BCaBA', 'BCBA', 'BCBA-D')),
  valid_from date not null,
  valid_to date check (valid_to >= valid_from),
  level public.provider_level not null generated always as (private.provider_level(credential)) stored,
  primary key (organization_id, therapist_id, valid_from),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  constraint therapist_credentials_one_a_day exclude using gist (
    organization_id with =, therapist_id with =, daterange(valid_from, valid_to, '[]') with &&
  )
);
comment on table public.therapist_credentials is
  'Each therapist''s credentials, by local day. Kept by a trigger on therapists; an operator may correct the days.';
comment on column public.therapist_credentials.valid_to is 'The last day; null for the one they have.';

create function private.keep_credential()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  today constant date := private.service_date(new.organization_id, null, clock_timestamp());
begin
  if tg_op = 'INSERT' then
    -- What they were before they were entered is not known otherwise.
    insert into public.therapist_credentials (organization_id, therapist_id, credential, valid_from)
    values (new.organization_id, new.id, new.credential, date '2000-01-01');
    return null;
  end if;
  update public.therapist_credentials as known
  set valid_to = today - 1
  where known.organization_id = new.organization_id
    and known.therapist_id = new.id
    and known.valid_to is null
    and known.valid_from < today;
  insert into public.therapist_credentials as known (organization_id, therapist_id, credential, valid_from)
  values (new.organization_id, new.id, new.credential, today)
  on conflict (organization_id, therapist_id, valid_from) do update
  set credential = excluded.credential;
  return null;
end
$$;
comment on function private.keep_credential() is 'Trigger: a changed credential counts from today on, in the organization''s zone.';
create trigger c_keep_entered_credential after insert on public.therapists
  for each row execute function private.keep_credential();
create trigger c_keep_changed_credential after update on public.therapists
  for each row when (new.credential is distinct from old.credential) execute function private.keep_credential();

create function private.credential_on(organization_id uuid, therapist_id uuid, on_date date)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select known.credential
    from public.therapist_credentials as known
    where known.organization_id = credential_on.organization_id
      and known.therapist_id = credential_on.therapist_id
      and on_date >= known.valid_from
      and on_date <= coalesce(known.valid_to, 'infinity')
  );
end
$$;
comment on function private.credential_on(uuid, uuid, date) is 'The credential a therapist had on a day; null before they were known.';

alter table public.therapist_credentials enable row level security;
create policy role_scoped_select on public.therapist_credentials for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and therapist_id = (select auth.uid()))
    )
  );
comment on policy role_scoped_select on public.therapist_credentials is 'As therapists: admins read all, therapists their own.';
grant select on public.therapist_credentials to authenticated, service_role;
