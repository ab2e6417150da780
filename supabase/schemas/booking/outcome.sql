-- Purpose: what a booking function answers, and the few errors that leave the database.
-- Objects: success, refusal, refuse, iso, log_busy, raise_busy.
-- Watch for: a business refusal is returned, never raised, so that its audit event survives.

create function private.iso(instant timestamptz)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return to_char(instant at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
end
$$;
comment on function private.iso(timestamptz) is 'An instant as JavaScript''s toISOString writes it: UTC, milliseconds.';

create function private.status_of(code text)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when code = 'FORBIDDEN' then 403
    when code in ('HOLD_NOT_FOUND', 'HOLD_EXPIRED') then 410
    when code like '%_NOT_FOUND' then 404
    when code = 'CONTENT_UNREADABLE' then 500
    else 409
  end;
end
$$;
comment on function private.status_of(text) is 'The HTTP status of a refusal''s code.';

create function private.refusal(
  status integer,
  code text,
  detail text,
  retry_after timestamptz default null,
  conflicts jsonb default '[]',
  alternatives jsonb default '[]'
)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
begin
  return jsonb_build_object('ok', false, 'status', status, 'code', code, 'detail', detail)
    || case
      when status = 409 then jsonb_build_object(
        'retryAfter', private.iso(retry_after),
        'retryAfterSeconds', case
          when retry_after is not null
            then greatest(1, ceil(extract(epoch from retry_after - clock_timestamp())))::integer
        end,
        'conflicts', conflicts,
        'alternatives', alternatives
      )
      else '{}'::jsonb
    end;
end
$$;
comment on function private.refusal(integer, text, text, timestamptz, jsonb, jsonb) is
  'A business refusal as it is returned, never raised. retry_after is when all holds in the way will have cleared.';

create function private.success(body jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object('ok', true, 'status', 200, 'replayed', false, 'body', body);
end
$$;
comment on function private.success(jsonb) is 'A successful outcome; body is the data of the HTTP answer.';

create function private.refuse(
  actor private.actor,
  action text,
  entity_ids uuid[],
  code text,
  detail text,
  therapist_id uuid default null,
  retry_after timestamptz default null,
  conflicts jsonb default null,
  details jsonb default '{}',
  more jsonb default '{}',
  may_never boolean default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return coalesce(
    private.note_refusal(
      actor.organization_id, action,
      case split_part(action, '.', 1)
        when 'hold' then 'hold'
        when 'confirmation' then 'hold'
        when 'note' then 'note'
        when 'client_details' then 'client'
        when 'membership' then 'membership'
        when 'therapist' then 'therapist'
        when 'data_key' then 'data_key'
        else 'session'
      end,
      entity_ids, code, actor.role::text, therapist_id,
      nullif(jsonb_strip_nulls(details || jsonb_build_object('conflicts', conflicts) || more), '{}'),
      may_never => coalesce(may_never, actor.role = 'client')
    ),
    private.refusal(private.status_of(code), code, detail, retry_after, coalesce(conflicts, '[]')) || more
  );
end
$$;
comment on function private.refuse(
  private.actor, text, uuid[], text, text, uuid, timestamptz, jsonb, jsonb, jsonb, boolean
) is
  'Refuses: one audit event (action, with details and conflicts) and the outcome, or TOO_MANY_REQUESTS for a caller who '
  'was refused too often. therapist_id: whose lock is held. more: what belongs in the answer beside, such as shortages. '
  'may_never: of a role that may never do this; by default parents.';

create function private.log_busy(state text, message text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  others text;
begin
  select string_agg(format('[%s] %s', other.pid, left(other.query, 300)), '; ') into others
  from pg_catalog.pg_stat_activity as other
  where other.datname = current_database() and other.pid <> pg_backend_pid() and other.state <> 'idle'
    and other.backend_type = 'client backend';
  raise log 'gave way: % % while running [%] %; beside it %', state, message, pg_backend_pid(),
    left(current_query(), 300), coalesce(others, 'nobody');
end
$$;
comment on function private.log_busy(text, text) is
  'Who was in whose way belongs in the server''s log, for the caller hears only that the database is busy: the statement '
  'that gave way, and those that run beside it, without their values.';

create function private.raise_busy(state text default null, message text default null)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if state is not null then
    perform private.log_busy(state, message);
  end if;
  perform private.raise_refusal(503, 'DATABASE_BUSY', 'The database is busy. Send the same request again.', '1');
end
$$;
comment on function private.raise_busy(text, text) is
  'What lock time-outs (55P03), deadlocks (40P01), serialization failures (40001) and cancelled statements (57014) '
  'leave as: PT503, with the seconds to wait as its detail. Nothing of the request has happened. The log gets the '
  'statements that met. Callers: state is SQLSTATE, message SQLERRM.';

create type private.cause as (
  code text,
  detail text,
  retry_after timestamptz,
  conflicts jsonb
);
comment on type private.cause is 'Why a request is refused; no code: it is not.';
