/** Series in the web app: this session, the following ones or all, moved and cancelled, told by the database. */
import { beforeEach, expect, it } from 'vitest';
import { bookSession, instantOf } from '../../src/lib/index.ts';
import type { Clinic } from '../functions/clinic.ts';
import { anonymousClient } from '../lib/clinic.ts';
import { describeInBrowser, expectAccessible, openWebClinic, sessionsOf, sitDown } from './browser.ts';

const LA = 'America/Los_Angeles';

describeInBrowser('a series', () => {
  let clinic: Clinic;
  let ids: string[];
  beforeEach(async () => {
    clinic = await openWebClinic();
    const { instant } = instantOf('2027-03-03T10:00', LA);
    const { sessions } = await bookSession(anonymousClient(), {
      session: {
        therapist_id: clinic.rbt.id,
        client_id: clinic.clients[0],
        start_time: instant,
        end_time: new Date(Date.parse(instant) + 3_600_000).toISOString(),
        session_type: 'individual',
        location_type: 'clinic',
      },
      recurrence: { rule: 'FREQ=WEEKLY', count: 4 },
      timeZone: LA,
      accessToken: clinic.rbt.token,
    });
    ids = sessions.map(({ id }) => id);
  });
  const locals = async () => (await sessionsOf(clinic)).map(({ local }) => local.slice(5, 16));

  it('moves from one session on, over a change of clocks, and back', async () => {
    const path = `/schedule?view=list&date=2027-03-10&session=${ids[1]}`;
    const { page, context } = await sitDown(clinic.rbt, { path });
    await page.getByRole('button', { name: 'Move…' }).click();
    await page.getByLabel('Which').selectOption({ label: 'This and the following' });
    await page.getByLabel('From').fill('13:00');
    await page.getByLabel('To', { exact: true }).fill('14:00');
    await page.getByText('clocks have changed, still 1:00 PM').waitFor();
    await expectAccessible(page);
    await page.locator('aside').getByRole('button', { name: 'Move', exact: true }).click();
    await page.getByText('Moved 3 sessions.').waitFor();
    expect(await locals()).toEqual(['03-03 10:00', '03-10 13:00', '03-17 13:00', '03-24 13:00']);
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Moved 3 sessions.').waitFor({ state: 'detached' });
    expect(await locals()).toEqual(['03-03 10:00', '03-10 10:00', '03-17 10:00', '03-24 10:00']);
    await context.close();
  });

  it('is cancelled from one session on, and one session alone leaves the others', async () => {
    const { page, context } = await sitDown(clinic.rbt, {
      path: `/schedule?view=list&date=2027-03-17&session=${ids[2]}`,
    });
    const statuses = async () => (await sessionsOf(clinic)).map(({ status }) => status);
    await page.getByRole('button', { name: 'Cancel…' }).click();
    await page.getByLabel('Who cancelled?').selectOption({ label: 'Family' });
    await page.getByLabel('Which').selectOption({ label: 'This and the following' });
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Cancel session' }).click();
    await page.getByText('Cancelled. The time is free again').waitFor();
    expect(await statuses()).toEqual(['scheduled', 'scheduled', 'cancelled', 'cancelled']);
    await page.goto(new URL(`/schedule?view=list&date=2027-03-03&session=${ids[0]}`, page.url()).href);
    await page.getByRole('button', { name: 'Cancel…' }).click();
    await page.getByLabel('Who cancelled?').selectOption({ label: 'Not known' });
    await page.getByRole('button', { name: 'Cancel session' }).click();
    await page.getByText('Cancelled. The time is free again').waitFor();
    expect(await statuses()).toEqual(['cancelled', 'scheduled', 'cancelled', 'cancelled']);
    await context.close();
  });
});
