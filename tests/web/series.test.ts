/** Series in the web app: this session, the following ones or all, moved and cancelled, told by the database. */
import { beforeEach, expect, it } from 'vitest';
import { bookSession, endSession, instantOf } from '../../src/lib/index.ts';
import type { Clinic } from '../functions/clinic.ts';
import { anonymousClient, clientOf } from '../lib/clinic.ts';
import {
  begin,
  describeInBrowser,
  drag,
  drawnAt,
  expectAccessible,
  openWebClinic,
  pointAt,
  rows,
  sessionsOf,
  settled,
  sitDown,
} from './browser.ts';
import { on } from './days.ts';

const LA = 'America/Los_Angeles';

describeInBrowser('a series', () => {
  let clinic: Clinic;
  let ids: string[];
  beforeEach(async () => {
    clinic = await openWebClinic();
    const { instant } = instantOf(on`2027-03-03T10:00`, LA);
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
  const locals = async () => (await sessionsOf(clinic)).map(({ local }) => local.slice(0, 16));

  it('moves from one session on, over a change of clocks, and back', async () => {
    const path = on`/schedule?view=list&date=2027-03-10&session=${ids[1]}`;
    const { page, context } = await sitDown(clinic.rbt, { path });
    await page.getByRole('button', { name: 'Move…' }).click();
    await page.getByLabel('Which').selectOption({ label: 'This and the following' });
    await page.getByLabel('From').fill('13:00');
    await page.getByLabel('To', { exact: true }).fill('14:00');
    await page.getByText('clocks have changed, still 1:00 PM').waitFor();
    await expectAccessible(page);
    await page.locator('aside').getByRole('button', { name: 'Move', exact: true }).click();
    await page.getByText('Moved 3 sessions.').waitFor();
    expect(await locals()).toEqual([
      on`2027-03-03 10:00`,
      on`2027-03-10 13:00`,
      on`2027-03-17 13:00`,
      on`2027-03-24 13:00`,
    ]);
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Moved 3 sessions.').waitFor({ state: 'detached' });
    expect(await locals()).toEqual([
      on`2027-03-03 10:00`,
      on`2027-03-10 10:00`,
      on`2027-03-17 10:00`,
      on`2027-03-24 10:00`,
    ]);
    await context.close();
  });

  it('is cancelled from one session on, and one session alone leaves the others', async () => {
    const { page, context } = await sitDown(clinic.rbt, {
      path: on`/schedule?view=list&date=2027-03-17&session=${ids[2]}`,
    });
    const statuses = async () => (await sessionsOf(clinic)).map(({ status }) => status);
    await page.getByRole('button', { name: 'Cancel…' }).click();
    await page.getByLabel('Who cancelled?').selectOption({ label: 'Family' });
    await page.getByLabel('Which').selectOption({ label: 'This and the following' });
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Cancel session' }).click();
    await page.getByText('Cancelled. The time is free again').waitFor();
    expect(await statuses()).toEqual(['scheduled', 'scheduled', 'cancelled', 'cancelled']);
    await page.goto(new URL(on`/schedule?view=list&date=2027-03-03&session=${ids[0]}`, page.url()).href);
    await page.getByRole('button', { name: 'Cancel…' }).click();
    await page.getByLabel('Who cancelled?').selectOption({ label: 'Not known' });
    await page.getByRole('button', { name: 'Cancel session' }).click();
    await page.getByText('Cancelled. The time is free again').waitFor();
    expect(await statuses()).toEqual(['cancelled', 'scheduled', 'cancelled', 'cancelled']);
    await context.close();
  });

  /** Makes the first of the series one that took place an hour ago. */
  async function completeFirst(): Promise<void> {
    await begin(clinic, ids[0] ?? '');
    await endSession(await clientOf(clinic.rbt), { sessionId: ids[0] ?? '' });
    await rows(`update public.sessions set status = 'completed' where id = $1 returning id`, [ids[0]]);
  }
  const all = () =>
    rows<{ id: string; local: string; status: string }>(
      `select id, (start_time at time zone '${LA}')::text as local, status from public.sessions
        where organization_id = $1 order by array_position($2::uuid[], id)`,
      [clinic.organizationId, ids],
    );

  it('moves all that are to come, as its preview says, and leaves one that is completed', async () => {
    await completeFirst();
    const before = await all();
    expect(before[0]?.status).toBe('completed');
    const path = on`/schedule?view=list&date=2027-03-17&session=${ids[2]}`;
    const { page, context } = await sitDown(clinic.rbt, { path });
    await page.getByRole('button', { name: 'Move…' }).click();
    await page.getByLabel('Which').selectOption({ label: 'All to come' });
    await page.getByLabel('From').fill('11:15');
    await page.getByLabel('To', { exact: true }).fill('12:15');
    await page.getByText('3 dates · 3 free').waitFor();
    await page.locator('.preview td').filter({ hasText: '11:15 AM – 12:15 PM' }).nth(2).waitFor();
    const previewed = await page.locator('.preview tbody tr td:first-child').allTextContents();
    expect(previewed).toEqual([on`Wed, Mar 10, 2027`, on`Wed, Mar 17, 2027`, on`Wed, Mar 24, 2027`]);
    await page.locator('aside').getByRole('button', { name: 'Move', exact: true }).click();
    await page.getByText('Moved 3 sessions.').waitFor();
    expect(await all()).toEqual([
      before[0],
      ...['10', '17', '24'].map((day, index) => ({
        id: ids[index + 1],
        local: on`2027-03-${day} 11:15:00`,
        status: 'scheduled',
      })),
    ]);
    await context.close();
  });

  it('is cancelled whole, but for one that is completed', async () => {
    await completeFirst();
    const { page, context } = await sitDown(clinic.rbt, {
      path: on`/schedule?view=list&date=2027-03-17&session=${ids[2]}`,
    });
    await page.getByRole('button', { name: 'Cancel…' }).click();
    await page.getByLabel('Who cancelled?').selectOption({ label: 'Clinic or staff' });
    await page.getByLabel('Which').selectOption({ label: 'All to come' });
    await page.getByRole('button', { name: 'Cancel session' }).click();
    await page.getByText('Cancelled. The time is free again').waitFor();
    expect((await all()).map(({ status }) => status)).toEqual(['completed', ...Array(3).fill('cancelled')]);
    await context.close();
  });

  it('asks which are meant when one is dragged, and its draft can be dragged on', async () => {
    const { page, context, requests } = await sitDown(clinic.rbt, {
      path: on`/schedule?view=week&date=2027-03-10`,
    });
    await page.locator('.ec-event.scheduled').waitFor();
    await settled(page);
    const sent = () => requests.filter((request) => request.includes('/functions/v1/sessions-')).length;
    await drag(page, await pointAt(page, 2, 630), await pointAt(page, 3, 750));
    const panel = page.locator('aside').filter({ has: page.getByRole('heading', { name: 'Move' }) });
    await panel.waitFor();
    expect(await page.getByLabel('Date').inputValue()).toBe(on`2027-03-11`);
    expect(await page.getByLabel('From').inputValue()).toBe('12:00');
    expect(sent()).toBe(0);
    await page.getByLabel('Which').selectOption({ label: 'This and the following' });
    const block = page.locator('.ec-event.draft');
    expect(await drawnAt(page, block)).toEqual({ column: 3, from: 720, to: 780 });
    await drag(page, await pointAt(page, 3, 750), await pointAt(page, 2, 810));
    await expect.poll(() => page.getByLabel('From').inputValue(), { timeout: 60_000 }).toBe('13:00');
    expect(await page.getByLabel('Date').inputValue()).toBe(on`2027-03-10`);
    // What else was chosen stays.
    expect(await page.getByLabel('Which').inputValue()).toBe('following');
    await page.getByText('3 dates · 3 free').waitFor();
    await panel.getByRole('button', { name: 'Move', exact: true }).click();
    await page.getByText('Moved 3 sessions.').waitFor();
    expect(await locals()).toEqual([
      on`2027-03-03 10:00`,
      on`2027-03-10 13:00`,
      on`2027-03-17 13:00`,
      on`2027-03-24 13:00`,
    ]);
    await context.close();
  });
});
