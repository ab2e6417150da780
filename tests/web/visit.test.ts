/** After the booking: start, note, sign and complete a visit; hours, a day away and reports. */
import { readFile } from 'node:fs/promises';
import { beforeEach, expect, it } from 'vitest';
import { civilOf, plusDays } from '../../src/lib/index.ts';
import type { Clinic } from '../functions/clinic.ts';
import {
  book,
  describeInBrowser,
  expectAccessible,
  openWebClinic,
  passTimeUntil,
  rows,
  sessionsOf,
  sitDown,
  takeClock,
} from './browser.ts';
import { on } from './days.ts';

const LA = 'America/Los_Angeles';
/** A quarter of an hour from now, as clocks show it in the clinic: soon enough to be started. */
const soon = () => civilOf(Math.ceil(Date.now() / 900_000) * 900_000 + 900_000, LA);

describeInBrowser('a visit', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });

  it('is started, documented in a draft that two windows may both edit, and signed', async () => {
    const id = await book(clinic, { start: soon() });
    const path = `/schedule?view=list&session=${id}`;
    const { page, context } = await sitDown(clinic.rbt, { path });
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    const started = page.getByText('Started.');
    // Around midnight the session may be booked for tomorrow.
    const why = page.getByLabel('Why not on the day it is booked for');
    await started.or(why).waitFor();
    if (await why.isVisible()) {
      await why.fill('It began a little early.');
      await page.getByRole('button', { name: 'Start', exact: true }).click();
      await started.waitFor();
    }
    // A draft is saved two seconds after the last key.
    await takeClock(page);
    await page.getByLabel('What was done').fill('Ten trials of requesting.');
    await passTimeUntil(page, page.getByText('Draft saved'));
    await expectAccessible(page);

    const second = await sitDown(clinic.rbt, { path });
    await second.page.getByLabel('What was done').waitFor();
    await takeClock(second.page);
    await second.page.getByLabel('What was done').fill('Another window’s text.');
    await passTimeUntil(second.page, second.page.getByText('Draft saved'));
    await page.getByLabel('How the client responded').fill('Readily.');
    await passTimeUntil(page, page.getByText('Somebody has saved another text meanwhile'));
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Keep mine on top' }).click();
    await passTimeUntil(page, page.getByText('Draft saved'));
    await second.context.close();

    await page.getByRole('button', { name: 'Sign…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Sign', exact: true }).click();
    await page.getByText('is required to sign').first().waitFor();
    await page.getByLabel('Progress towards the goals').fill('Seven of ten.');
    await page.getByLabel('Who took part').fill('Client, therapist');
    const versions = await rows<{ version: number; status: string }>(
      'select version, status from public.session_note_states where session_id = $1',
      [id],
    );
    expect(versions).toMatchObject([{ status: 'draft' }]);
    await page.getByRole('button', { name: 'Complete' }).click();
    await page.getByText('To complete it, first').waitFor();
    await expectAccessible(page);
    await context.close();
  });

  it('is called off for a whole day when its therapist is away', async () => {
    const day = plusDays(civilOf(Date.now(), LA).slice(0, 10), 3);
    await book(clinic, { start: `${day}T09:00` });
    await book(clinic, { client: clinic.clients[1], start: `${day}T11:00` });
    const { page, context } = await sitDown(clinic.admin, { path: `/therapists/${clinic.rbt.id}` });
    await page.getByRole('button', { name: 'Away…' }).click();
    await page.getByLabel('Day').fill(day);
    await page.getByRole('button', { name: 'Enter time off, cancel 2' }).waitFor();
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Enter time off, cancel 2' }).click();
    await page.getByText('is entered as time off.').waitFor();
    expect((await sessionsOf(clinic)).map(({ status }) => status)).toEqual(['cancelled', 'cancelled']);
    await context.close();
  });

  it('lies within hours that the therapist sets themselves', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path: `/therapists/${clinic.rbt.id}` });
    await page.getByRole('button', { name: 'Hours on Monday' }).click();
    await page.getByLabel('Monday, from').fill('08:30');
    await page.getByLabel('Monday, to').fill('12:00');
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Save hours' }).click();
    await page.getByText('Saved.', { exact: true }).waitFor();
    const [stored] = await rows<{ availability_hours: object }>(
      'select availability_hours from public.therapists where id = $1',
      [clinic.rbt.id],
    );
    expect(stored?.availability_hours).toMatchObject({ monday: [{ start: '08:30', end: '12:00' }] });

    // Monday 11:00 to 12:00 lies within these hours, and outside the next.
    await book(clinic, { start: on`2027-02-01T11:00` });
    await page.getByLabel('Monday, to').fill('11:00');
    await page.getByRole('button', { name: 'Save hours' }).click();
    await page.getByText('Saved. Outside these hours: 1 session.', { exact: true }).waitFor();
    await context.close();
  });

  it('is in the reports as the database has it, and their CSV says the same', async () => {
    const month = on`2027-02-10`.slice(0, 7);
    await book(clinic, { start: on`2027-02-10T10:00`, minutes: 90 });
    const { page, context } = await sitDown(clinic.admin, { path: '/reports' });
    await page.getByLabel('Month').fill(month);
    const report = page.getByRole('region', { name: 'Utilization' });
    await report.locator('summary').click();
    await report.locator('tbody tr').first().waitFor();
    await expectAccessible(page);
    const shown = await report
      .locator('tbody tr')
      .evaluateAll((lines) =>
        lines.map((line) => [...(line as HTMLTableRowElement).cells].map((cell) => cell.textContent)),
      );
    const expected = await rows<{ name: string; week: string; booked: string }>(
      `select therapist_name as name, week_start::text as week, booked_hours::text as booked
      from reports.therapist_utilization where organization_id = $1 and week_start >= $2::date and week_start < $2::date + interval '1 month'`,
      [clinic.organizationId, `${month}-01`],
    );
    const key = (name: unknown, week: unknown, booked: unknown) => `${name} ${week} ${Number(booked)}`;
    expect(shown.map(([name, week, , booked]) => key(name, week, booked)).sort()).toEqual(
      expected.map(({ name, week, booked }) => key(name, week, booked)).sort(),
    );
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      report.getByRole('button', { name: 'CSV' }).click(),
    ]);
    const file = await readFile(await download.path(), 'utf8');
    expect(file.startsWith('\ufeff'), 'so that Excel reads names as UTF-8').toBe(true);
    const lines = file.trim().split('\r\n');
    expect(lines).toHaveLength(shown.length + 1);
    expect(lines[1]).toContain(shown[0]?.[0]);
    await context.close();
  });
});
