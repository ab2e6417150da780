-- Purpose: what shows that the audit is as it was written, and what an archive took over.
-- Objects: audit.verify, audit.checkpoint, audit.verify_checkpoint, audit.checkpoint_is_valid; audit.archives,
--          audit.archive_quarter.
-- Watch for: docs/audit-trail.md has a table of what each of these says of each kind of edit; tests/audit tries them all.
--            What an owner of the database can do unseen is in that table too: keep checkpoints where she cannot reach.

create table audit.archives (
  from_time timestamptz not null,
  to_time timestamptz not null,
  archived_at timestamptz not null default now(),
  location text not null check (location <> ''),
  events bigint not null,
  digest bytea not null,
  primary key (from_time),
  -- A span that reached further would excuse events that nobody archived.
  constraint archives_one_past_quarter check (
    (from_time at time zone 'UTC') = date_trunc('quarter', from_time at time zone 'UTC')
    and (to_time at time zone 'UTC') = (from_time at time zone 'UTC') + interval '3 months'
    and to_time <= archived_at
  )
);
comment on table audit.archives is
  'Quarters whose events were moved to an archive, and where. Their seals stay. Keep events at least six years (45 CFR '
  '164.316(b)(2)(i)), longer where a state asks for it.';
comment on column audit.archives.events is 'How many events the quarter had.';
comment on column audit.archives.digest is 'Of all their seals, see audit.span_digest.';
alter table audit.archives enable row level security;
create policy deny_all on audit.archives using (false);
comment on policy deny_all on audit.archives is 'Written by whoever archives, as the owner.';

create function audit.span_digest(from_time timestamptz, to_time timestamptz)
returns table (events bigint, digest bytea)
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
  select coalesce(sum(chain.events), 0)::bigint,
    sha256(coalesce(string_agg(chain.digest, '' order by chain.organization_id, chain.chain_id), ''))
  from (
    select seal.organization_id, seal.chain_id, count(*) as events,
      sha256(string_agg(seal.digest, '' order by seal.seq)) as digest
    from audit.seals as seal
    where seal.event_recorded_at >= from_time and seal.event_recorded_at < to_time
    group by seal.organization_id, seal.chain_id
  ) as chain;
end
$$;
comment on function audit.span_digest(timestamptz, timestamptz) is
  'How many events were sealed of those recorded in a span, and a digest of their digests, chain by chain.';

create function audit.guard_archive()
returns trigger
language plpgsql
set search_path = ''
set timezone = 'UTC'
as $$
begin
  new.archived_at := now();
  -- Only what is here, whole, can be taken away: otherwise this row would excuse what somebody deleted before.
  if exists (
    select 1
    from audit.seals as seal
    left join audit.events as event
      on event.organization_id = seal.organization_id
      and event.recorded_at = seal.event_recorded_at
      and event.id = seal.event_id
    where seal.event_recorded_at >= new.from_time
      and seal.event_recorded_at < new.to_time
      and (event.id is null or audit.digest(to_jsonb(event)) <> seal.digest)
  ) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'events of this quarter are missing or changed',
      hint = 'See audit.verify(). Archive a quarter before its partition is detached, with audit.archive_quarter.';
  end if;
  select span.events, span.digest into new.events, new.digest from audit.span_digest(new.from_time, new.to_time) as span;
  return new;
end
$$;
comment on function audit.guard_archive() is
  'Trigger: an archive takes over a quarter whose events are all here and as they were sealed, and says how many.';
create trigger guard_archive before insert on audit.archives
  for each row execute function audit.guard_archive();
create trigger refuse_change before update or delete on audit.archives
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.archives
  for each statement execute function audit.refuse_change();

create function audit.archive_quarter(quarter date, location text)
returns text
language plpgsql
set search_path = ''
-- To detach waits for every booking under way, and every booking for it: then rather come again.
set lock_timeout = '500ms'
as $$
declare
  begins timestamptz := quarter::timestamp at time zone 'UTC';
  partition text := 'events_' || to_char(quarter, 'YYYY_"q"Q');
begin
  if to_regclass('audit.' || partition) is null then
    raise exception using errcode = 'undefined_table', message = format('there is no partition audit.%s', partition);
  end if;
  insert into audit.archives (from_time, to_time, location)
  values (begins, (quarter + interval '3 months')::timestamp at time zone 'UTC', archive_quarter.location);
  execute format('alter table audit.events detach partition audit.%I', partition);
  return 'audit.' || partition;
end
$$;
comment on function audit.archive_quarter(date, text) is
  'Records that a quarter''s events are kept at location, and detaches their partition, whose name it returns. Write the '
  'archive first; drop the table when the archive has been read back. Raises lock_not_available while a long transaction '
  'writes events: call it again.';

create function audit.seal_problem(seal audit.seals, previous audit.seals, event audit.events, is_archived boolean)
returns text
language sql
stable
set search_path = ''
set timezone = 'UTC'
return case
  when seal.seq <> coalesce(previous.seq, 0) + 1 then 'a seal before this one is missing'
  when seal.hash <> audit.link(previous.hash, seal.digest, seal.sealed_at) then 'the seal was changed'
  when event.id is null and not is_archived then 'the event is missing'
  when event.id is not null and audit.digest(to_jsonb(event)) <> seal.digest then 'the event was changed'
  when event.id is not null and event.chain_id <> seal.chain_id then 'the event is sealed in another chain'
  when seal.event_recorded_at
    not between seal.sealed_at - interval '61 minutes' and seal.sealed_at + interval '1 minute'
    then 'the event is not of the time when it was sealed'
  when seal.sealed_at < previous.sealed_at - interval '1 minute' then 'the seal is older than the one before it'
end;
comment on function audit.seal_problem(audit.seals, audit.seals, audit.events, boolean) is
  'What is wrong with a seal, given the one before it in its chain and its event (nulls where there is none), or null.';

create function audit.verify(only_organization_id uuid default null)
returns table (organization_id uuid, chain_id uuid, seq bigint, event_id uuid, problem text)
language plpgsql
stable
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
begin
  return query
  with archive as materialized (
    select kept.from_time, kept.to_time,
      -- Asked here as well: whoever plants an archive may have dropped the constraint first.
      kept.to_time = ((kept.from_time at time zone 'UTC') + interval '3 months') at time zone 'UTC'
        and kept.to_time <= kept.archived_at
        and kept.archived_at <= clock_timestamp()
        and (span.events, span.digest) = (kept.events, kept.digest) as is_whole
    from audit.archives as kept
    cross join lateral audit.span_digest(kept.from_time, kept.to_time) as span
  ),
  link as (
    select seal, lag(seal) over (partition by seal.organization_id, seal.chain_id order by seal.seq) as previous
    from audit.seals as seal
    where only_organization_id is null or seal.organization_id = only_organization_id
  ),
  finding as (
    select (link.seal).organization_id, (link.seal).chain_id, (link.seal).seq, (link.seal).event_id,
      audit.seal_problem(link.seal, link.previous, event, event.id is null and exists (
        select 1
        from archive
        where archive.is_whole
          and (link.seal).event_recorded_at >= archive.from_time
          and (link.seal).event_recorded_at < archive.to_time
      )) as problem
    from link
    left join audit.events as event
      on event.organization_id = (link.seal).organization_id
      and event.recorded_at = (link.seal).event_recorded_at
      and event.id = (link.seal).event_id
    union all
    select
      coalesce(newest.organization_id, head.organization_id), coalesce(newest.chain_id, head.chain_id), newest.seq, null,
      case
        when head.seq is null then 'the head of the chain is missing'
        when newest.seq is null or newest.seq < head.seq then 'the newest events of the chain are missing'
        else 'the head of the chain was changed'
      end
    from (
      select distinct on (seal.organization_id, seal.chain_id) seal.organization_id, seal.chain_id, seal.seq, seal.hash
      from audit.seals as seal
      order by seal.organization_id, seal.chain_id, seal.seq desc
    ) as newest
    full join audit.chains as head
      on head.organization_id = newest.organization_id and head.chain_id = newest.chain_id
    where (only_organization_id is null or coalesce(newest.organization_id, head.organization_id) = only_organization_id)
      and (head.seq, head.hash) is distinct from (newest.seq, newest.hash)
    union all
    -- By time as well as by id: a copy of a genuine event under another time has no seal.
    select event.organization_id, event.chain_id, null, event.id, 'the event is not sealed'
    from audit.events as event
    where (only_organization_id is null or event.organization_id = only_organization_id)
      and not exists (
        select 1
        from audit.seals as seal
        where seal.organization_id = event.organization_id
          and seal.event_id = event.id
          and seal.event_recorded_at = event.recorded_at
      )
    union all
    select null, null, null, null,
      format('the archive of %s does not account for its events', coalesce(archive.from_time::text, 'no time'))
    from archive
    where not archive.is_whole and only_organization_id is null
  )
  select distinct on (finding.organization_id, finding.chain_id, finding.problem)
    finding.organization_id, finding.chain_id, finding.seq, finding.event_id, finding.problem
  from finding
  where finding.problem is not null
  order by finding.organization_id, finding.chain_id, finding.problem, finding.seq nulls last;
end
$$;
comment on function audit.verify(uuid) is
  'Checks every chain, or those of one organization, and names the first event of each for each kind of problem. No row: '
  'nothing was changed, as far as the chains themselves can tell; compare with a checkpoint kept elsewhere for the rest.';

create function audit.checkpoint(only_organization_id uuid default null)
returns jsonb
language sql
stable
set search_path = ''
set timezone = 'UTC'
return jsonb_build_object(
  'takenAt', statement_timestamp(),
  'organizationId', only_organization_id,
  'heads', coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'organizationId', head.organization_id, 'chainId', head.chain_id, 'seq', head.seq,
        'hash', encode(head.hash, 'hex')
      )
      order by head.organization_id, head.chain_id
    )
    from audit.chains as head
    where only_organization_id is null or head.organization_id = only_organization_id
  ), '[]'),
  'archives', coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'fromTime', archive.from_time, 'location', archive.location, 'events', archive.events,
        'digest', encode(archive.digest, 'hex')
      )
      order by archive.from_time
    )
    from audit.archives as archive
    where only_organization_id is null
  ), '[]')
);
comment on function audit.checkpoint(uuid) is
  'All chain heads and archives, or the heads of one organization, to be kept where an owner of this database cannot '
  'reach: what came before them can then no longer be removed, rewritten or added to unnoticed.';

create function audit.checkpoint_is_valid(checkpoint jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_typeof(checkpoint) = 'object'
    and jsonb_typeof(checkpoint -> 'heads') is not distinct from 'array'
    and coalesce(checkpoint ->> 'takenAt', '') ~ '^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)$'
    and not jsonb_path_exists(checkpoint -> 'heads', '$[*] ? (!(
      @.organizationId like_regex "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
      && @.chainId like_regex "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
      && @.hash like_regex "^[0-9a-f]{64}$"
      && @.seq > 0 && @.seq < 1000000000000 && @.seq.floor() == @.seq
    ))')
    and (checkpoint ->> 'takenAt')::timestamptz is not null;
exception
  when others then return false;
end
$$;
comment on function audit.checkpoint_is_valid(jsonb) is 'Whether a JSON has the form of what audit.checkpoint returned.';

create function audit.verify_checkpoint(checkpoint jsonb)
returns table (organization_id uuid, chain_id uuid, seq bigint, problem text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  if not audit.checkpoint_is_valid(checkpoint) then
    raise exception using errcode = 'invalid_parameter_value', message = 'this is not a checkpoint';
  end if;
  return query
  with head as materialized (
    select kept."organizationId" as organization_id, kept."chainId" as chain_id, kept.seq, kept.hash
    from jsonb_to_recordset(checkpoint -> 'heads') as kept ("organizationId" uuid, "chainId" uuid, seq bigint, hash text)
  ),
  archive as (
    select kept."fromTime" as from_time, kept.location, kept.digest
    from jsonb_to_recordset(coalesce(checkpoint -> 'archives', '[]'))
      as kept ("fromTime" timestamptz, location text, digest text)
  )
  select head.organization_id, head.chain_id, head.seq,
    case when seal.seq is null then 'events up to the checkpoint are missing' else 'the chain was rewritten' end
  from head
  left join audit.seals as seal
    on seal.organization_id = head.organization_id and seal.chain_id = head.chain_id and seal.seq = head.seq
  where seal.seq is null or encode(seal.hash, 'hex') <> head.hash
  union all
  -- A minute for transactions that had sealed, and not committed, when it was taken.
  select seal.organization_id, seal.chain_id, min(seal.seq), 'events from before the checkpoint were added after it'
  from audit.seals as seal
  left join head on head.organization_id = seal.organization_id and head.chain_id = seal.chain_id
  where seal.sealed_at < (checkpoint ->> 'takenAt')::timestamptz - interval '1 minute'
    and seal.seq > coalesce(head.seq, 0)
    and (checkpoint ->> 'organizationId' is null or seal.organization_id = (checkpoint ->> 'organizationId')::uuid)
  group by seal.organization_id, seal.chain_id
  union all
  select null, null, null, format('the archive of the quarter from %s is another', archive.from_time::date)
  from archive
  left join audit.archives as present on present.from_time = archive.from_time
  where (present.location, encode(present.digest, 'hex')) is distinct from (archive.location, archive.digest)
  order by 1, 2;
end
$$;
comment on function audit.verify_checkpoint(jsonb) is
  'Compares the chains with an exported checkpoint. No row: everything up to it is as it was, and nothing was added to it.';
