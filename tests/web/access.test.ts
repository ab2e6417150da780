/** Who sees what in the web app, told by the requests it sends and by what is on the page. */
import { beforeAll, expect, it } from 'vitest';
import { addUser, type Clinic, call, type Person } from '../functions/clinic.ts';
import {
  book,
  describeInBrowser,
  expectAccessible,
  goTo,
  openApp,
  openWebClinic,
  settled,
  signInOn,
  sitDown,
} from './browser.ts';
import { on } from './days.ts';

describeInBrowser('the web app', () => {
  let clinic: Clinic;
  let other: Clinic;
  beforeAll(async () => {
    [clinic, other] = [await openWebClinic(), await openWebClinic()];
    await book(clinic, { start: on`2027-02-03T10:00` });
    await book(clinic, { person: clinic.bcba, client: clinic.clients[1], start: on`2027-02-03T13:00` });
    await book(other, { start: on`2027-02-03T15:00` });
    for (const [index, given_name] of ['Ann', 'Bo'].entries()) {
      const details = { given_name, family_name: 'Canary' };
      const saved = await call('client-details', clinic.admin, {
        ...{ action: 'save', client_id: clinic.clients[index], base_version: 0, details },
      });
      expect(saved.status).toBe(200);
    }
  });

  const routes = ['/schedule', '/clients', '/clients/:own', '/therapists', '/therapists/:own', '/reports'];
  const at = (route: string, { id }: Person) =>
    route.replace('/clients/:own', `/clients/${clinic.clients[0]}`).replace(':own', id);

  it.each([
    ['a therapist', 'rbt', ['/schedule', '/clients', '/clients/:own', '/therapists/:own']],
    ['an admin', 'admin', routes],
    ['a parent', 'parent', ['/schedule']],
  ] as const)(
    'asks for the rows of %s by clinic, and by therapist where there is one',
    async (_, role, open) => {
      const person = clinic[role];
      const { page, context, requests, complaints } = await sitDown(person);
      await settled(page);
      for (const route of routes) {
        requests.length = 0;
        const isOpen = (open as readonly string[]).includes(route);
        // Loaded anew, or opened from the page before as by a link.
        if (!isOpen || route === '/schedule') await page.goto(new URL(at(route, person), page.url()).href);
        else await goTo(page, at(route, person));
        if (!isOpen) {
          await page.getByRole('heading', { name: 'You cannot open this page' }).waitFor();
          expect(requests.filter((request) => /\/rest\/v1\/(?!rpc)/.test(request))).toEqual([]);
          continue;
        }
        await settled(page);
        await expectAccessible(page);
        const reads = requests.filter((request) => /^GET \/rest\/v1\/(?!rpc\/)/.test(request));
        for (const read of reads) expect(read).toContain(`organization_id=eq.${clinic.organizationId}`);
        const sessions = reads.filter((read) => read.startsWith('GET /rest/v1/sessions?'));
        if (['/schedule', '/clients', '/clients/:own'].includes(route))
          expect(sessions.length).toBeGreaterThan(0);
        if (role === 'rbt')
          for (const read of sessions) expect(read).toContain(`therapist_id=eq.${person.id}`);
      }
      expect(complaints).toEqual([]);
      await context.close();
    },
  );

  it('shows a therapist their own sessions, with the names of their caseload', async () => {
    const { page, context } = await sitDown(clinic.rbt, { path: on`/schedule?view=list&date=2027-02-03` });
    await page.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    expect(await page.locator('.agenda li').count()).toBe(1);
    await context.close();
  });

  it('shows an admin the clinic, and nothing of another', async () => {
    const { page, context } = await sitDown(clinic.admin, { path: on`/schedule?view=list&date=2027-02-03` });
    await page.locator('.ec-event, .agenda li').getByText('Canary, Bo').waitFor();
    expect(await page.locator('.agenda li').count()).toBe(2);
    await page.goto(new URL(`/clients/${other.clients[0]}`, page.url()).href);
    await page.getByText('There is no such client on your list').waitFor();
    await context.close();
  });

  it('shows a parent their child’s sessions in a list, without code, note or button to change', async () => {
    const { page, context, requests } = await sitDown(clinic.parent, { path: on`/schedule?date=2027-02-03` });
    await page.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    expect(await page.locator('.agenda li').count()).toBe(1);
    await page.locator('.agenda li button').click();
    await page.locator('aside').waitFor();
    expect(await page.locator('aside').textContent()).not.toMatch(/97153|Note|Move|Cancel/);
    expect(await page.getByRole('button', { name: 'New session' }).count()).toBe(0);
    expect(requests.filter((request) => request.includes('session-notes'))).toEqual([]);
    await expectAccessible(page);
    await context.close();
  });

  it('puts no name into an address, the title or storage', async () => {
    const { page, context, requests } = await sitDown(clinic.admin, {
      path: on`/schedule?view=list&date=2027-02-03`,
    });
    await page.locator('.ec-event, .agenda li').getByText('Canary, Ann').waitFor();
    await page.locator('.agenda li button').first().click();
    await page.locator('aside h2').waitFor();
    const kept = await page.evaluate(
      'JSON.stringify([document.title, location.href, {...localStorage}, {...sessionStorage}])',
    );
    expect(`${kept}${requests.join()}`).not.toContain('Canary');
    await context.close();
  });

  it('tells somebody without a clinic so, and somebody with a wrong password only that', async () => {
    const nobody = await addUser('nobody');
    const { page, context } = await openApp();
    await expectAccessible(page);
    await page.getByLabel('Email').fill(nobody.email);
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByText('Email or password is not right.').waitFor();
    await signInOn(page, nobody);
    await page.getByText('Your account belongs to no clinic yet.').waitFor();
    await expectAccessible(page);
    await context.close();
  });

  it('forgets everybody when another person signs in', async () => {
    const { page, context } = await sitDown(clinic.admin, { path: on`/schedule?view=list&date=2027-02-03` });
    await page.locator('.ec-event, .agenda li').getByText('Canary, Bo').waitFor();
    await page.locator('.menu summary').click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await signInOn(page, other.admin);
    await page.locator('.agenda li').waitFor();
    expect(await page.locator('body').textContent()).not.toContain('Canary');
    await context.close();
  });
});
