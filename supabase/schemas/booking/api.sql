-- Purpose: the booking functions that the API exposes.
-- Objects: hold_sessions, confirm_sessions, release_hold, cancel_sessions, extend_series, move_group, offer_freed_slots.
-- Watch for: each is a SECURITY INVOKER wrapper around its private function, which checks the caller and explains itself.

create function public.hold_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.hold_sessions(hold_sessions.request, hold_sessions.idempotency_key, hold_sessions.request_id)
  );
end;
comment on function public.hold_sessions(jsonb, text, text) is
  'Claims a slot or a series for a few minutes. request is the body of sessions-hold with recurrence expanded.';
grant execute on function public.hold_sessions(jsonb, text, text) to authenticated;

create function public.confirm_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.confirm_sessions(confirm_sessions.request, confirm_sessions.idempotency_key, confirm_sessions.request_id)
  );
end;
comment on function public.confirm_sessions(jsonb, text, text) is
  'Turns a live hold into sessions. request is the body of sessions-confirm.';
grant execute on function public.confirm_sessions(jsonb, text, text) to authenticated;

create function public.release_hold(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.release_hold(release_hold.request, release_hold.idempotency_key, release_hold.request_id)
  );
end;
comment on function public.release_hold(jsonb, text, text) is 'Lets a hold go. request is {hold_key}.';
grant execute on function public.release_hold(jsonb, text, text) to authenticated;

create function public.cancel_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.cancel_sessions(cancel_sessions.request, cancel_sessions.idempotency_key, cancel_sessions.request_id)
  );
end;
comment on function public.cancel_sessions(jsonb, text, text) is
  'Cancels sessions by id and/or by local day. request is the body of sessions-cancel.';
grant execute on function public.cancel_sessions(jsonb, text, text) to authenticated;

create function public.extend_series(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.extend_series(extend_series.request, extend_series.idempotency_key, extend_series.request_id)
  );
end;
comment on function public.extend_series(jsonb, text, text) is
  'Adds sessions to the end of a series, by its rule and what was changed of it since. request is {series_id, until | count '
  '| authorization_end: true, on_conflict?: "refuse" | "skip", therapist_id?, override?}: until a local day, this included; '
  'so many sessions; or as long as the authorization of the next one lasts. Outcome body: {seriesId, sessions, skipped: '
  '[{startTime, endTime, blockedBy, by, reasons}]}. All or nothing, or with "skip" what is free. Refusals are those of '
  'sessions-hold.';
grant execute on function public.extend_series(jsonb, text, text) to authenticated;

create function public.move_group(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.move_group(move_group.request, move_group.request_id));
end;
comment on function public.move_group(jsonb, text) is
  'Moves a group with all its clients, at once and without a hold. request is {group_id, start_time, end_time, '
  'start_time_offset_minutes, end_time_offset_minutes, time_zone, therapist_id?, room_id?, override?}. Outcome body: '
  '{groupId, sessions}. Refusals are those of sessions-hold.';
grant execute on function public.move_group(jsonb, text) to authenticated;

create function public.offer_freed_slots(request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.offer_freed_slots(offer_freed_slots.request_id));
end;
comment on function public.offer_freed_slots(text) is
  'Offers one slot that became free to the next on the waitlist: {offered, pending}. Called after a cancellation, a move or '
  'a release until pending is 0; also for staff to call.';
grant execute on function public.offer_freed_slots(text) to authenticated;
