/**
 * What SQL cannot seed: names and notes, which the edge functions seal, and a hold that is alive. Made over HTTP by the
 * seed's own people, as an app would.
 */
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import {
  cancelSessionHold,
  dayBounds,
  findOpenSlots,
  plusDays,
  readNote,
  requestSessionHold,
  saveNoteDraft,
  signNote,
} from '../src/lib/index.ts';
import type { Stack } from './stack.ts';

const password = 'demo-password-1234';

const names: Readonly<
  Record<string, readonly (readonly [given: string, family: string, guardian: string])[]>
> = {
  'admin@brightpath.test': [
    ['Jo', 'Rivera', 'Ana Rivera'],
    ['Mila', 'Okafor', 'Ben Okafor'],
    ['Theo', 'Lindqvist', 'Sara Lindqvist'],
    ['Ines', 'Moreau', 'Luc Moreau'],
    ['Kai', 'Nakamura', 'Yuki Nakamura'],
    ['Noor', 'Haddad', 'Samir Haddad'],
    ['Eli', 'Brandt', 'Ruth Brandt'],
    ['Zoe', 'Castellano', 'Marco Castellano'],
    ['Finn', 'Adeyemi', 'Tola Adeyemi'],
  ],
  'admin@harbor.test': [
    ['Ada', 'Whitfield', 'Joan Whitfield'],
    ['Leo', 'Petrov', 'Vera Petrov'],
    ['Maya', 'Sorensen', 'Nils Sorensen'],
    ['Omar', 'Castle', 'Dina Castle'],
    ['Ruby', 'Chen', 'Wei Chen'],
  ],
};

/** Therapists who keep their notes, and one session of whom is being held for. */
const writers = ['rbt@brightpath.test', 'rbt2@brightpath.test', 'bcba@brightpath.test'];
const NOTES_EACH = 3;
const HOLD_SECONDS = 900;

async function signedIn(
  stack: Pick<Stack, 'apiUrl' | 'publishableKey'>,
  email: string,
): Promise<SupabaseClient> {
  const supabase = createClient(stack.apiUrl, stack.publishableKey, {
    auth: { persistSession: false, autoRefreshToken: false },
  });
  const { error } = await supabase.auth.signInWithPassword({ email, password });
  if (error) throw error;
  return supabase;
}

async function saveNames(
  supabase: SupabaseClient,
  people: readonly (readonly [string, string, string])[],
): Promise<void> {
  const { data: clients } = await supabase.from('clients').select('id').order('reference');
  const ids = (clients ?? []).map(({ id }) => id as string);
  const { data: known } = await supabase.functions.invoke('client-details', {
    body: { action: 'names', client_ids: ids },
  });
  const unnamed = new Set(
    (known?.data?.clients ?? [])
      .filter(({ name }: { name: unknown }) => name === null)
      .map(({ clientId }: { clientId: string }) => clientId),
  );
  for (const [index, id] of ids.entries()) {
    const [given_name, family_name, guardian] = people[index] ?? [];
    if (!unnamed.has(id) || !given_name) continue;
    const details = {
      given_name,
      family_name,
      birth_date: `${2016 + (index % 5)}-0${1 + (index % 9)}-1${index % 9}`,
      guardians: [
        {
          name: guardian,
          relationship: 'parent',
          contacts: [{ kind: 'phone', value: `+1 555 010 ${1000 + index}` }],
        },
      ],
    };
    const body = { action: 'save', client_id: id, base_version: 0, details };
    const { error } = await supabase.functions.invoke('client-details', { body });
    if (error) throw error;
  }
}

async function writeNotes(supabase: SupabaseClient): Promise<void> {
  const { data: sessions } = await supabase
    .from('sessions')
    .select('id, status, cpt_code, therapist_id')
    .in('status', ['completed', 'in_progress'])
    .order('start_time', { ascending: false })
    .limit(NOTES_EACH);
  for (const { id: sessionId, status, cpt_code } of sessions ?? []) {
    if (await readNote(supabase, { sessionId })) continue;
    const content = {
      narratives: [
        { cpt_code, narrative: 'Worked on requesting and on waiting, ten trials each, with prompts faded.' },
      ],
      client_response: 'Took part readily; two short breaks.',
      progress: 'Requests without a prompt in seven of ten trials.',
      participants: ['Client', 'Therapist'],
    };
    const { version } = await saveNoteDraft(supabase, { sessionId, baseVersion: 0, content });
    if (status === 'completed') await signNote(supabase, { sessionId, baseVersion: version });
  }
}

async function holdSomething(supabase: SupabaseClient): Promise<void> {
  const { data } = await supabase.auth.getUser();
  const { data: caseload } = await supabase.from('caseloads').select('client_id').order('client_id').limit(1);
  const [therapistId, clientId, timeZone] = [data.user?.id, caseload?.[0]?.client_id, 'America/Los_Angeles'];
  if (!therapistId || !clientId) return;
  const today = new Date().toISOString().slice(0, 10);
  const { to } = dayBounds(plusDays(today, 7), timeZone);
  const query = { therapistId, clientId, from: new Date().toISOString(), to, minutes: 60, timeZone };
  const slots = await findOpenSlots(supabase, query);
  const [slot, later] = [slots[0], slots.at(-1)];
  if (!slot || !later || slot === later) return;
  const wanted = { ...query, holdSeconds: HOLD_SECONDS };
  // One that is let go, so that the hold funnel has more than one end. Its time may be offered to the waitlist at once, so
  // that the one to keep is another.
  const { holdKey } = await requestSessionHold(supabase, { ...wanted, ...later });
  await cancelSessionHold(supabase, { holdKey });
  await requestSessionHold(supabase, { ...wanted, ...slot });
}

/**
 * Fills the seed's clinics with what is missing: names, notes, and on each start a hold of a quarter of an hour.
 *
 * @param stack - a running stack with the seed
 */
export async function fillClinics(stack: Pick<Stack, 'apiUrl' | 'publishableKey'>): Promise<void> {
  await Promise.all([
    ...Object.entries(names).map(async ([email, people]) => saveNames(await signedIn(stack, email), people)),
    ...writers.map(async (email) => writeNotes(await signedIn(stack, email))),
    signedIn(stack, 'bcba@brightpath.test').then(holdSomething),
  ]);
}
