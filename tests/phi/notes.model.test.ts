/**
 * Random walks through the life of a note: drafts, signatures, amendments and reads by everybody, while its session is
 * started, completed, cancelled or missed. After every step the database must say what a small model says.
 *
 * `MODEL_RUNS=500` walks longer; a failure prints its seed and the shortest walk that shows it.
 */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Clinic, openClinic, window } from '../functions/clinic.ts';
import { beginSession } from '../setup/begin-session.ts';
import { connect, transactionAs } from '../setup/db.ts';
import { proofOf } from '../setup/proofs.ts';

const runs = Number(process.env.MODEL_RUNS ?? 40);

type Who = 'rbt' | 'bcba' | 'admin' | 'superAdmin' | 'parent';
type Status = 'scheduled' | 'in_progress' | 'completed' | 'cancelled' | 'no_show';
type Step =
  | { write: 'save_note_draft' | 'sign_note' | 'amend_note'; who: Who; behind: number }
  | { read: number | null; who: Who }
  | { become: Status };

const who = fc.constantFrom<Who>('rbt', 'rbt', 'rbt', 'rbt', 'bcba', 'admin', 'superAdmin', 'parent');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      write: fc.constantFrom('save_note_draft', 'sign_note', 'amend_note'),
      who,
      // How far the writer's copy is from the newest version.
      behind: fc.constantFrom(0, 0, 0, 0, 1, -1),
    }),
  },
  { weight: 2, arbitrary: fc.record({ read: fc.option(fc.integer({ min: 1, max: 6 })), who }) },
  {
    weight: 1,
    arbitrary: fc.record({
      become: fc.constantFrom<Status>('in_progress', 'in_progress', 'completed', 'cancelled', 'no_show'),
    }),
  },
);

const NEXT: Record<Status, Status[]> = {
  scheduled: ['in_progress', 'cancelled', 'no_show'],
  in_progress: ['completed', 'cancelled', 'no_show'],
  completed: [],
  cancelled: [],
  no_show: [],
};

/** What a note should be. */
class Note {
  status: Status = 'scheduled';
  readonly versions: { status: string; ciphertext: string }[] = [];
  /** Events it should have left: action, with the code of a refusal. */
  readonly events: string[] = [];

  /** A parent may never do any of this: what she tries is recorded, but not beside the session. */
  tell(who: Who, event: string): void {
    if (who !== 'parent') this.events.push(event);
  }

  get signed(): boolean {
    return this.versions.some(({ status }) => status !== 'draft');
  }

  write(step: Extract<Step, { write: string }>, base: number): string {
    if (step.who !== 'rbt') return 'FORBIDDEN';
    if (this.signed && step.write !== 'amend_note') return 'NOTE_SIGNED';
    if (!this.signed && step.write === 'amend_note') return 'NOTE_NOT_SIGNED';
    if (base !== this.versions.length) return 'NOTE_VERSION_CONFLICT';
    const ended = this.status === 'cancelled' || this.status === 'no_show';
    if (step.write === 'save_note_draft' && ended) return 'SESSION_NOT_DOCUMENTABLE';
    if (step.write === 'sign_note' && (ended || this.status === 'scheduled'))
      return 'SESSION_NOT_DOCUMENTABLE';
    return 'ok';
  }

  read(step: Extract<Step, { read: number | null }>): string {
    if (step.who === 'bcba' || step.who === 'parent') return 'FORBIDDEN';
    const version = step.read ?? this.versions.length;
    return version >= 1 && version <= this.versions.length ? 'ok' : 'NOTE_NOT_FOUND';
  }
}

const KEPT_AS = { save_note_draft: 'draft', sign_note: 'signed', amend_note: 'amended' } as const;
const EVENT = {
  save_note_draft: 'note.saved',
  sign_note: 'note.signed',
  amend_note: 'note.amended',
} as const;

let clinic: Clinic;
let client: pg.Client;
const keyId = randomUUID();
let day = 0;

async function newSession(): Promise<string> {
  const { start_time, end_time } = window(day++ % 600, Math.floor(day / 600), 1);
  const { rows } = await client.query(
    `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
      values ($1, $2, $3, $4, $5, 'UTC') returning id`,
    [clinic.organizationId, clinic.rbt.id, clinic.clients[0], start_time, end_time],
  );
  return rows[0].id;
}

/** Calls a function as somebody; what it answered, or raised. */
// biome-ignore lint/suspicious/noExplicitAny: outcomes differ by function
async function call(person: Who, rpc: string, request: object): Promise<any> {
  const claims = { sub: clinic[person].id, org_id: clinic.organizationId };
  return transactionAs(client, claims, async () => {
    const { rows } = await client.query(`select public.${rpc}($1) as outcome`, [request]);
    return rows[0].outcome;
  });
}

async function take(step: Step, note: Note, session_id: string): Promise<void> {
  if ('become' in step) {
    if (!NEXT[note.status].includes(step.become)) return;
    if (step.become === 'in_progress' || step.become === 'no_show')
      await beginSession(client, session_id, step.become);
    else
      await client.query('update public.sessions set status = $1 where id = $2', [step.become, session_id]);
    note.status = step.become;
    return;
  }
  if ('read' in step) {
    const expected = note.read(step);
    const outcome = await call(step.who, 'read_note', { session_id, version: step.read });
    expect(outcome.code ?? 'ok').toBe(expected);
    note.tell(step.who, expected === 'ok' ? 'note.read' : `note.refused ${expected}`);
    if (expected === 'ok')
      expect(outcome.body.ciphertext).toBe(
        note.versions[(step.read ?? note.versions.length) - 1]?.ciphertext,
      );
    return;
  }
  const base_version = Math.max(0, note.versions.length - step.behind);
  const expected = note.write(step, base_version);
  const text = Buffer.from(randomUUID()).toString('base64url');
  const ciphertext = `tsb1.${keyId}.AAAAAAAAAAAAAAAA.${text}`;
  const { rows } = await client.query(
    'select private.text_digest(private.session_facts(session)::text) as digest from public.sessions as session where id = $1',
    [session_id],
  );
  const facts_digest: string = rows[0].digest;
  const id = randomUUID();
  const status = KEPT_AS[step.write];
  const proof = proofOf(
    [
      ...['session_note_versions', clinic.organizationId, session_id, id, status, base_version + 1],
      ...[clinic[step.who].id, status === 'draft' ? 'draft' : facts_digest],
    ],
    ciphertext,
  );
  const sealed = { id, ciphertext, content_mac: '0'.repeat(64), facts_digest, proof };
  const request = { session_id, base_version, ...sealed };
  const outcome = await call(step.who, step.write, request);
  expect(outcome.code ?? 'ok').toBe(expected);
  note.tell(step.who, expected === 'ok' ? EVENT[step.write] : `note.refused ${expected}`);
  if (expected === 'ok') note.versions.push({ status: KEPT_AS[step.write], ciphertext });
}

beforeAll(async () => {
  clinic = await openClinic();
  client = await connect();
  const wrapped = `twk1.model.AAAAAAAAAAAAAAAA.${'A'.repeat(107)}`;
  await client.query(
    'insert into private.data_keys (organization_id, id, wrapped_key, proof) values ($1, $2, $3, $4)',
    [clinic.organizationId, keyId, wrapped, proofOf(['data_keys', clinic.organizationId, keyId], wrapped)],
  );
});
afterAll(() => client?.end());

it('a note is what its writer saved and signed, whatever happens around it', {
  timeout: 60_000 + runs * 2000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
      const session_id = await newSession();
      const note = new Note();
      for (const each of steps) {
        await take(each, note, session_id);
        const { rows } = await client.query(
          `select
            (select coalesce(json_agg(json_build_object('status', status, 'ciphertext', ciphertext) order by version), '[]')
              from private.session_note_versions where session_id = $1) as versions,
            (select array[status, version::text] from public.session_note_states where session_id = $1) as state`,
          [session_id],
        );
        expect(rows[0].versions).toEqual(note.versions);
        const newest = note.versions.at(-1);
        expect(rows[0].state).toEqual(newest ? [newest.status, String(note.versions.length)] : null);
      }
      const { rows } = await client.query(
        `select concat_ws(' ', action, code) as event from audit.events
          where entity = 'note' and entity_ids @> array[$1::uuid] order by recorded_at`,
        [session_id],
      );
      expect(rows.map(({ event }) => event)).toEqual(note.events);
    }),
    { numRuns: runs },
  );
  const { rows } = await client.query('select * from audit.verify($1)', [clinic.organizationId]);
  expect(rows).toEqual([]);
});
