/** Signed notes, as `session-notes` leaves them, for tests that are of what comes after. Their content opens nowhere. */
import type pg from 'pg';
import { proofKey } from './proofs.ts';

/** Signs the notes of these sessions of one organization, each as its therapist. They need no data key: they get one. */
export async function signNotes(
  db: pg.ClientBase,
  organizationId: string,
  sessionIds: readonly string[],
): Promise<void> {
  await db.query(
    `create or replace function pg_temp.proof(statement text[], key bytea) returns text language sql as $$
      select 'tsp1.local-development.' || translate(rtrim(encode(extensions.hmac(
        convert_to(lower('tsp1|' || array_to_string(statement, '|')), 'UTF8'), key, 'sha256'), 'base64'), '='), '+/', '-_')
    $$`,
  );
  await db.query(
    `insert into private.data_keys (organization_id, id, wrapped_key, proof)
    select (made.key).organization_id, (made.key).id, (made.key).wrapped_key,
      pg_temp.proof(private.data_key_statement(made.key), $2)
    from (
      select jsonb_populate_record(null::private.data_keys, jsonb_build_object(
        'organization_id', $1::uuid, 'id', $1::uuid, 'wrapped_key', 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107))) as key
    ) as made
    where not exists (select from private.data_keys where organization_id = $1 and id = $1)`,
    [organizationId, proofKey],
  );
  await db.query(
    `insert into private.session_note_versions
    select (jsonb_populate_record(made.note, jsonb_build_object('proof', pg_temp.proof(private.note_statement(made.note), $2)))).*
    from (
      select jsonb_populate_record(null::private.session_note_versions, jsonb_build_object(
        'organization_id', session.organization_id, 'session_id', session.id, 'id', gen_random_uuid(), 'version', 1,
        'status', 'signed', 'data_key_id', $1::uuid, 'ciphertext', concat_ws('.', 'tsb1', $1::uuid, 'AAAAAAAAAAAAAAAA', repeat('A', 32)),
        'saved_by', session.therapist_id, 'saved_at', now(), 'signed_at', now(), 'credential', 'RBT',
        'attested', private.session_facts(session))) as note
      from public.sessions as session
      where session.organization_id = $1 and session.id = any ($3::uuid[])
    ) as made`,
    [organizationId, proofKey, sessionIds],
  );
}
