/** The keyboard focus: what has it goes away again and again, and it never falls to nothing. */
import type { Page } from 'playwright-core';
import { beforeEach, expect, it } from 'vitest';
import { addStaffTime, requestSessionHold } from '../../src/lib/index.ts';
import type { Clinic } from '../functions/clinic.ts';
import { clientOf } from '../lib/clinic.ts';
import {
  book,
  describeInBrowser,
  openApp,
  openWebClinic,
  passTimeUntil,
  settled,
  signInOn,
  sitDown,
} from './browser.ts';
import { on } from './days.ts';

/** What has the focus: a session by its id, anything else by its words. */
const focused = (page: Page) =>
  page.evaluate<string>(`(() => {
    const { dataset, ariaLabel, innerText, tagName, name } = document.activeElement;
    return dataset.id || ariaLabel || innerText?.trim().split('\\n')[0] || name || tagName;
  })()`);

/** Expects the focus to be somewhere once the page has drawn what it reads. */
async function expectFocus(page: Page, where: string | RegExp): Promise<void> {
  const found = expect.poll(() => focused(page), { timeout: 60_000 });
  await (typeof where === 'string' ? found.toBe(where) : found.toMatch(where));
  await settled(page);
  const still = await focused(page);
  if (typeof where === 'string') expect(still).toBe(where);
  else expect(still).toMatch(where);
}

describeInBrowser('the keyboard focus', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });
  const path = on`/schedule?view=week&date=2027-02-03`;

  it('stays with a session that is drawn anew, and goes to the next when that is gone', async () => {
    const first = await book(clinic, { start: on`2027-02-03T10:00` });
    const second = await book(clinic, { client: clinic.clients[1], start: on`2027-02-04T10:00` });
    const { page, context } = await sitDown(clinic.rbt, { path, clock: 0 });
    const block = (id: string) => page.locator(`.ec-event[data-id="${id}"]`);
    await block(first).waitFor();
    await settled(page);
    await block(first).focus();
    const third = await book(clinic, { client: clinic.clients[1], start: on`2027-02-05T10:00` });
    await passTimeUntil(page, block(third));
    await expectFocus(page, first);

    await page.keyboard.press('Enter');
    await page.locator('aside h2').filter({ hasText: 'C-1' }).waitFor();
    await page.keyboard.press('m');
    await page.locator('aside h2').filter({ hasText: 'Move' }).waitFor();
    await page.getByLabel('From').fill('13:00');
    await page.getByLabel('To', { exact: true }).fill('14:00');
    await page.keyboard.press('Enter');
    await page.getByText('Moved to').waitFor();
    // The form has come from the drawer of the session, which is there again.
    await expectFocus(page, 'C-1');
    await page.keyboard.press('Escape');
    await expectFocus(page, first);

    await page.keyboard.press('Enter');
    await page.locator('aside h2').filter({ hasText: 'C-1' }).waitFor();
    await page.getByRole('button', { name: 'Cancel…' }).focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: /^Cancel/ });
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await expectFocus(page, 'Cancel…');
    await page.keyboard.press('Enter');
    await page.getByLabel('Who cancelled?').selectOption('client');
    await page.getByLabel('Reason, without').focus();
    await page.keyboard.press('Enter');
    await block(first).waitFor({ state: 'detached' });
    await expectFocus(page, second);
    await page.keyboard.press('ArrowRight');
    await expectFocus(page, third);
    // A week without sessions has the focus itself, and gives it to the first session that comes.
    await page.keyboard.press('j');
    await block(third).waitFor({ state: 'detached' });
    await expectFocus(page, /^Sessions, Mon/);
    const next = await book(clinic, { start: on`2027-02-10T10:00` });
    await passTimeUntil(page, block(next));
    await expectFocus(page, next);
    await context.close();
  });

  const wednesday = {
    startTime: on`2027-02-03T18:00:00Z`,
    endTime: on`2027-02-03T19:00:00Z`,
    timeZone: 'America/Los_Angeles',
  };
  const holdWednesday = async () =>
    await requestSessionHold(await clientOf(clinic.rbt), {
      therapistId: clinic.rbt.id,
      clientId: clinic.clients[0],
      holdSeconds: 900,
      ...wednesday,
    });

  it('stays in the column of a meeting that several therapists have', async () => {
    const therapistIds = [clinic.bcba.id, clinic.rbt.id].sort();
    const admin = await clientOf(clinic.admin);
    const { staffTimes } = await addStaffTime(admin, { kind: 'meeting', therapistIds, ...wednesday });
    const id = `staff:${staffTimes[0]?.id}`;
    const { page, context } = await sitDown(clinic.admin, {
      path: on`/schedule?view=day&date=2027-02-03`,
      clock: 0,
    });
    const last = page.locator(`.ec-event[data-id="${id}"][data-column="${therapistIds[1]}"]`);
    await last.waitFor();
    await settled(page);
    await last.focus();
    const session = await book(clinic, { start: on`2027-02-03T14:00` });
    await passTimeUntil(page, page.locator(`.ec-event[data-id="${session}"]`));
    await expectFocus(page, id);
    expect(await page.evaluate('document.activeElement.dataset.column')).toBe(therapistIds[1]);
    expect(await last.getAttribute('tabindex')).toBe('0');
    await context.close();
  });

  it('goes to a note that is opened, and to no button beside it', async () => {
    const id = await book(clinic, { start: on`2027-02-03T10:00` });
    const { page, context } = await sitDown(clinic.rbt, { path: `${path}&session=${id}` });
    await page.getByRole('button', { name: 'Note (recorded)' }).click();
    await expectFocus(page, 'Note');
    await context.close();
  });

  it('goes to the heading, and to no button, after a press of the mouse', async () => {
    await book(clinic, { client: clinic.clients[1], start: on`2027-02-04T10:00` });
    await holdWednesday();
    const { page, context } = await sitDown(clinic.rbt, { path });
    await page.getByRole('button', { name: 'Let go' }).click();
    await page.locator('.own-holds li').waitFor({ state: 'detached' });
    await expectFocus(page, /^Mon, /);
    await context.close();
  });

  it('is left alone by a drawer that closes and a calendar that is drawn anew elsewhere', async () => {
    const id = await book(clinic, { start: on`2027-02-03T10:00` });
    const { page, context } = await sitDown(clinic.rbt, { path, clock: 0 });
    const block = page.locator(`.ec-event[data-id="${id}"]`);
    const button = page.getByRole('button', { name: 'New session' });
    await block.waitFor();
    await settled(page);
    // The arrows scroll as long as no session has had the focus.
    await page.locator('.calendar').focus();
    await page.keyboard.press('ArrowDown');
    await expectFocus(page, /^Sessions, Mon/);

    await block.focus();
    await page.keyboard.press('Enter');
    await page.locator('aside.panel').waitFor();
    await button.focus();
    await page.keyboard.press('Escape');
    await page.locator('aside.panel').waitFor({ state: 'detached' });
    await expectFocus(page, 'New session');

    await block.focus();
    await button.focus();
    await page.evaluate('document.activeElement.blur()');
    const next = await book(clinic, { client: clinic.clients[1], start: on`2027-02-04T10:00` });
    await passTimeUntil(page, page.locator(`.ec-event[data-id="${next}"]`));
    await settled(page);
    expect(await page.evaluate('document.activeElement === document.body')).toBe(true);
    await context.close();
  });

  it('goes to what stands in the place of a button or a row that is gone', async () => {
    const after = await book(clinic, { client: clinic.clients[1], start: on`2027-02-04T10:00` });
    await holdWednesday();
    const { page, context } = await sitDown(clinic.rbt, { path });
    const press = async (name: string | RegExp) => {
      await page.getByRole('button', { name, exact: true }).focus();
      await page.keyboard.press('Enter');
    };
    await press('Let go');
    await page.locator('.own-holds li').waitFor({ state: 'detached' });
    // What follows the row is the calendar: the session after the hold, whichever of row and block goes away first.
    await expectFocus(page, after);

    // Keys are read in a dialog of their own, from a button of the page.
    await press('Keys');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.keyboard.press('Escape');
    await expectFocus(page, 'Keys');

    // A hold takes the buttons of its form away.
    await press('New session');
    await page.getByLabel('Clients that match').locator('option').first().waitFor({ state: 'attached' });
    await page.keyboard.type('C-1');
    await press('Hold while I ask');
    await page.getByText('left to confirm').waitFor();
    await expectFocus(page, 'Held for you');
    await press('Let go');
    await page.getByText('left to confirm').waitFor({ state: 'detached' });
    await expectFocus(page, 'Book');
    await page.keyboard.press('Escape');
    await expectFocus(page, 'New session');
    await context.close();
  });

  it('begins at the page, not above it, after signing in', async () => {
    const { page, context } = await openApp({ path });
    await page.getByLabel('Email').focus();
    await signInOn(page, clinic.rbt);
    await settled(page);
    const where = await page.evaluate("document.activeElement.closest('main') !== null");
    expect(where).toBe(true);
    await context.close();
  });
});
