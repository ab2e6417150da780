/** Booking in the web app, told by what is in the database afterwards. */
import { beforeEach, expect, it } from 'vitest';
import { addClosure, requestSessionHold, SessionsApiError } from '../../src/lib/index.ts';
import { type Clinic, expire } from '../functions/clinic.ts';
import { anonymousClient, clientOf } from '../lib/clinic.ts';
import { stack } from '../setup/stack.ts';
import {
  book,
  describeInBrowser,
  drag,
  dragAcross,
  drawnAt,
  expectAccessible,
  fillBooking,
  openWebClinic,
  pointAt,
  rows,
  sessionsOf,
  settled,
  sitDown,
  takeClock,
} from './browser.ts';
import { on } from './days.ts';

describeInBrowser('booking', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });

  it('takes a drag, a letter and Enter, from any time zone, and can be undone', async () => {
    const { page, context } = await sitDown(clinic.rbt, {
      path: on`/schedule?view=week&date=2027-02-03`,
      timeZone: 'Asia/Tokyo',
    });
    await dragAcross(page, 2, 10 * 60, 11 * 60);
    await page.getByLabel('Clients that match').locator('option').first().waitFor({ state: 'attached' });
    await page.keyboard.type('1');
    await expectAccessible(page);
    await page.keyboard.press('Enter');
    await page.getByText(on`Booked: Wed, Feb 3, 2027, 10:00 – 11:00 AM.`).waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([
      { local: on`2027-02-03 10:00:00`, minutes: 60, status: 'scheduled' },
    ]);
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Booked:').waitFor({ state: 'detached' });
    expect(await sessionsOf(clinic)).toMatchObject([{ status: 'cancelled' }]);
    await context.close();
  });

  it('waits for the therapist’s level, which decides the service, when somebody is quicker', async () => {
    const desk = await sitDown(clinic.rbt, { path: '/clients' });
    const { page, context } = desk;
    let letGo = () => {};
    const held = new Promise<void>((go) => {
      letGo = go;
    });
    await page.route('**/rest/v1/therapists?*', (route) => held.then(() => route.continue()));
    await page.goto(on`${stack.apiUrl}/schedule?view=week&date=2027-02-03`);
    await fillBooking(page, { client: 'C-1', date: on`2027-02-03`, from: '10:00', to: '11:00' });
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByRole('button', { name: 'Booking…' }).waitFor();
    expect(desk.requests.filter((request) => request.includes('sessions-hold'))).toEqual([]);
    letGo();
    await page.getByText('Booked:').waitFor();
    expect(
      await rows('select cpt_code from public.sessions where organization_id = $1', [clinic.organizationId]),
    ).toEqual([{ cpt_code: '97153' }]);
    await context.close();
  });

  it('gives one slot to one of two people, and the other an alternative that books', async () => {
    const path = on`/schedule?view=week&date=2027-02-10`;
    const desks = [
      await sitDown(clinic.rbt, { path, timeZone: 'Europe/London' }),
      await sitDown(clinic.admin, { path: `${path}&therapist=${clinic.rbt.id}`, timeZone: 'Asia/Kolkata' }),
    ];
    const ended = ({ page }: (typeof desks)[number]) =>
      Promise.race([
        // The panel closes when it has booked.
        page
          .locator('aside.panel')
          .waitFor({ state: 'detached' })
          .then(() => 'booked' as const),
        page
          .locator('.refusal')
          .waitFor()
          .then(() => 'refused' as const),
      ]);
    for (const day of [on`2027-02-08`, on`2027-02-09`, on`2027-02-10`]) {
      for (const { page } of desks)
        await fillBooking(page, { client: 'C-1', date: day, from: '10:00', to: '11:00' });
      await Promise.all(
        desks.map(({ page }) => page.getByRole('button', { name: 'Book', exact: true }).click()),
      );
      const ends = await Promise.all(desks.map(ended));
      expect([...ends].sort()).toEqual(['booked', 'refused']);
      const loser = desks[ends.indexOf('refused')]?.page;
      if (!loser) throw new Error('Nobody lost.');
      await expectAccessible(loser);
      expect(await loser.locator('.refusal li').first().textContent()).toMatch(
        /has a session|is holding this time|is busy|has booked this time meanwhile/,
      );
      await loser.locator('.alternatives button').first().click();
      await loser.locator('aside.panel').waitFor({ state: 'detached' });
    }
    const made = await sessionsOf(clinic);
    expect(made).toHaveLength(6);
    for (const [index, { local, minutes }] of made.entries()) {
      const next = made[index + 1];
      if (next)
        expect(Date.parse(`${local}Z`) + minutes * 60_000).toBeLessThanOrEqual(Date.parse(`${next.local}Z`));
    }
    for (const { context } of desks) await context.close();
  });

  it('counts down to when a time that is held may be tried again, and then books it', async () => {
    const slot = {
      therapistId: clinic.rbt.id,
      clientId: clinic.clients[1],
      startTime: on`2027-02-17T18:00:00Z`,
      endTime: on`2027-02-17T19:00:00Z`,
      timeZone: 'America/Los_Angeles',
    };
    // A therapist books for themselves only, so an admin is the rival.
    const refused = requestSessionHold(anonymousClient(), { ...slot, accessToken: clinic.bcba.token });
    await expect(refused).rejects.toBeInstanceOf(SessionsApiError);
    const rival = await requestSessionHold(anonymousClient(), {
      ...slot,
      holdSeconds: 900,
      accessToken: clinic.admin.token,
    });
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=week&date=2027-02-17` });
    await takeClock(page);
    await fillBooking(page, { client: 'C-1', date: on`2027-02-17`, from: '10:00', to: '11:00' });
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Somebody is holding this time until').waitFor();
    const again = page.getByRole('button', { name: /^Try again/ });
    await expectAccessible(page);
    // From here on the page's clock stands still unless the test moves it.
    await page.clock.pauseAt(await page.evaluate<number>('Date.now() + 1000'));
    const left = async () => {
      const [, minutes, seconds] = (await again.textContent())?.match(/in (\d+):(\d\d)$/) ?? [];
      return minutes === undefined ? 0 : Number(minutes) * 60 + Number(seconds);
    };
    expect(await again.isDisabled()).toBe(true);
    let before = await left();
    expect(before).toBeGreaterThan(4);
    expect(before).toBeLessThanOrEqual(900);
    await page.clock.fastForward((before - 4) * 1000);
    await expect.poll(left, { timeout: 60_000 }).toBeLessThanOrEqual(4);
    before = await left();
    // Each second is one less, and at none it may be tried.
    for (let next = before - 1; next >= 0; next--) {
      expect(await again.isDisabled()).toBe(true);
      await page.clock.runFor(1000);
      await expect.poll(left, { timeout: 60_000 }).toBe(next);
    }
    expect(await again.isEnabled()).toBe(true);
    expect(await again.textContent()).toBe('Try again');
    await expire(rival.holdId);
    await page.clock.resume();
    await again.click();
    await page.getByText('Booked:').waitFor();
    expect(await sessionsOf(clinic)).toHaveLength(1);
    await context.close();
  });

  it('books a series over a change of clocks, without the date that is taken, in fewer than ten presses', async () => {
    await book(clinic, { client: clinic.clients[1], start: on`2027-03-10T10:30` });
    const { page, context } = await sitDown(clinic.rbt, {
      path: on`/schedule?view=week&date=2027-02-24`,
      timeZone: 'Europe/London',
    });
    let presses = 0;
    const press = async (action: Promise<unknown>) => {
      presses += 1;
      await action;
    };
    await press(dragAcross(page, 2, 10 * 60, 11 * 60));
    await page.getByLabel('Clients that match').locator('option').first().waitFor({ state: 'attached' });
    await press(page.keyboard.type('1'));
    await press(page.getByLabel('Repeats').selectOption('FREQ=WEEKLY'));
    await page.getByText('Rob Short has a session').waitFor();
    await page.getByText('clocks have changed, still 10:00 AM').waitFor();
    await expectAccessible(page);
    await press(page.getByLabel('Leave out the 1 that is not free').check());
    await press(page.getByRole('button', { name: 'Book 11 sessions' }).click());
    await page.getByText('Booked 11 sessions. Left out: 1.').waitFor();
    expect(presses).toBeLessThan(10);
    const series = (await sessionsOf(clinic)).filter(({ local }) => local.endsWith('10:00:00'));
    expect(series.map(({ local }) => local.slice(0, 10))).toEqual([
      ...[on`2027-02-24`, on`2027-03-03`, on`2027-03-17`, on`2027-03-24`, on`2027-03-31`, on`2027-04-07`],
      ...[on`2027-04-14`, on`2027-04-21`, on`2027-04-28`, on`2027-05-05`, on`2027-05-12`],
    ]);
    await context.close();
  });

  it('moves and resizes by drag, keeps the service, takes it back, and Escape sends nothing', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const { page, context, requests } = await sitDown(clinic.rbt, {
      path: on`/schedule?view=week&date=2027-02-03`,
    });
    await page.locator('.ec-event.scheduled').waitFor();
    await settled(page);
    const sent = () => requests.filter((request) => request.includes('/functions/v1/sessions-')).length;
    const before = sent();
    await page.mouse.move((await pointAt(page, 2, 630)).x, (await pointAt(page, 2, 630)).y);
    await page.mouse.down();
    const away = await pointAt(page, 4, 780);
    await page.mouse.move(away.x, away.y, { steps: 8 });
    await page.keyboard.press('Escape');
    await page.mouse.up();
    expect(sent()).toBe(before);
    await drag(page, await pointAt(page, 2, 630), await pointAt(page, 3, 810));
    await page.getByText(on`Moved to Thu, Feb 4, 2027, 1:00 – 2:00 PM.`).waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-02-04 13:00:00`, minutes: 60 }]);
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Moved to').waitFor({ state: 'detached' });
    expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-02-03 10:00:00` }]);
    await settled(page);
    const [end, later] = [await pointAt(page, 2, 660), await pointAt(page, 2, 690)];
    await page.locator('.ec-event.scheduled').hover();
    await drag(page, { x: end.x, y: end.y - 3 }, { x: later.x, y: later.y - 3 });
    await page.getByText(on`Moved to Wed, Feb 3, 2027, 10:00 – 11:30 AM.`).waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-02-03 10:00:00`, minutes: 90 }]);
    await context.close();
  });

  it('shows when the clinic is closed, also to somebody who has no hours', async () => {
    const admin = await clientOf(clinic.admin);
    await addClosure(admin, { name: 'Staff day', fromDate: on`2027-02-04` });
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=week&date=2027-02-03` });
    const closed = page.locator('.ec-bg-event.closed');
    expect((await drawnAt(page, closed)).column).toBe(3);
    expect((await closed.textContent())?.trim()).toBe('Closed: Staff day');
    await expectAccessible(page);
    await context.close();
  });

  it('moves from one therapist to another by a drag across columns', async () => {
    const date = on`2027-02-03`;
    await book(clinic, { start: `${date}T10:00` });
    const { page, context } = await sitDown(clinic.admin, { path: `/schedule?view=day&date=${date}` });
    const block = page.locator('.ec-event.scheduled');
    // Columns are by name: Bea Long, then Rob Short.
    expect(await drawnAt(page, block)).toEqual({ column: 1, from: 600, to: 660 });
    await settled(page);
    await drag(page, await pointAt(page, 1, 630), await pointAt(page, 0, 630));
    await page.getByText(on`Moved to Wed, Feb 3, 2027, 10:00 – 11:00 AM with Bea Long.`).waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([
      { local: `${date} 10:00:00`, therapist_id: clinic.bcba.id },
    ]);
    await context.close();
  });

  it('puts a refused move back, with what is free instead one press away', async () => {
    const id = await book(clinic, { start: on`2027-02-03T10:00` });
    await book(clinic, { client: clinic.clients[1], start: on`2027-02-04T10:00` });
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=week&date=2027-02-03` });
    await page.locator('.ec-event.scheduled').nth(1).waitFor();
    await settled(page);
    const block = page.locator(`.ec-event[data-id="${id}"]`);
    /** How far the block is from its time in the grid; the page may scroll, and the grid is drawn anew. */
    const off = async () => {
      const box = await block.boundingBox();
      return box ? Math.abs(box.y - (await pointAt(page, 2, 600)).y) : Number.POSITIVE_INFINITY;
    };
    await expect.poll(off, { timeout: 90_000 }).toBeLessThanOrEqual(3);
    await drag(page, await pointAt(page, 2, 630), await pointAt(page, 3, 645));
    await page.getByText('Rob Short has a session').waitFor();
    await expectAccessible(page);
    expect(await sessionsOf(clinic)).toMatchObject([
      { local: on`2027-02-03 10:00:00` },
      { local: on`2027-02-04 10:00:00` },
    ]);
    await expect.poll(off, { timeout: 90_000 }).toBeLessThanOrEqual(3);
    await page.locator('.alternatives button').first().click();
    await page.getByText('Moved to').waitFor();
    expect((await sessionsOf(clinic)).filter(({ local }) => local === on`2027-02-03 10:00:00`)).toEqual([]);
    await context.close();
  });

  it('needs no mouse: book, look, move and cancel by keyboard', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=week&date=2027-02-03` });
    // The toolbar is one stop of the Tab key, with arrows inside.
    const focused = () =>
      page.evaluate<string>('document.activeElement.textContent || document.activeElement.tagName');
    await page.getByRole('button', { name: 'Previous week' }).focus();
    await page.keyboard.press('ArrowRight');
    expect(await focused()).toBe('Today');
    await page.keyboard.press('End');
    expect(await focused()).toBe('New session');
    await page.keyboard.press('ArrowRight');
    expect(await focused()).toBe('Previous week');
    await page.keyboard.press('Tab');
    expect(await page.evaluate("document.activeElement.closest('.toolbar')")).toBeNull();
    await page.keyboard.press('n');
    await page.getByLabel('Clients that match').locator('option').first().waitFor({ state: 'attached' });
    await page.keyboard.type('C-1');
    await page.keyboard.press('Enter');
    await page.getByText(on`Booked: Wed, Feb 3, 2027, 10:00 – 11:00 AM.`).waitFor();
    const block = page.locator('.ec-event.scheduled');
    // The grid is drawn anew when what was booked has been read, and a block that is replaced loses the focus.
    await block.waitFor();
    await settled(page);
    await block.focus();
    await page.keyboard.press('Enter');
    await page.locator('aside h2').filter({ hasText: 'C-1' }).waitFor();
    await page.keyboard.press('m');
    await page.locator('aside h2').filter({ hasText: 'Move' }).waitFor();
    await page.getByLabel('From').fill('13:00');
    await page.getByLabel('To', { exact: true }).fill('14:00');
    await page.keyboard.press('Enter');
    await page.getByText(on`Moved to Wed, Feb 3, 2027, 1:00 – 2:00 PM.`).waitFor();
    await page.keyboard.press('c');
    await page.getByRole('dialog', { name: /^Cancel Wed/ }).waitFor();
    await expectAccessible(page);
    await page.getByLabel('Who cancelled?').focus();
    await page.keyboard.type('F');
    await page.getByLabel('Reason, without').focus();
    await page.keyboard.press('Enter');
    await page.getByText('Cancelled.').waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-02-03 13:00:00`, status: 'cancelled' }]);
    await context.close();
  });

  it('fits a phone: a list by day, a sheet to book in, nothing sideways', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?date=2027-02-03`, phone: true });
    await page.getByRole('heading', { name: on`Wednesday, February 3, 2027` }).waitFor();
    await expectAccessible(page);
    const sideways = () =>
      page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    expect(await sideways()).toBe(0);
    await fillBooking(page, { client: 'C-2', date: on`2027-02-04`, from: '09:00', to: '10:00' });
    expect(await sideways()).toBe(0);
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Book', exact: true }).tap();
    await page.getByText(on`Booked: Thu, Feb 4`).waitFor();
    expect(await sessionsOf(clinic)).toHaveLength(2);
    // A week is too narrow to read: there is a list, and a day.
    expect(await page.getByRole('button', { name: 'Week', exact: true }).count()).toBe(0);
    await page.getByRole('button', { name: 'Day', exact: true }).tap();
    await page.locator('.calendar .ec').waitFor();
    expect(await sideways()).toBe(0);
    await context.close();
  });
});
