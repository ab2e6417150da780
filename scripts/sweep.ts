/**
 * `npm run sweep`: writes down expired holds, offers freed slots to the waitlist, removes idempotency keys, drafts and
 * notes of calendar feeds that have served their time, and makes the audit's next partitions, until nothing is left to do. For schedulers of projects without
 * pg_cron; once an hour is enough where nobody waits for a slot.
 *
 * Environment: `DATABASE_URL` (as the owner, `postgres`).
 */
import pg from 'pg';

const { DATABASE_URL } = process.env;
if (!DATABASE_URL) {
  console.error('DATABASE_URL is not set');
  process.exit(1);
}
const client = new pg.Client({ connectionString: DATABASE_URL });
await client.connect();
try {
  const total: Record<string, number> = {};
  for (let more = true; more; ) {
    const { rows } = await client.query<{ swept: Record<string, number> }>('select private.sweep() as swept');
    const swept = rows[0]?.swept ?? {};
    for (const [what, count] of Object.entries(swept)) total[what] = (total[what] ?? 0) + count;
    more = Object.values(swept).some((count) => count > 0);
  }
  console.log(
    Object.entries(total)
      .map(([what, count]) => `${what}: ${count}`)
      .join(', '),
  );
} finally {
  await client.end();
}
