/** Times on the grid are the clinic's, told by pixels and by the database, wherever the browser is and whenever clocks change. */
import { beforeAll, expect, it } from 'vitest';
import { bookSession, instantOf } from '../../src/lib/index.ts';
import type { Clinic } from '../functions/clinic.ts';
import { anonymousClient } from '../lib/clinic.ts';
import {
  book,
  describeInBrowser,
  drag,
  dragAcross,
  drawnAt,
  expectAccessible,
  goTo,
  openWebClinic,
  pointAt,
  sessionsOf,
  sitDown,
} from './browser.ts';
import { on } from './days.ts';

const LA = 'America/Los_Angeles';
const week = (date: string) => `/schedule?view=week&date=${date}`;

/** Books at an instant: some local times are no one instant. */
async function bookAt(clinic: Clinic, start: string, minutes: number): Promise<void> {
  await bookSession(anonymousClient(), {
    session: {
      therapist_id: clinic.rbt.id,
      client_id: clinic.clients[0],
      start_time: start,
      end_time: new Date(Date.parse(start) + minutes * 60_000).toISOString(),
      session_type: 'individual',
      location_type: 'clinic',
    },
    timeZone: LA,
    accessToken: clinic.rbt.token,
  });
}

describeInBrowser('a series over both changes of clocks', () => {
  let clinic: Clinic;
  beforeAll(async () => {
    clinic = await openWebClinic();
    const { instant } = instantOf(on`2027-03-03T10:00`, LA);
    await bookSession(anonymousClient(), {
      session: {
        therapist_id: clinic.rbt.id,
        client_id: clinic.clients[0],
        start_time: instant,
        end_time: new Date(Date.parse(instant) + 3_600_000).toISOString(),
        session_type: 'individual',
        location_type: 'clinic',
      },
      recurrence: { rule: 'FREQ=WEEKLY', until: on`2027-11-17` },
      timeZone: LA,
      accessToken: clinic.rbt.token,
    });
  });

  it('is at ten each time in the database', async () => {
    const made = await sessionsOf(clinic);
    expect(made).toHaveLength(38);
    expect(new Set(made.map(({ local }) => local.slice(11)))).toEqual(new Set(['10:00:00']));
  });

  it.each(['Asia/Tokyo', 'America/New_York', 'Europe/London', 'Asia/Kolkata'])(
    'is drawn at ten in each week, from %s',
    async (timeZone) => {
      const { page, context } = await sitDown(clinic.rbt, { path: week(on`2027-03-10`), timeZone });
      for (const [date, day] of [
        [on`2027-03-10`, on`March 10, 2027`],
        [on`2027-03-17`, on`March 17, 2027`],
        [on`2027-03-31`, on`March 31, 2027`],
        [on`2027-11-03`, on`November 3, 2027`],
        [on`2027-11-10`, on`November 10, 2027`],
      ] as const) {
        await goTo(page, week(date));
        const block = page.locator('.ec-event.scheduled', { hasText: day });
        expect(await drawnAt(page, block), date).toEqual({ column: 2, from: 600, to: 660 });
        expect(await block.textContent()).toContain('10:00 – 11:00 AM');
      }
      await context.close();
    },
  );

  it('is previewed with both changes named', async () => {
    const own = await openWebClinic();
    const { page, context } = await sitDown(own.rbt, { path: week(on`2027-03-03`), timeZone: 'Asia/Tokyo' });
    await dragAcross(page, 2, 10 * 60, 11 * 60);
    await page.getByLabel('Clients that match').locator('option').first().waitFor({ state: 'attached' });
    await page.keyboard.type('1');
    await page.getByLabel('Repeats').selectOption('FREQ=WEEKLY');
    await page.getByLabel('Ends').selectOption({ label: 'On a date' });
    await page.getByLabel('Last day').fill(on`2027-11-17`);
    await page.getByText('38 dates').waitFor();
    await page.getByRole('button', { name: 'Show all 38' }).click();
    const changes = page.locator('.preview tr').filter({ hasText: 'clocks have changed, still 10:00 AM' });
    expect(await changes.count()).toBe(2);
    expect(await changes.first().textContent()).toContain(on`Mar 17`);
    expect(await changes.last().textContent()).toContain(on`Nov 10`);
    await expectAccessible(page);
    await context.close();
  });
});

describeInBrowser('a session', () => {
  it.each([
    [
      'in the hour that comes twice',
      on`2027-11-07`,
      on`2027-11-07T08:30:00Z`,
      '1:30 AM PDT – 1:15 AM PST',
      90,
    ],
    [
      'over the hour that is skipped',
      on`2027-03-14`,
      on`2027-03-14T09:30:00Z`,
      '1:30 AM PST – 3:15 AM PDT',
      90,
    ],
  ])('%s is as long as it lasts, and names both zones', async (_, date, start, label, from) => {
    const clinic = await openWebClinic();
    await bookAt(clinic, start, 45);
    const { page, context } = await sitDown(clinic.rbt, { path: week(date), timeZone: 'Asia/Kolkata' });
    const block = page.locator('.ec-event.scheduled');
    expect(await drawnAt(page, block)).toEqual({ column: 6, from, to: from + 45 });
    expect(await block.textContent()).toContain(label);
    const skipped = page.getByText('Clocks go forward: these times do not exist');
    expect(await skipped.count()).toBe(date === on`2027-03-14` ? 1 : 0);
    if (date === on`2027-03-14`)
      expect(await drawnAt(page, page.locator('.ec-bg-event.closed'))).toEqual({
        column: 6,
        from: 120,
        to: 180,
      });
    await expectAccessible(page);
    await context.close();
  });

  it('can be dropped at a time that the browser’s own zone skips that day', async () => {
    const clinic = await openWebClinic();
    await book(clinic, { start: on`2027-03-28T00:15`, minutes: 30 });
    // In London clocks go from one to two on that day.
    const { page, context } = await sitDown(clinic.rbt, {
      path: week(on`2027-03-28`),
      timeZone: 'Europe/London',
    });
    const block = page.locator('.ec-event.scheduled');
    expect(await drawnAt(page, block)).toEqual({ column: 6, from: 15, to: 45 });
    await block.scrollIntoViewIfNeeded();
    await drag(page, await pointAt(page, 6, 30), await pointAt(page, 6, 105));
    await page.getByText(on`Moved to Sun, Mar 28, 2027, 1:30 – 2:00 AM.`).waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-03-28 01:30:00`, minutes: 30 }]);
    expect(await drawnAt(page, block)).toEqual({ column: 6, from: 90, to: 120 });
    await context.close();
  });
});
