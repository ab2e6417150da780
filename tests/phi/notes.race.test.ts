/** Many at once, each on a connection opened just before: one wins, the others are told so, nobody deadlocks. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { beforeAll, expect, it } from 'vitest';
import { type Clinic, openClinic, type Person, window } from '../functions/clinic.ts';
import { beginSession } from '../setup/begin-session.ts';
import { connect, transactionAs, withConnection } from '../setup/db.ts';
import { proofOf } from '../setup/proofs.ts';

const rivals = 24;
const rounds = 4;

let clinic: Clinic;
let keyId = '';
let day = 0;

const wrapped = () => `twk1.race.AAAAAAAAAAAAAAAA.${'A'.repeat(107)}`;

async function newSession(): Promise<string> {
  const { start_time, end_time } = window(day++, 10);
  return withConnection(async (client) => {
    const { rows } = await client.query(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
        values ($1, $2, $3, $4, $5, 'UTC') returning id`,
      [clinic.organizationId, clinic.rbt.id, clinic.clients[0], start_time, end_time],
    );
    await beginSession(client, rows[0].id);
    return rows[0].id;
  });
}

/** Lets all calls start together; what each was answered. */
// biome-ignore lint/suspicious/noExplicitAny: outcomes differ by function
async function race(calls: { person: Person; rpc: string; request: object }[]): Promise<any[]> {
  const clients: pg.Client[] = await Promise.all(calls.map(() => connect()));
  try {
    return await Promise.all(
      calls.map(({ person, rpc, request }, index) => {
        const client = clients[index] as pg.Client;
        return transactionAs(client, { sub: person.id, org_id: clinic.organizationId }, async () => {
          const { rows } = await client.query(`select public.${rpc}($1) as outcome`, [request]);
          return rows[0].outcome;
        });
      }),
    );
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
}

const STATUS: Record<string, string> = { save_note_draft: 'draft', sign_note: 'signed' };

async function saving(session_id: string, rpc: string, base_version: number) {
  const text = Buffer.from(randomUUID()).toString('base64url');
  const ciphertext = `tsb1.${keyId}.AAAAAAAAAAAAAAAA.${text}`;
  const facts_digest = await factsDigest(session_id);
  const id = randomUUID();
  const status = STATUS[rpc] ?? '';
  const proof = proofOf(
    [
      ...['session_note_versions', clinic.organizationId, session_id, id, status, base_version + 1],
      ...[clinic.rbt.id, status === 'draft' ? 'draft' : facts_digest],
    ],
    ciphertext,
  );
  const sealed = { id, ciphertext, content_mac: '0'.repeat(64), facts_digest, proof };
  return { person: clinic.rbt, rpc, request: { session_id, base_version, ...sealed } };
}

async function factsDigest(session_id: string): Promise<string> {
  return withConnection(async (client) => {
    const { rows } = await client.query(
      'select private.text_digest(private.session_facts(session)::text) as digest from public.sessions as session where id = $1',
      [session_id],
    );
    return rows[0].digest;
  });
}

function newKey() {
  const key_id = randomUUID();
  const wrapped_key = wrapped();
  return { key_id, wrapped_key, proof: proofOf(['data_keys', clinic.organizationId, key_id], wrapped_key) };
}

beforeAll(async () => {
  clinic = await openClinic();
});

it('an organization has one first data key, whoever makes it', async () => {
  const people = [clinic.rbt, clinic.bcba, clinic.admin];
  const outcomes = await race(
    Array.from({ length: rivals }, (_, index) => ({
      person: people[index % people.length] as Person,
      rpc: 'start_data_key',
      request: newKey(),
    })),
  );
  const ids = new Set(outcomes.map(({ body }) => body.key.keyId));
  expect(ids.size).toBe(1);
  keyId = [...ids][0];
});

it('a version is saved once', async () => {
  const session_id = await newSession();
  for (let base = 0; base < rounds; base++) {
    const calls = await Promise.all(
      Array.from({ length: rivals }, () => saving(session_id, 'save_note_draft', base)),
    );
    const outcomes = await race(calls);
    expect(outcomes.filter(({ ok }) => ok)).toHaveLength(1);
    for (const { ok, code } of outcomes) if (!ok) expect(code).toBe('NOTE_VERSION_CONFLICT');
  }
});

it('a note is signed once, while others draft and somebody cancels its session', async () => {
  for (let round = 0; round < rounds; round++) {
    const session_id = await newSession();
    const calls = await Promise.all(
      Array.from({ length: rivals }, (_, index) =>
        index % 8 === 7
          ? { person: clinic.admin, rpc: 'cancel_sessions', request: { session_ids: [session_id] } }
          : saving(session_id, index % 2 === 0 ? 'sign_note' : 'save_note_draft', 0),
      ),
    );
    const outcomes = await race(calls);
    const { rows } = await withConnection((client) =>
      client.query('select status from private.session_note_versions where session_id = $1', [session_id]),
    );
    expect(rows.length).toBeLessThanOrEqual(1);
    const saved = outcomes.filter(({ ok, body }) => ok && body.note);
    expect(saved.map(({ body }) => body.note.status)).toEqual(rows.map(({ status }) => status));
  }
});
