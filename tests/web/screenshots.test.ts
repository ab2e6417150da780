/** The pictures of the README, of the seed's clinic: written when asked, by `npm run screenshots`. */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { beforeAll, expect, it } from 'vitest';
import { fillClinics } from '../../local/living-clinic.ts';
import { civilOf, plusDays, weekBounds } from '../../src/lib/index.ts';
import { stack } from '../setup/stack.ts';
import { describeInBrowser, dragAcross, expectAccessible, type Looks, sitDown } from './browser.ts';

const folder = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const wanted = process.env.SCREENSHOTS === '1';
const LA = 'America/Los_Angeles';
const monday = weekBounds(civilOf(Date.now(), LA).slice(0, 10), LA).firstDay;
const [wednesday, nextMonday] = [plusDays(monday, 2), plusDays(monday, 7)];

describeInBrowser('the pictures of the README', () => {
  beforeAll(async () => {
    await mkdir(folder, { recursive: true });
    await fillClinics(stack);
  });

  const pictures: readonly [
    name: string,
    email: string,
    looks: Looks,
    prepare?: (page: Page) => Promise<unknown>,
  ][] = [
    ['day', 'admin@brightpath.test', { path: `/schedule?view=day&date=${wednesday}` }],
    ['week-dark', 'rbt2@brightpath.test', { path: `/schedule?view=week&date=${wednesday}`, dark: true }],
    [
      'series',
      'rbt@brightpath.test',
      { path: `/schedule?view=week&date=${nextMonday}` },
      async (page) => {
        await dragAcross(page, 3, 9 * 60, 10 * 60);
        await page.getByText('Rivera, Jo').last().waitFor({ state: 'attached' });
        await page.keyboard.type('riv');
        await page.getByLabel('Repeats').selectOption('FREQ=WEEKLY');
        await page.getByText('12 dates').waitFor();
        await page.locator('.preview tr').nth(3).scrollIntoViewIfNeeded();
      },
    ],
    [
      'taken',
      'rbt@brightpath.test',
      { path: `/schedule?view=week&date=${nextMonday}` },
      async (page) => {
        await page.getByRole('button', { name: 'New session' }).click();
        await page.getByText('Rivera, Jo').last().waitFor({ state: 'attached' });
        await page.keyboard.type('riv');
        await page.getByLabel('Date').fill(nextMonday);
        await page.getByLabel('From').fill('08:30');
        await page.getByLabel('To', { exact: true }).fill('09:30');
        await page.getByRole('button', { name: 'Book', exact: true }).click();
        await page.locator('.alternatives').scrollIntoViewIfNeeded();
      },
    ],
    ['phone', 'rbt2@brightpath.test', { path: `/schedule?date=${wednesday}`, phone: true }],
    [
      'reports',
      'admin@brightpath.test',
      { path: '/reports' },
      (page) => page.locator('.report svg').nth(1).waitFor({ state: 'attached' }),
    ],
  ];

  it.skipIf(!wanted).each(pictures)('%s', async (name, email, looks, prepare) => {
    const { page, context, complaints } = await sitDown({ email }, looks);
    await page.locator('main h1').waitFor();
    if (looks.path?.startsWith('/schedule'))
      await page
        .getByText(/, [A-Z][a-z]+/)
        .nth(3)
        .waitFor();
    await page.waitForLoadState('networkidle');
    await prepare?.(page);
    await expectAccessible(page);
    await page.evaluate('document.activeElement?.blur()');
    await page.screenshot({ path: `${folder}${name}.png` });
    expect(complaints.filter((line) => !line.includes('409'))).toEqual([]);
    await context.close();
  });
});
