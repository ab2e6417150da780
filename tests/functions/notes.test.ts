/** The note of a session over HTTP: written, signed, amended, read; and what is kept of it. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { beginSession } from '../setup/begin-session.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import {
  type Answer,
  addUser,
  book,
  type Clinic,
  call,
  openClinic,
  type Person,
  signIn,
  window,
} from './clinic.ts';

const whole = {
  narratives: [{ cpt_code: '97153', narrative: 'Ten trials of requesting.' }],
  client_response: 'Calm throughout.',
  progress: 'Eight of ten.',
  participants: ['Client', 'Technician'],
  location: 'Clinic',
};

let clinic: Clinic;
let days = 0;

/** A session of the technician's on a day of its own. */
async function newSession(begun = true): Promise<string> {
  const id = await book(clinic.rbt, clinic.clients[0], window(++days, 10));
  if (begun) await begin(id);
  return id;
}

async function begin(sessionId: string): Promise<void> {
  await withConnection((client) => beginSession(client, sessionId));
}

function notes(person: Person | null, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  return call('session-notes', person, body, headers);
}

function save(session_id: string, base_version: number, content: object, headers = {}): Promise<Answer> {
  return notes(clinic.rbt, { action: 'save_draft', session_id, base_version, content }, headers);
}

/** A signed note: version 2. */
async function signedNote(): Promise<string> {
  const session_id = await newSession();
  await save(session_id, 0, whole);
  const signed = await notes(clinic.rbt, { action: 'sign', session_id, base_version: 1 });
  expect(signed.status).toBe(200);
  return session_id;
}

/** The audit's note events of a session, oldest first: `action` or `action CODE`. */
async function events(sessionId: string): Promise<string[]> {
  return withConnection(async (client) => {
    const { rows } = await client.query(
      `select concat_ws(' ', action, code) as event from audit.events
        where organization_id = $1 and entity = 'note' and entity_ids @> array[$2::uuid] order by recorded_at`,
      [clinic.organizationId, sessionId],
    );
    return rows.map(({ event }) => event);
  });
}

beforeAll(async () => {
  clinic = await openClinic();
});

describe('a note', () => {
  it('is drafted, drafted again, signed as it stands, amended, and every version stays readable', async () => {
    const session_id = await newSession();
    const first = await save(session_id, 0, { progress: 'Eight.' });
    expect(first.body).toEqual({
      success: true,
      data: {
        note: {
          sessionId: session_id,
          versionId: expect.any(String),
          version: 1,
          status: 'draft',
          savedBy: clinic.rbt.id,
          savedAt: expect.stringMatching(/Z$/),
          signature: null,
        },
      },
    });
    expect((await save(session_id, 1, whole)).body.data.note.version).toBe(2);
    const signed = await notes(clinic.rbt, { action: 'sign', session_id, base_version: 2 });
    expect(signed.body.data.note).toMatchObject({
      version: 3,
      status: 'signed',
      signature: {
        signedBy: clinic.rbt.id,
        credential: 'RBT',
        attested: { therapistId: clinic.rbt.id, clientId: clinic.clients[0], timeZone: 'UTC' },
      },
    });
    const amended = await notes(clinic.rbt, {
      action: 'amend',
      session_id,
      base_version: 3,
      content: { ...whole, progress: 'Nine of ten.' },
      reason: 'Miscounted.',
    });
    expect(amended.body.data.note).toMatchObject({ version: 4, status: 'amended' });

    const newest = await notes(clinic.admin, { action: 'read', session_id });
    expect(newest.body.data.note).toMatchObject({
      version: 4,
      content: { ...whole, progress: 'Nine of ten.' },
      reason: 'Miscounted.',
    });
    const asSigned = await notes(clinic.admin, { action: 'read', session_id, version: 3 });
    expect(asSigned.body.data.note).toMatchObject({ content: whole, reason: null });
    expect(
      (await notes(clinic.rbt, { action: 'read', session_id, version: 1 })).body.data.note.content,
    ).toEqual({
      progress: 'Eight.',
    });
    const history = await notes(clinic.superAdmin, { action: 'history', session_id });
    expect(history.body.data.versions.map(({ status }: { status: string }) => status)).toEqual([
      'draft',
      'draft',
      'signed',
      'amended',
    ]);
    expect(JSON.stringify(history.body)).not.toContain('trials');
    expect(await events(session_id)).toEqual([
      ...['note.saved', 'note.saved', 'note.read', 'note.signed', 'note.amended'],
      ...['note.read', 'note.read', 'note.read', 'note.history_read'],
    ]);
  });

  it('can be signed in one step with its content', async () => {
    const session_id = await newSession();
    const answer = await notes(clinic.rbt, { action: 'sign', session_id, base_version: 0, content: whole });
    expect(answer.body.data.note).toMatchObject({ version: 1, status: 'signed' });
  });

  it('is not signed while something is missing, and the answer lists it', async () => {
    const session_id = await newSession();
    await save(session_id, 0, { progress: 'Eight.' });
    const answer = await notes(clinic.rbt, { action: 'sign', session_id, base_version: 1 });
    expect(answer.status).toBe(400);
    expect(answer.body.code).toBe('MISSING_FIELDS');
    expect(answer.body.issues.map(({ path }: { path: string }) => path)).toEqual([
      ...['content.narratives', 'content.client_response', 'content.participants', 'content.location'],
    ]);
  });

  it('is not signed before its session has begun', async () => {
    const session_id = await newSession(false);
    await save(session_id, 0, whole);
    const answer = await notes(clinic.rbt, { action: 'sign', session_id, base_version: 1 });
    expect(answer).toMatchObject({
      status: 409,
      body: { code: 'SESSION_NOT_DOCUMENTABLE', retryAfter: null },
    });
  });

  it('takes no more drafts or signatures once it is signed, and no amendment before', async () => {
    const session_id = await signedNote();
    expect((await save(session_id, 2, whole)).body.code).toBe('NOTE_SIGNED');
    const again = await notes(clinic.rbt, { action: 'sign', session_id, base_version: 2 });
    expect(again).toMatchObject({ status: 409, body: { code: 'NOTE_SIGNED' } });
    const draft = await newSession();
    await save(draft, 0, whole);
    const early = { action: 'amend', session_id: draft, base_version: 1, content: whole, reason: 'x' };
    expect((await notes(clinic.rbt, early)).body.code).toBe('NOTE_NOT_SIGNED');
  });

  it('that does not exist is 404', async () => {
    const session_id = await newSession();
    expect(await notes(clinic.rbt, { action: 'read', session_id })).toMatchObject({
      status: 404,
      body: { code: 'NOTE_NOT_FOUND' },
    });
  });
});

describe('two windows', () => {
  it('saving at once: one wins, the other is told to read again', async () => {
    const session_id = await newSession();
    for (let base = 0; base < 4; base++) {
      const answers = await Promise.all(
        Array.from({ length: 5 }, (_, index) => save(session_id, base, { remarks: `window ${index}` })),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409, 409]);
      for (const { status, body } of answers)
        if (status === 409) expect(body.code).toBe('NOTE_VERSION_CONFLICT');
    }
    const read = await notes(clinic.rbt, { action: 'read', session_id });
    expect(read.body.data.note.version).toBe(4);
  });

  it('needing the first data key of an organization at once use the same one', async () => {
    const fresh = await openClinic();
    const sessions = await Promise.all(
      [0, 1, 2, 3].map((index) => book(fresh.rbt, fresh.clients[0], window(index, 10))),
    );
    const answers = await Promise.all(
      sessions.map((session_id) =>
        call('session-notes', fresh.rbt, {
          action: 'save_draft',
          session_id,
          base_version: 0,
          content: whole,
        }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    for (const session_id of sessions) {
      const read = await call('session-notes', fresh.rbt, { action: 'read', session_id });
      expect(read.body.data.note.content).toEqual(whole);
    }
    const { rows } = await withConnection((client) =>
      client.query('select 1 from private.data_keys where organization_id = $1', [fresh.organizationId]),
    );
    expect(rows).toHaveLength(1);
  });
});

describe('a retry', () => {
  it('with the same key and content has one effect and the same answer', async () => {
    const session_id = await newSession();
    const key = { 'idempotency-key': randomUUID() };
    const answers = await Promise.all([save(session_id, 0, whole, key), save(session_id, 0, whole, key)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(answers[0].body).toEqual(answers[1].body);
    const later = await save(session_id, 0, whole, key);
    expect(later.headers.get('idempotent-replay')).toBe('true');
    expect(await events(session_id)).toEqual(['note.saved']);
  });

  it('of a signature answers the signature', async () => {
    const session_id = await newSession();
    await save(session_id, 0, whole);
    const key = { 'idempotency-key': randomUUID() };
    const sign = () => notes(clinic.rbt, { action: 'sign', session_id, base_version: 1 }, key);
    const [first, second] = [await sign(), await sign()];
    expect(second.status).toBe(200);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get('idempotent-replay')).toBe('true');
  });

  it('with the same key and other content is refused', async () => {
    const session_id = await newSession();
    const key = { 'idempotency-key': randomUUID() };
    await save(session_id, 0, whole, key);
    const other = await save(session_id, 0, { ...whole, progress: 'Nine.' }, key);
    expect(other).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_KEY_REUSED' } });
  });

  it('keeps nothing of the note', async () => {
    const { rows } = await withConnection((client) =>
      client.query(
        "select response from private.idempotency_keys where organization_id = $1 and endpoint = 'session-notes'",
        [clinic.organizationId],
      ),
    );
    expect(rows.length).toBeGreaterThan(0);
    for (const { response } of rows) {
      expect(Object.keys(response)).toEqual(['note']);
      expect(JSON.stringify(response)).not.toMatch(/tsb1|content|trials/);
    }
  });
});

describe('somebody else', () => {
  it('neither writes nor signs nor amends: not another therapist, an admin or a parent', async () => {
    const session_id = await newSession();
    for (const person of [clinic.bcba, clinic.admin, clinic.superAdmin, clinic.parent])
      for (const action of ['save_draft', 'sign', 'amend']) {
        const body = { action, session_id, base_version: 0, content: whole, reason: 'x' };
        expect(await notes(person, body)).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
      }
    // A parent's attempts leave their events without the session's id: she may never do this.
    expect(await events(session_id)).toEqual(Array(9).fill('note.refused FORBIDDEN'));
  });

  it('does not read: not another therapist, a parent or another clinic', async () => {
    const session_id = await signedNote();
    const other = await openClinic();
    for (const person of [clinic.bcba, clinic.parent, other.admin, other.superAdmin])
      for (const action of ['read', 'history'])
        expect(await notes(person, { action, session_id })).toMatchObject({
          status: 403,
          body: { code: 'FORBIDDEN' },
        });
    const outsider = await signIn(await addUser('outsider'));
    expect((await notes(outsider, { action: 'read', session_id })).body.code).toBe('ORGANIZATION_REQUIRED');
    expect((await notes(null, { action: 'read', session_id })).status).toBe(401);
  });

  it('is not told whether a session exists', async () => {
    const unknown = await notes(clinic.bcba, { action: 'read', session_id: randomUUID() });
    const foreign = await notes(clinic.bcba, { action: 'read', session_id: await newSession() });
    expect({ ...unknown.body, requestId: '' }).toEqual({ ...foreign.body, requestId: '' });
  });

  it('with a still valid token reads nothing once removed', async () => {
    const fresh = await openClinic();
    const session_id = await book(fresh.rbt, fresh.clients[0], window(0, 10));
    const body = { action: 'save_draft', session_id, base_version: 0, content: whole };
    expect((await call('session-notes', fresh.rbt, body)).status).toBe(200);
    await withConnection((client) =>
      client.query('delete from public.memberships where organization_id = $1 and user_id = $2', [
        fresh.organizationId,
        fresh.rbt.id,
      ]),
    );
    expect(await call('session-notes', fresh.rbt, { action: 'read', session_id })).toMatchObject({
      status: 403,
      body: { code: 'FORBIDDEN' },
    });
  });

  it('finds nothing over REST', async () => {
    await signedNote();
    for (const table of ['session_note_versions', 'client_detail_versions', 'data_keys']) {
      const response = await fetch(`${stack.apiUrl}/rest/v1/${table}`, {
        headers: { apikey: stack.publishableKey, authorization: `Bearer ${clinic.superAdmin.token}` },
      });
      expect(response.status).toBe(404);
    }
    const states = async (person: Person) => {
      const response = await fetch(`${stack.apiUrl}/rest/v1/session_note_states?select=status`, {
        headers: { apikey: stack.publishableKey, authorization: `Bearer ${person.token}` },
      });
      return ((await response.json()) as unknown[]).length;
    };
    expect(await states(clinic.admin)).toBeGreaterThan(0);
    expect(await states(clinic.parent)).toBe(0);
    expect(await states(clinic.bcba)).toBe(0);
  });
});

describe('a ciphertext', () => {
  /** As an attacker with the database in her hands would: triggers off, then on again. */
  async function tamper(sql: string, parameters: unknown[]): Promise<void> {
    await withConnection(async (client) => {
      await client.query('begin');
      await client.query('alter table private.session_note_versions disable trigger user');
      await client.query(sql, parameters);
      await client.query('alter table private.session_note_versions enable trigger user');
      await client.query('commit');
    });
  }

  async function expectUnreadable(session_id: string): Promise<void> {
    const answer = await notes(clinic.rbt, { action: 'read', session_id });
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ code: 'CONTENT_UNREADABLE', success: false });
    expect(JSON.stringify(answer.body)).not.toMatch(/tsb1|trials|decrypt|Error/);
  }

  it('copied onto another note does not open', async () => {
    const [from, onto] = [await newSession(), await newSession()];
    await save(from, 0, whole);
    await save(onto, 0, whole);
    await tamper(
      `update private.session_note_versions as version set ciphertext = copied.ciphertext
        from private.session_note_versions as copied
        where version.session_id = $1 and copied.session_id = $2`,
      [onto, from],
    );
    await expectUnreadable(onto);
    expect((await notes(clinic.rbt, { action: 'read', session_id: from })).status).toBe(200);
  });

  it('moved to another session, row and all, does not open', async () => {
    const [from, onto] = [await newSession(), await newSession()];
    await save(from, 0, whole);
    await tamper('update private.session_note_versions set session_id = $1 where session_id = $2', [
      onto,
      from,
    ]);
    await expectUnreadable(onto);
  });

  it('copied to another clinic does not open, whichever way its key is copied', async () => {
    const other = await openClinic();
    const session_id = await newSession();
    await save(session_id, 0, whole);
    const target = await book(other.rbt, other.clients[0], window(0, 10));
    const copyNote = `insert into private.session_note_versions
        (organization_id, session_id, id, version, status, data_key_id, ciphertext, proof, saved_by)
      select $1, $2, id, 1, 'draft', data_key_id, ciphertext, proof, $3
      from private.session_note_versions where session_id = $4`;
    const copyKey = `insert into private.data_keys (organization_id, id, wrapped_key, proof)
      select $1, id, wrapped_key, proof from private.data_keys where organization_id = $2`;
    const parameters = [other.organizationId, target, other.rbt.id, session_id];
    const keyParameters = [other.organizationId, clinic.organizationId];
    // The proofs are of the place they were made for. Without them, the seals still are.
    const insert = (sql: string, values: unknown[]) => withConnection((client) => client.query(sql, values));
    await expect(insert(copyNote, parameters)).rejects.toMatchObject({
      constraint: 'session_note_versions_proof',
    });
    await expect(insert(copyKey, keyParameters)).rejects.toMatchObject({ constraint: 'data_keys_proof' });
    await withConnection(async (client) => {
      await client.query('begin');
      await client.query('alter table private.data_keys disable trigger guard_data_key');
      await client.query(copyKey, keyParameters);
      await client.query('alter table private.data_keys enable trigger guard_data_key');
      await client.query('commit');
    });
    await tamper(copyNote, parameters);
    const answer = await call('session-notes', other.rbt, { action: 'read', session_id: target });
    expect(answer).toMatchObject({ status: 500, body: { code: 'CONTENT_UNREADABLE' } });
  });

  it('with one character changed does not open', async () => {
    const session_id = await newSession();
    await save(session_id, 0, whole);
    await tamper(
      `update private.session_note_versions
        set ciphertext = left(ciphertext, -10) || case substr(right(ciphertext, 10), 1, 1) when 'A' then 'B' else 'A' end
          || right(ciphertext, 9)
        where session_id = $1`,
      [session_id],
    );
    await expectUnreadable(session_id);
  });
});
