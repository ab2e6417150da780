/** A synthetic country of clinics: ten organizations, a thousand therapists, full calendars, generated set-based. */
import type pg from 'pg';

/** Organizations, therapists (a tenth in each organization) and clients (eight a therapist) of the benchmark. */
export const SIZE = { organizations: 10, therapists: 1000, clientsPerTherapist: 8 } as const;

/** Id of a benchmark organization, 0-based. */
export const organizationId = (number: number): string =>
  `e0000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
/** Id of a benchmark therapist, 0-based; her organization is `number % 10`. */
export const therapistId = (number: number): string =>
  `e1000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
/** Id of a therapist's client, 0–7. */
export const clientId = (therapist: number, client: number): string =>
  `e2000000-0000-4000-8000-${String(therapist * SIZE.clientsPerTherapist + client).padStart(12, '0')}`;
/** User id of an organization's admin. */
export const adminId = (organization: number): string =>
  `e3000000-0000-4000-8000-${String(organization).padStart(12, '0')}`;

const ALWAYS = JSON.stringify(
  Object.fromEntries(
    ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'].map((day) => [
      day,
      [{ start: '00:00', end: '24:00' }],
    ]),
  ),
);

/** Creates organizations, members, therapists, clients and caseloads. Zone UTC, hours around the clock. */
export async function createClinics(db: pg.ClientBase): Promise<void> {
  await db.query(`
    insert into auth.users (id, email)
    select ('e1000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'therapist' || n || '@bench.test'
    from generate_series(0, ${SIZE.therapists - 1}) as n
    union all
    select ('e3000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'admin' || n || '@bench.test'
    from generate_series(0, ${SIZE.organizations - 1}) as n;

    insert into public.organizations (id, name, time_zone)
    select ('e0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Bench ' || n, 'UTC'
    from generate_series(0, ${SIZE.organizations - 1}) as n;

    insert into public.memberships (organization_id, user_id, role)
    select ('e0000000-0000-4000-8000-' || lpad((n % ${SIZE.organizations})::text, 12, '0'))::uuid,
      ('e1000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'therapist'::public.member_role
    from generate_series(0, ${SIZE.therapists - 1}) as n
    union all
    select ('e0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
      ('e3000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'super_admin'
    from generate_series(0, ${SIZE.organizations - 1}) as n;

    insert into public.therapists (organization_id, id, display_name, time_zone, availability_hours)
    select ('e0000000-0000-4000-8000-' || lpad((n % ${SIZE.organizations})::text, 12, '0'))::uuid,
      ('e1000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Therapist ' || n, 'UTC', '${ALWAYS}'
    from generate_series(0, ${SIZE.therapists - 1}) as n;

    insert into public.clients (organization_id, id, reference)
    select ('e0000000-0000-4000-8000-' || lpad((n / ${SIZE.clientsPerTherapist} % ${SIZE.organizations})::text, 12, '0'))::uuid,
      ('e2000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'C-' || n
    from generate_series(0, ${SIZE.therapists * SIZE.clientsPerTherapist - 1}) as n;

    insert into public.caseloads (organization_id, therapist_id, client_id)
    select client.organization_id,
      ('e1000000-0000-4000-8000-'
        || lpad((right(client.id::text, 12)::bigint / ${SIZE.clientsPerTherapist})::text, 12, '0'))::uuid,
      client.id
    from public.clients as client
    where client.id::text like 'e2000000%';
  `);
}

/**
 * Fills calendars: eight one-hour sessions a weekday from 08:00 UTC for every therapist, from `fromDay` to before
 * `toDay` (days counted back from the last Monday; one weekday of everybody is 8,000 sessions). Triggers are off, so
 * the claims are written here, set-based, as the triggers would.
 */
export async function fillCalendars(db: pg.ClientBase, fromDay: number, toDay: number): Promise<number> {
  await db.query('begin');
  await db.query('alter table public.sessions disable trigger user');
  const { rowCount } = await db.query(
    `
    insert into public.sessions (
      organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, status, session_type, cpt_code
    )
    select therapist.organization_id, gen_random_uuid(), therapist.id,
      ('e2000000-0000-4000-8000-' || lpad((right(therapist.id::text, 12)::bigint * 8 + hour)::text, 12, '0'))::uuid,
      slot.starts, slot.starts + interval '1 hour', 'UTC',
      case when slot.starts < now() then 'completed' else 'scheduled' end::public.session_status, 'individual', '97153'
    from public.therapists as therapist
    cross join generate_series($1::integer, $2::integer - 1) as day
    cross join generate_series(0, 7) as hour
    cross join lateral (
      -- Five weekdays a week, counted back from Monday of next week.
      select (date_trunc('week', now() at time zone 'UTC') + interval '7 days' - make_interval(days => day / 5 * 7 + day % 5 + 3)
        + make_interval(hours => 8 + hour)) at time zone 'UTC' as starts
    ) as slot
    where therapist.id::text like 'e1000000%'`,
    [fromDay, toDay],
  );
  await db.query(`
    insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key)
    select expected.organization_id, expected.owner_id, expected.resource_kind, expected.resource_id, expected.during,
      expected.lanes, expected.group_key
    from private.expected_claims as expected
    where not exists (
      select 1 from private.claims as claim
      where claim.organization_id = expected.organization_id and claim.owner_id = expected.owner_id
    )`);
  await db.query('alter table public.sessions enable trigger user');
  await db.query('commit');
  return rowCount ?? 0;
}

/** Vacuums, analyses and checkpoints: tables analysed while empty get plans three times slower. */
export async function settle(db: pg.ClientBase): Promise<void> {
  await db.query('vacuum analyze');
  await db.query('checkpoint').catch(() => undefined);
}
