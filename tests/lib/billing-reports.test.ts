/** A biller's reports and the clinic's own codes, as an app reads them. */
import { beforeAll, expect, it } from 'vitest';
import {
  deriveCptMetadata,
  fetchAuthorizationPace,
  fetchBillableVisits,
  fetchReport,
  fetchScheduleProblems,
  fetchServiceCodes,
  fetchSessionsToRecode,
  fetchSupervisionNeeded,
  fetchUnbilled,
  fetchVisitProblems,
  serviceCode,
} from '../../src/lib/index.ts';
import { withConnection } from '../setup/db.ts';
import { type Clinic, clientOf, openClinic } from './clinic.ts';

let clinic: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
let rbt: Awaited<ReturnType<typeof clientOf>>;
beforeAll(async () => {
  clinic = await openClinic();
  [admin, rbt] = await Promise.all([clientOf(clinic.admin), clientOf(clinic.rbt)]);
  // A visit of last year, and one to come under a code that ends before it.
  await withConnection(async (client) => {
    await client.query(
      `insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from)
        values ($1, 'H2019', 'Skills', '{technician,assistant,qhp}', 30, '2020-01-01')`,
      [clinic.organizationId],
    );
    await client.query(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
        values ($1, $2, $3, '2025-03-03T18:00Z', '2025-03-03T19:10Z', 'UTC', '97153'),
          ($1, $2, $3, now() + interval '50 days', now() + interval '50 days 1 hour', 'UTC', 'H2019')`,
      [clinic.organizationId, clinic.rbt.id, clinic.clients[0]],
    );
    for (const status of ['in_progress', 'completed'])
      await client.query(
        "update public.sessions set status = $2 where organization_id = $1 and start_time < '2026-01-01'",
        [clinic.organizationId, status],
      );
    await client.query("update public.service_codes set valid_to = '2025-12-31' where organization_id = $1", [
      clinic.organizationId,
    ]);
  });
});

const march = { from: '2025-03-01', to: '2025-04-01' };

it('a visit is a line of its month, and of no other', async () => {
  expect(await fetchBillableVisits(admin, march)).toMatchObject([
    { service_date: '2025-03-03', cpt_code: '97153', minutes: 70, units: 5, payer_name: null },
  ]);
  expect(await fetchBillableVisits(rbt, march)).toHaveLength(1);
  expect(await fetchBillableVisits(admin, { from: '2025-04-01', to: '2025-05-01' })).toEqual([]);
});

it('each report has the columns of its view', async () => {
  const [sum] = await fetchReport(admin, 'units_by_code_and_payer', { by: 'month', ...march });
  expect([sum?.cpt_code, sum?.sessions, sum?.minutes, sum?.units]).toEqual(['97153', 1, 70, 5]);
  const [share] = await fetchReport(admin, 'supervision_share', { by: 'month', ...march });
  expect([Number(share?.direct_hours), share?.is_sufficient]).toEqual([1.17, false]);
  expect(await fetchReport(admin, 'evv_gaps', { by: 'month', ...march })).toEqual([]);
  expect(await fetchReport<{ any: string }>(rbt, 'authorization_balances')).toEqual([]);
});

it('what it lacks is told, and why it waits', async () => {
  expect(await fetchVisitProblems(admin, march)).toMatchObject([{ problem: 'unsigned' }]);
  expect(await fetchUnbilled(admin, march)).toMatchObject([{ reasons: ['unsigned'] }]);
});

it('the clinic’s own codes are known by their dates', async () => {
  const ownCodes = await fetchServiceCodes(rbt);
  expect(serviceCode('H2019', { date: '2025-12-31', ownCodes })?.unitMinutes).toBe(30);
  expect(serviceCode('H2019', { date: '2026-01-01', ownCodes })).toBeNull();
  const session = { start_time: '2025-12-31T10:00:00-08:00', end_time: '2025-12-31T11:00:00-08:00' };
  expect(deriveCptMetadata({ session, overrides: { cptCode: 'H2019' }, ownCodes }).units).toBe(2);
});

it('what is booked beyond a code’s end is listed', async () => {
  expect(await fetchSessionsToRecode(admin)).toMatchObject([
    { cpt_code: 'H2019', code_ended_on: '2025-12-31' },
  ]);
});

it('it is a problem of the schedule, which a therapist reads of their own', async () => {
  expect(await fetchScheduleProblems(admin)).toMatchObject([
    { problem: 'code_ended', detail: expect.stringContaining('H2019') },
  ]);
  expect(await fetchScheduleProblems(rbt, { from: new Date().toISOString() })).toHaveLength(1);
  expect(await fetchScheduleProblems(rbt, { to: new Date().toISOString() })).toEqual([]);
});

it('without authorizations and hours this month there is nothing to pace and nobody to supervise', async () => {
  expect(await fetchAuthorizationPace(admin)).toEqual([]);
  expect(await fetchSupervisionNeeded(admin)).toEqual([]);
});
