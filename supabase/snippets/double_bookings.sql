-- Is anybody booked twice? No row is the proof that nobody is.
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#double_bookings.
select start_time, resource, resource_id, session_id, other_session_id, overlap_start, overlap_end
from reports.double_bookings
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and start_time >= now() - interval '91 days'
order by start_time;
