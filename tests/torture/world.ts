/** Two small clinics with too few people for what is asked of them, so that everything meets. */
import type pg from 'pg';
import { random } from './random.ts';

/** A clinic of the torture. */
export interface Clinic {
  organizationId: string;
  admin: string;
  therapists: string[];
  clients: string[];
  /** Clients who come in groups: one more than a group may have. */
  crowd: string[];
  rooms: string[];
}

/** Who calls: an admin, or a therapist for herself. */
export interface Actor {
  clinic: Clinic;
  userId: string;
  role: 'admin' | 'therapist';
}

/** Two services that the last client's payer allows at the same time; nobody else's does. */
export const CONCURRENT_CODES = ['97153', '97155'];

/** The client who may be in two services at once. */
export function concurrentClient({ clients }: Clinic): string {
  const client = clients.at(-1);
  if (!client) throw new Error('a clinic without clients');
  return client;
}

/** Clients whose payer has approved so many units of one-to-one treatment, and more now and then. */
export function limitedClients({ clients, crowd }: Clinic): string[] {
  return [...clients.slice(0, 2), ...crowd.slice(0, 1)];
}

/** The first midnight (UTC) of the calendar: tomorrow's. */
export function firstMidnight(): number {
  return Math.ceil(Date.now() / 86_400_000) * 86_400_000;
}

/** Days of the calendar. Few, so that it is half full after seconds. */
export const DAYS = 5;

/**
 * Makes the clinics. People, clients and rooms have the same ids in both: nothing but the organization keeps them
 * apart.
 */
export async function createWorld(db: pg.ClientBase, seed: number): Promise<Clinic[]> {
  const ids = random(seed, 'world');
  const therapists = Array.from({ length: 3 }, () => ids.uuid());
  const clients = Array.from({ length: 4 }, () => ids.uuid());
  const rooms = Array.from({ length: 2 }, () => ids.uuid());
  const crowd = Array.from({ length: 9 }, () => ids.uuid());
  const clinics: Clinic[] = [];
  await db.query(
    `insert into auth.users (instance_id, id, aud, role, email, created_at, updated_at)
      select '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', id || '@torture.test', now(), now()
      from unnest($1::uuid[]) as id`,
    [therapists],
  );
  for (let number = 0; number < 2; number++) {
    const clinic: Clinic = {
      ...{ organizationId: ids.uuid(), admin: ids.uuid() },
      ...{ therapists, clients, crowd, rooms },
    };
    const { organizationId, admin } = clinic;
    await db.query(
      `insert into auth.users (instance_id, id, aud, role, email, created_at, updated_at)
        values ('00000000-0000-0000-0000-000000000000', $1::uuid, 'authenticated', 'authenticated', $1::uuid || '@torture.test', now(), now())`,
      [admin],
    );
    await db.query(
      "insert into public.organizations (id, name, time_zone) values ($1, 'Torture ' || $2, 'UTC')",
      [organizationId, String(number)],
    );
    await db.query(
      `insert into public.memberships (organization_id, user_id, role)
        select $1, id, case when id = $2 then 'admin' else 'therapist' end::public.member_role from unnest($3::uuid[]) as id`,
      [organizationId, admin, [admin, ...therapists]],
    );
    await db.query(
      `insert into public.therapists (organization_id, id, display_name, time_zone, credential)
        select $1, id, 'T', 'UTC', 'BCBA' from unnest($2::uuid[]) as id`,
      [organizationId, therapists],
    );
    await db.query(
      'insert into public.clients (organization_id, id, reference) select $1, id, id::text from unnest($2::uuid[]) as id',
      [organizationId, [...clients, ...crowd]],
    );
    await db.query(
      `insert into public.caseloads (organization_id, therapist_id, client_id)
        select $1, therapist, client from unnest($2::uuid[]) as therapist cross join unnest($3::uuid[]) as client`,
      [organizationId, therapists, [...clients, ...crowd]],
    );
    await db.query(
      "insert into public.rooms (organization_id, id, name) select $1, id, 'Room ' || left(id::text, 4) from unnest($2::uuid[]) as id",
      [organizationId, rooms],
    );
    // Some clients' units are limited: ten hours each, which run out.
    const payer = ids.uuid();
    await db.query("insert into public.payers (organization_id, id, name) values ($1, $2, 'Payer')", [
      organizationId,
      payer,
    ]);
    await db.query(
      `insert into public.authorizations (organization_id, client_id, payer_id, cpt_code, approved_units, starts_on, ends_on)
        select $1, id, $2, '97153', 40, current_date, current_date + 60 from unnest($3::uuid[]) as id`,
      [organizationId, payer, limitedClients(clinic)],
    );
    await db.query(
      `with payer as (
          insert into public.payers (organization_id, id, name) values ($1, $2, 'Payer of two') returning id
        ),
        rule as (
          insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
          select $1, id, $4, $5, true, '2020-01-01' from payer
        )
        insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
        select $1, $3, id, '2020-01-01' from payer`,
      [organizationId, ids.uuid(), concurrentClient(clinic), ...CONCURRENT_CODES],
    );
    clinics.push(clinic);
  }
  return clinics;
}
