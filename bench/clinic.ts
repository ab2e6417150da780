/** A synthetic country of clinics: ten organizations, a thousand therapists, full calendars, generated set-based. */
import { createHash } from 'node:crypto';
import type pg from 'pg';

/** Organizations, therapists (a tenth in each organization) and clients (eight a therapist) of the benchmark. */
export const SIZE = { organizations: 10, therapists: 1000, clientsPerTherapist: 8 } as const;

/**
 * Ids spread as random ones are, and the same in every run: indexes over ids that differ in their last digits only would
 * be worse than any clinic's. The kind stands in the second group, the number in the last.
 */
function benchId(kind: string, number: number): string {
  const spread = createHash('md5').update(`${kind}${number}`).digest('hex').slice(0, 8);
  return `${spread}-${kind}-4000-8000-${String(number).padStart(12, '0')}`;
}
/** As {@link benchId}, in SQL. */
const sqlId = (kind: string, number: string): string =>
  `(left(md5('${kind}' || (${number})), 8) || '-${kind}-4000-8000-' || lpad((${number})::text, 12, '0'))::uuid`;

/** Id of a benchmark organization, 0-based. */
export const organizationId = (number: number): string => benchId('e000', number);
/** Id of a benchmark therapist, 0-based; her organization is `number % 10`. */
export const therapistId = (number: number): string => benchId('e001', number);
/** Id of a therapist's client, 0–7. */
export const clientId = (therapist: number, client: number): string =>
  benchId('e002', therapist * SIZE.clientsPerTherapist + client);
/** User id of an organization's admin. */
export const adminId = (organization: number): string => benchId('e003', organization);

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
    select ${sqlId('e001', 'n')}, 'therapist' || n || '@bench.test'
    from generate_series(0, ${SIZE.therapists - 1}) as n
    union all
    select ${sqlId('e003', 'n')}, 'admin' || n || '@bench.test'
    from generate_series(0, ${SIZE.organizations - 1}) as n;

    insert into public.organizations (id, name, time_zone)
    select ${sqlId('e000', 'n')}, 'Bench ' || n, 'UTC'
    from generate_series(0, ${SIZE.organizations - 1}) as n;

    insert into public.memberships (organization_id, user_id, role)
    select ${sqlId('e000', `n % ${SIZE.organizations}`)},
      ${sqlId('e001', 'n')}, 'therapist'::public.member_role
    from generate_series(0, ${SIZE.therapists - 1}) as n
    union all
    select ${sqlId('e000', 'n')},
      ${sqlId('e003', 'n')}, 'super_admin'
    from generate_series(0, ${SIZE.organizations - 1}) as n;

    insert into public.therapists (organization_id, id, display_name, time_zone, availability_hours)
    select ${sqlId('e000', `n % ${SIZE.organizations}`)},
      ${sqlId('e001', 'n')}, 'Therapist ' || n, 'UTC', '${ALWAYS}'
    from generate_series(0, ${SIZE.therapists - 1}) as n;

    insert into public.clients (organization_id, id, reference)
    select ${sqlId('e000', `n / ${SIZE.clientsPerTherapist} % ${SIZE.organizations}`)},
      ${sqlId('e002', 'n')}, 'C-' || n
    from generate_series(0, ${SIZE.therapists * SIZE.clientsPerTherapist - 1}) as n;

    insert into public.caseloads (organization_id, therapist_id, client_id)
    select client.organization_id,
      ${sqlId('e001', `right(client.id::text, 12)::bigint / ${SIZE.clientsPerTherapist}`)},
      client.id
    from public.clients as client
    where client.id::text like '________-e002-%';
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
    with booked as (
      insert into public.sessions (
        organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, status, session_type, cpt_code
      )
      select therapist.organization_id, gen_random_uuid(), therapist.id,
        ${sqlId('e002', 'right(therapist.id::text, 12)::bigint * 8 + hour')},
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
      where therapist.id::text like '________-e001-%'
      returning organization_id, id, therapist_id, client_id, start_time, end_time
    )
    insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key)
    select booked.organization_id, booked.id, claim.kind, claim.resource_id,
      tstzrange(booked.start_time, booked.end_time, '[)'), claim.lanes, booked.id
    from booked
    join public.service_codes as service on service.code = '97153'
    cross join lateral (
      values
        ('therapist'::public.resource_kind, booked.therapist_id, '{[0,2147483647)}'::int4multirange),
        ('client', booked.client_id, service.lanes)
    ) as claim (kind, resource_id, lanes)`,
    [fromDay, toDay],
  );
  await db.query('alter table public.sessions enable trigger user');
  await db.query('commit');
  return (rowCount ?? 0) / 2;
}

/** Sessions whose claims are not as the triggers would have made them, in a sample: the generator's own proof. */
export async function wrongClaims(db: pg.ClientBase): Promise<number> {
  const { rows } = await db.query(
    `
    select count(*)
    from (
      select session.organization_id, session.id
      from public.sessions as session
      where session.organization_id = $1
      order by session.start_time desc
      limit 500
    ) as sample
    join private.expected_claims as expected
      on expected.organization_id = sample.organization_id and expected.owner_id = sample.id
    left join private.claims as claim
      on claim.organization_id = expected.organization_id
      and claim.owner_id = expected.owner_id
      and claim.resource_kind = expected.resource_kind
    where (claim.resource_id, claim.during, claim.lanes, claim.group_key)
      is distinct from (expected.resource_id, expected.during, expected.lanes, expected.group_key)`,
    [organizationId(3)],
  );
  return Number(rows[0].count);
}

/** Vacuums, analyses and checkpoints: tables analysed while empty get plans three times slower. */
export async function settle(db: pg.ClientBase): Promise<void> {
  await db.query('vacuum analyze');
  await db.query('checkpoint').catch(() => undefined);
}
