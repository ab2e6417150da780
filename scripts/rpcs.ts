/**
 * The database functions that apps may call, as the catalog describes them: for `docs/rpc.md`, and for the paths under
 * `/rest/v1/rpc` of `openapi.yaml`.
 */
import type pg from 'pg';

export type Json = Record<string, unknown>;

/** A function that apps may call. */
export interface CallableFunction {
  name: string;
  arguments: string;
  result: string;
  volatility: 'v' | 's' | 'i';
  comment: string | null;
  /** Its arguments, by name; `type` is an oid. */
  inputs: { name: string; type: number; optional: boolean }[];
  /** The columns of what it returns, when that is a table. */
  columns: { name: string; type: number }[];
}

const FUNCTIONS = `
  select known.proname as name, pg_get_function_arguments(known.oid) as arguments, pg_get_function_result(known.oid) as result,
    known.provolatile as volatility, obj_description(known.oid, 'pg_proc') as comment,
    coalesce((
      select jsonb_agg(jsonb_build_object(
        'name', known.proargnames[input.position], 'type', input.type::bigint,
        'optional', input.position > known.pronargs - known.pronargdefaults
      ) order by input.position)
      from unnest(known.proargtypes::oid[]) with ordinality as input (type, position)
    ), '[]') as inputs,
    coalesce((
      select jsonb_agg(jsonb_build_object('name', known.proargnames[output.position], 'type', output.type::bigint)
        order by output.position)
      from unnest(known.proallargtypes, known.proargmodes) with ordinality as output (type, mode, position)
      where output.mode = 't'
    ), '[]') as columns
  from pg_catalog.pg_proc as known
  where known.pronamespace = 'public'::regnamespace
    and known.prokind = 'f'
    and known.prorettype <> 'trigger'::regtype
    and has_function_privilege('authenticated', known.oid, 'execute')
    and not exists (select from pg_catalog.pg_depend where objid = known.oid and deptype = 'e')
  order by name, arguments`;

/** The functions that the role `authenticated` may execute, by name. */
export async function readRpcs(client: pg.Client): Promise<CallableFunction[]> {
  return (await client.query<CallableFunction>(FUNCTIONS)).rows;
}

interface SqlType {
  oid: number;
  name: string;
  kind: 'b' | 'c' | 'd' | 'e' | 'p' | 'r' | 'm';
  base: number;
  item: number;
  is_list: boolean;
  comment: string | null;
  labels: string[];
  checks: string[];
  fields: { name: string; type: number }[];
}

const TYPES = `
  select type.oid::integer as oid, type.typname as name, type.typtype as kind, type.typbasetype::integer as base,
    type.typelem::integer as item, type.typcategory = 'A' as is_list, obj_description(type.oid, 'pg_type') as comment,
    array(select label.enumlabel::text from pg_catalog.pg_enum as label where label.enumtypid = type.oid order by label.enumsortorder)
      as labels,
    array(select pg_get_constraintdef(own.oid) from pg_catalog.pg_constraint as own where own.contypid = type.oid) as checks,
    coalesce((
      select jsonb_agg(jsonb_build_object('name', field.attname, 'type', field.atttypid::bigint) order by field.attnum)
      from pg_catalog.pg_attribute as field
      where field.attrelid = type.typrelid and field.attnum > 0 and not field.attisdropped
    ), '[]') as fields
  from pg_catalog.pg_type as type
  where type.typnamespace in ('public'::regnamespace, 'private'::regnamespace)
    or (type.typnamespace = 'pg_catalog'::regnamespace and type.typtype = 'b')`;

/** What JSON has for the types of Postgres. Whatever is not here is text. */
const PLAIN: Readonly<Record<string, Json>> = {
  uuid: { type: 'string', format: 'uuid' },
  bool: { type: 'boolean' },
  int2: { type: 'integer' },
  int4: { type: 'integer' },
  int8: { type: 'integer' },
  numeric: { type: 'number' },
  timestamptz: { type: 'string', format: 'date-time' },
  date: { type: 'string', format: 'date' },
  json: {},
  jsonb: {},
};

/** The bounds that a domain checks, as far as JSON Schema has words for them. Its comment says the rest. */
function boundsOf(checks: readonly string[]): Json {
  const text = checks.join(' ');
  const number = (pattern: RegExp) => pattern.exec(text)?.[1];
  const words = /\(VALUE = ANY \(ARRAY\[(.*?)\]\)\)/.exec(text)?.[1];
  const found = {
    minimum: number(/\(VALUE >= '?\(?(-?\d+)/),
    maximum: number(/\(VALUE <= '?\(?(-?\d+)/),
    minItems: number(/\(cardinality\([^=]*\) >= (\d+)\)/),
    maxItems: number(/\(cardinality\([^=]*\) <= (\d+)\)/),
    maxLength: number(/\(length\([^=]*\) <= (\d+)\)/),
  };
  return {
    ...Object.fromEntries(
      Object.entries(found).flatMap(([key, value]) => (value ? [[key, Number(value)]] : [])),
    ),
    ...(words && { enum: [...words.matchAll(/'([^']*)'/g)].map(([, word]) => word) }),
  };
}

/** Types of the database as JSON Schema. */
export interface TypeSchemas {
  /** By oid, as a function's argument names it. */
  of(oid: number): Json;
  /** By name, without its schema. */
  named(name: string): Json;
}

/** Reads the types of a database. */
export async function readTypes(client: pg.Client): Promise<TypeSchemas> {
  const { rows } = await client.query<SqlType>(TYPES);
  const byOid = new Map(rows.map((type) => [type.oid, type]));
  function of(oid: number): Json {
    const type = byOid.get(oid);
    if (!type) return { type: 'string' };
    switch (type.kind) {
      case 'd':
        return {
          ...of(type.base),
          ...boundsOf(type.checks),
          ...(type.comment && { description: type.comment }),
        };
      case 'e':
        return { type: 'string', enum: type.labels };
      case 'c':
        return {
          type: 'object',
          properties: Object.fromEntries(type.fields.map((field) => [field.name, of(field.type)])),
        };
      default:
        return type.is_list
          ? { type: 'array', items: of(type.item) }
          : (PLAIN[type.name] ?? { type: 'string' });
    }
  }
  function named(name: string): Json {
    if (name.endsWith('[]')) return { type: 'array', items: named(name.slice(0, -2)) };
    const found = rows.filter((type) => type.name === name);
    if (found.length !== 1) throw new Error(`There are ${found.length} types called ${name}.`);
    return of(found[0]?.oid ?? 0);
  }
  return { of, named };
}

/** A type of the database, a choice of several, or fields with the names of their types; and what must be given. */
type RequestForm = {
  readonly type?: string | readonly string[];
  readonly fields?: Readonly<Record<string, string>>;
  readonly required?: readonly string[];
};

/** A note as the edge function sealed it. */
const SEALED_NOTE = {
  session_id: 'uuid',
  base_version: 'int4',
  id: 'uuid',
  ciphertext: 'text',
  content_mac: 'text',
  facts_digest: 'text',
  proof: 'text',
};

const SEALED_NOTE_REQUIRED = Object.keys(SEALED_NOTE).filter((name) => name !== 'facts_digest');

/**
 * What the argument `request` of each function has, by the name of its type, or field by field where it has none; several
 * types are a choice. `tests/functions/rpc-contract.test.ts` asks every function for every field.
 */
export const REQUESTS: Readonly<Record<string, RequestForm>> = {
  amend_note: { fields: SEALED_NOTE, required: SEALED_NOTE_REQUIRED },
  add_closure: {
    fields: {
      name: 'text',
      from_date: 'civil_date',
      to_date: 'civil_date',
      start_time: 'instant',
      end_time: 'instant',
      cancel_sessions: 'bool',
      reason: 'reason',
    },
    required: ['name'],
  },
  add_staff_time: { type: 'staff_time_request', required: ['kind', 'time_zone', 'start_time', 'end_time'] },
  add_time_off: {
    fields: {
      therapist_id: 'uuid',
      from_date: 'civil_date',
      to_date: 'civil_date',
      start_time: 'instant',
      end_time: 'instant',
      cancel_sessions: 'bool',
      reason: 'reason',
    },
  },
  archive: { type: 'archive_request' },
  cancel_sessions: { type: 'cancel_request' },
  cancel_staff_time: { type: 'staff_time_end' },
  change_staff_time: { type: 'staff_time_change' },
  complete_session: { type: 'visit_request', required: ['session_id'] },
  confirm_sessions: { type: 'confirm_request', required: ['hold_key'] },
  correct_visit: { type: 'correction_request', required: ['session_id', 'base_version', 'reason_code'] },
  end_session: { type: 'visit_request', required: ['session_id'] },
  extend_series: { type: 'extend_request', required: ['series_id'] },
  find_alternatives: { type: ['hold_request', 'series_request'] },
  find_substitutes: {
    fields: { session_id: 'uuid', include_off_caseload: 'bool' },
    required: ['session_id'],
  },
  hold_reassignment: { type: 'reassignment_request', required: ['to_therapist_id'] },
  hold_sessions: { type: ['hold_request', 'series_request'] },
  import_sessions: {
    fields: { rows: 'import_row[]', dry_run: 'bool', on_conflict: 'text' },
    required: ['rows'],
  },
  mark_no_show: { type: 'visit_request', required: ['session_id'] },
  move_group: {
    fields: {
      group_id: 'uuid',
      therapist_id: 'uuid',
      room_id: 'uuid',
      time_zone: 'zone_name',
      start_time: 'instant',
      end_time: 'instant',
      start_time_offset_minutes: 'offset_minutes',
      end_time_offset_minutes: 'offset_minutes',
      override: 'override_request',
    },
    required: ['group_id', 'time_zone', 'start_time', 'end_time'],
  },
  preview_series: { type: ['hold_request', 'series_request'] },
  recode_sessions: { type: 'recode_request', required: ['session_ids', 'cpt_code'] },
  release_hold: { type: 'release_request', required: ['hold_key'] },
  revoke_calendar_feed: { fields: { feed_id: 'uuid' }, required: ['feed_id'] },
  set_credential: { type: 'credential_request', required: ['therapist_id', 'credential'] },
  start_session: { type: 'visit_request', required: ['session_id'] },
  note_history: { fields: { session_id: 'uuid' }, required: ['session_id'] },
  prepare_client_details: { fields: { client_id: 'uuid' }, required: ['client_id'] },
  prepare_note: { fields: { session_id: 'uuid', attempted: 'text' }, required: ['session_id'] },
  read_client_details: {
    fields: { client_ids: 'uuid[]', version: 'record_version' },
    required: ['client_ids'],
  },
  read_client_names: { fields: { client_ids: 'uuid[]' }, required: ['client_ids'] },
  read_note: {
    fields: { session_id: 'uuid', version: 'record_version', purpose: 'text' },
    required: ['session_id'],
  },
  save_client_details: {
    fields: {
      client_id: 'uuid',
      base_version: 'int4',
      id: 'uuid',
      ciphertext: 'text',
      content_mac: 'text',
      proof: 'text',
    },
    required: ['client_id', 'base_version', 'id', 'ciphertext', 'content_mac', 'proof'],
  },
  save_note_draft: { fields: SEALED_NOTE, required: SEALED_NOTE_REQUIRED },
  sign_note: { fields: SEALED_NOTE, required: SEALED_NOTE_REQUIRED },
  start_data_key: {
    fields: { key_id: 'uuid', wrapped_key: 'text', proof: 'text' },
    required: ['key_id', 'wrapped_key', 'proof'],
  },
  touched_sessions: { type: 'touched_request' },
};
