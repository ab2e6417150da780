/** Two small clinics with too few people for what is asked of them, so that everything meets. */
import type pg from 'pg';
import { addClinic, everybody, members } from '../setup/clinics.ts';
import { midnight } from '../setup/today.ts';
import { random } from './random.ts';

/** A clinic of the torture. */
export interface Clinic {
  organizationId: string;
  admin: string;
  superAdmin: string;
  /** Stands for all clients, and books none. */
  parent: string;
  therapists: string[];
  clients: string[];
  /** Clients who come in groups: one more than a group may have. */
  crowd: string[];
  rooms: string[];
}

/** Who calls: an admin, a therapist for their own time, a parent, or whoever manages the members. */
export interface Actor {
  clinic: Clinic;
  userId: string;
  role: 'admin' | 'therapist' | 'client' | 'super_admin';
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

/** The client whose coverage ends and lasts again while everybody books. */
export function coveredClient({ clients }: Clinic): string {
  const client = clients[2];
  if (!client) throw new Error('a clinic with too few clients');
  return client;
}

/** The therapist who leaves and comes back while everybody books. */
export function restlessTherapist({ therapists }: Clinic): string {
  const therapist = therapists.at(-1);
  if (!therapist) throw new Error('a clinic without therapists');
  return therapist;
}

/** The first midnight (UTC) of the calendar: tomorrow's. */
export function firstMidnight(): number {
  return midnight + 86_400_000;
}

function dayFromNow(days: number): string {
  return new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
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
  for (let number = 0; number < 2; number++) {
    const clinic: Clinic = {
      ...{ organizationId: ids.uuid(), admin: ids.uuid(), superAdmin: ids.uuid(), parent: ids.uuid() },
      ...{ therapists, clients, crowd, rooms },
    };
    const [payer, payerOfTwo, payerForATime] = [ids.uuid(), ids.uuid(), ids.uuid()];
    const [first_code, second_code] = CONCURRENT_CODES;
    await addClinic(db, {
      id: clinic.organizationId,
      memberships: [
        ...members('super_admin', [clinic.superAdmin]),
        ...members('admin', [clinic.admin]),
        ...members('therapist', therapists),
        ...members('client', [clinic.parent]),
      ],
      therapists: therapists.map((id) => ({ id, credential: 'BCBA' })),
      clients: [...clients, ...crowd].map((id) => ({ id })),
      caseloads: everybody(therapists, [...clients, ...crowd]),
      rooms: rooms.map((id) => ({ id })),
      client_users: [...clients, ...crowd].map((client_id) => ({ client_id, user_id: clinic.parent })),
      payers: [{ id: payer }, { id: payerOfTwo }, { id: payerForATime }],
      payer_concurrency_rules: [{ payer_id: payerOfTwo, first_code, second_code, allowed: true }],
      client_coverages: [
        { client_id: concurrentClient(clinic), payer_id: payerOfTwo },
        { client_id: coveredClient(clinic), payer_id: payerForATime },
      ],
      // Some clients' units are limited: five hours each, which run out.
      authorizations: limitedClients(clinic).map((client_id) => ({
        // A client has one, under the client's own id.
        ...{ id: client_id, client_id, payer_id: payer, approved_units: 20 },
        ...{ starts_on: dayFromNow(0), ends_on: dayFromNow(60) },
      })),
      authorization_codes: limitedClients(clinic).map((client_id) => ({
        authorization_id: client_id,
        cpt_code: '97153',
      })),
    });
    clinics.push(clinic);
  }
  return clinics;
}
