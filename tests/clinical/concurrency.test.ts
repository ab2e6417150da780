/** Sixty connections at once for one client: whatever two services run together, TRICARE allows. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Arena,
  at,
  crowd,
  holding,
  holdOf,
  inserting,
  nth,
  openArena,
  patience,
  race,
  rounds,
} from '../races/rivals.ts';
import { withConnection } from '../setup/db.ts';

const codes = ['97151', '97153', '97155', '97156'];
let arena: Arena;
let tricare: string;

beforeAll(async () => {
  arena = await openArena(crowd, 2);
  tricare = await withConnection(async (client) => {
    await client.query("update public.therapists set credential = 'BCBA' where organization_id = $1", [
      arena.organizationId,
    ]);
    await client.query('select private.add_default_payers($1)', [arena.organizationId]);
    const { rows } = await client.query(
      "select id from public.payers where organization_id = $1 and name = 'TRICARE'",
      [arena.organizationId],
    );
    await client.query(
      'update public.payer_rules set authorization_required = false where organization_id = $1',
      [arena.organizationId],
    );
    await client.query(
      "insert into public.client_coverages (organization_id, client_id, payer_id, valid_from) select $1, id, $3, '2020-01-01' from unnest($2::uuid[]) as id",
      [arena.organizationId, arena.clients, rows[0].id],
    );
    return rows[0].id;
  });
});

/** Pairs of claims of one client that overlap though the matrix, read from the rules, does not allow the pair. */
async function forbiddenPairs(): Promise<unknown[]> {
  return withConnection(async (client) => {
    const { rows } = await client.query(
      `with booked as (
        select claim.owner_id, claim.resource_id, claim.during, coalesce(session.cpt_code, batch.cpt_code) as code
        from private.claims as claim
        left join public.sessions as session on session.organization_id = claim.organization_id and session.id = claim.owner_id
        left join public.session_holds as hold on hold.organization_id = claim.organization_id and hold.id = claim.owner_id
        left join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
        where claim.organization_id = $1 and claim.resource_kind = 'client'
      )
      select a.code, b.code as other
      from booked as a
      join booked as b on b.resource_id = a.resource_id and b.during && a.during and b.owner_id > a.owner_id
      where not exists (
        select 1 from public.payer_concurrency_rules as rule
        where rule.payer_id = $2 and rule.allowed
          and (rule.first_code, rule.second_code) = (least(a.code, b.code), greatest(a.code, b.code))
      )`,
      [arena.organizationId, tricare],
    );
    return rows;
  });
}

describe('TRICARE’s matrix', patience, () => {
  it('holds, for holds and for sessions written directly', async () => {
    for (let day = 1; day <= rounds; day++) {
      const results = await race(
        arena,
        arena.therapists.map((therapist, index) => {
          const code = nth(codes, index);
          const window = at(day, 600 + (index % 5) * 10);
          if (index % 4 > 0)
            return holding(holdOf(therapist, nth(arena.clients, 0), window, { cpt_code: code }));
          const attempt = inserting(arena.organizationId, therapist, nth(arena.clients, 0), window);
          return {
            ...attempt,
            sql: attempt.sql.replace('time_zone)', 'time_zone, cpt_code)').replace("'UTC')", "'UTC', $6)"),
            values: [...(attempt.values ?? []), code],
          };
        }),
      );
      const codesSeen = new Set(
        results.map(({ outcome, sqlstate }) => sqlstate ?? (outcome && !outcome.ok ? outcome.code : 'ok')),
      );
      expect(
        [...codesSeen].filter(
          (code) =>
            ![
              'ok',
              // Where the machine is slow some give up waiting.
              'PT503',
              '23P01',
              'CONCURRENT_SERVICE_NOT_ALLOWED',
              'CLIENT_CONFLICT',
              'CLIENT_HOLD_CONFLICT',
            ].includes(code ?? ''),
        ),
      ).toEqual([]);
      expect(codesSeen).toContain('ok');
      expect(await forbiddenPairs()).toEqual([]);
    }
  });
});
