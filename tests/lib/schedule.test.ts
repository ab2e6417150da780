/** Schedule reads through the real REST layer: scope, pages, index. */
import { createClient } from '@supabase/supabase-js';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/lib/database.types.ts';
import {
  fetchAllPages,
  fetchClientSessions,
  fetchSchedule,
  readScope,
  type ScheduleQuery,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { transactionAs, withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import {
  addUser,
  anonymousClient,
  type Clinic,
  clientOf,
  openClinic,
  type Person,
  plusDays,
} from './clinic.ts';

const MONDAY = '2031-03-03T00:00:00Z';
const WEEK = { from: MONDAY, to: '2031-03-10T00:00:00Z' };
let clinic: Clinic;
let stranger: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
let rbt: Awaited<ReturnType<typeof clientOf>>;

beforeAll(async () => {
  [clinic, stranger] = await Promise.all([openClinic(), openClinic()]);
  await Promise.all([fill(clinic), fill(stranger)]);
  [admin, rbt] = await Promise.all([clientOf(clinic.admin), clientOf(clinic.rbt)]);
});

/**
 * Two therapists, each with her own client, every half hour of the week and every four hours of the 7 weeks after it:
 * equal starts in pairs, odd microseconds.
 */
async function fill({ organizationId, bcba, rbt: technician, clients }: Clinic): Promise<void> {
  await withConnection(async (client) => {
    await client.query(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
        select $1, pair.therapist_id, pair.client_id, slot, slot + interval '30 minutes', 'UTC'
        from (
          select generate_series($2::timestamptz, $2::timestamptz + interval '7 days', interval '30 minutes')
          union
          select generate_series($2::timestamptz, $2::timestamptz + interval '56 days', interval '4 hours')
        ) as at (slot0)
        cross join lateral (select slot0 + interval '3 microseconds' as slot) as odd
        cross join (values ($3::uuid, $5::uuid), ($4::uuid, $6::uuid)) as pair (therapist_id, client_id)`,
      [organizationId, MONDAY, bcba.id, technician.id, clients[1], clients[0]],
    );
    await client.query(
      `update public.sessions set status = 'cancelled'
        where organization_id = $1 and start_time >= '2031-03-05T00:00Z' and start_time < '2031-03-06T00:00Z'`,
      [organizationId],
    );
  });
  // VACUUM and ANALYZE, so that the planner knows what a busy clinic's table looks like.
  await withConnection((client) => client.query('vacuum analyze public.sessions'));
}

async function refused(promise: Promise<unknown>): Promise<SessionsApiError> {
  const error = await promise.catch((reason: unknown) => reason);
  if (!(error instanceof SessionsApiError))
    throw new Error(`expected a SessionsApiError, not ${String(error)}`);
  return error;
}

const pages = (supabase: typeof admin, query: ScheduleQuery) =>
  fetchAllPages((cursor) => fetchSchedule(supabase, { ...query, cursor }));

describe('a schedule', () => {
  it('has every session of the span once, in order, over many pages', async () => {
    const sessions = await pages(admin, { ...WEEK, limit: 37 });
    expect(sessions).toHaveLength(2 * 48 * 7);
    expect(new Set(sessions.map(({ id }) => id)).size).toBe(sessions.length);
    const keys = sessions.map(({ start_time, id }) => `${Date.parse(start_time)} ${id}`);
    expect(keys).toEqual([...keys].sort());
  });

  it('breaks pages between two sessions of the same start', async () => {
    const [odd, whole] = [
      await pages(admin, { ...WEEK, limit: 1 + 2 * 24 }),
      await pages(admin, { ...WEEK, limit: 1000 }),
    ];
    expect(odd).toEqual(whole);
  });

  it('can be narrowed to statuses', async () => {
    const day = { from: '2031-03-05T00:00:00Z', to: '2031-03-06T00:00:00Z' };
    expect(await pages(admin, { ...day, statuses: ['scheduled'] })).toEqual([]);
    expect(await pages(admin, { ...day, statuses: ['cancelled'] })).toHaveLength(96);
  });

  it('of a therapist is her own, whatever she asks', async () => {
    const own = await pages(rbt, WEEK);
    expect(new Set(own.map(({ therapist_id }) => therapist_id))).toEqual(new Set([clinic.rbt.id]));
    expect(await pages(rbt, { ...WEEK, therapistId: clinic.rbt.id })).toEqual(own);
    const other = await refused(fetchSchedule(rbt, { ...WEEK, therapistId: clinic.bcba.id }));
    expect(other).toMatchObject({ status: 403, code: 'FORBIDDEN' });
  });

  it('is asked for by organization, and by therapist where a therapist asks: policies are not all that filters', async () => {
    const filtersOf = async (person: Person, query: Partial<ScheduleQuery> = {}) => {
      const sent: URLSearchParams[] = [];
      const supabase = createClient<Database>(stack.apiUrl, stack.publishableKey, {
        auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
        global: {
          fetch: (input, init) => {
            sent.push(new URL(String(input)).searchParams);
            return fetch(input, init);
          },
        },
      });
      await fetchSchedule(supabase, { ...WEEK, ...query, accessToken: person.token });
      expect(sent).toHaveLength(1);
      return ['organization_id', 'therapist_id'].map((column) => sent[0]?.get(column));
    };
    const here = `eq.${clinic.organizationId}`;
    expect(await filtersOf(clinic.rbt)).toEqual([here, `eq.${clinic.rbt.id}`]);
    expect(await filtersOf(clinic.admin)).toEqual([here, null]);
    expect(await filtersOf(clinic.admin, { therapistId: clinic.bcba.id })).toEqual([
      here,
      `eq.${clinic.bcba.id}`,
    ]);
    expect(await filtersOf(clinic.parent)).toEqual([here, null]);
  });

  it('of one therapist, for an admin', async () => {
    const of = await pages(admin, { ...WEEK, therapistId: clinic.bcba.id });
    expect(new Set(of.map(({ therapist_id }) => therapist_id))).toEqual(new Set([clinic.bcba.id]));
    expect(await pages(admin, { ...WEEK, therapistId: stranger.bcba.id })).toEqual([]);
  });

  it('of a parent is her child’s', async () => {
    const sessions = await pages(await clientOf(clinic.parent), WEEK);
    expect(new Set(sessions.map(({ client_id }) => client_id))).toEqual(new Set([clinic.clients[0]]));
  });

  it('is read with the payload’s token when there is one', async () => {
    const nobody = anonymousClient();
    expect(await refused(fetchSchedule(nobody, WEEK))).toMatchObject({
      status: 401,
      code: 'UNAUTHENTICATED',
    });
    const page = await fetchSchedule(nobody, { ...WEEK, limit: 5, accessToken: clinic.rbt.token });
    expect(page.sessions.map(({ therapist_id }) => therapist_id)).toEqual(Array(5).fill(clinic.rbt.id));
    // The token's holder decides, also about whose filters apply.
    const asBcba = await fetchSchedule(rbt, { ...WEEK, limit: 5, accessToken: clinic.bcba.token });
    expect(asBcba.sessions.map(({ therapist_id }) => therapist_id)).toEqual(Array(5).fill(clinic.bcba.id));
  });

  it('needs an organization', async () => {
    const lonely = await clientOf(await addUser('lonely'));
    expect(await refused(fetchSchedule(lonely, WEEK))).toMatchObject({
      status: 403,
      code: 'ORGANIZATION_REQUIRED',
    });
  });

  it('forged claims change the filters, not what may be read', async () => {
    const [header, payload = '', signature] = clinic.rbt.token.split('.');
    const claims = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')));
    const forged = btoa(JSON.stringify({ ...claims, org_id: stranger.organizationId, user_role: 'admin' }));
    const accessToken = [header, forged.replaceAll('=', ''), signature].join('.');
    expect((await refused(fetchSchedule(anonymousClient(), { ...WEEK, accessToken }))).status).toBe(401);
  });

  it.each([
    ['from', { from: 'yesterday' }],
    ['to', { to: '2031-02-30T00:00:00Z' }],
    ['limit', { limit: 0 }],
    ['cursor', { cursor: 'x' }],
    ['cursor', { cursor: '2031-03-03T00:00:00Z,id.is.null' }],
    ['cursor', { cursor: 'now~00000000-0000-4000-8000-000000000000' }],
  ])('refuses a malformed %s: %j', async (path, query) => {
    expect(await refused(fetchSchedule(admin, { ...WEEK, ...query }))).toMatchObject({
      status: 400,
      issues: [{ path }],
    });
  });

  it('ends when it is aborted', async () => {
    const reason = new Error('gone');
    await expect(fetchSchedule(admin, { ...WEEK, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe('a client’s sessions', () => {
  it('are those of the client, for a therapist only her own with him', async () => {
    const query = { ...WEEK, clientId: clinic.clients[0], limit: 1000 };
    expect((await fetchClientSessions(rbt, query)).sessions).toHaveLength(48 * 7);
    expect((await fetchClientSessions(rbt, { ...query, clientId: clinic.clients[1] })).sessions).toEqual([]);
    expect(
      (await fetchClientSessions(admin, { ...query, clientId: clinic.clients[1] })).sessions,
    ).toHaveLength(48 * 7);
  });

  it('of another clinic are none', async () => {
    const query = { ...WEEK, clientId: stranger.clients[0] };
    expect((await fetchClientSessions(admin, query)).sessions).toEqual([]);
  });
});

describe('the scope', () => {
  it('is what the token says', async () => {
    expect(await readScope(rbt)).toEqual({
      userId: clinic.rbt.id,
      organizationId: clinic.organizationId,
      role: 'therapist',
    });
  });

  it.each(['', 'x', 'a.b.c', `${'a'.repeat(20)}.e30.x`])(
    'of the token “%s” is refused',
    async (accessToken) => {
      expect(await refused(readScope(anonymousClient(), accessToken))).toMatchObject({ status: 401 });
    },
  );
});

describe('the filters are served by an index', () => {
  /** The plan of a page as PostgREST asks for it, run as the person. */
  async function planOf(person: Person, where: string): Promise<string> {
    return await withConnection(async (client) => {
      const claims = { sub: person.id, org_id: clinic.organizationId };
      const { rows } = await transactionAs(client, claims, () =>
        client.query(
          `explain (costs off) select * from public.sessions
            where organization_id = '${clinic.organizationId}' and start_time >= '${MONDAY}'
              and start_time < '${plusDays(MONDAY, 7)}' and ${where}
            order by start_time, id limit 201`,
        ),
      );
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    });
  }

  it('of a therapist', async () => {
    const plan = await planOf(clinic.rbt, `therapist_id = '${clinic.rbt.id}'`);
    expect(plan).toMatch(
      /Index Scan .*sessions_therapist_start_idx|Bitmap Index Scan on sessions_therapist_start_idx/,
    );
    expect(plan).toMatch(/Index Cond: .*therapist_id.*start_time/);
  });

  it('of an admin, and of the next page', async () => {
    const cursor = `(start_time > '${MONDAY}' or id > '00000000-0000-4000-8000-000000000000')`;
    const plan = await planOf(clinic.admin, cursor);
    expect(plan).toMatch(/sessions_start_idx/);
    expect(plan).toMatch(/Index Cond: .*start_time/);
  });

  it('of a client', async () => {
    const plan = await planOf(clinic.admin, `client_id = '${clinic.clients[0]}'`);
    expect(plan).toMatch(/sessions_client_start_idx/);
  });
});
