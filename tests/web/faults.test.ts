/** What goes wrong between two presses: each ends in one clear state, nothing is booked twice, nothing typed is lost. */
import { beforeEach, expect, it } from 'vitest';
import type { Clinic } from '../functions/clinic.ts';
import {
  book,
  describeInBrowser,
  expectAccessible,
  expireHold,
  fillBooking,
  openApp,
  openWebClinic,
  passTimeUntil,
  rows,
  sessionsOf,
  settled,
  signInOn,
  sitDown,
  spoilToken,
  takeClock,
} from './browser.ts';
import { on } from './days.ts';

const form = { client: 'C-1', date: on`2027-02-03`, from: '10:00', to: '11:00' };
const path = on`/schedule?view=week&date=2027-02-03`;

describeInBrowser('a fault', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });

  it('of an expired token in the middle of a booking is mended by one refresh', async () => {
    const { page, context, requests } = await sitDown(clinic.rbt, { path });
    await fillBooking(page, form);
    await spoilToken(page);
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Booked:').waitFor();
    expect(requests.filter((request) => request.includes('grant_type=refresh_token'))).toHaveLength(1);
    expect(await sessionsOf(clinic)).toHaveLength(1);
    await context.close();
  });

  it('of a session that is over asks for the password over the page, and the same press then books once', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path });
    await fillBooking(page, form);
    await page.route('**/auth/v1/token?grant_type=refresh_token', (route) =>
      route.fulfill({ status: 400, json: { code: 400, error_code: 'refresh_token_not_found', msg: 'Gone' } }),
    );
    await spoilToken(page);
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: 'Please sign in again' });
    await dialog.waitFor();
    await expectAccessible(page);
    expect(await sessionsOf(clinic)).toEqual([]);
    await dialog.getByLabel(/^Password/).fill('demo-password-1234');
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await page.getByLabel('From').inputValue()).toBe('10:00');
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Booked:').waitFor();
    expect(await sessionsOf(clinic)).toHaveLength(1);
    await context.close();
  });

  it('of a lost answer repeats with the same key: one session', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path });
    await fillBooking(page, form);
    const keys: (string | undefined)[] = [];
    let lost = 0;
    await page.route('**/functions/v1/sessions-confirm', async (route) => {
      keys.push(route.request().headers()['idempotency-key']);
      // The first request arrives and acts; its answer does not come back.
      const response = await route.fetch();
      if (lost++ === 0) await route.abort('connectionreset');
      else await route.fulfill({ response });
    });
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Booked:').waitFor();
    expect(keys).toHaveLength(2);
    expect(new Set(keys).size).toBe(1);
    expect(await sessionsOf(clinic)).toHaveLength(1);
    await context.close();
  });

  it('of the network says so, sends nothing, and goes when the network is back', async () => {
    const { page, context, requests } = await sitDown(clinic.rbt, { path });
    await fillBooking(page, form);
    await context.setOffline(true);
    await page.getByText('You are offline. You see the schedule as of').waitFor();
    await expectAccessible(page);
    const before = requests.length;
    // The button looks and is said to be disabled; a press all the same sends nothing.
    await page.getByRole('button', { name: 'Book', exact: true }).click({ force: true });
    expect(requests.slice(before).filter((request) => request.includes('sessions-hold'))).toEqual([]);
    await context.setOffline(false);
    await page.getByText('Back online.').waitFor();
    expect(await page.getByLabel('From').inputValue()).toBe('10:00');
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Booked:').waitFor();
    expect(await sessionsOf(clinic)).toHaveLength(1);
    await context.close();
  });

  const api = /\/(rest|functions)\/v1\//;

  it('of the whole API leaves what was typed, and the same press books once when it is back', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path });
    await fillBooking(page, form);
    await takeClock(page);
    await page.route(api, (route) => route.abort('connectionrefused'));
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await passTimeUntil(page, page.locator('aside.panel .error'));
    await expectAccessible(page);
    expect(await page.getByLabel('From').inputValue()).toBe('10:00');
    expect(await sessionsOf(clinic)).toEqual([]);
    await page.unroute(api);
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Booked:').waitFor();
    expect(await sessionsOf(clinic)).toHaveLength(1);
    await context.close();
  });

  it('of the whole API leaves what is shown, says so, and is over by itself', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const { page, context } = await sitDown(clinic.rbt, { path, clock: 0 });
    const block = page.locator('.ec-event.scheduled');
    await block.waitFor();
    await page.route(api, (route) => route.fulfill({ status: 503, json: { message: 'down' } }));
    await passTimeUntil(page, page.locator('main .error'));
    expect(await block.count()).toBe(1);
    await page.unroute(api);
    await passTimeUntil(page, page.locator('main:not(:has(.error))'));
    expect(await block.count()).toBe(1);
    await context.close();
  });

  it('of sleep past the end of a hold shows it as ended at once, and books nothing', async () => {
    const { page, context, requests } = await sitDown(clinic.rbt, { path });
    await takeClock(page);
    const keys: (string | undefined)[] = [];
    page.on('request', (request) => {
      if (request.url().includes('sessions-hold') && request.method() === 'POST')
        keys.push(request.headers()['idempotency-key']);
    });
    await fillBooking(page, form);
    await page.getByRole('button', { name: 'Hold while I ask' }).click();
    await page.getByText('left to confirm').waitFor();
    await expectAccessible(page);
    const block = page.locator('.ec-event.held');
    await block.waitFor();
    await expireHold(clinic);
    // The calendar reads that nothing is held any more: from then on only the clock says that the form has to change.
    await page.clock.fastForward('00:16');
    await block.waitFor({ state: 'detached' });
    await page.clock.fastForward('10:00');
    await page.getByText('The hold has ended').first().waitFor();
    await expectAccessible(page);
    expect(requests.filter((request) => request.includes('sessions-confirm'))).toEqual([]);
    expect(await page.getByLabel('From').inputValue()).toBe('10:00');
    await page.getByRole('button', { name: 'Hold again' }).click();
    await page.getByText('left to confirm').waitFor();
    // It is another intent: the first key belongs to what has ended.
    expect(keys).toHaveLength(2);
    expect(new Set(keys).size).toBe(2);
    await page.locator('.held').getByRole('button', { name: 'Book' }).click();
    await page.getByText('Booked:').waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-02-03 10:00:00` }]);
    await context.close();
  });

  it('of a hold that ran out on the server only is told in words, and can be held again', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path });
    await fillBooking(page, form);
    await page.getByRole('button', { name: 'Hold while I ask' }).click();
    await page.getByText('left to confirm').waitFor();
    await expireHold(clinic);
    await page.locator('.held').getByRole('button', { name: 'Book' }).click();
    await page.getByRole('button', { name: 'Hold again' }).waitFor();
    expect(await sessionsOf(clinic)).toEqual([]);
    await context.close();
  });

  it('of two tabs that move one session leaves it in one of the two places', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const tabs = [await sitDown(clinic.rbt, { path }), await sitDown(clinic.rbt, { path })];
    const places = ['13:00', '15:00'];
    for (const [index, { page }] of tabs.entries()) {
      await page.locator('.ec-event.scheduled').click();
      await page.getByRole('button', { name: 'Move…' }).click();
      await page.getByLabel('From').fill(places[index] ?? '');
      await page.getByLabel('To', { exact: true }).fill(`${Number(places[index]?.slice(0, 2)) + 1}:00`);
    }
    await Promise.all(
      tabs.map(({ page }) =>
        page.locator('aside').getByRole('button', { name: 'Move', exact: true }).click(),
      ),
    );
    for (const { page } of tabs)
      await page.locator('.refusal').or(page.getByText('Moved to')).first().waitFor();
    const made = await sessionsOf(clinic);
    expect(made).toHaveLength(1);
    expect([on`2027-02-03 13:00:00`, on`2027-02-03 15:00:00`]).toContain(made[0]?.local);
    expect(
      await rows("select 1 from public.session_holds where organization_id = $1 and status = 'held'", [
        clinic.organizationId,
      ]),
    ).toEqual([]);
    for (const { context } of tabs) await context.close();
  });

  it.each([
    ['ahead', 3],
    ['behind', -3],
  ])(
    'of a clock three hours %s is named, counts down rightly and refreshes no token over and over',
    async (word, hours) => {
      const { page, context, requests } = await openApp({ path, clock: hours * 3_600_000 });
      await signInOn(page, clinic.rbt);
      await page.getByText(`This device’s clock is 3 hours ${word}. Please set it right.`).waitFor();
      await fillBooking(page, form);
      await page.getByRole('button', { name: 'Hold while I ask' }).click();
      await page.getByText('left to confirm').waitFor();
      expect(await page.locator('.held strong').textContent()).toMatch(/^(5:00|4:\d\d)$/);
      await page.locator('.held').getByRole('button', { name: 'Book' }).click();
      await page.getByText('Booked:').waitFor();
      expect(requests.filter((request) => request.includes('refresh_token')).length).toBeLessThanOrEqual(20);
      expect(await sessionsOf(clinic)).toHaveLength(1);
      // A hold that outlives the page counts down rightly too.
      await fillBooking(page, { ...form, from: '13:00', to: '14:00' });
      await page.getByRole('button', { name: 'Hold while I ask' }).click();
      await page.getByText('left to confirm').waitFor();
      // A reload in the middle of a refresh loses its token. Auth on the platform takes the one before for ten seconds,
      // the local one only until the next is used.
      await settled(page);
      await page.reload();
      const own = page.getByRole('list', { name: 'Times you hold' }).getByRole('listitem');
      await own.waitFor();
      expect(await own.textContent()).toMatch(/1:00 – 2:00 PM with Rob Short \((5:00|4:\d\d) left\)/);
      await page.getByText(`This device’s clock is 3 hours ${word}. Please set it right.`).waitFor();
      await own.getByRole('button', { name: 'Let go' }).click();
      await own.waitFor({ state: 'detached' });
      await context.close();
    },
  );
});
