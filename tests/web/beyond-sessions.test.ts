/** What a clinic does besides booking sessions: time without a client, calendar addresses, corrections, one client's week. */
import { beforeEach, expect, it } from 'vitest';
import { addStaffTime, completeSession, createCalendarFeed, endSession } from '../../src/lib/index.ts';
import type { Clinic } from '../functions/clinic.ts';
import { clientOf } from '../lib/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { signNotes } from '../setup/signing.ts';
import {
  begin,
  book,
  describeInBrowser,
  dragAcross,
  expectAccessible,
  openWebClinic,
  rows,
  sessionsOf,
  sitDown,
} from './browser.ts';
import { on } from './days.ts';

const LA = 'America/Los_Angeles';

/** The staff times of a clinic as the database has them: local times, and how many take part. */
const staffTimesOf = ({ organizationId }: Clinic) =>
  rows<{ kind: string; local: string; minutes: number; members: number; live: boolean }>(
    `select kind, (start_time at time zone '${LA}')::text as local, cancelled_at is null as live,
      extract(epoch from end_time - start_time)::int / 60 as minutes,
      (select count(*)::int from public.staff_time_members as member where member.staff_time_id = time.id) as members
    from public.staff_times as time where organization_id = $1 order by start_time`,
    [organizationId],
  );

describeInBrowser('time without a client', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });
  const day = on`/schedule?view=day&date=2027-02-03`;

  it('is dragged in the calendar for several people, changed and cancelled', async () => {
    const { page, context, complaints } = await sitDown(clinic.admin, { path: day });
    await dragAcross(page, 1, 9 * 60, 10 * 60);
    await page.getByRole('button', { name: 'Without a client…' }).click();
    const panel = page.getByRole('complementary', { name: 'Time without a client' });
    expect(await panel.getByLabel('From').inputValue()).toBe('09:00');
    expect(await panel.getByLabel('Rob Short').isChecked()).toBe(true);
    await panel.getByLabel('Bea Long').check();
    await expectAccessible(page);
    await panel.getByRole('button', { name: 'Block this time' }).click();
    await page.getByText(on`Meeting: Wed, Feb 3, 2027, 9:00 – 10:00 AM.`).waitFor();
    const blocks = page.locator('.ec-event.staff');
    await expect.poll(() => blocks.count(), { timeout: 60_000 }).toBe(2);
    expect(await blocks.first().textContent()).toContain(on`Wednesday, February 3, 2027 Meeting`);
    const local = on`2027-02-03 09:00:00`;
    expect(await staffTimesOf(clinic)).toEqual([
      { kind: 'meeting', local, minutes: 60, members: 2, live: true },
    ]);

    await blocks.first().click();
    const meeting = page.getByRole('complementary', { name: 'Meeting' });
    await meeting.getByLabel('Kind').selectOption({ label: 'Training' });
    await meeting.getByLabel('To', { exact: true }).fill('10:30');
    await expectAccessible(page);
    await meeting.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Changed.', { exact: true }).waitFor();
    expect(await staffTimesOf(clinic)).toEqual([
      { kind: 'training', local, minutes: 90, members: 2, live: true },
    ]);

    await blocks.filter({ hasText: 'Training' }).first().click();
    await page.getByRole('button', { name: 'Cancel it' }).click();
    await page.getByText('Cancelled. The time is free again.').waitFor();
    await expect.poll(() => blocks.count(), { timeout: 60_000 }).toBe(0);
    expect(await staffTimesOf(clinic)).toMatchObject([{ live: false }]);
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('says who is not free, takes a time at which all are, and is taken back', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    const { page, context } = await sitDown(clinic.admin, { path: day });
    await page.getByRole('button', { name: 'New session' }).click();
    await page.getByRole('button', { name: 'Without a client…' }).click();
    for (const name of ['Bea Long', 'Rob Short']) await page.getByRole('checkbox', { name }).check();
    await page.getByRole('button', { name: 'Block this time' }).click();
    await page.getByText('Rob Short has a session, 10:00 – 11:00 AM.').waitFor();
    await expectAccessible(page);
    expect(await staffTimesOf(clinic)).toEqual([]);
    await page.locator('.alternatives button').first().click();
    await page.getByText(/^Meeting: /).waitFor();
    const made = await staffTimesOf(clinic);
    expect(made).toMatchObject([{ members: 2, live: true }]);
    expect(made[0]?.local).not.toBe(on`2027-02-03 10:00:00`);
    await page.getByRole('button', { name: 'Undo' }).click();
    await expect.poll(() => staffTimesOf(clinic), { timeout: 60_000 }).toMatchObject([{ live: false }]);
    await context.close();
  });

  it('repeats, by keyboard, in the list of a therapist’s phone', async () => {
    const { page, context } = await sitDown(clinic.rbt, {
      path: on`/schedule?view=list&date=2027-02-03`,
      phone: true,
    });
    await page.getByText('No sessions.').waitFor();
    await page.getByRole('button', { name: 'New session' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Without a client…' }).focus();
    await page.keyboard.press('Enter');
    const kind = page.getByLabel('Kind');
    await kind.waitFor();
    expect(await kind.evaluate((field) => field === document.activeElement)).toBe(true);
    await page.keyboard.press('d');
    await page.getByLabel('Repeats').selectOption({ label: 'Every week' });
    await page.getByRole('spinbutton', { name: 'Times' }).fill('3');
    await expectAccessible(page);
    await page.getByRole('spinbutton', { name: 'Times' }).press('Enter');
    await page.getByText(on`Drive: Wed, Feb 3, 2027, 10:00 – 11:00 AM and 2 more.`).waitFor();
    const local = [on`2027-02-03 10:00:00`, on`2027-02-10 10:00:00`, on`2027-02-17 10:00:00`];
    expect((await staffTimesOf(clinic)).map((each) => each.local)).toEqual(local);
    const line = page.getByRole('button', { name: /10:00 – 11:00 AM Drive repeats/ });
    await line.click();
    await page.getByLabel('Which').selectOption({ label: 'All to come' });
    await expectAccessible(page);
    await page.getByRole('button', { name: 'Cancel it' }).click();
    await page.getByText('Cancelled: 3. The times are free again.').waitFor();
    await line.waitFor({ state: 'detached' });
    await context.close();
  });

  it('of others blocks a therapist without saying who else takes part, and families see none', async () => {
    const admin = await clientOf(clinic.admin);
    await addStaffTime(admin, {
      kind: 'supervision',
      therapistIds: [clinic.rbt.id, clinic.bcba.id],
      startTime: on`2027-02-03T20:00:00Z`,
      endTime: on`2027-02-03T21:00:00Z`,
      timeZone: LA,
    });
    const path = on`/schedule?view=list&date=2027-02-03`;
    const own = await sitDown(clinic.rbt, { path });
    await own.page.getByRole('button', { name: /Supervision/ }).waitFor();
    expect(await own.page.locator('main').textContent()).not.toContain('Bea Long');
    await own.context.close();
    const family = await sitDown(clinic.parent, { path });
    await family.page.getByText('No sessions planned.').waitFor();
    expect(family.requests.filter((request) => request.includes('staff_time'))).toEqual([]);
    await family.context.close();
  });
});

describeInBrowser('the web app', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openWebClinic();
  });

  it('gives a family an address for the calendar of their phone, once, and ends it', async () => {
    const { page, context } = await sitDown(clinic.parent, { phone: true });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.locator('.menu summary').click();
    await page.getByRole('button', { name: 'Calendar on my phone…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Sessions in your calendar' });
    await dialog.getByText('No calendar reads along.').waitFor();
    await expectAccessible(page);
    await dialog.getByRole('button', { name: 'Make an address' }).click();
    const address = await dialog.getByLabel('Address, shown this once').inputValue();
    const answer = await fetch(address);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toContain('text/calendar');
    await dialog.getByRole('button', { name: 'Copy' }).click();
    await expect
      .poll(() => page.evaluate('navigator.clipboard.readText()'), { timeout: 60_000 })
      .toBe(address);
    await expectAccessible(page);
    await dialog.getByRole('button', { name: 'End' }).click();
    await dialog.getByText('No calendar reads along.').waitFor();
    expect(await dialog.getByLabel('Address, shown this once').count()).toBe(0);
    expect((await fetch(address)).status).toBe(404);
    await context.close();
  });

  it('lets an admin end the address of a therapist, and make none for them', async () => {
    await createCalendarFeed(await clientOf(clinic.rbt));
    const { page, context } = await sitDown(clinic.admin, { path: `/therapists/${clinic.rbt.id}` });
    await page.getByRole('button', { name: 'End', exact: true }).click();
    await page.getByText('No calendar reads along.').waitFor();
    await expectAccessible(page);
    expect(await page.getByRole('button', { name: 'Make an address' }).count()).toBe(0);
    const live = 'select 1 from public.calendar_feeds where organization_id = $1 and revoked_at is null';
    expect(await rows(live, [clinic.organizationId])).toEqual([]);
    await context.close();
  });

  it('leads a therapist to their own hours', async () => {
    const { page, context } = await sitDown(clinic.rbt);
    await page.getByRole('link', { name: 'My hours' }).click();
    await page.getByRole('heading', { name: 'Weekly hours' }).waitFor();
    expect(await page.getByRole('link', { name: 'My hours' }).getAttribute('aria-current')).toBe('page');
    await context.close();
  });

  it('is light or dark as somebody chooses, whatever the system has, and stays so', async () => {
    const { page, context } = await sitDown(clinic.rbt);
    const ground = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    const light = await ground();
    await page.locator('.menu summary').click();
    await page.getByLabel('Theme').selectOption({ label: 'Dark' });
    await expect.poll(ground, { timeout: 60_000 }).not.toBe(light);
    await expectAccessible(page);
    const dark = await ground();
    await page.reload();
    await page.locator('h1').waitFor();
    await expect.poll(ground, { timeout: 60_000 }).toBe(dark);
    await page.locator('.menu summary').click();
    await page.getByLabel('Theme').selectOption({ label: 'As the system has it' });
    await expect.poll(ground, { timeout: 60_000 }).toBe(light);
    await context.close();
  });

  it('shows the sessions of one client, by an address without their name', async () => {
    await book(clinic, { start: on`2027-02-03T10:00` });
    await book(clinic, { client: clinic.clients[1], start: on`2027-02-03T13:00` });
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=week&date=2027-02-03` });
    const blocks = page.locator('.ec-event.scheduled');
    await expect.poll(() => blocks.count(), { timeout: 60_000 }).toBe(2);
    await page.getByLabel('Shown client').selectOption({ label: 'C-2' });
    await expect.poll(() => blocks.count(), { timeout: 60_000 }).toBe(1);
    expect(await blocks.textContent()).toContain('C-2');
    await expectAccessible(page);
    expect(new URL(page.url()).searchParams.get('client')).toBe(clinic.clients[1]);
    // A week in which they have no session still says who is looked for.
    await page.getByRole('button', { name: 'Next week' }).click();
    await expect.poll(() => blocks.count(), { timeout: 60_000 }).toBe(0);
    await page.locator('option:checked', { hasText: 'C-2' }).waitFor({ state: 'attached' });
    await page.getByRole('button', { name: 'Previous week' }).click();
    await page.getByLabel('Shown client').selectOption({ label: 'All clients' });
    await expect.poll(() => blocks.count(), { timeout: 60_000 }).toBe(2);
    await context.close();
  });

  it('lets an admin correct whom a visit was with, and where, and nobody else the people', async () => {
    const id = await book(clinic, { start: on`2027-02-03T10:00` });
    await begin(clinic, id);
    const rbt = await clientOf(clinic.rbt);
    await endSession(rbt, { sessionId: id, otherDayReason: 'documented late' });
    await withConnection((db) => signNotes(db, clinic.organizationId, [id]));
    await completeSession(rbt, { sessionId: id });
    const date = (await sessionsOf(clinic))[0]?.local.slice(0, 10);
    const path = `/schedule?view=list&date=${date}&session=${id}`;
    const own = await sitDown(clinic.rbt, { path });
    await own.page.getByRole('button', { name: 'Correct…' }).click();
    await own.page.getByRole('combobox', { name: 'Place' }).waitFor();
    expect(await own.page.getByRole('dialog').getByRole('combobox', { name: 'Therapist' }).count()).toBe(0);
    await own.context.close();

    const { page, context } = await sitDown(clinic.admin, { path });
    await page.getByRole('button', { name: 'Correct…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Correct the record' });
    await dialog.getByRole('combobox', { name: 'Client' }).selectOption({ label: 'C-2' });
    await dialog.getByRole('combobox', { name: 'Therapist' }).selectOption({ label: 'Bea Long · BCBA' });
    await dialog.getByRole('combobox', { name: 'Place' }).selectOption({ label: 'Home' });
    await dialog
      .getByRole('combobox', { name: 'Why' })
      .selectOption({ label: 'The therapist or the client is wrong' });
    await expectAccessible(page);
    await dialog.getByRole('button', { name: 'Correct', exact: true }).click();
    await page.getByText('Corrected. The note must be amended.').waitFor();
    const people = 'select therapist_id, client_id, location_type from public.sessions where id = $1';
    expect(await rows(people, [id])).toEqual([
      { therapist_id: clinic.bcba.id, client_id: clinic.clients[1], location_type: 'home' },
    ]);
    const kept = 'select therapist_id, client_id from public.visit_versions where session_id = $1';
    expect(await rows(kept, [id])).toEqual([{ therapist_id: clinic.rbt.id, client_id: clinic.clients[0] }]);
    await context.close();
  });
});
