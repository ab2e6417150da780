/** Who a client is, over HTTP: saved by admins, read by those who work with her and by her parents. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { type Answer, type Clinic, call, openClinic, type Person } from './clinic.ts';

const ann = {
  given_name: 'Ann',
  family_name: 'Example',
  birth_date: '2019-03-09',
  contacts: [{ kind: 'phone', value: '+1 555 0100' }],
  guardians: [{ name: 'Mia Example', relationship: 'mother' }],
  address: { line1: '1 Main Street', city: 'Oakland', region: 'CA', postal_code: '94601' },
};

let clinic: Clinic;

function details(person: Person | null, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  return call('client-details', person, body, headers);
}

beforeAll(async () => {
  clinic = await openClinic();
});

describe('the details of a client', () => {
  it('are saved by an admin, changed, and read as they are and as they were', async () => {
    const [client_id] = clinic.clients;
    const saved = await details(clinic.admin, { action: 'save', client_id, base_version: 0, details: ann });
    expect(saved.body.data).toEqual({
      client: {
        clientId: client_id,
        versionId: expect.any(String),
        version: 1,
        savedAt: expect.stringMatching(/Z$/),
      },
    });
    const moved = { ...ann, address: { line1: '2 Oak Street' } };
    await details(clinic.superAdmin, { action: 'save', client_id, base_version: 1, details: moved });

    for (const person of [clinic.admin, clinic.rbt, clinic.bcba, clinic.parent]) {
      const read = await details(person, { action: 'read', client_ids: [client_id] });
      expect(read.body.data.clients).toEqual([
        expect.objectContaining({ clientId: client_id, version: 2, details: moved }),
      ]);
    }
    const before = await details(clinic.rbt, { action: 'read', client_ids: [client_id], version: 1 });
    expect(before.body.data.clients[0]).toMatchObject({ version: 1, details: ann });

    const { rows } = await withConnection((connection) =>
      connection.query(
        `select action, actor_user_id from audit.events
          where organization_id = $1 and action ~ '^client_details' order by recorded_at`,
        [clinic.organizationId],
      ),
    );
    expect(rows.map(({ action }) => action)).toEqual([
      ...['client_details.saved', 'client_details.saved'],
      ...Array(5).fill('client_details.read'),
    ]);
    expect(rows.at(-2)?.actor_user_id).toBe(clinic.parent.id);
  });

  it('are read for a whole schedule at once, with nothing where nothing was saved', async () => {
    const [first, second] = clinic.clients;
    const read = await details(clinic.rbt, { action: 'read', client_ids: [second, first] });
    expect(read.body.data.clients).toEqual([
      { clientId: second, versionId: null, version: null, savedAt: null, details: null },
      expect.objectContaining({ clientId: first, version: 2 }),
    ]);
  });

  it('are not overwritten by somebody who has not seen the newest', async () => {
    const [client_id] = clinic.clients;
    const stale = await details(clinic.admin, { action: 'save', client_id, base_version: 1, details: ann });
    expect(stale).toMatchObject({
      status: 409,
      body: { code: 'DETAILS_VERSION_CONFLICT', retryAfter: null },
    });
  });

  it('saved twice under one key are saved once', async () => {
    const client_id = clinic.clients[2];
    const key = { 'idempotency-key': randomUUID() };
    const body = { action: 'save', client_id, base_version: 0, details: ann };
    const first = await details(clinic.admin, body, key);
    const second = await details(clinic.admin, body, key);
    expect(second.headers.get('idempotent-replay')).toBe('true');
    expect(second.body).toEqual(first.body);
    const other = await details(clinic.admin, { ...body, details: { ...ann, given_name: 'Eve' } }, key);
    expect(other).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_KEY_REUSED' } });
  });

  it('are saved by admins only, and read by nobody out of scope', async () => {
    const [first, second, third] = clinic.clients;
    for (const person of [clinic.rbt, clinic.parent]) {
      const body = { action: 'save', client_id: first, base_version: 2, details: ann };
      expect(await details(person, body)).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
    }
    const other = await openClinic();
    const attempts: [Person, string[]][] = [
      [clinic.rbt, [third]],
      [clinic.rbt, [first, third]],
      [clinic.parent, [second]],
      [other.admin, [first]],
      [clinic.admin, [randomUUID()]],
    ];
    for (const [person, client_ids] of attempts) {
      const answer = await details(person, { action: 'read', client_ids });
      expect(answer).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
      expect(JSON.stringify(answer.body)).not.toContain('Example');
    }
    expect((await details(null, { action: 'read', client_ids: [first] })).status).toBe(401);
  });

  it('that were copied to another client do not open', async () => {
    const [from, onto] = [clinic.clients[0], clinic.clients[3]];
    await details(clinic.admin, { action: 'save', client_id: onto, base_version: 0, details: ann });
    await withConnection(async (client) => {
      await client.query('begin');
      await client.query('alter table private.client_detail_versions disable trigger user');
      await client.query(
        `update private.client_detail_versions as version set ciphertext = copied.ciphertext
          from private.client_detail_versions as copied
          where version.client_id = $1 and copied.client_id = $2 and copied.version = 1`,
        [onto, from],
      );
      await client.query('alter table private.client_detail_versions enable trigger user');
      await client.query('commit');
    });
    const answer = await details(clinic.admin, { action: 'read', client_ids: [onto] });
    expect(answer).toMatchObject({ status: 500, body: { code: 'CONTENT_UNREADABLE' } });
    expect(JSON.stringify(answer.body)).not.toMatch(/tsb1|Example/);
  });
});

describe('the names of clients', () => {
  const bo = {
    given_name: 'Bo',
    family_name: 'Canary',
    preferred_name: 'Bobby',
    remarks: 'Lives at the pier.',
  };
  let own: Clinic;

  const names = (person: Person | null, client_ids: string[]) =>
    details(person, { action: 'names', client_ids });
  const eventsOf = (person: Person) =>
    withConnection(async (connection) => {
      const { rows } = await connection.query(
        `select action, outcome, entity_ids, details from audit.events
          where organization_id = $1 and actor_user_id = $2 order by recorded_at`,
        [own.organizationId, person.id],
      );
      return rows;
    });

  beforeAll(async () => {
    own = await openClinic();
    for (const [index, sealed] of [ann, bo].entries()) {
      const client_id = own.clients[index];
      const saved = await details(own.admin, { action: 'save', client_id, base_version: 0, details: sealed });
      expect(saved.status).toBe(200);
    }
  });

  it('are all that is answered of who they are, client by client', async () => {
    const [first, second, third] = own.clients;
    const answer = await names(own.admin, [third, second, first, second]);
    expect(answer.body.data).toEqual({
      clients: [
        { clientId: third, name: null },
        { clientId: second, name: { given_name: 'Bo', family_name: 'Canary', preferred_name: 'Bobby' } },
        { clientId: first, name: { given_name: 'Ann', family_name: 'Example' } },
      ],
      notReadable: [],
    });
    expect(JSON.stringify(answer.body)).not.toMatch(/pier|555 0100|2019-03-09|Main Street/);
  });

  it.each([
    ['a therapist off the caseload of the third', 'rbt', [0, 1]],
    ['a parent of the first', 'parent', [0]],
  ] as const)(
    'of %s hide nobody else’s, and the trail says how many were asked for',
    async (_, role, reach) => {
      const person = own[role];
      const stranger = randomUUID();
      const asked = [...own.clients.slice(0, 3), stranger];
      const readable = reach.map((index) => own.clients[index]);
      const others = asked.filter((id) => !readable.includes(id));
      const answer = await names(person, asked);
      expect(answer.status).toBe(200);
      expect(answer.body.data.clients.map(({ clientId }: { clientId: string }) => clientId)).toEqual(
        readable,
      );
      // A client out of reach is answered as somebody who does not exist.
      expect(answer.body.data.notReadable).toEqual(others);
      expect((await eventsOf(person)).at(-1)).toMatchObject({
        ...{ action: 'client_names.read', outcome: 'ok', entity_ids: readable },
        details: { notReadable: others.length, notReadableIds: others },
      });
    },
  );

  it('are not readable for another clinic, nor without a session', async () => {
    const other = await openClinic();
    const answer = await names(other.admin, [own.clients[0]]);
    expect(answer.body.data).toEqual({ clients: [], notReadable: [own.clients[0]] });
    expect((await names(null, [own.clients[0]])).status).toBe(401);
  });

  it('still open after the key they were sealed with was retired', async () => {
    await withConnection((connection) =>
      connection.query('update private.data_keys set retired_at = now() where organization_id = $1', [
        own.organizationId,
      ]),
    );
    const answer = await names(own.admin, [own.clients[0]]);
    expect(answer.body.data.clients).toEqual([
      { clientId: own.clients[0], name: { given_name: 'Ann', family_name: 'Example' } },
    ]);
  });

  it('count as reads of sealed content: too many in a minute wait', async () => {
    const limit = (perMinute: number) =>
      withConnection(async (connection) => {
        const { rows } = await connection.query<{ before: number }>(
          `update private.rate_limits as changed set per_minute = $1 from private.rate_limits as earlier
            where changed.kind = 'reads' and earlier.kind = 'reads' returning earlier.per_minute as before`,
          [perMinute],
        );
        return rows[0]?.before ?? 0;
      });
    const usual = await limit(2);
    try {
      const answers = [];
      for (let request = 0; request < 3; request++)
        answers.push(await names(own.superAdmin, [own.clients[0]]));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
      expect(answers[2]?.body.code).toBe('TOO_MANY_REQUESTS');
      expect(Number(answers[2]?.headers.get('retry-after'))).toBeGreaterThan(0);
    } finally {
      await limit(usual);
    }
  });

  it('of which one is damaged leave out that one, and the whole details of it stay shut', async () => {
    await withConnection(async (client) => {
      await client.query('begin');
      await client.query('alter table private.client_detail_versions disable trigger user');
      await client.query(
        "update private.client_detail_versions set ciphertext = left(ciphertext, -2) || 'AA' where client_id = $1",
        [own.clients[1]],
      );
      await client.query('alter table private.client_detail_versions enable trigger user');
      await client.query('commit');
    });
    const answer = await names(own.admin, own.clients.slice(0, 2));
    expect(answer.body.data).toMatchObject({
      clients: [{ clientId: own.clients[0], name: { given_name: 'Ann' } }],
      notReadable: [own.clients[1]],
    });
    expect(await details(own.admin, { action: 'read', client_ids: own.clients.slice(0, 2) })).toMatchObject({
      status: 500,
      body: { code: 'CONTENT_UNREADABLE' },
    });
  });
});
