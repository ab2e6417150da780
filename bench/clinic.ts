/**
 * Synthetic clinics, for the benchmark and for tests of how cost grows. All rows are written the way an import writes
 * them, through the tables' own constraints and triggers, so a clinic is as the product would have made it.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { addClinic, members } from '../tests/setup/clinics.ts';

const MINUTE = 60_000;
const DAY = 86_400_000;
/** Milliseconds of an hour-long appointment. */
export const SIXTY_MINUTES = 60 * MINUTE;

/**
 * Ids spread as random ones are, and the same in every run: indexes over ids that differ in their last digits only are
 * slower than any real clinic's. The kind stands in the second group, the number in the last.
 */
function benchId(kind: string, number: number): string {
  const spread = createHash('md5').update(`${kind}${number}`).digest('hex').slice(0, 8);
  return `${spread}-${kind}-4000-8000-${String(number).padStart(12, '0')}`;
}

/** Id of an organization, 0-based. */
export const organizationId = (organization: number): string => benchId('e000', organization);
/** Id of an organization's therapist, 0-based. */
export const therapistId = (organization: number, therapist: number): string =>
  benchId('e001', organization * 10_000 + therapist);
/** Id of a therapist's client, 0-based: each therapist has clients of their own. */
export const clientId = (organization: number, therapist: number, client: number): string =>
  benchId('e002', (organization * 10_000 + therapist) * 100 + client);
/** User id of an organization's admin, 0-based. */
export const adminId = (organization: number, admin = 0): string =>
  benchId('e003', admin * 10_000 + organization);
const payerId = (organization: number): string => benchId('e004', organization);

/** What an organization has. */
export interface ClinicSize {
  /** One when not given. The first is a super admin. */
  admins?: number;
  therapists: number;
  clientsPerTherapist: number;
  /** How many of a therapist's clients, from the first, have a payer, a coverage and an authorization. */
  withPayer: number;
}

/** One appointment to be written. Times in milliseconds since 1970. */
export interface Appointment {
  therapist: number;
  client: number;
  start: number;
  end: number;
}

/** The midnight before this began: it stays the same when midnight passes meanwhile. */
const today = Math.floor(Date.now() / DAY) * DAY;

/** Midnight UTC, a number of days from today. */
export const midnight = (daysFromToday: number): number => today + daysFromToday * DAY;

/** The time `minutes` after midnight UTC, a number of days from today. */
export const at = (daysFromToday: number, minutes: number): number =>
  midnight(daysFromToday) + minutes * MINUTE;

/** The claims of a member's token, as `request.jwt.claims` has them. */
export const claimsOf = (organization: number, userId: string): string =>
  JSON.stringify({ sub: userId, org_id: organizationId(organization), role: 'authenticated' });

/** Makes a connection act as a member of an organization, signed in, as REST does it. */
export async function signIn(
  client: pg.ClientBase,
  organization: number,
  userId = adminId(organization),
): Promise<void> {
  await client.query("select set_config('request.jwt.claims', $1, false)", [claimsOf(organization, userId)]);
  await client.query('set role authenticated');
}

const HOURS = Object.fromEntries(
  ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'].map((day) => [
    day,
    [{ start: '00:00', end: '24:00' }],
  ]),
);

/**
 * Creates an organization in UTC: admins, therapists with working hours (around the clock, every day), their clients
 * and caseloads. Clients with a payer have 100,000 units of 97153 for years, and the payer lets it run beside 97155.
 */
export async function createClinic(db: pg.ClientBase, organization: number, size: ClinicSize): Promise<void> {
  const therapists = Array.from({ length: size.therapists }, (_, index) => index);
  const clients = therapists.flatMap((therapist) =>
    Array.from({ length: size.clientsPerTherapist }, (_, client) => ({ therapist, client })),
  );
  const covered = clients
    .filter(({ client }) => client < size.withPayer)
    .map(({ therapist, client }) => clientId(organization, therapist, client));
  const therapistIds = therapists.map((therapist) => therapistId(organization, therapist));
  const otherAdmins = Array.from({ length: (size.admins ?? 1) - 1 }, (_, index) =>
    adminId(organization, index + 1),
  );
  const own = organizationId(organization);
  const payer = payerId(organization);
  const ids = clients.map(({ therapist, client }) => clientId(organization, therapist, client));
  await db.query('begin');
  await addClinic(db, {
    id: own,
    name: `Bench ${organization}`,
    memberships: [
      ...members('super_admin', [adminId(organization)]),
      ...members('admin', otherAdmins),
      ...members('therapist', therapistIds),
    ],
    therapists: therapistIds.map((id) => ({ id, credential: 'BCBA', availability_hours: HOURS })),
    clients: ids.map((id) => ({ id })),
    caseloads: clients.map(({ therapist, client }) => ({
      therapist_id: therapistId(organization, therapist),
      client_id: clientId(organization, therapist, client),
    })),
    payers: [{ id: payer }],
    payer_rules: [{ payer_id: payer, rounding: 'midpoint', authorization_required: true }],
    payer_concurrency_rules: [{ payer_id: payer, first_code: '97153', second_code: '97155', allowed: true }],
    client_coverages: covered.map((client_id) => ({ client_id, payer_id: payer })),
  });
  await authorize(db, own, payer, covered);
  await db.query('commit');
}

async function authorize(
  db: pg.ClientBase,
  organization: string,
  payer: string,
  clients: string[],
): Promise<void> {
  const { rows } = await db.query(
    "select to_regclass('public.authorization_codes') is not null as has_code_sets",
  );
  if (rows[0].has_code_sets) {
    await db.query(
      `with granted as (
         insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
         select $1::uuid, id, $2::uuid, 100000, date '2020-01-01', date '2039-12-31' from unnest($3::uuid[]) as id
         returning organization_id, id
       )
       insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
       select organization_id, id, '97153' from granted`,
      [organization, payer, clients],
    );
    return;
  }
  await db.query(
    `insert into public.authorizations (organization_id, client_id, payer_id, cpt_code, approved_units, starts_on, ends_on)
     select $1::uuid, id, $2::uuid, '97153', 100000, date '2020-01-01', date '2039-12-31' from unnest($3::uuid[]) as id`,
    [organization, payer, clients],
  );
}

/** Sessions written in one statement: as many as one import sends. */
const CHUNK = 500;

/** Books appointments of one organization directly in the table, as an import does; triggers claim, count units and audit. */
export async function book(
  db: pg.ClientBase,
  organization: number,
  appointments: Appointment[],
): Promise<void> {
  for (let from = 0; from < appointments.length; from += CHUNK) {
    const chunk = appointments.slice(from, from + CHUNK);
    await db.query(
      `insert into public.sessions (
         organization_id, therapist_id, client_id, start_time, end_time, time_zone, session_type, cpt_code,
         cpt_modifiers
       )
       select $1::uuid, appointment.therapist_id, appointment.client_id, appointment.start_time, appointment.end_time, 'UTC',
         'individual', '97153', '{}'
       from unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[])
         as appointment (therapist_id, client_id, start_time, end_time)`,
      [
        organizationId(organization),
        chunk.map(({ therapist }) => therapistId(organization, therapist)),
        chunk.map(({ therapist, client }) => clientId(organization, therapist, client)),
        chunk.map(({ start }) => new Date(start)),
        chunk.map(({ end }) => new Date(end)),
      ],
    );
  }
}

/**
 * A therapist's working days: eight one-hour appointments from 08:00 to 16:00 UTC on each weekday, with the given
 * clients in turn.
 *
 * @param firstDay days from today, negative for the past
 */
export function workingDays(
  therapist: number,
  clients: number[],
  firstDay: number,
  appointments: number,
): Appointment[] {
  const booked: Appointment[] = [];
  for (let day = firstDay; booked.length < appointments; day++) {
    const weekday = new Date(midnight(day)).getUTCDay();
    if (weekday === 0 || weekday === 6) continue;
    for (let hour = 8; hour < 16 && booked.length < appointments; hour++)
      booked.push({
        therapist,
        client: clients[booked.length % clients.length] ?? 0,
        start: at(day, hour * 60),
        end: at(day, hour * 60 + 60),
      });
  }
  return booked;
}

/** Vacuums, analyses and checkpoints: tables analysed while empty get plans three times slower. */
export async function settle(db: pg.ClientBase): Promise<void> {
  await db.query('vacuum analyze');
  await db.query('checkpoint').catch(() => undefined);
}
