/** Booking in the web app, told by what is in the database afterwards. */
import { beforeAll, expect, it } from 'vitest';
import { type Clinic, openClinic } from '../functions/clinic.ts';
import { describeInBrowser, dragAcross, expectAccessible, rows, sitDown } from './browser.ts';

describeInBrowser('booking', () => {
  let clinic: Clinic;
  beforeAll(async () => {
    clinic = await openClinic();
  });
  const booked = () =>
    rows<{ local: string; minutes: number; status: string }>(
      `select (start_time at time zone 'America/Los_Angeles')::text as local,
        extract(epoch from end_time - start_time)::int / 60 as minutes, status
      from public.sessions where organization_id = $1 order by start_time`,
      [clinic.organizationId],
    );

  it('takes a drag, a letter and Enter, from any time zone, and can be undone', async () => {
    const { page } = await sitDown(clinic.rbt, {
      path: '/schedule?view=week&date=2027-02-03',
      timeZone: 'Asia/Tokyo',
    });
    await dragAcross(page, 2, 10 * 60, 11 * 60);
    await page.getByLabel('Clients that match').locator('option').first().waitFor();
    await page.keyboard.type(clinic.clients[0].slice(0, 6));
    await expectAccessible(page);
    await page.keyboard.press('Enter');
    await page.getByText('Booked: Wed, Feb 3, 2027, 10:00 – 11:00 AM.').waitFor();
    expect(await booked()).toEqual([{ local: '2027-02-03 10:00:00', minutes: 60, status: 'scheduled' }]);
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Booked:').waitFor({ state: 'detached' });
    expect((await booked()).map(({ status }) => status)).toEqual(['cancelled']);
    await page.context().close();
  });
});
