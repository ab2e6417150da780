/** What people do at the same moment: super_admins who demote each other, and bookings that seal their events. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addClinic, members, type Role } from '../setup/clinics.ts';
import { connect, transactionAs, withConnection } from '../setup/db.ts';

type Organization = { id: string; admin: string; therapists: string[]; clients: string[] };

/** An organization with an admin and as many therapists and clients as asked for; nobody needs to sign in. */
async function organization(
  people: number,
  roles: Role[] = [],
): Promise<Organization & { others: string[] }> {
  const [id, admin] = [randomUUID(), randomUUID()];
  const ids = (count: number) => Array.from({ length: count }, () => randomUUID());
  const [therapists, clients, others] = [ids(people), ids(people), ids(roles.length)];
  await withConnection((db) =>
    addClinic(db, {
      id,
      memberships: [
        ...members('admin', [admin]),
        ...members('therapist', therapists),
        ...others.map((user_id, index) => ({ user_id, role: roles[index] as Role })),
      ],
      therapists: therapists.map((each) => ({ id: each })),
      clients: clients.map((each) => ({ id: each })),
    }),
  );
  return { id, admin, therapists, clients, others };
}

/** Holds an hour, `day` days from next month on. */
async function hold(client: pg.Client, org: Organization, at: number, day: number): Promise<void> {
  const start = Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth() + 1, 1 + day, 10);
  const { rows } = await client.query('select public.hold_sessions($1) as outcome', [
    {
      therapist_id: org.therapists[at],
      client_id: org.clients[at],
      start_time: new Date(start).toISOString(),
      end_time: new Date(start + 3_600_000).toISOString(),
      start_time_offset_minutes: 0,
      end_time_offset_minutes: 0,
      time_zone: 'UTC',
    },
  ]);
  expect(rows[0].outcome).toMatchObject({ ok: true });
}

const open: pg.Client[] = [];
async function connections(count: number): Promise<pg.Client[]> {
  const made = await Promise.all(Array.from({ length: count }, connect));
  open.push(...made);
  return made;
}
afterAll(() => Promise.all(open.map((client) => client.end())));

describe('two super_admins who demote or remove each other at the same moment', () => {
  const ways = [
    'select public.change_member($1, $2) as outcome',
    'select public.remove_member($1), $2::text as outcome',
    'update public.memberships set role = $2::public.member_role where user_id = $1',
    "delete from public.memberships where user_id = $1 and $2::text <> ''",
  ];

  it.each(ways)('leave one: %s', async (way) => {
    const pair = await connections(2);
    for (let round = 0; round < 8; round++) {
      const org = await organization(0, ['super_admin', 'super_admin']);
      const [one = '', two = ''] = org.others;
      await Promise.allSettled(
        [
          [one, two],
          [two, one],
        ].map(([self, rival], at) =>
          transactionAs(pair[at] as pg.Client, { sub: self ?? '', org_id: org.id }, () =>
            (pair[at] as pg.Client).query(way, [rival, 'client']),
          ),
        ),
      );
      const left = await withConnection((client) =>
        client.query(
          "select count(*)::int as count from public.memberships where organization_id = $1 and role = 'super_admin'",
          [org.id],
        ),
      );
      expect(left.rows[0].count).toBe(1);
    }
  });
});

describe('bookings of different therapists of one organization', () => {
  let org: Organization;
  beforeAll(async () => {
    org = await organization(8);
  });

  it('do not wait for each other’s place in a chain', async () => {
    const [first, second] = (await connections(2)) as [pg.Client, pg.Client];
    const claims = { sub: org.admin, org_id: org.id };
    await transactionAs(first, claims, async () => {
      await hold(first, org, 0, 0);
      // What happens at commit, while the transaction stays open: the head of its chain is written and locked.
      await first.query('set constraints all immediate');
      await transactionAs(second, claims, async () => {
        await second.query("set local lock_timeout = '1s'");
        await hold(second, org, 1, 0);
      });
    });
    const { rows } = await withConnection((client) =>
      client.query(
        "select chain_id from audit.events where organization_id = $1 and action = 'hold.acquired' order by recorded_at",
        [org.id],
      ),
    );
    expect(rows.map(({ chain_id }) => chain_id)).toEqual([org.therapists[0], org.therapists[1]]);
  });

  it('on eight connections at once leave eight sound chains', async () => {
    const eight = await connections(8);
    await Promise.all(
      eight.map(async (client, at) => {
        for (let day = 1; day <= 10; day++)
          await transactionAs(client, { sub: org.admin, org_id: org.id }, () => hold(client, org, at, day));
      }),
    );
    await withConnection(async (client) => {
      const { rows } = await client.query(
        `select chain_id, max(seq)::int as length from audit.seals
          where organization_id = $1 and chain_id = any ($2::uuid[]) group by chain_id`,
        [org.id, org.therapists],
      );
      expect(rows).toHaveLength(8);
      expect(rows.every(({ length }) => length >= 10)).toBe(true);
      expect((await client.query('select * from audit.verify($1)', [org.id])).rows).toEqual([]);
    });
  });
});

it('the whole audit of this database verifies, whatever the tests have done to it', async () => {
  expect((await withConnection((client) => client.query('select * from audit.verify()'))).rows).toEqual([]);
});
