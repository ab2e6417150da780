/** What must not stay or leak: names and notes, whoever leaves, and however they leave. */
import type { ConsoleMessage, Page } from 'playwright-core';
import { beforeEach, expect, it } from 'vitest';
import { civilOf, plusDays } from '../../src/lib/index.ts';
import { type Clinic, call } from '../functions/clinic.ts';
import {
  begin,
  book,
  type Desk,
  describeInBrowser,
  fillBooking,
  type Looks,
  openWebClinic,
  passTimeUntil,
  sessionsOf,
  signInOn,
  sitDown,
  takeClock,
} from './browser.ts';
import { on } from './days.ts';

const path = on`/schedule?view=list&date=2027-02-03`;
const everythingKept = `JSON.stringify([document.title, location.href, history.state, { ...localStorage }, { ...sessionStorage },
  performance.getEntries().map(({ name }) => name)])`;

describeInBrowser('what is private', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
    for (const [index, given_name] of ['Ann', 'Bo'].entries()) {
      const details = { given_name, family_name: 'Canary', remarks: 'Canary of the details.' };
      const client_id = clinic.clients[index];
      const saved = await call('client-details', clinic.admin, {
        ...{ action: 'save', client_id, base_version: 0, details },
      });
      expect(saved.status).toBe(200);
    }
  });

  /** The schedule, with a name on it. */
  async function sitAtNames(looks: Looks = {}): Promise<Desk> {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const desk = await sitDown(clinic.rbt, { path, ...looks });
    await desk.page.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    return desk;
  }
  const expectNothingLeft = async (page: Page) => {
    await page.getByRole('heading', { name: 'Clinic schedule' }).waitFor();
    expect(await page.content()).not.toContain('Canary');
    expect(await page.evaluate(everythingKept)).not.toContain('access_token');
  };

  it('is in no address, title, storage, console line or error, from the schedule to a signature that is refused', async () => {
    const day = plusDays(civilOf(Date.now(), 'America/Los_Angeles').slice(0, 10), 2);
    const id = await book(clinic, { start: `${day}T10:00` });
    await begin(clinic, id);
    const date = (await sessionsOf(clinic))[0]?.local.slice(0, 10);
    const { page, context, requests } = await sitDown(clinic.rbt, {
      path: `/schedule?view=list&date=${date}&session=${id}`,
    });
    const lines: string[] = [];
    const addresses: string[] = [];
    page.on('console', (line: ConsoleMessage) => lines.push(line.text()));
    page.on('pageerror', (error) => lines.push(String(error.stack)));
    page.on('framenavigated', (frame) => addresses.push(frame.url()));
    await page.getByRole('heading', { name: /Canary, Ann/ }).waitFor();
    await takeClock(page);
    await page.getByLabel('What was done').fill('Canary of the note.');
    await passTimeUntil(page, page.getByText('Draft saved'));
    await page.getByRole('button', { name: 'Sign…' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Sign', exact: true }).click();
    await page
      .getByText(/is required to sign|has not ended/)
      .first()
      .waitFor();
    // A fault of the server while the text is on its way.
    await page.route('**/functions/v1/session-notes', (route) =>
      route.fulfill({ status: 500, contentType: 'text/html', body: '<h1>Oops</h1>' }),
    );
    await page.getByLabel('How the client responded').fill('Canary of the answer.');
    await passTimeUntil(page, page.locator('aside.panel .error'));
    await fillInSearch(page);
    const kept = await page.evaluate(everythingKept);
    expect(`${kept}${requests.join('\n')}${lines.join('\n')}${addresses.join('\n')}`).not.toMatch(/Canary/i);
    expect(await page.getByRole('alert').allTextContents()).not.toContain('Canary');
    await context.close();
  });

  /** A search by name is a search on the page. */
  async function fillInSearch(page: Page): Promise<void> {
    await page.getByRole('link', { name: 'Clients' }).click();
    await page.getByLabel('Search').fill('Canary');
    await page.getByRole('link', { name: /Canary, Bo/ }).click();
    await page.getByRole('heading', { name: /Canary, Bo/ }).waitFor();
  }

  it('is printed by number, and by name only when somebody chooses so', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=week&date=2027-02-03` });
    await page.evaluate(
      'window.print = () => { window.printed = document.querySelector(".calendar").textContent; }',
    );
    for (const [choice, yes, no] of [
      ['Print numbers', 'C-1', 'Canary'],
      ['Print names', 'Canary, Ann', 'C-1'],
    ] as const) {
      await page.locator('.ec-event').getByText('Canary, Ann').waitFor();
      await page.getByRole('button', { name: 'Print', exact: true }).click();
      await page
        .getByRole('dialog', { name: 'Names on paper?' })
        .getByRole('button', { name: choice })
        .click();
      const printed = () => page.evaluate<string>('window.printed ?? ""');
      await expect.poll(printed, { timeout: 60_000 }).toContain(yes);
      expect(await printed()).not.toContain(no);
      await page.evaluate('window.printed = undefined');
    }
    await context.close();
  });

  it('asks for the names of those on the page and nobody else’s, until somebody searches', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const asked: string[] = [];
    const desk = await sitDown(clinic.admin, { path: '/reports' });
    desk.page.on('request', (request) => {
      if (request.url().endsWith('/client-details') && request.method() === 'POST')
        asked.push(request.postData() ?? '');
    });
    await desk.page.goto(new URL(path, desk.page.url()).href);
    await desk.page.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    expect(asked.map((body) => JSON.parse(body))).toEqual([
      { action: 'names', client_ids: [clinic.clients[0]] },
    ]);
    await fillBooking(desk.page, { client: 'Canary, Bo' });
    await expect
      .poll(() => desk.page.getByLabel('Clients that match').locator('option').allTextContents(), {
        timeout: 60_000,
      })
      .toEqual(['Canary, Bo · C-2']);
    expect(asked.slice(1).flatMap((body) => JSON.parse(body).client_ids)).not.toContain(clinic.clients[0]);
    await desk.context.close();
  });

  it('is found by letters that were typed before the names were read', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=week&date=2027-02-03` });
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await page.route('**/functions/v1/client-details', async (route) => {
      await answered;
      await route.continue();
    });
    await fillBooking(page, { client: 'bo', date: on`2027-02-03`, from: '10:00', to: '11:00' });
    expect(await page.getByLabel('Clients that match').inputValue()).toBe('');
    answer();
    const chosen = page.getByLabel('Clients that match');
    await expect.poll(() => chosen.inputValue(), { timeout: 60_000 }).toBe(clinic.clients[1]);
    await page.getByLabel('Client', { exact: true }).press('Enter');
    await page.getByText('Booked:').waitFor();
    await context.close();
  });

  it.each([
    ['', false],
    [' without a network', true],
  ])('goes after a quarter of an hour without input%s', async (_, isOffline) => {
    const { page, context } = await sitAtNames({ clock: 0 });
    await page.clock.fastForward('14:30');
    await page.keyboard.press('Shift');
    await page.clock.fastForward('14:30');
    await page.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    if (isOffline) await context.setOffline(true);
    await page.clock.fastForward('15:30');
    await page.clock.runFor(30_000);
    await expectNothingLeft(page);
    await context.setOffline(false);
    // Nor does it come back with the page.
    await page.reload();
    await page.getByRole('heading', { name: 'Clinic schedule' }).waitFor();
    expect(await page.content()).not.toContain('Canary');
    await context.close();
  });

  it('goes from every tab of somebody who signs out in one', async () => {
    const { page, context } = await sitAtNames();
    const second = await context.newPage();
    await second.goto(page.url());
    await signInOn(second, clinic.rbt);
    await second.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    await second.locator('.menu summary').click();
    await second.getByRole('button', { name: 'Sign out' }).click();
    await expectNothingLeft(second);
    await expectNothingLeft(page);
    await context.close();
  });

  it('stays with each of two people who work in two tabs of one browser', async () => {
    const other = await openWebClinic();
    await book(other, { start: on`2027-02-03T15:00` });
    const { page, context } = await sitAtNames();
    const second = await context.newPage();
    await second.goto(page.url());
    await signInOn(second, other.admin);
    await second.locator('.agenda li').waitFor();
    expect(await second.content()).not.toContain('Canary');
    // The first tab is still the therapist's, with their own name in the menu.
    expect(await page.locator('.menu summary').textContent()).toBe(clinic.rbt.email.split('@')[0]);
    await page.getByRole('button', { name: 'Next week' }).click();
    await page.getByRole('button', { name: 'Previous week' }).click();
    await page.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    await second.locator('.menu summary').click();
    await second.getByRole('button', { name: 'Sign out' }).click();
    await expectNothingLeft(second);
    expect(await page.locator('.ec-event, .agenda li').getByText('Canary, Ann').count()).toBe(1);
    expect(await page.getByRole('dialog').count()).toBe(0);
    await context.close();
  });
});
