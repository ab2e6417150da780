/** Slots that become free are offered to those who wait for them: over HTTP, from the list to the booking. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { withConnection } from '../setup/db.ts';
import {
  type Answer,
  book,
  type Clinic,
  call,
  confirmationOf,
  expire,
  hold,
  holdOf,
  openClinic,
  type Person,
  rest,
  rpc,
  window,
} from './clinic.ts';

const PATIENTLY = { timeout: 60_000 };

let clinic: Clinic;
beforeAll(async () => {
  clinic = await openClinic();
});

/** Every test has a day of its own. */
let day = 5;
const nextDay = () => (day += 1);

const sql = (text: string, values: unknown[] = []) => withConnection((db) => db.query(text, values));

/** A client of both therapists. */
async function newClient(of: Clinic = clinic): Promise<string> {
  const id = randomUUID();
  const created = await rest(of.admin, 'POST', 'clients', {
    ...{ organization_id: of.organizationId, id, reference: id },
  });
  expect(created.status).toBe(201);
  for (const therapist of [of.bcba, of.rbt])
    await sql('insert into public.caseloads (organization_id, therapist_id, client_id) values ($1, $2, $3)', [
      ...[of.organizationId, therapist.id, id],
    ]);
  return id;
}

interface Entry {
  id: string;
  state: string;
  closed_at: string | null;
  client_id: string;
}

/** Puts a client on the list for an hour. */
async function wait(client: string, at: ReturnType<typeof window>, extra: object = {}): Promise<Entry> {
  const { status, body } = await rest(clinic.admin, 'POST', 'waitlist_entries', {
    ...{ organization_id: clinic.organizationId, client_id: client, cpt_code: '97153' },
    windows: `{[${at.start_time},${at.end_time})}`,
    ...extra,
  });
  expect([status, body]).toEqual([201, [expect.anything()]]);
  return body[0];
}
const entryOf = async ({ id }: Entry): Promise<Entry> =>
  (await rest(clinic.admin, 'GET', `waitlist_entries?id=eq.${id}`)).body[0];

/** Offers what is free until nothing is pending, as staff may. The functions do the same once they have answered. */
async function drain(person: Person = clinic.admin): Promise<void> {
  for (let pending = 1; pending > 0; )
    pending = (await rpc(person, 'offer_freed_slots', {})).body.pending ?? 1;
}

interface Offer {
  hold_id: string;
  hold_key: string;
  start_time: string;
  therapist_id: string;
}

/** The hold that an entry is offered, as staff read it over REST. */
async function offerOf(entry: Entry): Promise<Offer | null> {
  const { body } = await rest(
    clinic.admin,
    'GET',
    `waitlist_entries?id=eq.${entry.id}&state=eq.offered&select=offered_batch_id`,
  );
  const batch = body[0]?.offered_batch_id;
  if (!batch) return null;
  const { body: held } = await rest(
    clinic.admin,
    'GET',
    `hold_batches?id=eq.${batch}&select=id,hold_key,therapist_id,session_holds(start_time,status)`,
  );
  const [{ id, hold_key, therapist_id, session_holds }] = held;
  expect(session_holds).toMatchObject([{ status: 'held' }]);
  return {
    ...{ hold_id: id, hold_key, therapist_id },
    start_time: new Date(session_holds[0].start_time).toISOString(),
  };
}

const cancel = (person: Person, id: string) => call('sessions-cancel', person, { session_ids: [id] });
const confirm = (at: ReturnType<typeof window>, client: string, offer: Offer): Promise<Answer> =>
  call('sessions-confirm', clinic.rbt, {
    ...confirmationOf(holdOf(clinic.rbt, client, at), {
      ...{ holdKey: offer.hold_key, holdId: offer.hold_id, expiresAt: '' },
      holds: [],
    }),
    occurrences: undefined,
  });

describe('an entry of the waitlist', () => {
  it('waits, is offered a slot, is booked, and is closed then', async () => {
    const at = window(nextDay(), 10);
    const [booked, waiting] = [await newClient(), await newClient()];
    const session = await book(clinic.rbt, booked, at);
    const entry = await wait(waiting, at);
    expect(await entryOf(entry)).toMatchObject({ state: 'waiting', closed_at: null });

    expect((await cancel(clinic.rbt, session)).status).toBe(200);
    // Nobody need ask: it is offered once the cancellation has been answered.
    const offer = await vi.waitFor(async () => {
      const found = await offerOf(entry);
      expect(found).toMatchObject({ start_time: at.start_time, therapist_id: clinic.rbt.id });
      return found as Offer;
    }, PATIENTLY);
    expect(await entryOf(entry)).toMatchObject({ state: 'offered', closed_at: null });
    // The offer is a hold: nobody else has the slot meanwhile.
    const rival = await call('sessions-hold', clinic.rbt, holdOf(clinic.rbt, booked, at));
    expect(rival.body).toMatchObject({ status: 409, code: 'THERAPIST_HOLD_CONFLICT' });

    expect((await confirm(at, waiting, offer)).status).toBe(200);
    expect(await entryOf(entry)).toMatchObject({ state: 'booked', closed_at: expect.any(String) });
    const { body: sessions } = await rest(
      clinic.rbt,
      'GET',
      `sessions?client_id=eq.${waiting}&select=status,start_time`,
    );
    expect(sessions).toMatchObject([{ status: 'scheduled' }]);
  });

  it('that is closed is offered nothing any more', async () => {
    const at = window(nextDay(), 10);
    const session = await book(clinic.rbt, await newClient(), at);
    const [entry, next] = [
      await wait(await newClient(), at, { priority: 1 }),
      await wait(await newClient(), at, { priority: 2 }),
    ];
    const closed = await rest(clinic.admin, 'PATCH', `waitlist_entries?id=eq.${entry.id}`, {
      closed_at: new Date().toISOString(),
    });
    expect(closed.body).toMatchObject([{ state: 'closed' }]);
    await cancel(clinic.rbt, session);
    await drain();
    expect(await entryOf(entry)).toMatchObject({ state: 'closed' });
    expect(await offerOf(next)).not.toBeNull();
  });
});

describe('an offer', () => {
  async function twoWait() {
    const at = window(nextDay(), 10);
    const session = await book(clinic.rbt, await newClient(), at);
    const first = await wait(await newClient(), at, { priority: 1 });
    const second = await wait(await newClient(), at, { priority: 2 });
    await cancel(clinic.rbt, session);
    await drain();
    const offer = await offerOf(first);
    if (!offer) throw new Error('the first was not asked');
    expect(await offerOf(second)).toBeNull();
    return { at, first, second, offer };
  }

  it('that is declined goes to the next at once, and not to the same again', async () => {
    const { at, first, second, offer } = await twoWait();
    const declined = await call('sessions-cancel', clinic.rbt, { hold_key: offer.hold_key });
    expect(declined.body.data).toMatchObject({ released: true });
    const next = await vi.waitFor(async () => {
      const found = await offerOf(second);
      expect(found).toMatchObject({ start_time: at.start_time });
      return found as Offer;
    }, PATIENTLY);
    expect(await entryOf(first)).toMatchObject({ state: 'waiting' });
    await call('sessions-cancel', clinic.rbt, { hold_key: next.hold_key });
    await drain();
    // Both have let it go: it is anybody's.
    expect([await offerOf(first), await offerOf(second)]).toEqual([null, null]);
    expect((await call('sessions-hold', clinic.rbt, holdOf(clinic.rbt, first.client_id, at))).status).toBe(
      200,
    );
  });

  it('that lapsed goes to the next at the latest with the sweep', async () => {
    const { at, first, second, offer } = await twoWait();
    await expire(offer.hold_id);
    // What pg_cron or `npm run sweep` would call.
    await sql('select private.sweep()');
    expect(await offerOf(second)).toMatchObject({ start_time: at.start_time });
    expect(await entryOf(first)).toMatchObject({ state: 'waiting' });
    // Too late for the first.
    expect((await confirm(at, first.client_id, offer)).body).toMatchObject({ code: 'HOLD_EXPIRED' });
  });

  it('comes of a move too: the old place is free', async () => {
    const at = window(nextDay(), 10);
    const client = await newClient();
    const session = await book(clinic.rbt, client, at);
    const entry = await wait(await newClient(), at);
    const later = window(day, 15);
    const body = holdOf(clinic.rbt, client, later, { session_id: session });
    const held = await hold(clinic.rbt, body);
    await drain();
    // Until the move is confirmed the old place is kept.
    expect(await offerOf(entry)).toBeNull();
    const confirmation = confirmationOf(body, held);
    const moved = await call('sessions-confirm', clinic.rbt, {
      ...{ ...confirmation, occurrences: undefined },
      session: { ...confirmation.session, id: session },
    });
    expect(moved.status).toBe(200);
    await vi.waitFor(
      async () => expect(await offerOf(entry)).toMatchObject({ start_time: at.start_time }),
      PATIENTLY,
    );
  });

  it('goes to the most urgent, among equals to whoever has waited longest', async () => {
    const at = window(nextDay(), 10);
    const session = await book(clinic.rbt, await newClient(), at);
    const entries = [
      await wait(await newClient(), at, { priority: 5 }),
      await wait(await newClient(), at, { priority: 3 }),
      await wait(await newClient(), at, { priority: 3 }),
    ];
    await cancel(clinic.rbt, session);
    await drain();
    expect((await Promise.all(entries.map(offerOf))).map((offer) => offer !== null)).toEqual([
      false,
      true,
      false,
    ]);
  });
});

describe('no offer is made that a hold would be refused', () => {
  const organization = () => clinic.organizationId;
  const covered = async (client: string, units: number) => {
    const payer = randomUUID();
    await sql("insert into public.payers (organization_id, id, name) values ($1, $2, 'Example Payer')", [
      ...[organization(), payer],
    ]);
    await sql(
      `insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from) values ($1, $2, $3, 1, '2020-01-01')`,
      [organization(), client, payer],
    );
    await sql(
      `with granted as (
        insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
        values ($1, $2, $3, $4, now()::date - 1, now()::date + 300) returning organization_id, id
      )
      insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
      select organization_id, id, '97153' from granted`,
      [organization(), client, payer, units],
    );
  };
  type At = ReturnType<typeof window>;
  const cases: [string, (at: At, client: string) => Promise<unknown>, (() => Promise<unknown>)?][] = [
    [
      'the therapist is off',
      ({ start_time, end_time }) => rpc(clinic.rbt, 'add_time_off', { request: { start_time, end_time } }),
    ],
    [
      'the clinic is closed',
      ({ start_time, end_time }) =>
        rpc(clinic.admin, 'add_closure', { request: { name: 'Snow', start_time, end_time } }),
    ],
    [
      'the therapist does not work at that time',
      () => rpc(clinic.rbt, 'set_availability_hours', { availability_hours: { monday: [] } }),
      () => rpc(clinic.rbt, 'set_availability_hours', { availability_hours: null }),
    ],
    ['the client has something else then', (at, client) => book(clinic.bcba, client, at)],
    [
      'the client is archived',
      (_, client) => rpc(clinic.admin, 'archive', { request: { client_id: client } }),
    ],
    [
      'the client is on nobody’s caseload any more',
      (_, client) =>
        sql('delete from public.caseloads where organization_id = $1 and client_id = $2', [
          organization(),
          client,
        ]),
    ],
    ['too few units are left', (_, client) => covered(client, 3)],
  ];

  it.each(cases)('when %s', async (_, forbid, allow) => {
    const at = window(nextDay(), 10);
    const [booked, client] = [await newClient(), await newClient()];
    const session = await book(clinic.rbt, booked, at);
    const entry = await wait(client, at);
    await cancel(clinic.rbt, session);
    // Whoever was asked before the rule came lets it go; then the rule stands when it is offered anew.
    await drain();
    const early = await offerOf(entry);
    expect(early).not.toBeNull();
    await call('sessions-cancel', clinic.rbt, { hold_key: early?.hold_key });
    await rest(clinic.admin, 'PATCH', `waitlist_entries?id=eq.${entry.id}`, {
      closed_at: new Date().toISOString(),
    });
    await drain();

    const again = await book(clinic.rbt, booked, at);
    const anew = await wait(client, at);
    const answer = await forbid(at, client);
    expect((answer as Answer)?.body?.ok ?? true).toBe(true);
    await cancel(clinic.rbt, again);
    await drain();
    expect(await offerOf(anew)).toBeNull();
    expect(await entryOf(anew)).toMatchObject({ state: 'waiting' });
    const refused = await call(
      'sessions-hold',
      clinic.rbt,
      holdOf(clinic.rbt, client, at, { cpt_code: '97153' }),
    );
    expect([403, 409]).toContain(refused.status);
    await allow?.();
  });

  it('nor for a service that the therapist may not render', async () => {
    const at = window(nextDay(), 10);
    const session = await book(clinic.rbt, await newClient(), at);
    const entry = await wait(await newClient(), at, { cpt_code: '97155' });
    await cancel(clinic.rbt, session);
    await drain();
    expect(await offerOf(entry)).toBeNull();
  });

  it('nor to a therapist that the entry does not wait for, nor outside its windows, nor for less time', async () => {
    const at = window(nextDay(), 10);
    const session = await book(clinic.rbt, await newClient(), at);
    const entries = [
      await wait(await newClient(), at, { therapist_id: clinic.bcba.id }),
      await wait(await newClient(), window(day, 11)),
      await wait(await newClient(), window(day, 9, 4), { minutes: 90 }),
    ];
    await cancel(clinic.rbt, session);
    await drain();
    expect(await Promise.all(entries.map(offerOf))).toEqual([null, null, null]);
  });
});

describe('the list', () => {
  it('is an admin’s to write, a therapist’s to read for their caseload, and nobody’s of another clinic', async () => {
    const at = window(nextDay(), 10);
    const [ours, theirs] = [await newClient(), await newClient()];
    await sql('delete from public.caseloads where organization_id = $1 and client_id = $2', [
      ...[clinic.organizationId, theirs],
    ]);
    const entries = [await wait(ours, at), await wait(theirs, at)];
    const ids = entries.map(({ id }) => id);
    const seen = async (person: Person) =>
      (await rest(person, 'GET', `waitlist_entries?id=in.(${ids})&order=id`)).body.map(({ id }: Entry) => id);
    expect(await seen(clinic.admin)).toEqual([...ids].sort());
    expect(await seen(clinic.rbt)).toEqual([ids[0]]);
    expect(await seen(clinic.parent)).toEqual([]);
    expect(await seen((await openClinic()).admin)).toEqual([]);
    const refused = await rest(clinic.rbt, 'PATCH', `waitlist_entries?id=eq.${ids[0]}`, {
      closed_at: new Date().toISOString(),
    });
    expect(refused.body).toEqual([]);
    expect(await entryOf(entries[0] as Entry)).toMatchObject({ state: 'waiting' });
  });

  it('is read by pages, whatever its length', async () => {
    const other = await openClinic();
    await sql(
      `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows, priority)
       select $1, $2, '97153', '{["2031-01-01T00:00Z","2031-02-01T00:00Z")}', 1 + number % 9 from generate_series(1, 1200) as number`,
      [other.organizationId, other.clients[0]],
    );
    const ids = new Set<string>();
    for (let offset = 0, page = 1; page > 0; offset += page) {
      const { body } = await rest(
        other.admin,
        'GET',
        `waitlist_entries?select=id&order=priority,created_at,id&limit=500&offset=${offset}`,
      );
      page = body.length;
      for (const { id } of body) ids.add(id);
    }
    expect(ids.size).toBe(1200);
  });
});
