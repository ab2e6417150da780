/** openapi.yaml says what the database functions take: each is asked for each of its fields. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { type Clinic, openClinic, window } from './clinic.ts';

type Schema = {
  $ref?: string;
  type?: string | string[];
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  allOf?: Schema[];
  anyOf?: Schema[];
};
type Operation = { requestBody?: { content: { 'application/json': { schema: Schema } } } };

const document: {
  paths: Record<string, { post: Operation }>;
  components: { schemas: Record<string, Schema> };
} = parse(readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8'));
const prefix = '/rest/v1/rpc/';
const rpcs = Object.entries(document.paths)
  .filter(([path]) => path.startsWith(prefix))
  .map(([path, { post }]) => [path.slice(prefix.length), post] as const);

/** All fields and all that is required of a schema, whatever it refers to or chooses among. */
function fieldsOf(schema: Schema): { properties: Record<string, Schema>; required: string[] } {
  const referred =
    schema.$ref && document.components.schemas[schema.$ref.replace('#/components/schemas/', '')];
  const parts = [...(referred ? [referred] : []), ...(schema.allOf ?? []), ...(schema.anyOf ?? [])].map(
    fieldsOf,
  );
  return {
    properties: Object.assign({}, schema.properties, ...parts.map(({ properties }) => properties)),
    required: [
      ...(schema.required ?? []),
      ...(schema.anyOf ? [] : parts.flatMap(({ required }) => required)),
    ],
  };
}

const requests = rpcs.flatMap(([name, { requestBody }]) => {
  const request = requestBody?.content['application/json'].schema.properties?.request;
  return request ? [[name, fieldsOf(request)] as const] : [];
});

let clinic: Clinic;
const groupId = randomUUID();
beforeAll(async () => {
  clinic = await openClinic();
  // move_group says whose group it is before it reads the rest.
  await withConnection(async (db) => {
    const { start_time, end_time } = window(20, 10);
    const at = [clinic.organizationId, groupId, clinic.bcba.id, start_time, end_time];
    await db.query(
      'insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values ($1, $2, $3, $4, $5)',
      at,
    );
    await db.query(
      `insert into public.sessions (organization_id, group_id, therapist_id, start_time, end_time, client_id, time_zone, cpt_code)
       select $1, $2, $3, $4, $5, client, 'UTC', '97154' from unnest($6::uuid[]) as client`,
      [...at, clinic.clients.slice(0, 2)],
    );
  });
});

/** A value that the field takes. */
function sample({ type, format }: Schema, name: string): unknown {
  const values: Record<string, unknown> = {
    ...{ group_id: groupId, client_ids: [randomUUID()], session_ids: [randomUUID()], kind: 'break' },
    ...{ time_zone: 'UTC', start_time: window(21, 10).start_time, end_time: window(21, 10).end_time },
    ...{ reason_code: 'by_mistake', cpt_code: '97153', credential: 'RBT' },
  };
  if (name in values) return values[name];
  if (format === 'uuid') return randomUUID();
  return { integer: 1, boolean: true, array: [], object: {} }[String(type)] ?? 'x';
}
/** A value of another JSON type. */
const wrong = ({ type }: Schema) => (type === 'string' ? 7 : 'x');

async function issuesOf(name: string, request: object): Promise<string[]> {
  const response = await fetch(`${stack.apiUrl}${prefix}${name}`, {
    method: 'POST',
    headers: {
      apikey: stack.publishableKey,
      authorization: `Bearer ${clinic.admin.token}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ request }),
  });
  const body = await response.json();
  if (response.status !== 400) throw new Error(`${name}: ${response.status} ${JSON.stringify(body)}`);
  return JSON.parse(body.details).map(({ path }: { path: string }) => path);
}

it('openapi.yaml has every database function that a user may call, and no other', async () => {
  const { rows } = await withConnection((db) =>
    db.query(`select distinct proname as name from pg_catalog.pg_proc as known
      where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype
        and has_function_privilege('authenticated', oid, 'execute')
        and not exists (select from pg_catalog.pg_depend as dependent where dependent.objid = known.oid and deptype = 'e')`),
  );
  expect(rows.length).toBeGreaterThan(40);
  expect(rpcs.map(([name]) => name).sort()).toEqual(rows.map(({ name }) => name).sort());
});

describe.each(requests)('%s', (name, { properties, required }) => {
  const givenBut = (left: string) => ({
    // An admin has no time of their own.
    ...(name === 'add_time_off' && { therapist_id: clinic.rbt.id }),
    ...(name === 'add_staff_time' && { therapist_ids: [clinic.rbt.id] }),
    ...Object.fromEntries(
      required
        .filter((field) => field !== left)
        .map((field) => [field, sample(properties[field] as Schema, field)]),
    ),
  });

  it('reads each field that openapi.yaml tells of', async () => {
    expect(Object.keys(properties).length).toBeGreaterThan(0);
    const given = givenBut('');
    const unread: string[] = [];
    for (const [field, schema] of Object.entries(properties)) {
      // An object or any JSON: what is in it is told by its own fields.
      const paths = await issuesOf(name, { ...given, [field]: wrong(schema) });
      if (!paths.some((path) => path === field || path.startsWith(`${field}.`))) unread.push(field);
    }
    expect(unread).toEqual([]);
  });

  it('asks for each field that openapi.yaml requires', async () => {
    for (const left of required) {
      const given = givenBut(left);
      const paths = await issuesOf(name, given);
      expect(paths.some((path) => path === left || path.startsWith(`${left}.`) || path === '')).toBe(true);
    }
  });
});
