/** The life of a clinic in the web app: visits to their end, hand-over, waitlist, exceptions and members. */
import { beforeEach, expect, it } from 'vitest';
import {
  cancelSessions,
  civilOf,
  englishMessages,
  joinWaitlist,
  plusDays,
  setWeeklyHours,
} from '../../src/lib/index.ts';
import { addUser, type Clinic } from '../functions/clinic.ts';
import { clientOf } from '../lib/clinic.ts';
import {
  begin,
  book,
  describeInBrowser,
  expectAccessible,
  fillBooking,
  openWebClinic,
  passTimeUntil,
  rows,
  sessionsOf,
  settled,
  sitDown,
  takeClock,
} from './browser.ts';
import { on } from './days.ts';

const LA = 'America/Los_Angeles';
const inDays = (days: number) => plusDays(civilOf(Date.now(), LA).slice(0, 10), days);

describeInBrowser('the life of a clinic', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });

  /** A session whose time was an hour ago and which has begun on time. */
  async function begun(): Promise<string> {
    const id = await book(clinic, { start: `${inDays(2)}T10:00` });
    await begin(clinic, id);
    return id;
  }

  it('ends, signs, completes, amends and corrects a visit', async () => {
    const id = await begun();
    const date = (await sessionsOf(clinic))[0]?.local.slice(0, 10);
    const { page, context } = await sitDown(clinic.rbt, {
      path: `/schedule?view=list&date=${date}&session=${id}`,
    });
    await page.getByRole('button', { name: 'Complete' }).click();
    await page.getByText('To complete it, first').waitFor();
    await page.getByRole('button', { name: 'End', exact: true }).click();
    await page.getByText(/^Ended at /).waitFor();
    await takeClock(page);
    await page.getByLabel('What was done').fill('Ten trials.');
    await page.getByLabel('How the client responded').fill('Readily.');
    await page.getByLabel('Progress towards the goals').fill('Seven of ten.');
    await page.getByLabel('Who took part').fill('Client, therapist');
    await passTimeUntil(page, page.getByText('Draft saved'));
    await page.getByRole('button', { name: 'Sign…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Sign the note' });
    await expectAccessible(page);
    await dialog.getByRole('button', { name: 'Sign', exact: true }).click();
    await page.getByText('Signed.', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Complete' }).click();
    await page.getByText(/^Completed, \d+ units\.$/).waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ status: 'completed' }]);

    await page.getByRole('button', { name: /^Note/ }).click();
    await page.getByRole('button', { name: 'Amend…' }).click();
    await page.getByLabel('What was done').fill('Eleven trials.');
    await page.getByLabel('Why it is amended').fill('One was left out.');
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Sign the amendment' }).click();
    await page.getByText('Amended.', { exact: true }).waitFor();
    expect(
      await rows('select version, status from public.session_note_states where session_id = $1', [id]),
    ).toMatchObject([{ status: 'amended' }]);

    await page.getByRole('button', { name: 'Correct…' }).click();
    await page.getByLabel('Take back').selectOption({ label: 'The completion' });
    await page.getByLabel(/^Why/).selectOption({ label: 'It was done by mistake' });
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Correct', exact: true }).click();
    await page.getByText(/^Corrected\./).waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ status: 'in_progress' }]);
    await context.close();
  });

  it('hands a day over to who can take it, cancels the rest and enters the day as time off', async () => {
    const day = inDays(3);
    await book(clinic, { start: `${day}T09:00` });
    await book(clinic, { client: clinic.clients[1], start: `${day}T11:00` });
    const { page, context } = await sitDown(clinic.admin, { path: `/therapists/${clinic.rbt.id}` });
    await page.getByRole('button', { name: 'Away…' }).click();
    await page.getByLabel('Day').fill(day);
    await page.getByLabel(/^9:00/).selectOption({ label: 'Bea Long · BCBA' });
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Enter time off, hand over 1, cancel 1' }).click();
    await page.getByText('handed over to Bea Long').waitFor();
    await expectAccessible(page);
    expect(await sessionsOf(clinic)).toMatchObject([
      { status: 'scheduled', therapist_id: clinic.bcba.id },
      { status: 'cancelled', therapist_id: clinic.rbt.id },
    ]);
    const off = await rows(
      "select 1 from public.availability_exceptions where therapist_id = $1 and kind = 'time_off'",
      [clinic.rbt.id],
    );
    expect(off).toHaveLength(1);
    await context.close();
  });

  it('offers a freed time to who waits, and passes it on', async () => {
    const day = inDays(4);
    const sessionId = await book(clinic, { start: `${day}T10:00` });
    const admin = await clientOf(clinic.admin);
    const windows = [
      { from: new Date().toISOString(), to: new Date(Date.now() + 8 * 86_400_000).toISOString() },
    ];
    for (const clientId of [clinic.clients[0], clinic.clients[1]])
      await joinWaitlist(admin, { clientId, cptCode: '97153', windows, therapistId: clinic.rbt.id });
    await cancelSessions(admin, { sessionIds: [sessionId] });
    const path = `/schedule?view=day&date=${day}`;
    const { page, context } = await sitDown(clinic.admin, { path, clock: 0 });
    await page.getByRole('button', { name: 'Waitlist' }).click();
    const entry = (name: string) => page.locator('.cards li').filter({ hasText: name });
    // The offer may be made a moment after the list was read; it is read again every 15 seconds.
    await passTimeUntil(page, entry('C-1').getByText('Offered:'));
    await expectAccessible(page);
    await entry('C-1').getByRole('button', { name: 'Pass' }).click();
    await page.getByText('Passed. The next entry it suits is offered the time.').waitFor();
    await passTimeUntil(page, entry('C-2').getByText('Offered:'));
    await entry('C-2').getByRole('button', { name: 'Book' }).click();
    await page.getByText(/^Booked: /).waitFor();
    const made = await rows(
      "select client_id from public.sessions where organization_id = $1 and status = 'scheduled'",
      [clinic.organizationId],
    );
    expect(made).toEqual([{ client_id: clinic.clients[1] }]);
    await context.close();
  });

  it('lets an admin book outside hours, with a reason, and nobody else', async () => {
    const admin = await clientOf(clinic.admin);
    const hours = { monday: [{ start: '08:00', end: '09:00' }] };
    await setWeeklyHours(admin, { hours, therapistId: clinic.rbt.id });
    const form = { client: 'C-1', date: on`2027-02-03`, from: '10:00', to: '11:00' };
    const path = on`/schedule?view=week&date=2027-02-03`;
    const own = await sitDown(clinic.rbt, { path });
    await fillBooking(own.page, form);
    await own.page.getByRole('button', { name: 'Book', exact: true }).click();
    await own.page.getByText('Outside working hours').waitFor();
    expect(await own.page.getByText('Book anyway').count()).toBe(0);
    await own.context.close();
    const { page, context } = await sitDown(clinic.admin, { path: `${path}&therapist=${clinic.rbt.id}` });
    await fillBooking(page, form);
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Book anyway…').click();
    await page.getByLabel('Reason', { exact: true }).fill('Family asked');
    await page.getByRole('button', { name: 'Book anyway' }).click();
    expect(await sessionsOf(clinic)).toEqual([]);
    await page.getByLabel('Reason', { exact: true }).fill('Family asked for it');
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Book anyway' }).click();
    await page.getByText('Booked:').waitFor();
    expect(await sessionsOf(clinic)).toMatchObject([{ local: on`2027-02-03 10:00:00` }]);
    await context.close();
  });

  it('lets a super admin add a therapist, change roles and end memberships', async () => {
    const newcomer = await addUser('newcomer');
    const { page, context } = await sitDown(clinic.superAdmin, { path: '/therapists/new' });
    await page.getByLabel('Id of the account').fill(newcomer.id);
    await page.getByLabel('Name', { exact: true }).fill('Nia New');
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByRole('heading', { name: 'Nia New' }).waitFor();
    await page.getByRole('link', { name: 'All therapists' }).click();
    const line = page
      .getByRole('region', { name: 'Members' })
      .getByRole('row')
      .filter({ hasText: 'Nia New' });
    await line.waitFor();
    // Members are read again after each change, and that may take a while.
    let answer = () => {};
    const slowly = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await page.route('**/rest/v1/memberships?*', async (route) => {
      if (route.request().method() === 'GET') await slowly;
      await route.continue();
    });
    await line.getByRole('combobox').selectOption({ label: 'Admin' });
    const roleOf = async () =>
      (
        await rows<{ role: string }>('select role from public.memberships where user_id = $1', [newcomer.id])
      )[0]?.role;
    await expect.poll(roleOf, { timeout: 60_000 }).toBe('admin');
    await expectAccessible(page);
    // A press meanwhile is not lost.
    await line.getByRole('button', { name: 'End' }).click();
    answer();
    await expect.poll(roleOf, { timeout: 60_000 }).toBeUndefined();
    await context.close();
  });

  it('says which change of a member failed, also when another waits behind it', async () => {
    const { page, context } = await sitDown(clinic.superAdmin, { path: '/therapists' });
    const roleOf = (name: string) => page.getByLabel(`Role of ${name}`);
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    await page.route('**/rest/v1/rpc/change_member', (route) => answered.then(() => route.continue()));
    const refused = page.waitForResponse('**/rest/v1/rpc/change_member');
    // They are the only one, and so stay one.
    await roleOf('You').selectOption({ label: 'Admin' });
    await roleOf('Rob Short').selectOption({ label: 'Admin' });
    answer();
    await refused;
    const role = () =>
      rows('select role from public.memberships where user_id = $1', [clinic.rbt.id]).then(
        ([found]) => found,
      );
    await expect.poll(role, { timeout: 60_000 }).toEqual({ role: 'admin' });
    await settled(page);
    await page.getByText(englishMessages.LAST_SUPER_ADMIN).waitFor();
    // The next change that is made is another matter.
    await roleOf('Rob Short').selectOption({ label: 'Therapist' });
    await expect.poll(role, { timeout: 60_000 }).toEqual({ role: 'therapist' });
    await page.getByText(englishMessages.LAST_SUPER_ADMIN).waitFor({ state: 'detached' });
    await context.close();
  });

  it('books a group of two by one form', async () => {
    const { page, context } = await sitDown(clinic.admin, {
      path: on`/schedule?view=week&date=2027-02-03&therapist=${clinic.rbt.id}`,
    });
    await fillBooking(page, { client: 'C-1', date: on`2027-02-03`, from: '10:00', to: '11:00' });
    await page.getByRole('button', { name: 'Another client: makes a group' }).click();
    await page.getByLabel('Client', { exact: true }).fill('C-2');
    await page.getByRole('button', { name: 'Book', exact: true }).click();
    await page.getByText('Booked 2 sessions.').waitFor();
    const made = await rows<{ group_id: string; cpt_code: string }>(
      'select group_id, cpt_code from public.sessions where organization_id = $1',
      [clinic.organizationId],
    );
    expect(made).toHaveLength(2);
    expect(new Set(made.map(({ group_id }) => group_id)).size).toBe(1);
    await context.close();
  });
});
