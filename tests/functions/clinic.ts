/** A clinic of its own for each test file: real users who sign in, and the calls a web app would make. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import {
  cancelEndpoint,
  confirmEndpoint,
  conflictProblem,
  detailsEndpoint,
  type EndpointDescription,
  holdEndpoint,
  invalidRequestProblem,
  noteEndpoint,
  problem,
} from '../../supabase/functions/_shared/contract/index.ts';
import { addClinic, addPeople, everybody } from '../setup/clinics.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { midnight } from '../setup/today.ts';

const password = 'demo-password-1234';

/** Somebody who is signed in. */
export type Person = { id: string; email: string; token: string };

/** A clinic in Los Angeles whose staff have no weekly hours, so any time can be booked. */
export type Clinic = {
  organizationId: string;
  superAdmin: Person;
  admin: Person;
  /** Two therapists; the first two clients are on the caseload of both. */
  bcba: Person;
  rbt: Person;
  parent: Person;
  /** Four clients; the last two are on nobody's caseload. */
  clients: [string, string, string, string];
  room: string;
};

/** Somebody with an address of their own, whom Auth does not know yet. */
function somebody(name: string): Person {
  const id = randomUUID();
  return { id, email: `${name}-${id.slice(0, 8)}@example.test`, token: '' };
}

/** Makes a person who can sign in, as an invitation would, and signs them in. They belong to no organization yet. */
export async function addUser(name: string): Promise<Person> {
  const person = somebody(name);
  await withConnection((db) => addPeople(db, [{ id: person.id, email: person.email, password }]));
  return signIn(person);
}

/** Signs in: the token has the claims of today's memberships. */
export async function signIn(person: Person): Promise<Person> {
  const response = await fetch(`${stack.apiUrl}/auth/v1/token?grant_type=password`, {
    method: 'POST',
    headers: { apikey: stack.publishableKey, 'content-type': 'application/json' },
    body: JSON.stringify({ email: person.email, password }),
  });
  if (!response.ok) throw new Error(`sign in: ${response.status} ${await response.text()}`);
  return { ...person, token: ((await response.json()) as { access_token: string }).access_token };
}

/** Opens a clinic. */
export async function openClinic(): Promise<Clinic> {
  const [superAdmin, admin, bcba, rbt, parent] = ['super', 'admin', 'bcba', 'rbt', 'parent'].map(
    somebody,
  ) as [Person, Person, Person, Person, Person];
  const id = randomUUID();
  const clients: Clinic['clients'] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const room = randomUUID();
  const time_zone = 'America/Los_Angeles';
  await withConnection(async (db) => {
    const people = [superAdmin, admin, bcba, rbt, parent];
    await addPeople(
      db,
      people.map((person) => ({ id: person.id, email: person.email, password })),
    );
    await addClinic(db, {
      ...{ id, time_zone },
      memberships: [
        { user_id: superAdmin.id, role: 'super_admin' },
        { user_id: admin.id, role: 'admin' },
        { user_id: bcba.id, role: 'therapist' },
        { user_id: rbt.id, role: 'therapist' },
        { user_id: parent.id, role: 'client' },
      ],
      therapists: [
        { id: bcba.id, display_name: 'B', credential: 'BCBA', time_zone },
        { id: rbt.id, display_name: 'R', credential: 'RBT', time_zone },
      ],
      clients: clients.map((client) => ({ id: client })),
      caseloads: everybody([bcba.id, rbt.id], clients.slice(0, 2)),
      client_users: [{ client_id: clients[0], user_id: parent.id }],
      rooms: [{ id: room, name: 'Blue' }],
    });
  });
  const signedIn = await Promise.all([superAdmin, admin, bcba, rbt, parent].map(signIn));
  const [s, a, b, r, p] = signedIn as [Person, Person, Person, Person, Person];
  return { organizationId: id, superAdmin: s, admin: a, bcba: b, rbt: r, parent: p, clients, room };
}

/** What came back. `body` is empty for answers that are not JSON. */
export type Answer = {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape they expect of each answer
  body: any;
};

/** The name of an edge function. */
export type FunctionName =
  | 'sessions-hold'
  | 'sessions-confirm'
  | 'sessions-cancel'
  | 'session-notes'
  | 'client-details';

/** Calls an edge function as a web app does. A string body is sent as it is. */
export async function call(
  name: FunctionName,
  person: Pick<Person, 'token'> | null,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${stack.apiUrl}/functions/v1/${name}`, {
    method: 'POST',
    headers: {
      apikey: stack.publishableKey,
      'content-type': 'application/json',
      ...(person && { authorization: `Bearer ${person.token}` }),
      ...headers,
    },
    body: typeof body === 'string' || body instanceof Blob ? body : JSON.stringify(body),
  });
  const text = await response.text();
  const answer: Answer = {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : JSON.parse(text),
  };
  expectDescribed(name, answer);
  return answer;
}

const endpoints: Readonly<Record<FunctionName, EndpointDescription>> = {
  'sessions-hold': holdEndpoint,
  'sessions-confirm': confirmEndpoint,
  'sessions-cancel': cancelEndpoint,
  'session-notes': noteEndpoint,
  'client-details': detailsEndpoint,
};

/** What is answered is what the API description says, and no field more. */
function expectDescribed(name: FunctionName, { status, body }: Answer): void {
  if (status !== 200) {
    const schema = { 400: invalidRequestProblem, 409: conflictProblem }[status] ?? problem;
    expect(schema.parse(body)).toEqual(body);
    return;
  }
  const described = Object.values(endpoints[name].data).map((schema) => schema.safeParse(body.data).data);
  expect(described).toContainEqual(body.data);
}

type RestMethod = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** Reads or writes rows over REST; the rows, as they are then. */
export async function rest(
  person: Pick<Person, 'token'>,
  method: RestMethod,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${stack.apiUrl}/rest/v1/${path}`, {
    method,
    headers: {
      ...{ apikey: stack.publishableKey, authorization: `Bearer ${person.token}` },
      ...{ 'content-type': 'application/json', prefer: 'return=representation' },
      ...headers,
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
}

/** Calls a database function over REST. */
export const rpc = (person: Pick<Person, 'token'>, name: string, args: object): Promise<Answer> =>
  rest(person, 'POST', `rpc/${name}`, args);

/** A window in UTC, so that its offsets are 0. `hour` counts from midnight, `days` from tomorrow. */
export function window(days: number, hour: number, hours = 1) {
  const start = midnight + (days + 1) * 86_400_000 + hour * 3_600_000;
  return {
    start_time: new Date(start).toISOString(),
    end_time: new Date(start + hours * 3_600_000).toISOString(),
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
  };
}

/** The body of a hold of one window. */
export function holdOf(therapist: Person, client: string, at: ReturnType<typeof window>, extra: object = {}) {
  return { therapist_id: therapist.id, client_id: client, time_zone: 'UTC', ...at, ...extra };
}

type Held = {
  holdKey: string;
  holdId: string;
  expiresAt: string;
  holds: { holdKey: string; startTime: string; endTime: string }[];
};

/** The body that confirms a hold exactly as it was held. */
export function confirmationOf(hold: ReturnType<typeof holdOf>, held: Held, extra: object = {}) {
  const session = (start_time: string, end_time: string) => ({
    therapist_id: hold.therapist_id,
    client_id: hold.client_id,
    start_time,
    end_time,
  });
  const offsets = { start_time_offset_minutes: 0, end_time_offset_minutes: 0 };
  return {
    hold_key: held.holdKey,
    session: session(hold.start_time, hold.end_time),
    ...offsets,
    time_zone: 'UTC',
    occurrences: held.holds.map((each) => ({
      hold_key: each.holdKey,
      session: session(each.startTime, each.endTime),
      ...offsets,
    })),
    ...extra,
  };
}

/** Holds and expects it to succeed. */
export async function hold(person: Person, body: ReturnType<typeof holdOf>): Promise<Held> {
  const answer = await call('sessions-hold', person, body);
  if (answer.status !== 200) throw new Error(`hold: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.data;
}

/** Holds and confirms one window; the session's id. */
export async function book(
  therapist: Person,
  client: string,
  at: ReturnType<typeof window>,
): Promise<string> {
  const body = holdOf(therapist, client, at);
  const held = await hold(therapist, body);
  const answer = await call('sessions-confirm', therapist, confirmationOf(body, held));
  if (answer.status !== 200) throw new Error(`confirm: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.data.session.id;
}

/** Lets a hold expire, by moving its expiry: the database's clock cannot be moved. */
export async function expire(holdId: string): Promise<void> {
  await withConnection(async (client) => {
    const past = "clock_timestamp() - interval '1 second'";
    await client.query(`update public.hold_batches set expires_at = ${past} where id = $1`, [holdId]);
  });
}

/** How many rows a clinic has of what bookings write. */
export async function countRows(organizationId: string): Promise<Record<string, number>> {
  return withConnection(async (client) => {
    const { rows } = await client.query(
      `select
        (select count(*)::int from public.hold_batches where organization_id = $1) as batches,
        (select count(*)::int from public.session_holds where organization_id = $1) as holds,
        (select count(*)::int from public.sessions where organization_id = $1) as sessions,
        (select count(*)::int from private.claims where organization_id = $1) as claims,
        (select count(*)::int from private.idempotency_keys where organization_id = $1) as keys`,
      [organizationId],
    );
    return rows[0];
  });
}
