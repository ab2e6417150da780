/** Who is there: names, therapists, clients, rooms and members, each as far as the caller may see them. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  fetchClientDetails,
  fetchClients,
  fetchMembers,
  fetchMemberships,
  fetchNames,
  fetchOwnTherapists,
  fetchRooms,
  fetchTherapists,
} from '../../src/lib/index.ts';
import { call } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { type Clinic, clientOf, openClinic } from './clinic.ts';

let clinic: Clinic;
let other: Clinic;
const as = (person: Clinic['rbt']) => clientOf(person);

beforeAll(async () => {
  [clinic, other] = await Promise.all([openClinic(), openClinic()]);
  const people = [
    {
      client_id: clinic.clients[0],
      details: { given_name: 'Jo', family_name: 'Rivera', preferred_name: 'Jojo' },
    },
    { client_id: clinic.clients[2], details: { given_name: 'Sam', family_name: 'Okafor' } },
  ];
  for (const body of people) {
    const saved = await call('client-details', clinic.admin, { action: 'save', base_version: 0, ...body });
    expect(saved.status).toBe(200);
  }
});

describe('names', () => {
  it('of a whole week are read, though one of its clients is out of reach', async () => {
    // The first two are on the caseload; the last is of another clinic.
    const clientIds = [...clinic.clients, other.clients[0]];
    const names = await fetchNames(await as(clinic.rbt), { clientIds });
    expect([...names]).toEqual([
      [
        clinic.clients[0],
        { givenName: 'Jo', familyName: 'Rivera', preferredName: 'Jojo', listed: 'Rivera, Jojo' },
      ],
    ]);
    const all = await fetchNames(await as(clinic.admin), { clientIds });
    expect(all.get(clinic.clients[2])?.listed).toBe('Okafor, Sam');
    expect([...all.keys()].sort()).toEqual([clinic.clients[0], clinic.clients[2]].sort());
  });

  it('of nobody, and of nobody within reach, are none', async () => {
    const supabase = await as(clinic.rbt);
    expect((await fetchNames(supabase, { clientIds: [] })).size).toBe(0);
    expect((await fetchNames(supabase, { clientIds: [clinic.clients[3], other.clients[0]] })).size).toBe(0);
  });

  it('are less than the details, which are refused out of reach', async () => {
    const supabase = await as(clinic.rbt);
    expect(await fetchClientDetails(supabase, { clientId: clinic.clients[0] })).toMatchObject({
      family_name: 'Rivera',
    });
    expect(await fetchClientDetails(supabase, { clientId: clinic.clients[1] })).toBeNull();
    await expect(fetchClientDetails(supabase, { clientId: clinic.clients[2] })).rejects.toMatchObject({
      status: 403,
    });
  });
});

describe('lists', () => {
  it('are the clinic’s for an admin, their own for a therapist, and their child’s for a parent', async () => {
    const [admin, rbt, parent] = [await as(clinic.admin), await as(clinic.rbt), await as(clinic.parent)];
    const ids = (rows: readonly { id: string }[]) => rows.map(({ id }) => id).sort();
    expect(ids(await fetchClients(admin))).toEqual([...clinic.clients].sort());
    expect(ids(await fetchClients(rbt))).toEqual(clinic.clients.slice(0, 2).sort());
    expect(ids(await fetchClients(parent))).toEqual([clinic.clients[0]]);
    expect(ids(await fetchTherapists(admin))).toEqual([clinic.bcba.id, clinic.rbt.id].sort());
    expect(ids(await fetchTherapists(rbt))).toEqual([clinic.rbt.id]);
    expect(ids(await fetchRooms(rbt))).toEqual([clinic.room]);
    expect(await fetchRooms(parent)).toEqual([]);
    expect(await fetchOwnTherapists(parent)).toEqual([
      { id: clinic.bcba.id, display_name: 'B' },
      { id: clinic.rbt.id, display_name: 'R' },
    ]);
    expect((await fetchMembers(admin)).map(({ role }) => role).sort()).toEqual([
      'admin',
      'client',
      'super_admin',
      'therapist',
      'therapist',
    ]);
    expect((await fetchMembers(rbt)).map(({ user_id }) => user_id)).toEqual([clinic.rbt.id]);
  });

  it('leave out who is archived, unless asked for them', async () => {
    await withConnection((db) =>
      db.query('update public.clients set deleted_at = now() where organization_id = $1 and id = $2', [
        other.organizationId,
        other.clients[1],
      ]),
    );
    const admin = await as(other.admin);
    expect(await fetchClients(admin)).toHaveLength(3);
    expect(await fetchClients(admin, { archived: true })).toHaveLength(4);
  });

  it('of memberships name the clinic and the role', async () => {
    expect(await fetchMemberships(await as(clinic.rbt))).toMatchObject([
      { organizationId: clinic.organizationId, role: 'therapist', isActive: true },
    ]);
  });
});
