/** What there is to attack: everything the API shows, from the catalog, and the rows of the seed, with a few more. */
import type pg from 'pg';
import { addClinic, addPeople, installClinics } from '../setup/clinics.ts';

export type Column = { name: string; type: string; insertable?: boolean; updatable?: boolean };
export type Relation = { schema: string; name: string; columns: Column[]; kind: string };
/** `fields` are those of its `request`, as far as its own text names them. */
export type Routine = { name: string; arguments: Column[]; fields: string[] };
export type SessionRow = {
  id: string;
  therapist_id: string;
  client_id: string;
  series_id: string | null;
  facts_digest: string;
  therapist_email: string;
  version: number;
  start_time: string;
  status: string;
};
export type World = {
  relations: Relation[];
  routines: Routine[];
  ours: string[];
  theirs: string[];
  sessions: SessionRow[];
  therapists: string[];
  clients: string[];
  /** Bright Path's data key, whose id its therapists are told. */
  keyId: string;
  /** A group of Bright Path that is full, and its place. */
  full: { group_id: string; therapist_id: string; start_time: string; end_time: string };
  /** Sessions that could join it, but for its being full. */
  joiners: string[];
};

/** The clinic that attacks itself. */
export const BRIGHT = 'a0000000-0000-4000-8000-0000000000a0';
/** The clinic that nothing must happen to, and nothing be seen of. */
export const HARBOR = 'b0000000-0000-4000-8000-0000000000b0';
/** A clinic without a data key yet. */
export const LAKESIDE = 'd0000000-0000-4000-8000-0000000000d0';

const BCBA = 'a0000000-0000-4000-8000-000000000003';
const FULL = 'a0000000-0000-4000-8000-000000000901';
const OTHER = 'a0000000-0000-4000-8000-000000000902';

/** The other therapist of that clinic, who could take over what the first has. */
export const SUCCESSOR = 'd0000000-0000-4000-8000-000000000002';

/** Adds what the seed lacks, unless it is there: a clinic without a data key, and a group that is full. */
export async function prepareWorld(db: pg.Client): Promise<void> {
  const { rows: known } = await db.query('select from public.organizations where id = $1', [LAKESIDE]);
  if (known.length > 0) return;
  await installClinics(db);
  const people = ['admin', 'rbt', 'rbt2'].map((name, index) => ({
    id: `d0000000-0000-4000-8000-00000000000${index}`,
    email: `${name}@lakeside.test`,
    password: 'demo-password-1234',
  }));
  await addPeople(db, people);
  const [admin, rbt] = people.map(({ id }) => id) as [string, string];
  const client = 'd0000000-0000-4000-8000-000000000101';
  await addClinic(db, {
    id: LAKESIDE,
    memberships: [
      { user_id: admin, role: 'admin' },
      { user_id: rbt, role: 'therapist' },
      { user_id: SUCCESSOR, role: 'therapist' },
    ],
    therapists: [rbt, SUCCESSOR].map((id) => ({ id, display_name: 'L', time_zone: 'UTC' })),
    clients: [{ id: client }],
    caseloads: [rbt, SUCCESSOR].map((therapist_id) => ({ therapist_id, client_id: client })),
  });
  // Only sessions to come: whoever changes all of theirs at once changes nothing that has been.
  await db.query(
    `insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
      select $1, md5('lakeside ' || day)::uuid, $2, $3, today + day + time '10:00', today + day + time '11:00', 'UTC'
      from (select (now() at time zone 'UTC')::date as today) as clock cross join generate_series(3, 5) as day`,
    [LAKESIDE, rbt, client],
  );
  await db.query("select set_config('therapist_sessions.organization', $1, false)", [BRIGHT]);
  await db.query(
    `insert into public.clients (organization_id, id, reference)
      select $1, md5('G-' || number)::uuid, 'G-' || number from generate_series(1, 10) as number`,
    [BRIGHT],
  );
  // A Saturday night, when the seed has nothing.
  await db.query(
    `insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
      select $1, $2, $3, day + interval '20 hours', day + interval '21 hours'
      from (select date_trunc('week', now() + interval '3 weeks') + interval '5 days' as day) as saturday`,
    [BRIGHT, FULL, BCBA],
  );
  await db.query(
    `insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code, session_type)
      select $1, md5('session of ' || client.id)::uuid, $3, client.id, place.start_time, place.end_time, 'UTC', place.id, '97154', 'group'
      from public.session_groups as place
      cross join (select id from public.clients where organization_id = $1 and reference like 'G-%' order by id limit 8) as client
      where place.organization_id = $1 and place.id = $2`,
    [BRIGHT, FULL, BCBA],
  );
  // Two members of another group, of the same service, at another hour.
  await db.query(
    `insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
      select organization_id, $2, therapist_id, start_time + interval '2 hours', end_time + interval '2 hours'
      from public.session_groups where id = $1`,
    [FULL, OTHER],
  );
  await db.query(
    `insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code, session_type)
      select $1, md5('session of ' || client.id)::uuid, $3, client.id, place.start_time, place.end_time, 'UTC', place.id, '97154', 'group'
      from public.session_groups as place
      cross join (select id from public.clients where organization_id = $1 and reference like 'G-%' order by id offset 8) as client
      where place.organization_id = $1 and place.id = $2`,
    [BRIGHT, OTHER, BCBA],
  );
  await db.query("select set_config('therapist_sessions.organization', '', false)");
}

export async function readWorld(db: pg.Client): Promise<World> {
  const { rows: relations } = await db.query<Relation>(
    `select relation.relnamespace::regnamespace::text as schema, relation.relname as name, relation.relkind as kind,
        json_agg(json_build_object('name', attname, 'type', format_type(atttypid, null),
          'insertable', has_column_privilege('authenticated', relation.oid, attnum, 'insert'),
          'updatable', has_column_privilege('authenticated', relation.oid, attnum, 'update')) order by attnum) as columns
      from pg_class as relation join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
      where relation.relnamespace::regnamespace::text in ('public', 'reports', 'private', 'audit')
        and relation.relkind in ('r', 'p', 'v') and not relation.relispartition
      group by relation.oid order by 1, 2`,
  );
  const { rows: routines } = await db.query<Routine>(
    `select shown.proname as name, coalesce((
        select json_agg(json_build_object('name', argument.name, 'type', format_type(argument.type, null)) order by argument.position)
        from unnest(shown.proargnames, shown.proargtypes::oid[]) with ordinality as argument (name, type, position)
        where argument.type is not null), '[]') as arguments,
        coalesce((
          select json_agg(distinct field.name[1])
          from pg_proc as known
          cross join lateral regexp_matches(
            concat(known.prosrc, obj_description(known.oid)), '[a-z]+(?:_[a-z]+)+', 'g') as field (name)
          where known.proname = shown.proname and known.pronamespace in ('public'::regnamespace, 'private'::regnamespace)
        ), '[]') as fields
      from pg_proc as shown
      where shown.pronamespace = 'public'::regnamespace and has_function_privilege('authenticated', shown.oid, 'execute')
      order by 1`,
  );
  const idsOf = async (clinic: string) => {
    const tables = [
      'clients',
      'sessions',
      'rooms',
      'payers',
      'authorizations',
      'hold_batches',
      'session_holds',
    ];
    const { rows } = await db.query<{ id: string }>(
      tables.map((table) => `select id from public.${table} where organization_id = $1`).join(' union ') +
        ' union select user_id from public.memberships where organization_id = $1 union select $1::uuid',
      [clinic],
    );
    return rows.map(({ id }) => id);
  };
  const { rows: sessions } = await db.query<SessionRow>(
    `select session.id, therapist_id, client_id, series_id, email as therapist_email, session.start_time, session.status,
        (select private.text_digest(private.session_facts(known)::text) from public.sessions as known where known.id = session.id) as facts_digest,
        coalesce((select state.version from public.session_note_states as state where state.session_id = session.id), 0)::integer as version
      from (
        select known.*, row_number() over (
          partition by known.therapist_id, known.status in ('in_progress', 'completed') order by known.start_time desc, known.id
        ) as place
        from public.sessions as known where known.organization_id = $1 and known.group_id is null
      ) as session
      join auth.users as person on person.id = therapist_id
      where session.place <= 12
      order by session.place, session.id`,
    [BRIGHT],
  );
  const only = async (query: string) =>
    (await db.query<{ id: string }>(query, [BRIGHT])).rows.map(({ id }) => id);
  const { rows: places } = await db.query<World['full']>(
    'select id as group_id, therapist_id, start_time, end_time from public.session_groups where organization_id = $1 and id = $2',
    [BRIGHT, FULL],
  );
  const full = places[0];
  if (!full) throw new Error('prepareWorld has not run');
  return {
    ...{ relations, routines, sessions, full },
    ours: await idsOf(BRIGHT),
    theirs: await idsOf(HARBOR),
    therapists: await only('select id from public.therapists where organization_id = $1 order by id'),
    clients: await only('select id from public.clients where organization_id = $1 order by id'),
    joiners: await only(
      `select id from public.sessions where organization_id = $1 and group_id <> '${FULL}' and cpt_code = '97154' and start_time > now() order by id`,
    ),
    keyId:
      (await only('select id from private.data_keys where organization_id = $1 and retired_at is null'))[0] ??
      '',
  };
}

/** A digest of everything of the other clinic. */
export async function stateOf(db: pg.Client, relations: Relation[]): Promise<string> {
  const tables = relations.filter(
    ({ kind, columns, schema }) =>
      kind !== 'v' && schema !== 'audit' && columns.some(({ name }) => name === 'organization_id'),
  );
  const parts: string[] = [];
  for (const { schema, name } of tables) {
    const { rows } = await db.query(
      `select md5(coalesce(string_agg(line, '' order by line), '')) as digest
        from (select to_jsonb(rows)::text as line from ${schema}.${name} as rows where organization_id = $1) as lines`,
      [HARBOR],
    );
    parts.push(`${schema}.${name} ${rows[0].digest}`);
  }
  return parts.join('\n');
}
