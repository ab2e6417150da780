/** What goes wrong while a request is under way: there is one outcome, it is the one that is shown, and no word is lost. */
import type { Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import { civilOf, plusDays, saveNoteDraft } from '../../src/lib/index.ts';
import type { Clinic } from '../functions/clinic.ts';
import { clientOf } from '../lib/clinic.ts';
import {
  begin,
  book,
  type Desk,
  describeInBrowser,
  expectAccessible,
  expireHold,
  fillBooking,
  openWebClinic,
  passTimeUntil,
  rows,
  sessionsOf,
  settled,
  sitDown,
  spoilToken,
  takeClock,
} from './browser.ts';
import { on } from './days.ts';

const form = { client: 'C-1', date: on`2027-02-03`, from: '10:00', to: '11:00' };
const path = on`/schedule?view=week&date=2027-02-03`;
const words = 'Ten trials of requesting.';
const refreshes = ({ requests }: Desk) =>
  requests.filter((request) => request.includes('grant_type=refresh_token')).length;

describeInBrowser('a request under way', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });

  /** The panel of a session that has begun, with its note open. */
  async function sitAtANote(): Promise<Desk> {
    const day = plusDays(civilOf(Date.now(), 'America/Los_Angeles').slice(0, 10), 2);
    const id = await book(clinic, { start: `${day}T10:00` });
    await begin(clinic, id);
    const date = (await sessionsOf(clinic))[0]?.local.slice(0, 10);
    const desk = await sitDown(clinic.rbt, { path: `/schedule?view=list&date=${date}&session=${id}` });
    await desk.page.getByLabel('What was done').waitFor();
    // A draft is saved two seconds after the last key, and asked for again if there is no answer.
    await takeClock(desk.page);
    return desk;
  }

  describe('to confirm a hold that ends meanwhile', () => {
    const hold = async (page: Page) => {
      await fillBooking(page, form);
      await page.getByRole('button', { name: 'Hold while I ask' }).click();
      await page.getByText('left to confirm').waitFor();
    };
    const confirm = (page: Page) => page.locator('.held').getByRole('button', { name: 'Book' }).click();

    it('and arrives too late books nothing, and says so', async () => {
      const { page, context } = await sitDown(clinic.rbt, { path });
      await hold(page);
      await page.route('**/functions/v1/sessions-confirm', async (route) => {
        await expireHold(clinic);
        await route.continue();
      });
      await confirm(page);
      await page.getByRole('button', { name: 'Hold again' }).waitFor();
      expect(await page.getByText('Booked:').count()).toBe(0);
      expect(await sessionsOf(clinic)).toEqual([]);
      await context.close();
    });

    it('and was in time books one session, however late its answer comes', async () => {
      const { page, context } = await sitDown(clinic.rbt, { path });
      await takeClock(page);
      await hold(page);
      let answer = () => {};
      const answered = new Promise<void>((resolve) => {
        answer = resolve;
      });
      await page.route('**/functions/v1/sessions-confirm', async (route) => {
        const response = await route.fetch();
        await answered;
        await route.fulfill({ response });
      });
      await confirm(page);
      await expect.poll(() => sessionsOf(clinic), { timeout: 60_000 }).toHaveLength(1);
      await page.clock.fastForward('06:00');
      // The answer decides, not the clock: until it is there, the hold is not called ended.
      await page.locator('.held').getByText('Booking…').waitFor();
      expect(await page.getByText('The hold has ended').count()).toBe(0);
      answer();
      await page.getByText('Booked:').waitFor();
      expect(await sessionsOf(clinic)).toHaveLength(1);
      await context.close();
    });
  });

  describe('with a token that has expired is repeated after one refresh:', () => {
    it('a read', async () => {
      await book(clinic, { start: on`2027-02-10T10:00` });
      const desk = await sitDown(clinic.rbt, { path });
      await settled(desk.page);
      await spoilToken(desk.page);
      await desk.page.getByRole('button', { name: 'Next week' }).click();
      await desk.page.locator('.ec-event.scheduled').waitFor();
      expect(refreshes(desk)).toBe(1);
      expect(await desk.page.getByRole('alert').count()).toBe(0);
      await desk.context.close();
    });

    it('a confirmation', async () => {
      const desk = await sitDown(clinic.rbt, { path });
      await fillBooking(desk.page, form);
      await desk.page.getByRole('button', { name: 'Hold while I ask' }).click();
      await desk.page.getByText('left to confirm').waitFor();
      await spoilToken(desk.page);
      await desk.page.locator('.held').getByRole('button', { name: 'Book' }).click();
      await desk.page.getByText('Booked:').waitFor();
      expect(refreshes(desk)).toBe(1);
      expect(await sessionsOf(clinic)).toHaveLength(1);
      await desk.context.close();
    });

    it('a cancellation', async () => {
      const id = await book(clinic, { start: on`2027-02-03T10:00` });
      const desk = await sitDown(clinic.rbt, { path: `${path}&session=${id}` });
      await desk.page.getByRole('button', { name: 'Cancel…' }).click();
      await desk.page.getByLabel('Who cancelled?').selectOption({ label: 'Family' });
      await spoilToken(desk.page);
      await desk.page.getByRole('button', { name: 'Cancel session' }).click();
      await desk.page.getByText('Cancelled. The time is free again').waitFor();
      expect(refreshes(desk)).toBe(1);
      expect(await sessionsOf(clinic)).toMatchObject([{ status: 'cancelled' }]);
      await desk.context.close();
    });

    it('a draft of a note', async () => {
      const desk = await sitAtANote();
      await spoilToken(desk.page);
      await desk.page.getByLabel('What was done').fill(words);
      await passTimeUntil(desk.page, desk.page.getByText('Draft saved'));
      expect(refreshes(desk)).toBe(1);
      expect(await desk.page.getByLabel('What was done').inputValue()).toBe(words);
      await desk.context.close();
    });
  });

  describe('of a session that is over asks for the password over the page:', () => {
    const end = async (page: Page) => {
      await page.route('**/auth/v1/token?grant_type=refresh_token', (route) =>
        route.fulfill({
          status: 400,
          json: { code: 400, error_code: 'refresh_token_not_found', msg: 'Gone' },
        }),
      );
      await spoilToken(page);
    };
    const asked = (page: Page) => page.getByRole('dialog', { name: 'Please sign in again' });
    const signInAgain = async (page: Page) => {
      const dialog = asked(page);
      await dialog.waitFor();
      await expectAccessible(page);
      await dialog.getByLabel(/^Password/).fill('demo-password-1234');
      await dialog.getByRole('button', { name: 'Sign in' }).click();
      await dialog.waitFor({ state: 'detached' });
    };

    it('what was typed to cancel stays, and the same press then cancels once', async () => {
      const id = await book(clinic, { start: on`2027-02-03T10:00` });
      const { page, context } = await sitDown(clinic.rbt, { path: `${path}&session=${id}` });
      await page.getByRole('button', { name: 'Cancel…' }).click();
      await page.getByLabel('Who cancelled?').selectOption({ label: 'Family' });
      await page.getByLabel('Reason, without').fill('A trip.');
      await end(page);
      await page.getByRole('button', { name: 'Cancel session' }).click();
      await signInAgain(page);
      expect(await sessionsOf(clinic)).toMatchObject([{ status: 'scheduled' }]);
      expect(await page.getByLabel('Reason, without').inputValue()).toBe('A trip.');
      await page.getByRole('button', { name: 'Cancel session' }).click();
      await page.getByText('Cancelled. The time is free again').waitFor();
      expect(await sessionsOf(clinic)).toMatchObject([{ status: 'cancelled' }]);
      await context.close();
    });

    it('a draft keeps its words, and is saved once somebody is there again', async () => {
      const { page, context } = await sitAtANote();
      await end(page);
      await page.getByLabel('What was done').fill(words);
      await passTimeUntil(page, asked(page));
      await signInAgain(page);
      await passTimeUntil(page, page.getByText('Draft saved'));
      expect(await page.getByLabel('What was done').inputValue()).toBe(words);
      await context.close();
    });
  });

  describe('to save a draft, when Sign is pressed meanwhile,', () => {
    /** Presses Sign while the draft is on its way, and lets the draft arrive then. */
    const signDuringSave = async ({ page }: Desk, before: () => Promise<void> = async () => {}) => {
      let arrive = () => {};
      const arrived = new Promise<void>((resolve) => {
        arrive = resolve;
      });
      await page.route('**/functions/v1/session-notes', (route) =>
        route.request().method() === 'GET' ? route.continue() : arrived.then(() => route.continue()),
      );
      await page.getByLabel('What was done').fill(words);
      await page.getByLabel('How the client responded').fill('Readily.');
      await page.getByLabel('Progress towards the goals').fill('Seven of ten.');
      await page.getByLabel('Who took part').fill('Client, therapist');
      await page.getByRole('button', { name: 'Sign…' }).click();
      await passTimeUntil(page, page.getByText('Saving…'));
      const dialog = page.getByRole('dialog', { name: 'Sign the note' });
      await dialog.getByRole('button', { name: 'Sign', exact: true }).click();
      await dialog.getByRole('button', { name: 'Signing…' }).waitFor();
      await before();
      arrive();
    };
    const states = () =>
      rows('select status from public.session_note_states where organization_id = $1', [
        clinic.organizationId,
      ]);

    it('signs what was saved', async () => {
      const desk = await sitAtANote();
      await desk.page.getByRole('button', { name: 'End', exact: true }).click();
      await desk.page.getByText(/^Ended at /).waitFor();
      await signDuringSave(desk);
      await desk.page.getByRole('heading', { name: 'Note (signed)' }).waitFor();
      expect(await states()).toEqual([{ status: 'signed' }]);
      await desk.context.close();
    });

    it('signs nothing over what somebody else has saved, and shows it', async () => {
      const desk = await sitAtANote();
      const sessionId = (await sessionsOf(clinic))[0]?.id ?? '';
      const rival = await clientOf(clinic.rbt);
      await signDuringSave(desk, async () => {
        await saveNoteDraft(rival, { sessionId, baseVersion: 0, content: { progress: 'Other words.' } });
      });
      await desk.page.getByText('Somebody has saved another text meanwhile').waitFor();
      await desk.page.getByRole('dialog').waitFor({ state: 'detached' });
      expect(await states()).toEqual([{ status: 'draft' }]);
      // Which of the two is signed has to be chosen first.
      const sign = desk.page.getByRole('button', { name: 'Sign…' });
      expect(await sign.isDisabled()).toBe(true);
      await desk.page.getByRole('button', { name: 'Keep mine on top' }).click();
      await expect.poll(() => sign.isDisabled()).toBe(false);
      await desk.context.close();
    });
  });

  describe('when the network goes', () => {
    /** Answers the first request of an endpoint with a network that is gone; `acts` says whether it had arrived. */
    async function lose({ page, context }: Desk, endpoint: string, acts: boolean) {
      const keys: (string | undefined)[] = [];
      await page.route(`**/functions/v1/${endpoint}`, async (route) => {
        if (route.request().method() !== 'POST') return await route.continue();
        keys.push(route.request().headers()['idempotency-key']);
        if (keys.length > 1) return await route.continue();
        if (acts) await route.fetch();
        await context.setOffline(true);
        await route.abort('internetdisconnected');
      });
      return keys;
    }

    it.each([
      ['before a hold arrives', 'sessions-hold', false],
      ['after a hold arrived', 'sessions-hold', true],
      ['after a confirmation arrived', 'sessions-confirm', true],
    ])('%s, it is said, and the same press books once when it is back', async (_, endpoint, acts) => {
      const desk = await sitDown(clinic.rbt, { path });
      const { page, context } = desk;
      await fillBooking(page, form);
      await takeClock(page);
      const keys = await lose(desk, endpoint, acts);
      await page.getByRole('button', { name: 'Book', exact: true }).click();
      await page.getByText('You are offline. You see the schedule as of').waitFor();
      // The library asks some more times before it says that there is no answer.
      await passTimeUntil(page, page.locator('aside.panel .error'));
      expect(await page.getByLabel('From').inputValue()).toBe('10:00');
      await context.setOffline(false);
      await page.getByText('You are offline.').first().waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Book', exact: true }).click();
      await page.getByText('Booked:').waitFor();
      expect(keys.length).toBeGreaterThan(1);
      expect(new Set(keys).size).toBe(1);
      expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-02-03 10:00:00` }]);
      await context.close();
    });

    it('a draft keeps its words, and saves itself when it is back', async () => {
      const { page, context } = await sitAtANote();
      await context.setOffline(true);
      await page.getByLabel('What was done').fill(words);
      await page.getByText('You are offline. You see the schedule as of').waitFor();
      await passTimeUntil(page, page.locator('aside.panel .error'));
      expect(await page.getByLabel('What was done').inputValue()).toBe(words);
      await context.setOffline(false);
      await passTimeUntil(page, page.getByText('Draft saved'));
      expect(await page.getByLabel('What was done').inputValue()).toBe(words);
      expect(
        await rows('select status from public.session_note_states where organization_id = $1', [
          clinic.organizationId,
        ]),
      ).toEqual([{ status: 'draft' }]);
      await context.close();
    });
  });
});
