/**
 * Clinics for tests and benchmarks, made by `supabase/tests/000_clinics.sql`: the one place that knows which columns a
 * person, a clinic and what belongs to it cannot be without. Callers name the columns that matter to them.
 */
import { readFile } from 'node:fs/promises';
import type pg from 'pg';

/** Columns by name, as JSON. */
type Row<Key extends string = never> = Record<Key, string> & Record<string, unknown>;

/** A user of Auth. Only who has a password can sign in. */
export interface PersonRow {
  id: string;
  email?: string;
  password?: string;
}

/** What somebody is in a clinic. */
export type Role = 'super_admin' | 'admin' | 'therapist' | 'client';

/** A clinic with what belongs to it, under the names of the tables. `organization_id` is added to each row. */
export interface ClinicRows {
  id: string;
  /** Default "Clinic". */
  name?: string;
  /** Default UTC. */
  time_zone?: string;
  /** Those whom Auth does not have yet are made. */
  memberships?: { user_id: string; role: Role }[];
  /** Without weekly hours unless given: any time can be booked. */
  therapists?: Row<'id'>[];
  clients?: Row<'id'>[];
  caseloads?: { therapist_id: string; client_id: string }[];
  client_users?: { client_id: string; user_id: string }[];
  rooms?: Row<'id'>[];
  payers?: Row<'id'>[];
  payer_rules?: Row<'payer_id'>[];
  payer_code_rules?: Row<'payer_id'>[];
  payer_concurrency_rules?: Row<'payer_id'>[];
  client_coverages?: Row<'client_id' | 'payer_id'>[];
  authorizations?: Row<'client_id' | 'payer_id'>[];
  authorization_codes?: Row<'authorization_id' | 'cpt_code'>[];
  unit_limits?: Row<'period'>[];
}

/** Members of one role. */
export function members(role: Role, users: readonly string[]) {
  return users.map((user_id) => ({ user_id, role }));
}

/** Each therapist with each client. */
export function everybody(therapists: readonly string[], clients: readonly string[]) {
  return therapists.flatMap((therapist_id) => clients.map((client_id) => ({ therapist_id, client_id })));
}

const definitions = readFile(new URL('../../supabase/tests/000_clinics.sql', import.meta.url), 'utf8').then(
  (file) => file.slice(0, file.indexOf('\nbegin;\n')),
);

/** Brings the functions that make clinics into a database, unless they are there. */
export async function installClinics(db: pg.ClientBase): Promise<void> {
  const { rows } = await db.query("select to_regprocedure('tests.add_clinic(jsonb)') is not null as known");
  if (rows[0].known) return;
  // Test files and workers of one database may come at the same time; the lock ends with this one transaction.
  await db.query(`select pg_advisory_xact_lock(hashtext('tests.add_clinic')); ${await definitions}`);
}

async function perform(db: pg.ClientBase, call: string, ...values: unknown[]): Promise<void> {
  await installClinics(db);
  await db.query(`select ${call}`, values);
}

/** Makes users of Auth. */
export async function addPeople(db: pg.ClientBase, people: PersonRow[]): Promise<void> {
  await perform(db, 'tests.add_people($1)', JSON.stringify(people));
}

/** Makes a clinic. */
export async function addClinic(db: pg.ClientBase, clinic: ClinicRows): Promise<void> {
  await perform(db, 'tests.add_clinic($1)', JSON.stringify(clinic));
}
