/** The guard matrix against the live database: each named policy exists, and each role sees what the guard promises. */
import { beforeAll, describe, expect, it } from 'vitest';
import { listGuardedPaths, type Role, routeGuards } from '../../src/lib/index.ts';
import { transactionAs, withConnection } from '../setup/db.ts';
import { addUser, type Clinic, openClinic, type Person } from './clinic.ts';

const ROLES: Role[] = ['client', 'therapist', 'admin', 'super_admin'];
let clinic: Clinic;
let stranger: Clinic;
let outsider: Person;

beforeAll(async () => {
  [clinic, stranger, outsider] = await Promise.all([openClinic(), openClinic(), addUser('outsider')]);
  for (const each of [clinic, stranger]) {
    await withConnection((client) =>
      client.query(
        `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
          select $1, therapist_id, client_id, start_time, start_time + interval '1 hour', 'UTC'
          from (values ($2::uuid, $4::uuid, '2031-05-05T10:00Z'::timestamptz), ($3, $5, '2031-05-05T12:00Z'))
            as planned (therapist_id, client_id, start_time)`,
        [each.organizationId, each.rbt.id, each.bcba.id, each.clients[0], each.clients[1]],
      ),
    );
  }
});

/** Whoever holds the role in the clinic. */
function personOf(role: Role): Person {
  return {
    client: clinic.parent,
    therapist: clinic.rbt,
    admin: clinic.admin,
    super_admin: clinic.superAdmin,
  }[role];
}

async function idsSeen(
  person: Person,
  table: string,
  organizationId = clinic.organizationId,
): Promise<string[]> {
  return await withConnection(async (client) => {
    const { rows } = await transactionAs(client, { sub: person.id, org_id: organizationId }, () =>
      client.query(`select id from ${table} order by id`),
    );
    return rows.map(({ id }) => id);
  });
}

const policies = [...new Set(routeGuards.flatMap(({ supabasePolicies }) => supabasePolicies))];

describe('every policy a guard names', () => {
  it.each(policies)('%s exists, is for reading, and its table has row security', async (name) => {
    const [table = '', policy = ''] = name.split(': ');
    const [schema, relation] = table.split('.');
    const { rows } = await withConnection((client) =>
      client.query(
        `select policy.cmd, policy.permissive, policy.roles::text[] as roles, class.relrowsecurity
          from pg_policies as policy
          join pg_class as class on class.oid = format('%I.%I', policy.schemaname, policy.tablename)::regclass
          where policy.schemaname = $1 and policy.tablename = $2 and policy.policyname = $3`,
        [schema, relation, policy],
      ),
    );
    expect(rows).toEqual([
      { cmd: 'SELECT', permissive: 'PERMISSIVE', roles: ['authenticated'], relrowsecurity: true },
    ]);
  });
});

describe('through the policies', () => {
  /** What each role is to see of each table: all of the clinic, its own part, or nothing. */
  const promised = (): Record<string, Record<Role, string[]>> => {
    const [one, two, three, four] = clinic.clients;
    const all = [one, two, three, four].sort();
    const therapists = [clinic.bcba.id, clinic.rbt.id].sort();
    return {
      'public.clients': { client: [one], therapist: [one, two].sort(), admin: all, super_admin: all },
      'public.therapists': {
        client: [],
        therapist: [clinic.rbt.id],
        admin: therapists,
        super_admin: therapists,
      },
    };
  };

  it.each(ROLES)('a %s sees of clients and therapists what the guard says', async (role) => {
    for (const [table, seen] of Object.entries(promised())) {
      expect({ table, ids: await idsSeen(personOf(role), table) }).toEqual({ table, ids: seen[role] });
    }
  });

  it('of sessions: a client her own, a therapist her own, admins all of the clinic', async () => {
    const count = async (role: Role) => (await idsSeen(personOf(role), 'public.sessions')).length;
    expect([
      await count('client'),
      await count('therapist'),
      await count('admin'),
      await count('super_admin'),
    ]).toEqual([1, 1, 2, 2]);
  });

  it.each(routeGuards.map((guard) => [guard.path, guard] as const))(
    'whoever may open %s finds something to show there',
    async (_, guard) => {
      for (const role of guard.allowedRoles) {
        for (const policy of guard.supabasePolicies) {
          const [table = ''] = policy.split(': ');
          expect({ role, table, rows: (await idsSeen(personOf(role), table)).length }).not.toMatchObject({
            rows: 0,
          });
        }
      }
    },
  );

  it('a therapist who opens an admin’s route finds no more than her own profile', async () => {
    const adminsOnly = routeGuards.filter(({ allowedRoles }) => !allowedRoles.includes('therapist'));
    expect(adminsOnly.map(({ path }) => path)).toEqual([
      '/clients/new',
      '/therapists',
      '/therapists/new',
      '/reports',
    ]);
    expect(await idsSeen(clinic.rbt, 'public.therapists')).toEqual([clinic.rbt.id]);
  });

  it('nobody sees another clinic, also not by claiming it in the token', async () => {
    for (const table of ['public.sessions', 'public.clients', 'public.therapists']) {
      for (const person of [...ROLES.map(personOf), outsider]) {
        expect(await idsSeen(person, table, stranger.organizationId)).toEqual([]);
      }
      expect(await idsSeen(outsider, table)).toEqual([]);
    }
  });
});

it('the matrix has these paths', () => {
  expect(listGuardedPaths()).toEqual([
    '/',
    '/schedule',
    '/clients',
    '/clients/:clientId',
    '/clients/new',
    '/therapists',
    '/therapists/:therapistId',
    '/therapists/new',
    '/reports',
  ]);
});
