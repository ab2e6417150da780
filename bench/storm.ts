/** Sixty fresh connections rivalling for one slot, round after round. */
import pg from 'pg';
import { adminId, clientId, organizationId, SIZE, therapistId } from './clinic.ts';
import { openConnections, quantile } from './measure.ts';

/** Milliseconds from the start signal until every connection has its answer. */
export interface StormResult {
  rounds: number;
  p50: number;
  worst: number;
  deadlocks: number;
  /** Rounds that did not end with exactly one winner. */
  wrong: number;
}

const RIVALS = 60;
const MINUTE = 60_000;

/**
 * Opens sixty connections, lets them rival for one therapist's time, closes them, and again.
 *
 * @param kind `bare`: one insert each into the constrained table, the least that could be done; `identical`: holds of
 *   the same hour; `staggered`: holds of overlapping hours that start 0, 15, 30 or 45 minutes later
 */
export async function storm(
  url: string,
  kind: 'bare' | 'identical' | 'staggered',
  rounds: number,
  say: (text: string) => void,
): Promise<StormResult> {
  const organization = { bare: 4, identical: 5, staggered: 6 }[kind];
  const times: number[] = [];
  let deadlocks = 0;
  let wrong = 0;
  const firstDay = Math.ceil(Date.now() / 86_400_000 + 20) * 86_400_000 + 18 * 60 * MINUTE;
  for (let round = 0; round < rounds; round++) {
    const perOrganization = SIZE.therapists / SIZE.organizations;
    const therapist = organization + SIZE.organizations * (round % perOrganization);
    const base = firstDay + Math.floor(round / perOrganization) * 86_400_000;
    const rivals = await openConnections(url, RIVALS, (client) =>
      client.query("select set_config('request.jwt.claims', $1, false)", [
        JSON.stringify({
          sub: adminId(organization),
          org_id: organizationId(organization),
          role: 'authenticated',
        }),
      ]),
    );
    const start = performance.now();
    const winners = await Promise.all(
      rivals.map(async (client, rival) => {
        const shift = kind === 'staggered' ? (rival % 4) * 15 * MINUTE : 0;
        const startTime = new Date(base + shift);
        const endTime = new Date(base + shift + 60 * MINUTE);
        try {
          return kind === 'bare'
            ? await insertClaim(client, organization, therapist, startTime, endTime)
            : await holdSlot(client, therapist, startTime, endTime);
        } catch (error) {
          if (error instanceof pg.DatabaseError && error.code === '40P01') deadlocks++;
          else throw error;
          return false;
        }
      }),
    );
    times.push(performance.now() - start);
    if (winners.filter(Boolean).length !== 1) wrong++;
    await Promise.all(rivals.map((client) => client.end()));
    if (round % 25 === 24) say(`  round ${round + 1} of ${rounds}`);
  }
  return { rounds, p50: quantile(times, 0.5), worst: Math.max(...times), deadlocks, wrong };
}

async function holdSlot(client: pg.Client, therapist: number, start: Date, end: Date): Promise<boolean> {
  const { rows } = await client.query('select public.hold_sessions($1) as outcome', [
    {
      therapist_id: therapistId(therapist),
      client_id: clientId(therapist, 0),
      start_time: start.toISOString(),
      end_time: end.toISOString(),
      start_time_offset_minutes: 0,
      end_time_offset_minutes: 0,
      time_zone: 'UTC',
    },
  ]);
  return rows[0].outcome.ok;
}

async function insertClaim(
  client: pg.Client,
  organization: number,
  therapist: number,
  start: Date,
  end: Date,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, group_key, expires_at)
     values ($1, gen_random_uuid(), 'therapist', $2, tstzrange($3, $4), gen_random_uuid(), now() + interval '5 minutes')
     on conflict do nothing`,
    [organizationId(organization), therapistId(therapist), start, end],
  );
  return rowCount === 1;
}
