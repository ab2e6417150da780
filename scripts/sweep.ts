/**
 * `npm run sweep`: writes down expired holds, offers freed slots to the waitlist, removes idempotency keys, drafts and
 * notes of calendar feeds that have served their time, and makes the audit's next partitions, until nothing is left to do. For schedulers of projects without
 * pg_cron; once an hour is enough where nobody waits for a slot.
 *
 * Environment: `DATABASE_URL` (as the owner, `postgres`).
 */
import { connectAsOwner } from './owner-database.ts';

async function sweep(): Promise<Record<string, number>> {
  const client = await connectAsOwner();
  const total: Record<string, number> = {};
  try {
    for (let more = true; more; ) {
      const { rows } = await client.query<{ swept: Record<string, number> }>(
        'select private.sweep() as swept',
      );
      const swept = rows[0]?.swept ?? {};
      for (const [what, count] of Object.entries(swept)) total[what] = (total[what] ?? 0) + count;
      more = Object.values(swept).some((count) => count > 0);
    }
  } finally {
    await client.end();
  }
  return total;
}

try {
  const swept = Object.entries(await sweep()).map(([what, count]) => `${what}: ${count}`);
  console.log(swept.join(', '));
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
