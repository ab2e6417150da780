/** A clinic and a signed-in supabase-js client of it, straight at the stack or through a proxy that fails. */
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import type { Database } from '../../src/lib/database.types.ts';
import type { SessionInput } from '../../src/lib/index.ts';
import type { Clinic, Person } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { midnight } from '../setup/today.ts';

export { addUser, type Clinic, openClinic, type Person } from '../functions/clinic.ts';

/** The zone of the test clinics. */
export const LA = 'America/Los_Angeles';

/** A supabase-js client that nobody has signed in; give calls an `accessToken`. */
export function anonymousClient(url: string = stack.apiUrl): SupabaseClient<Database> {
  return createClient<Database>(url, stack.publishableKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
  });
}

/** A supabase-js client with a person signed in by password, as an app has it. */
export async function clientOf(
  person: Person,
  url: string = stack.apiUrl,
): Promise<SupabaseClient<Database>> {
  const supabase = anonymousClient(url);
  const { error } = await supabase.auth.signInWithPassword({
    email: person.email,
    password: 'demo-password-1234',
  });
  if (error) throw error;
  return supabase;
}

/** How many rows of each kind a clinic has. */
export interface ClinicState {
  liveHolds: number;
  claims: number;
  sessions: number;
}

/** How many holds a clinic has ever made: their rows are never deleted. */
export async function holdsEverMade(clinic: Clinic): Promise<number> {
  return await withConnection(async (client) => {
    const { rows } = await client.query(
      'select count(*)::int as count from public.session_holds where organization_id = $1',
      [clinic.organizationId],
    );
    return rows[0].count;
  });
}

/** The live holds, claims and sessions of a clinic, less those it had `since`. */
export async function stateOf(clinic: Clinic, since?: ClinicState): Promise<ClinicState> {
  return await withConnection(async (client) => {
    const { rows } = await client.query(
      `select
        (select count(*)::int from public.session_holds
          where organization_id = $1 and status = 'held') as "liveHolds",
        (select count(*)::int from private.claims where organization_id = $1) as claims,
        (select count(*)::int from public.sessions where organization_id = $1 and status <> 'cancelled') as sessions`,
      [clinic.organizationId],
    );
    const now = rows[0] as ClinicState;
    return {
      liveHolds: now.liveHolds - (since?.liveHolds ?? 0),
      claims: now.claims - (since?.claims ?? 0),
      sessions: now.sessions - (since?.sessions ?? 0),
    };
  });
}

/** The last day that a clinic has been given, by its id: the same in every run, whichever files share a worker. */
const days = new Map<string, number>();
/**
 * A session of one hour that meets no other: each call takes the next day and another hour (UTC), so that a series
 * passes by those that begin later.
 */
export function nextSession(
  clinic: Clinic,
  { therapist = clinic.rbt, client = clinic.clients[0] } = {},
): SessionInput & { start_time: string; end_time: string } {
  const day = (days.get(clinic.organizationId) ?? 22) + 1;
  days.set(clinic.organizationId, day);
  const start = midnight + day * 86_400_000 + (day % 23) * 3_600_000;
  return {
    therapist_id: therapist.id,
    client_id: client,
    start_time: new Date(start).toISOString(),
    end_time: new Date(start + 3_600_000).toISOString(),
    session_type: 'individual',
    location_type: 'clinic',
  };
}

/** The instant some days after another. */
export function plusDays(instant: string, days: number): string {
  return new Date(Date.parse(instant) + days * 86_400_000).toISOString();
}
