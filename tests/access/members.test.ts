/** Members through supabase-js, as an admin page does it: added, changed, working in two clinics, removed. */
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { beforeAll, expect, it } from 'vitest';
import {
  addUser,
  type Clinic,
  call,
  hold,
  holdOf,
  openClinic,
  type Person,
  window,
} from '../functions/clinic.ts';
import { stack } from '../setup/stack.ts';

let clinic: Clinic;
let other: Clinic;
let newcomer: Person;

const as = (person: Person): SupabaseClient =>
  createClient(stack.apiUrl, stack.publishableKey, { accessToken: async () => person.token });

beforeAll(async () => {
  [clinic, other, newcomer] = await Promise.all([openClinic(), openClinic(), addUser('newcomer')]);
});

it('a super_admin adds a user, who signs in to two clinics and chooses between them', async () => {
  const added = await as(clinic.superAdmin).rpc('add_member', {
    user_id: newcomer.id,
    role: 'admin',
    permissions: ['view_clients'],
  });
  expect(added.data).toMatchObject({
    ok: true,
    body: {
      organizationId: clinic.organizationId,
      userId: newcomer.id,
      role: 'admin',
      permissions: ['view_clients'],
    },
  });
  await as(other.superAdmin).rpc('add_member', { user_id: newcomer.id, role: 'client' });

  const supabase = createClient(stack.apiUrl, stack.publishableKey, { auth: { persistSession: false } });
  const { error } = await supabase.auth.signInWithPassword({
    email: newcomer.email,
    password: 'demo-password-1234',
  });
  expect(error).toBeNull();
  const clients = async () => (await supabase.from('clients').select('id')).data?.map(({ id }) => id).sort();
  expect(await clients()).toEqual([...clinic.clients].sort());

  const mine = await supabase.rpc('my_organizations');
  expect(
    mine.data
      .map((each: Record<string, unknown>) => [each.organization_id, each.role, each.is_active])
      .sort(),
  ).toEqual(
    [
      [clinic.organizationId, 'admin', true],
      [other.organizationId, 'client', false],
    ].sort(),
  );
  await supabase.rpc('set_active_organization', { organization_id: other.organizationId });
  await supabase.auth.refreshSession();
  expect(await clients()).toEqual([]);
  expect((await supabase.from('organizations').select('id')).data).toEqual([{ id: other.organizationId }]);
});

it('a change of role holds from the next request, with the old token', async () => {
  const before = await as(clinic.admin).from('memberships').select('user_id');
  expect(before.data?.length).toBeGreaterThan(1);
  const changed = await as(clinic.superAdmin).rpc('change_member', {
    user_id: clinic.admin.id,
    role: 'client',
  });
  expect(changed.data).toMatchObject({ ok: true, body: { role: 'client' } });
  const after = await as(clinic.admin).from('memberships').select('user_id');
  expect(after.data).toEqual([{ user_id: clinic.admin.id }]);
  await as(clinic.superAdmin).rpc('change_member', { user_id: clinic.admin.id, role: 'admin' });
});

it('a removed member’s token reads and writes nothing, over REST or through the functions', async () => {
  const held = await hold(clinic.rbt, holdOf(clinic.rbt, clinic.clients[0], window(3, 10)));
  const removed = await as(clinic.superAdmin).rpc('remove_member', { user_id: clinic.rbt.id });
  expect(removed.data).toMatchObject({ ok: true });

  for (const table of ['sessions', 'clients', 'therapists', 'hold_batches', 'memberships', 'organizations']) {
    expect({ table, data: (await as(clinic.rbt).from(table).select('*')).data }).toEqual({ table, data: [] });
  }
  const away = await as(clinic.rbt).from('availability_exceptions').insert({
    organization_id: clinic.organizationId,
    therapist_id: clinic.rbt.id,
    kind: 'time_off',
    starts_at: '2031-01-01T00:00Z',
    ends_at: '2031-01-02T00:00Z',
  });
  expect(away.status).toBe(403);
  const answers = [
    await call('sessions-hold', clinic.rbt, holdOf(clinic.rbt, clinic.clients[0], window(4, 10))),
    await call('sessions-cancel', clinic.rbt, { hold_key: held.holdKey }),
  ];
  expect(answers.map(({ status, body }) => [status, body.code])).toEqual([
    [403, 'FORBIDDEN'],
    [403, 'FORBIDDEN'],
  ]);
});

it('an admin reads what happened, a super_admin proves it', async () => {
  const held = await hold(clinic.bcba, holdOf(clinic.bcba, clinic.clients[1], window(5, 10)));
  const history = await as(clinic.admin).rpc('session_history', { session_id: await idOf(held) });
  expect(history.error).toBeNull();
  expect(history.data.map(({ action }: { action: string }) => action)).toEqual(['hold.acquired']);
  const checkpoint = await as(clinic.superAdmin).rpc('audit_checkpoint');
  expect(checkpoint.data.heads.length).toBeGreaterThan(0);
  const verified = await as(clinic.superAdmin).rpc('verify_audit', { checkpoint: checkpoint.data });
  expect(verified).toMatchObject({ error: null, data: [] });
  const refused = await as(clinic.admin).rpc('verify_audit');
  expect(refused.status).toBe(403);
});

/** A hold's id is its session's. */
async function idOf(held: { holdId: string }): Promise<string> {
  const { data } = await as(clinic.admin)
    .from('session_holds')
    .select('id')
    .eq('batch_id', held.holdId)
    .single();
  return data?.id;
}
