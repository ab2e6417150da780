/** Cancelling all that a clinic has booked on one day. */
import type pg from 'pg';
import { midnight } from './clinic.ts';
import { asAdminOf, mustSucceed, Times, withConnection } from './measure.ts';
import { atMost, type Report } from './report.ts';
import { bookDay, DAYS } from './world.ts';

const WHOLE = 3000;
const QUARTER = 750;

/** Days of one session, cancelled first: a connection keeps the plans of its first calls, and they are of small ones. */
const SMALL_DAYS = 8;

/** Cancels days of 750 and of 3,000 sessions on one connection. */
export async function cancelDays(url: string, db: pg.ClientBase, report: Report): Promise<void> {
  const days = [...Array.from({ length: SMALL_DAYS }, () => 1), QUARTER, WHOLE];
  for (const [index, sessions] of days.entries()) await bookDay(db, DAYS.firstDay + index, sessions);
  await db.query('analyze');
  const times = new Times();
  await withConnection(url, asAdminOf(DAYS.organization), async (client) => {
    for (const [index, sessions] of days.entries()) {
      const request = {
        date: new Date(midnight(DAYS.firstDay + index)).toISOString().slice(0, 10),
        time_zone: 'UTC',
        all_therapists: true,
      };
      const cancel = () => mustSucceed(client, 'cancel_sessions', request);
      const { summary } = await times.of(`${sessions}`, cancel);
      if (summary?.cancelledCount !== sessions)
        throw new Error(`${summary?.cancelledCount} of ${sessions} sessions were cancelled`);
    }
  });
  const [quarter, whole] = [times.p50(`${QUARTER}`), times.p50(`${WHOLE}`)];
  report.add(`a day of ${WHOLE} sessions cancelled`, `${whole.toFixed(0)} ms`, whole, atMost(1000, 'ms'));
  const growth = whole / WHOLE / (quarter / QUARTER);
  report.add(
    `a session of ${WHOLE} cancelled, against one of ${QUARTER}`,
    `${(whole / WHOLE).toFixed(3)} ms = ${growth.toFixed(2)} × ${(quarter / QUARTER).toFixed(3)} ms`,
    growth,
    atMost(1.3, '×'),
  );
}
