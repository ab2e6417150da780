-- Purpose: the booking functions that the API exposes.
-- Objects: hold_sessions, confirm_sessions, release_hold, cancel_sessions, extend_series, move_group, offer_freed_slots.
-- Watch for: each passes its arguments on to its private namesake, which checks the caller and explains itself.

select private.publish_booking('hold_sessions',
  'Claims a slot or a series for a few minutes. request is the body of sessions-hold with recurrence expanded.'
);

select private.publish_booking('confirm_sessions',
  'Turns a live hold into sessions. request is the body of sessions-confirm.'
);

select private.publish_booking('release_hold', 'Lets a hold go. request is {hold_key}.');

select private.publish_booking('cancel_sessions',
  'Cancels sessions by id and/or by local day. request is the body of sessions-cancel.'
);

select private.publish_booking('extend_series',
  'Adds sessions to the end of a series, by its rule and what was changed of it since. request is {series_id, until | count '
  '| authorization_end: true, on_conflict?: "refuse" | "skip", therapist_id?, override?}: until a local day, this included; '
  'so many sessions; or as long as the authorization of the next one lasts. Outcome body: {seriesId, sessions, skipped: '
  '[{startTime, endTime, blockedBy, by, reasons}]}. All or nothing, or with "skip" what is free. Refusals are those of '
  'sessions-hold.'
);

select private.publish_booking('move_group',
  'Moves a group with all its clients, at once and without a hold. request is {group_id, start_time, end_time, '
  'start_time_offset_minutes, end_time_offset_minutes, time_zone, therapist_id?, room_id?, override?}. Outcome body: '
  '{groupId, sessions}. Refusals are those of sessions-hold.'
);

select private.publish_booking('offer_freed_slots',
  'Offers one slot that became free to the next on the waitlist: {offered, pending}. Called after a cancellation, a move or '
  'a release until pending is 0; also for staff to call.'
);
