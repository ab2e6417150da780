/** A person in front of the web app: headless Chromium, signed in, at the stack of this test run. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContext, Locator, Page, Request } from 'playwright-core';
import { beforeAll, describe, expect, onTestFailed } from 'vitest';
import { bookSession, instantOf, startSession } from '../../src/lib/index.ts';
import { type Clinic, expire, openClinic, type Person } from '../functions/clinic.ts';
import { anonymousClient, clientOf } from '../lib/clinic.ts';
import { launchBrowser, noBrowser } from '../setup/browser.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The browser of this worker, for all its files. It ends with the worker. */
let launched: Promise<Browser> | undefined;
let browser: Browser | undefined;

/** The tests of a part of the web app; where there is no browser they are skipped, and say so. */
export function describeInBrowser(name: string, tests: () => void): void {
  describe.skipIf(noBrowser !== '')(`${name}${noBrowser}`, () => {
    beforeAll(async () => {
      launched ??= launchBrowser();
      browser = await launched;
    });
    tests();
  });
}

/** How a person looks at the app. */
export interface Looks {
  path?: string;
  timeZone?: string;
  phone?: boolean;
  /** The screen of the usual size is touched, as a tablet's is. */
  touch?: boolean;
  dark?: boolean;
  /** Gives the page a clock that the test can move, so many milliseconds ahead of this machine's. */
  clock?: number;
}

/** A page, and what went over the wire and onto its console. */
export interface Desk {
  page: Page;
  context: BrowserContext;
  /** Requests to the API, as `GET /rest/v1/…`. */
  requests: string[];
  /** Errors on the console and uncaught exceptions. */
  complaints: string[];
}

/** The requests to the API that a page has sent and that have no answer yet. */
const underWay = new WeakMap<Page, Set<Request>>();

/** Opens the app without signing in, or in a tab where somebody has signed in before. */
export async function openApp(looks: Looks = {}, person?: Pick<Person, 'email'>): Promise<Desk> {
  const { path = '/', timeZone = 'America/Los_Angeles', phone, touch, dark, clock } = looks;
  if (!browser) throw new Error('There is no browser.');
  const context = await browser.newContext({
    viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 860 },
    hasTouch: phone ?? touch ?? false,
    colorScheme: dark ? 'dark' : 'light',
    timezoneId: timeZone,
    locale: 'en-US',
    reducedMotion: 'reduce',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(90_000);
  if (clock !== undefined) await page.clock.install({ time: Date.now() + clock });
  if (process.env.SLOWER) {
    // Shows what depends on the order in which answers come in: a press is quicker than a read.
    const devtools = await context.newCDPSession(page);
    await devtools.send('Emulation.setCPUThrottlingRate', { rate: Number(process.env.SLOWER) });
  }
  const desk: Desk = { page, context, requests: [], complaints: [] };
  const unanswered = new Set<Request>();
  underWay.set(page, unanswered);
  page.on('request', (request) => {
    const { pathname, search } = new URL(request.url());
    if (!/^\/(rest|functions|auth)\//.test(pathname)) return;
    desk.requests.push(`${request.method()} ${pathname}${search}`);
    unanswered.add(request);
  });
  page.on('requestfinished', (request) => unanswered.delete(request));
  page.on('requestfailed', (request) => unanswered.delete(request));
  page.on('console', (message) => {
    if (message.type() === 'error') desk.complaints.push(message.text());
  });
  page.on('pageerror', (error) => desk.complaints.push(String(error)));
  onTestFailed(() => tell(desk));
  const kept = person && (await page.addInitScript(keepSession, await sessionOf(person)));
  await page.goto(stack.apiUrl + path);
  // What a later page of the tab finds is what the app has left there.
  await kept?.dispose();
  return desk;
}

/** What a page shows and has asked for last, beside the test that failed: alone it says only what was waited for in vain. */
async function tell({ page, requests, complaints }: Desk): Promise<void> {
  const text = await page
    .locator('body')
    // biome-ignore lint/performance/useDomNodeTextContent: as it is read, in lines and without what is hidden
    .innerText({ timeout: 5000 })
    .catch(() => 'nothing: it is closed');
  console.error(
    [page.url(), ...requests.slice(-10), ...complaints.slice(-10), `The page shows ${text}`].join('\n'),
  );
}

/** A new session of a person, as supabase-js keeps it in a tab's storage. */
async function sessionOf({ email }: Pick<Person, 'email'>): Promise<Record<string, string>> {
  const { data, error } = await anonymousClient().auth.signInWithPassword({ email, password });
  if (error) throw error;
  const tab = randomUUID();
  return { tab, [`therapist-sessions ${tab}`]: JSON.stringify(data.session) };
}

/** Runs in the page, before the app does. */
function keepSession(items: Record<string, string>): void {
  for (const [name, value] of Object.entries(items)) sessionStorage.setItem(name, value);
}

const password = 'demo-password-1234';

/** Signs in by the form on the page that is shown. */
export async function signInOn(page: Page, { email }: Pick<Person, 'email'>): Promise<void> {
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByLabel('Password').waitFor({ state: 'detached' });
  await page.locator('h1').waitFor();
}

/** Opens the app as somebody who has signed in in that tab. */
export async function sitDown(person: Pick<Person, 'email'>, looks: Looks = {}): Promise<Desk> {
  const desk = await openApp(looks, person);
  await desk.page.locator('h1').waitFor();
  return desk;
}

/** Opens another address of the app as a link of it does: the page stays, and the app draws another. */
export async function goTo(page: Page, path: string): Promise<void> {
  await page.evaluate(`history.pushState(null, '', ${JSON.stringify(path)})`);
}

/**
 * Lets time pass on a page, whose clock is installed for it, until something is shown: in steps, since what one timer
 * begins sets the next, and not while the page waits for an answer.
 */
export async function passTimeUntil(page: Page, shown: Locator): Promise<void> {
  const isShown = async () => {
    if (await shown.first().isVisible()) return true;
    if (!underWay.get(page)?.size) await page.clock.fastForward(2000);
    return false;
  };
  await expect.poll(isShown, { timeout: 90_000 }).toBe(true);
}

/** Waits until a page has read what it shows: nothing is said to be loading, and nothing is asked for. */
export async function settled(page: Page): Promise<void> {
  const isSettled = async () => {
    // What an answer makes the app ask next, it asks before it has nothing to do. An idle callback would not do: after the
    // focus has moved by the keyboard, Chromium has no idle time.
    await page.evaluate("scheduler.postTask(() => {}, { priority: 'background' })");
    return !underWay.get(page)?.size && (await page.locator('.loading, [aria-busy="true"]').count()) === 0;
  };
  await page.locator('h1').first().waitFor();
  await expect.poll(isSettled, { timeout: 90_000 }).toBe(true);
}

/**
 * Takes over a page's clock, once it has read what it shows: what waits by the real clock at that moment need not go on by
 * the other.
 */
export async function takeClock(page: Page): Promise<void> {
  await settled(page);
  await page.clock.install();
}

/**
 * What axe-core finds of level serious or worse, as `rule: element`. Rules whose findings are never that serious are not
 * asked.
 *
 * @param rules - the only rules to ask; all by default
 */
export async function seriousViolations(page: Page, rules?: readonly string[]): Promise<string[]> {
  if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axeSource);
  return await page.evaluate(
    `(async (ids) => {
      const lesser = axe._audit.rules.filter(({ impact }) => impact === 'minor' || impact === 'moderate');
      const rules = Object.fromEntries(lesser.map(({ id }) => [id, { enabled: false }]));
      const only = ids && { runOnly: { type: 'rule', values: ids } };
      const { violations } = await axe.run({ ...(only ?? { rules }), resultTypes: ['violations'] });
      return violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html.slice(0, 160)));
    })(${JSON.stringify(rules ?? null)})`,
  );
}

/** Expects the page to have nothing that axe-core calls serious or worse. */
export async function expectAccessible(page: Page, rules?: readonly string[]): Promise<void> {
  expect(await seriousViolations(page, rules)).toEqual([]);
}

/** The point of the grid at some minutes after midnight of a column. */
export async function pointAt(
  page: Page,
  column: number,
  minutes: number,
): Promise<{ x: number; y: number }> {
  // The grid is drawn anew when what it shows has been read.
  await page.locator('.calendar[aria-busy="false"]').waitFor();
  const box = await page.locator('.ec-body .ec-day').nth(column).boundingBox();
  const calendar = page.locator('.calendar');
  const from = Number((await calendar.getAttribute('data-from'))?.slice(0, 2)) * 60;
  const to = Number((await calendar.getAttribute('data-to'))?.slice(0, 2)) * 60;
  if (!box) throw new Error(`There is no column ${column}.`);
  return { x: box.x + box.width / 2, y: box.y + ((minutes - from) / (to - from)) * box.height };
}

/** Drags across a column of the grid, from some minutes after midnight to others. */
export async function dragAcross(page: Page, column: number, from: number, to: number): Promise<void> {
  const [start, end] = [await pointAt(page, column, from), await pointAt(page, column, to)];
  await page.mouse.move(start.x, start.y + 2);
  await page.mouse.down();
  await page.mouse.move(start.x, start.y + 10, { steps: 3 });
  await page.mouse.move(end.x, end.y - 3, { steps: 8 });
  await page.mouse.up();
}

/** Drags whatever is at one point of the grid to another. */
export async function drag(
  page: Page,
  from: { x: number; y: number },
  to: { x: number; y: number },
): Promise<void> {
  await page.mouse.move(from.x, from.y);
  await page.mouse.down();
  await page.mouse.move(from.x + (to.x - from.x) / 4, from.y + 6, { steps: 3 });
  await page.mouse.move(to.x, to.y, { steps: 8 });
  await page.mouse.up();
}

/** Rows of the database, as its owner sees them. */
export async function rows<Row extends object>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return await withConnection(async (client) => (await client.query<Row>(sql, values)).rows);
}

/** A clinic as the app shows one: clients `C-1` to `C-4`, therapists with names, staff who may see clients. */
export async function openWebClinic(): Promise<Clinic> {
  const clinic = await openClinic();
  await withConnection(async (client) => {
    const { organizationId, clients, bcba, rbt } = clinic;
    for (const [index, id] of clients.entries())
      await client.query('update public.clients set reference = $2 where id = $1', [id, `C-${index + 1}`]);
    for (const [{ id }, name] of [
      [bcba, 'Bea Long'],
      [rbt, 'Rob Short'],
    ] as const)
      await client.query('update public.therapists set display_name = $2 where id = $1', [id, name]);
    await client.query("update public.organizations set name = 'Web Clinic' where id = $1", [organizationId]);
    await client.query(
      `update public.memberships set permissions = '{view_clients}' where organization_id = $1 and role <> 'client'`,
      [organizationId],
    );
  });
  return clinic;
}

/** The sessions of a clinic, as local times. */
export function sessionsOf({ organizationId }: Clinic) {
  return rows<{ id: string; local: string; minutes: number; status: string; therapist_id: string }>(
    `select id, (start_time at time zone 'America/Los_Angeles')::text as local,
      extract(epoch from end_time - start_time)::int / 60 as minutes, status, therapist_id
    from public.sessions where organization_id = $1 order by start_time, created_at`,
    [organizationId],
  );
}

/** Books a session as a person would through the API. */
export async function book(
  clinic: Clinic,
  {
    person = clinic.rbt,
    client = clinic.clients[0],
    start,
    minutes = 60,
  }: { person?: Person; client?: string; start: string; minutes?: number },
): Promise<string> {
  const { instant } = instantOf(start, 'America/Los_Angeles');
  const { session } = await bookSession(anonymousClient(), {
    session: {
      therapist_id: person.id,
      client_id: client,
      start_time: instant,
      end_time: new Date(Date.parse(instant) + minutes * 60_000).toISOString(),
      session_type: 'individual',
      location_type: 'clinic',
    },
    overrides: { cptCode: '97153' },
    timeZone: 'America/Los_Angeles',
    accessToken: person.token,
  });
  return session.id;
}

/** Opens the booking panel for a day and fills it: client by letters, times by field. */
export async function fillBooking(
  page: Page,
  { client, date, from, to }: { client: string; date?: string; from?: string; to?: string },
): Promise<void> {
  await page.getByRole('button', { name: 'New session' }).click();
  await page.getByLabel('Clients that match').locator('option').first().waitFor({ state: 'attached' });
  await page.getByLabel('Client', { exact: true }).fill(client);
  if (date) await page.getByLabel('Date').fill(date);
  if (from) await page.getByLabel('From').fill(from);
  if (to) await page.getByLabel('To', { exact: true }).fill(to);
}

/** Makes the access token of a page one that the server refuses, as it would an expired one. */
export async function spoilToken(page: Page): Promise<void> {
  await page.evaluate(`(() => {
    const key = Object.keys(sessionStorage).find((name) => name.startsWith('therapist-sessions '));
    const stored = JSON.parse(sessionStorage.getItem(key));
    stored.access_token = stored.access_token.slice(0, -6) + 'AAAAAA';
    sessionStorage.setItem(key, JSON.stringify(stored));
  })()`);
}

/** Lets the newest hold of a clinic expire. */
export async function expireHold({ organizationId }: Clinic): Promise<void> {
  const [batch] = await rows<{ id: string }>(
    'select id from public.hold_batches where organization_id = $1 order by created_at desc limit 1',
    [organizationId],
  );
  if (!batch) throw new Error('Nothing is held.');
  await expire(batch.id);
}

/** Makes a session one whose time was an hour ago, and which has begun on time. */
export async function begin(clinic: Clinic, sessionId: string): Promise<void> {
  const [{ start_time }] = (await rows<{ start_time: Date }>(
    `update public.sessions set start_time = date_trunc('minute', now()) - interval '70 minutes',
      end_time = date_trunc('minute', now()) - interval '10 minutes' where id = $1 returning start_time`,
    [sessionId],
  )) as [{ start_time: Date }];
  const rbt = await clientOf(clinic.rbt);
  await startSession(rbt, { sessionId, actualStartTime: start_time.toISOString() });
}

/** A place on the grid: the column, and the minutes of the day. */
export interface Place {
  column: number;
  from: number;
  to: number;
}

/** Where a block of the grid is drawn, once it stays there: the grid is drawn anew when more has been read. */
export async function drawnAt(page: Page, block: Locator): Promise<Place> {
  await block.waitFor();
  let before = '';
  for (;;) {
    // The block may be another one by the time it is measured.
    const place = await measured(page, block).catch(() => null);
    const found = JSON.stringify(place);
    if (place && found === before) return place;
    before = found;
    await page.waitForTimeout(100);
  }
}

async function measured(page: Page, block: Locator): Promise<Place> {
  const [midnight, noon] = [await pointAt(page, 0, 0), await pointAt(page, 0, 720)];
  const box = await block.boundingBox();
  const rights = await page
    .locator('.ec-body .ec-day')
    .evaluateAll((all) => all.map((one) => one.getBoundingClientRect().right));
  if (!box) throw new Error('The block is not drawn.');
  // A pixel is about a minute: what is booked is in quarters of an hour.
  const minute = (y: number) => Math.round((((y - midnight.y) / (noon.y - midnight.y)) * 720) / 5) * 5;
  return {
    column: rights.findIndex((right) => box.x + box.width / 2 < right),
    from: minute(box.y),
    to: minute(box.y + box.height),
  };
}
