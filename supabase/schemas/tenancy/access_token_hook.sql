-- Purpose: which organization a user works in, written into her access token.
-- Objects: private.custom_access_token_hook, public.set_active_organization.
-- Watch for: the role claim stays what Auth made it (authenticated). org_id and user_role stand beside it and choose;
--            the membership row decides.

create function private.custom_access_token_hook(event jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  chosen record;
begin
  select membership.organization_id, membership.role into chosen
  from public.memberships as membership
  left join private.active_organizations as active
    on active.user_id = membership.user_id and active.organization_id = membership.organization_id
  where membership.user_id = (event ->> 'user_id')::uuid
  order by active.user_id is null, membership.created_at, membership.organization_id
  limit 1;

  return jsonb_set(event, '{claims}', (coalesce(event -> 'claims', '{}') - 'org_id' - 'user_role') || case
    when chosen.organization_id is null then '{}'::jsonb
    else jsonb_build_object('org_id', chosen.organization_id, 'user_role', chosen.role)
  end);
end
$$;
comment on function private.custom_access_token_hook(jsonb) is
  'Auth calls this when it issues a token. Adds org_id (the active organization, else the earliest joined) and '
  'user_role; a user without membership gets neither.';

do $$
begin
  if exists (select 1 from pg_catalog.pg_roles where rolname = 'supabase_auth_admin') then
    grant usage on schema private to supabase_auth_admin;
    grant execute on function private.custom_access_token_hook(jsonb) to supabase_auth_admin;
  end if;
end
$$;

create function private.set_active_organization(organization_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform private.require_read_committed();
  if auth.uid() is null then
    perform private.raise_refusal(401, 'UNAUTHENTICATED', 'Sign in first.');
  end if;
  if not exists (
    select 1
    from public.memberships as membership
    where membership.organization_id = set_active_organization.organization_id and membership.user_id = auth.uid()
  ) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
  end if;
  insert into private.active_organizations (user_id, organization_id)
  values (auth.uid(), set_active_organization.organization_id)
  on conflict (user_id) do update set organization_id = excluded.organization_id;
exception
  when foreign_key_violation then
    -- The membership ended while this waited.
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
end
$$;

select private.publish('set_active_organization',
  'Chooses which of her organizations the caller works in. Refresh the session afterwards: the next token carries it.'
);
