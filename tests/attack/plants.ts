/** Holes to plant before an attack, each of which it must find: so that a clean run means something. */

import { once } from 'node:events';
import { Agent, createServer, request as forward } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import type { Stack } from '../../local/stack.ts';
import { addPeople } from '../setup/clinics.ts';
import { edit } from '../setup/sabotage.ts';
import { prepareWorld } from './world.ts';

/** A hole. */
export type Plant = {
  /** What the attack must say of it. */
  foundAs: RegExp;
  /** Opens it. Returns the stack to attack where that is another: one behind a gateway that is worse. */
  plant(stack: Stack): Promise<Stack | undefined>;
  /** Ends what `plant` has started. */
  end?(): Promise<void>;
};

async function withDatabase<T>(stack: Stack, use: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: stack.dbUrl });
  await db.connect();
  try {
    return await use(db);
  } finally {
    await db.end();
  }
}

/** A hole in the database, opened by its owner. */
function inDatabase(foundAs: RegExp, open: string | ((db: pg.Client) => Promise<unknown>)): Plant {
  return {
    foundAs,
    plant: async (stack) => {
      await withDatabase(stack, async (db) => {
        if (typeof open === 'string') await db.query(open);
        else await open(db);
      });
      return undefined;
    },
  };
}

/** What a proof is asked of, when the database takes any proof of it. */
const anyProof = (table: string) => (db: pg.Client) =>
  edit(
    db,
    'private.proof_holds',
    /\bbegin\b/,
    `begin\n  if statement[1] = '${table}' then return true; end if;`,
  );

/**
 * A gateway that does something before it passes a request on.
 * @param before returns an answer to give instead, if there is one
 * @param most how many requests at once
 * @param paths those whose bodies it reads
 */
function behindGateway(
  foundAs: RegExp,
  before: (
    stack: Stack,
    method: string,
    path: string,
    body: string,
  ) => Promise<{ status: number; body: string } | undefined>,
  { most = Number.POSITIVE_INFINITY, paths = /^\/auth\/v1\// } = {},
): Plant {
  const agent = new Agent({ keepAlive: true, maxSockets: most });
  const server = createServer(async (incoming, outgoing) => {
    const { stack } = gateway;
    if (!stack) return outgoing.destroy();
    const { method = 'GET', url = '/', headers } = incoming;
    const pass = () => {
      const passed = forward(
        { host: '127.0.0.1', port: new URL(stack.apiUrl).port, agent, method, path: url, headers },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        },
      ).on('error', () => outgoing.destroy());
      // Whoever goes takes their request along, so that the rest of the attack waits for nobody.
      outgoing.on('close', () => passed.destroy());
      return passed;
    };
    if (!paths.test(url)) return incoming.pipe(pass());
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const instead = await before(stack, method, url, body);
    if (!instead) return pass().end(body);
    return outgoing.writeHead(instead.status, { 'content-type': 'application/json' }).end(instead.body);
  });
  const gateway: { stack?: Stack } = {};
  return {
    foundAs,
    plant: async (stack) => {
      gateway.stack = stack;
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return Object.create(stack, {
        apiUrl: { value: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
      });
    },
    end: async () => {
      server.closeAllConnections();
      agent.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** The holes, by name. */
export const plants: Record<string, Plant> = {
  'a policy that forgets the clinic': inDatabase(
    /a row of the other clinic came out/,
    'alter policy role_scoped_select on public.clients using (true)',
  ),
  // The policy alone would be made good by the trigger, which asks who may book.
  'rows that may be handed to somebody else': inDatabase(
    /a therapist changed somebody else’s session/,
    async (db) => {
      await db.query('alter policy sessions_scoped_access_update on public.sessions with check (true)');
      await edit(db, 'private.who_may_book', 'therapist_id = actor.user_id and (', '(');
    },
  ),
  'dates without bounds': inDatabase(
    /has a date that cannot be/,
    `do $$ declare found record; begin
      for found in select conname, conrelid::regclass as relation from pg_constraint where coninhcount = 0 and conname like '%\\_in\\_reason' loop
        execute format('alter table %s drop constraint %I', found.relation, found.conname);
      end loop;
    end $$`,
  ),
  'the audit looks for a seal by id alone': inDatabase(
    /does not see an event forged: with the id of a genuine event/,
    async (db) => {
      await edit(db, 'audit.verify', 'and seal.event_recorded_at = event.recorded_at', '');
    },
  ),
  'the audit takes any event without a seal': inDatabase(
    /does not see an event forged: as of years ago/,
    (db) =>
      edit(
        db,
        'audit.verify',
        "select event.organization_id, event.chain_id, null, event.id, 'the event is not sealed'",
        'select event.organization_id, event.chain_id, null, event.id, null',
      ),
  ),
  'the audit takes any archive': inDatabase(
    /does not see an event forged: an event was deleted/,
    async (db) => {
      await edit(db, 'audit.verify', 'where archive.is_whole', 'where true');
      await edit(
        db,
        'audit.verify',
        'where not archive.is_whole and only_organization_id is null',
        'where false',
      );
    },
  ),
  'the audit does not miss the head of a chain': inDatabase(/does not see an event forged: the head/, (db) =>
    edit(
      db,
      'audit.verify',
      "when head.seq is null then 'the head of the chain is missing'",
      'when head.seq is null then null',
    ),
  ),
  'anybody starts a data key': inDatabase(/a clinic cannot seal/, anyProof('data_keys')),
  'a signature made of garbage': inDatabase(/a signed note does not open/, anyProof('session_note_versions')),
  'only the first client is asked about': inDatabase(/a therapist was told of somebody else’s client/, (db) =>
    edit(
      db,
      'private.may_ask(private.actor, private.asked_booking)',
      /\bbegin\b/,
      'begin\n  return asked.places[1].client_id = any (private.caseload_client_ids());',
    ),
  ),
  'a refusal keeps every id': inDatabase(
    /a refusal wrote without end/,
    `create or replace function private.trace_ids(ids uuid[]) returns uuid[]
      language plpgsql immutable set search_path = '' as $$ begin return ids; end $$`,
  ),
  'nobody is refused too often': inDatabase(
    /nobody is refused too often/,
    `create or replace function private.check_rate(kind text) returns jsonb
      language plpgsql stable set search_path = '' as $$ begin return null; end $$`,
  ),
  'weekly hours without end': inDatabase(/a profile has no end/, (db) =>
    edit(db, 'private.availability_hours_are_valid', '> 12', '> 10000'),
  ),
  'nothing sweeps kept answers': inDatabase(/kept answers stay for ever/, (db) =>
    edit(db, 'private.sweep_idempotency_keys', /\bbegin\b/, 'begin\n  return 0;'),
  ),
  'a ninth member': inDatabase(/a group has more than eight clients/, (db) =>
    edit(db, 'private.group_size_limit', /\bbegin\b/, 'begin\n  return 9;'),
  ),
  'a booking in an old snapshot': inDatabase(/a booking is decided by an old snapshot/, (db) =>
    edit(
      db,
      'private.require_read_committed',
      "current_setting('transaction_isolation') <> 'read committed'",
      'false',
    ),
  ),
  'a session is missed before its time': inDatabase(/begun or missed long before its time/, async (db) => {
    await edit(
      db,
      'private.session_change_issue',
      "new.status = 'no_show' and old.start_time > clock_timestamp()",
      'false',
    );
  }),
  'claims that their owner may delete': inDatabase(
    /the owner deletes private.claims unhindered/,
    'drop trigger refuse_derived_write on private.claims',
  ),
  'locks of plain ids': inDatabase(/an id that an admin chooses chooses a lock/, (db) =>
    edit(
      db,
      'private.lock_resources',
      /hashtextextended\([\s\S]*?, 0\s*\) as key/,
      "hashtextextended(lock_resources.organization_id || ':' || resource.id, 0) as key",
    ),
  ),
  'authority is read before the lock': inDatabase(
    /whoever lost their role while they waited still books/,
    (db) =>
      edit(
        db,
        'private.who_may_book',
        /select member\.role into booker\.role[\s\S]*?end if;/,
        'booker.role := actor.role;',
      ).then(() =>
        edit(
          db,
          'private.who_may_book',
          'join public.memberships as renders',
          'left join public.memberships as renders',
        ),
      ),
  ),
  'a lock before anybody asks who is calling': inDatabase(
    /somebody who may never do it waits for a lock/,
    (db) =>
      edit(
        db,
        'private.begin_booking',
        /perform private\.enter_booking\(\);/,
        'perform private.share_organization(private.claimed_organization_id());\n  perform private.enter_booking();',
      ),
  ),
  'bodies that never end hold their connections': behindGateway(
    /bodies that never end/,
    async () => undefined,
    { most: 256 },
  ),
  'JSON without end reaches the database': behindGateway(
    /answered 500/,
    async (stack, _method, _path, body) =>
      withDatabase(stack, (db) => db.query('select $1::json', [body])).then(
        () => undefined,
        ({ code, message }: pg.DatabaseError) =>
          code?.startsWith('54') ? { status: 500, body: JSON.stringify({ code, message }) } : undefined,
      ),
    { paths: /^\/rest\/v1\/rpc\/preview_series/ },
  ),
  'anybody signs up': behindGateway(/somebody signed up/, async (stack, _method, path, body) => {
    const { email } =
      /signup|otp/.test(path) && body.startsWith('{') ? JSON.parse(body) : { email: undefined };
    if (typeof email === 'string' && email.endsWith('.test'))
      await withDatabase(stack, (db) => addPeople(db, [{ id: crypto.randomUUID(), email }]));
    return undefined;
  }),
  'metadata becomes a string': behindGateway(
    /a user’s metadata is no object/,
    async (stack, method, path) => {
      if (method === 'PUT' && path.endsWith('/user'))
        await withDatabase(stack, (db) =>
          db.query(
            "update auth.users set raw_user_meta_data = to_jsonb(raw_user_meta_data::text) where email = 'nobody@example.test'",
          ),
        );
      return undefined;
    },
  ),
};

/** Opens these holes, all at once. Returns the stack to attack, and what ends it all. */
export async function plantAll(
  stack: Stack,
  names: string[],
): Promise<{ target: Stack; end: () => Promise<void> }> {
  let target = stack;
  // What the attack needs is made by the rules as they are.
  await withDatabase(stack, prepareWorld);
  for (const name of names) {
    const planted = plants[name];
    if (!planted) throw new Error(`No such plant; there are: ${Object.keys(plants).join(', ')}`);
    target = (await planted.plant(target)) ?? target;
  }
  return {
    target,
    end: async () => {
      for (const name of names.toReversed()) await plants[name]?.end?.();
    },
  };
}
