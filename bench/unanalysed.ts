/** A clinic so small and new that its tables were never analysed, against a copy of it that was. */
import pg from 'pg';
import { databaseUrl } from '../local/settings.ts';
import { book, createClinic, workingDays } from './clinic.ts';
import { asAdminOf, bookOnce, openConnections, Times } from './measure.ts';
import { atMost, type Report } from './report.ts';
import { CODE, FreeTimes } from './requests.ts';

const CLINIC = { therapists: 9, clientsPerTherapist: 8, withPayer: 5 };
const THERAPISTS = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const ENTRIES = 20;

async function withAdmin<T>(url: string, use: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: url });
  await db.connect();
  try {
    return await use(db);
  } finally {
    await db.end();
  }
}

/** Copies a database of the stack. Its services let go of it for a moment, and come back when they are asked. */
async function copyDatabase(admin: pg.ClientBase, from: string, to: string): Promise<void> {
  await admin.query(`alter database ${from} with allow_connections false`);
  try {
    await admin.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [from]);
    await admin.query(`create database ${to} template ${from} owner postgres`);
  } finally {
    await admin.query(`alter database ${from} with allow_connections true`);
    await admin.query(`alter database ${to} with allow_connections true`);
  }
}

/**
 * Bookings in the two databases in turn, while the stack's own database is still as new. Both are removed again.
 *
 * @returns what adds the lines to the report
 */
export async function neverAnalysed(port: number, rounds: number): Promise<(report: Report) => void> {
  const urlOf = (database: string, role?: string) =>
    databaseUrl(port, role).replace(/\/postgres$/, `/${database}`);
  return withAdmin(urlOf('template1', 'supabase_admin'), async (admin) => {
    // What is measured is a clinic that autovacuum has not come to.
    await admin.query('alter system set autovacuum = off');
    await admin.query('select pg_reload_conf()');
    try {
      await copyDatabase(admin, 'postgres', 'bench_fresh');
      await withAdmin(urlOf('bench_fresh'), async (db) => {
        await createClinic(db, 0, CLINIC);
        for (const therapist of THERAPISTS)
          await book(db, 0, workingDays(therapist, [0, 1, 2, 3, 4, 5, 6, 7], 1, ENTRIES * 8));
      });
      await copyDatabase(admin, 'bench_fresh', 'bench_analysed');
      await withAdmin(urlOf('bench_analysed'), (db) => db.query('analyze'));
      return await measure(urlOf('bench_fresh'), urlOf('bench_analysed'), rounds);
    } finally {
      await admin.query('drop database if exists bench_fresh with (force)');
      await admin.query('drop database if exists bench_analysed with (force)');
      await admin.query('alter system reset autovacuum');
      await admin.query('select pg_reload_conf()');
    }
  });
}

async function measure(
  freshUrl: string,
  analysedUrl: string,
  rounds: number,
): Promise<(report: Report) => void> {
  const sides = await Promise.all(
    [freshUrl, analysedUrl].map(async (url) => ({
      client: (await openConnections(url, 1, asAdminOf(0)))[0] as pg.Client,
      free: new FreeTimes(THERAPISTS),
      times: new Times(),
    })),
  );
  try {
    for (let round = -12; round < rounds; round++)
      for (const { client, free, times } of sides)
        await bookOnce(client, 0, free.next(0), round < 0 ? new Times() : times, { cpt_code: CODE });
  } finally {
    await Promise.all(sides.map(({ client }) => client.end()));
  }
  const [fresh, analysed] = sides.map(({ times }) => times) as [Times, Times];
  return (report) => {
    for (const step of ['hold', 'confirm', 'cancel']) {
      const ratio = fresh.p50(step) / analysed.p50(step);
      report.add(
        `${step}, payer, a clinic of ${CLINIC.therapists * CLINIC.withPayer} never analysed`,
        `p50 ${fresh.p50(step).toFixed(2)} ms = ${ratio.toFixed(2)} × analysed (${analysed.p50(step).toFixed(2)} ms)`,
        ratio,
        atMost(1.3, '×'),
      );
    }
  };
}
