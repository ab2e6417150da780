/** What must be true of the clinics when an attack is over. */
import type pg from 'pg';
import { brokenInvariants } from '../setup/invariants.ts';
import { BRIGHT, type Relation, stateOf, type World } from './world.ts';

/** Reports something that must never be, and the request it was seen with. */
export type Found = (what: string, request: string, answer: unknown) => void;

export type Send = (
  email: string,
  method: string,
  path: string,
  body?: string,
  headers?: object,
) => Promise<{ status: number; text: string }>;

/** An answer that told a therapist of these clients. */
export type Told = { email: string; clientIds: string[]; request: string };

/** What is remembered from before. */
export type Before = { harbor: string; users: string; at: string };

const usersQuery =
  "select clock_timestamp()::text as at, string_agg(id::text, ',' order by id) as ids, count(*) filter (where jsonb_typeof(raw_user_meta_data) <> 'object')::integer as odd from auth.users";

/** The state to compare with afterwards. */
export async function stateBefore(db: pg.Client, relations: Relation[]): Promise<Before> {
  const { rows } = await db.query(usersQuery);
  return { harbor: await stateOf(db, relations), users: rows[0].ids, at: rows[0].at };
}

/** Queries that must return nothing, by what it means if they do. */
const never: Record<string, string> = {
  'a refusal wrote without end': `
    select action, length(to_jsonb(events)::text) as characters
    from audit.events where outcome = 'refused' and length(to_jsonb(events)::text) > 8192`,
  'a profile has no end': `
    select action, length(after::text) as characters
    from audit.events where entity = 'therapist' and outcome = 'ok' and length(after::text) > 20000`,
  'a therapist changed somebody else’s session': `
    select event.action, event.actor_user_id, item.value ->> 'id' as session_id, item.value ->> 'therapist_id' as therapist_id
    from audit.events as event
    cross join lateral jsonb_array_elements(
      case jsonb_typeof(event.before) when 'array' then event.before else '[]' end
      || case jsonb_typeof(event.after) when 'array' then event.after else '[]' end
    ) as item (value)
    where event.entity = 'session' and event.outcome = 'ok' and event.actor_role = 'therapist'
      and item.value ->> 'therapist_id' <> event.actor_user_id::text`,
  'a parent changed something': `
    select action, entity_ids from audit.events
    where outcome = 'ok' and actor_role = 'client' and entity in ('session', 'hold', 'note', 'client', 'member', 'caseload')
      and action !~ '_?read$'`,
  'a group has more than eight clients': `
    select group_id, count(*) from public.sessions
    where group_id is not null and status not in ('cancelled', 'no_show') group by group_id having count(*) > 8`,
  'a session was begun or missed long before its time': `
    select id, status, start_time from public.sessions
    where status in ('in_progress', 'completed') and start_time > now() + interval '13 hours'
      or status = 'no_show' and start_time > now()`,
  'a completed session has no visit and no signature behind it': `
    select session.id from public.sessions as session
    join audit.events as event
      on event.organization_id = session.organization_id and event.entity_ids @> array[session.id]
      and event.action = 'session.completed' and event.actor_role = 'therapist'
    where session.status = 'completed' and not exists (
      select from public.session_note_states as note
      where note.organization_id = session.organization_id and note.session_id = session.id and note.status <> 'draft')`,
};

/** Looks at all of it. */
export async function lookAfterwards(
  db: pg.Client,
  world: World,
  before: Before,
  told: Told[],
  found: Found,
  send: Send,
): Promise<void> {
  for (const { rule, rows } of await brokenInvariants(db)) found(`broken: ${rule}`, '', rows);
  const { rows: chains } = await db.query('select * from audit.verify()');
  if (chains.length > 0) found('the audit’s chains are broken', '', chains);
  if ((await stateOf(db, world.relations)) !== before.harbor) found('the other clinic was changed', '', '');
  for (const [what, query] of Object.entries(never)) {
    const { rows } = await db.query(`${query} limit 5`);
    if (rows.length > 0) found(what, '', rows);
  }
  const { rows: users } = await db.query(usersQuery);
  if (users[0].ids !== before.users) found('somebody signed up', '', users[0].ids);
  if (users[0].odd > 0) found('a user’s metadata is no object', '', users[0].odd);
  await lookAtReports(world, found, send);
  await lookAtColumns(db, world, found);
  await lookAtNotes(db, found, send);
  await lookAtTold(db, before, told, found);
}

async function lookAtReports(world: World, found: Found, send: Send): Promise<void> {
  for (const { schema, name } of world.relations.filter(({ schema }) => schema === 'reports'))
    for (const email of ['admin@brightpath.test', 'admin@harbor.test']) {
      const { status, text } = await send(email, 'GET', `/rest/v1/${name}?limit=5`, undefined, {
        'accept-profile': schema,
      });
      if (status !== 200) found(`report ${name} answers ${status}`, email, text);
    }
}

async function lookAtColumns(db: pg.Client, world: World, found: Found): Promise<void> {
  for (const { schema, name, columns, kind } of world.relations) {
    if (kind === 'v' || schema === 'audit') continue;
    for (const { name: column, type } of columns) {
      if (!/^(date|timestamp)/.test(type)) continue;
      const { rows } = await db.query(
        `select "${column}"::text as value from ${schema}.${name} where "${column}" < '2000-01-01' or "${column}" >= '2100-01-01' limit 1`,
      );
      if (rows.length > 0) found(`${schema}.${name}.${column} has a date that cannot be`, '', rows[0].value);
    }
    if (schema !== 'public') continue;
    const { rows } = await db.query(
      `select length(to_jsonb(known)::text) as characters from public.${name} as known where length(to_jsonb(known)::text) > 20000 limit 1`,
    );
    if (rows.length > 0) found(`a row of public.${name} has no end`, '', rows);
  }
}

/** What is signed can be read, and what a clinic seals it can open, whoever made its key. */
async function lookAtNotes(db: pg.Client, found: Found, send: Send): Promise<void> {
  const { rows: signed } = await db.query<{ session_id: string }>(
    "select session_id from public.session_note_states where organization_id = $1 and status <> 'draft'",
    [BRIGHT],
  );
  for (const { session_id } of signed) {
    const body = JSON.stringify({ action: 'read', session_id });
    const { status, text } = await send('admin@brightpath.test', 'POST', '/functions/v1/session-notes', body);
    if (status !== 200) found('a signed note does not open', session_id, text);
  }
  for (const clinic of ['brightpath', 'lakeside']) {
    const admin = `admin@${clinic}.test`;
    const { rows } = await db.query<{ client_id: string; version: number }>(
      `select client.id as client_id,
          coalesce((select max(known.version) from private.client_detail_versions as known where known.client_id = client.id), 0)::integer as version
        from public.clients as client
        join public.memberships as member on member.organization_id = client.organization_id
        join auth.users as person on person.id = member.user_id
        where person.email = $1 and client.deleted_at is null order by client.id limit 1`,
      [admin],
    );
    const [first] = rows;
    if (!first) continue;
    const { status, text } = await send(
      admin,
      'POST',
      '/functions/v1/client-details',
      JSON.stringify({
        ...{ action: 'save', client_id: first.client_id, base_version: first.version },
        details: { given_name: 'x', family_name: 'y' },
      }),
    );
    if (status >= 500) found('a clinic cannot seal', admin, text);
  }
}

/** Whether an answer was of clients whom the caller never had on their caseload, and no admin gave them. */
async function lookAtTold(db: pg.Client, before: Before, told: Told[], found: Found): Promise<void> {
  for (const { email, clientIds, request } of told) {
    const { rows } = await db.query(
      `select asked.id from auth.users as person
        cross join unnest($2::uuid[]) as asked (id)
        join public.memberships as member
          on member.organization_id = $3 and member.user_id = person.id and member.role = 'therapist'
        where person.email = $1
          and not exists (
            select from public.caseloads as known
            where known.organization_id = $3 and known.therapist_id = person.id and known.client_id = asked.id)
          and not exists (
            select from audit.events as event
            where event.organization_id = $3 and event.outcome = 'ok' and event.recorded_at > $4 and (
              event.entity = 'membership' and event.entity_ids @> array[person.id]
              or event.entity = 'caseload' and event.entity_ids @> array[asked.id, person.id]))`,
      [email, clientIds, BRIGHT, before.at],
    );
    if (rows.length > 0) found('a therapist was told of somebody else’s client', request, rows);
  }
}
