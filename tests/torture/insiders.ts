/**
 * Bugs that random bookings never meet: what somebody inside could do, were the database to trust them where it does not.
 * Each comes with a fixed history, in lock step, after which the checker must name it; without the bug it names nothing.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { at, holdOf, nth } from '../races/rivals.ts';
import { type Claims, withConnection } from '../setup/db.ts';
import { type Actor, inLockStep } from '../setup/lockstep.ts';
import { edit } from '../setup/sabotage.ts';
import type { Call } from './history.ts';
import { type Clinic, limitedClients } from './world.ts';

/** A bug, and what is done to meet it. */
export interface Insider {
  /** What was done to the database. */
  what: string;
  /** The rule that must catch it, or what the lock step says. */
  caughtBy: RegExp;
  /** Functions that are rewritten. */
  edits?: [name: string, from: string | RegExp, to: string][];
  /** Anything else, and how it is undone. */
  statements?: [does: string, undoes: string][];
  /** Returns the calls that the checker holds against the tables. */
  history(clinics: [Clinic, Clinic]): Promise<Call[] | undefined>;
}

/** Plants a bug while something runs. */
export async function withBug<T>(
  { edits = [], statements = [] }: Insider,
  run: () => Promise<T>,
): Promise<T> {
  const undo: string[] = [];
  await withConnection(async (db) => {
    for (const [name, from, to] of edits) undo.push(await edit(db, name, from, to));
    for (const [does, undoes] of statements) {
      await db.query(does);
      undo.push(undoes);
    }
  });
  try {
    return await run();
  } finally {
    await withConnection(async (db) => {
      for (const statement of undo.toReversed()) await db.query(statement);
    });
  }
}

const hold = 'select public.hold_sessions($1) as outcome';
const as = ({ organizationId }: Clinic, sub: string): Claims => ({ sub, org_id: organizationId });
const asAdmin = (clinic: Clinic) => as(clinic, clinic.admin);
const therapist = (clinic: Clinic, number = 0) => nth(clinic.therapists, number);
/** A client without an authorization, who is in one service at a time. */
const client = ({ clients }: Clinic) => nth(clients, 2);
const slot = (clinic: Clinic, extra: object = {}, day = 1) =>
  JSON.stringify(holdOf(therapist(clinic), client(clinic), at(day, 600), extra));

/** A statement that may be refused. */
async function tries(statement: string, values: unknown[], claims?: Claims): Promise<void> {
  await withConnection(async (db) => {
    await db.query('begin');
    if (claims)
      await db.query(
        "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
        [JSON.stringify({ role: 'authenticated', ...claims })],
      );
    await db
      .query(statement, values)
      .then(() => db.query('commit'))
      .catch(() => db.query('rollback'));
  });
}

async function withOwner<T>(use: (db: pg.ClientBase) => Promise<T>): Promise<T> {
  return withConnection(use);
}

/** The admin asks for something while somebody has the therapist's time, who ends their membership meanwhile. */
async function removedMeanwhile(clinic: Clinic, statement: string, values: unknown[]): Promise<void> {
  await inLockStep({ remover: 'owner', admin: asAdmin(clinic) }, async ({ remover, admin }) => {
    await remover.does('begin');
    await remover.does('select private.lock_resources($1, $2)', [
      clinic.organizationId,
      [therapist(clinic), client(clinic)],
    ]);
    const waiting = await admin.waitsFor(remover, statement, values);
    await remover.does('delete from public.memberships where organization_id = $1 and user_id = $2', [
      clinic.organizationId,
      clinic.admin,
    ]);
    await remover.does('commit');
    await waiting.ends();
  });
}

/** A session of the therapist, written by the owner. */
async function givenSession(clinic: Clinic): Promise<string> {
  return withOwner(async (db) => {
    const window = at(1, 600);
    const { rows } = await db.query(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
        values ($1, $2, $3, $4, $5, 'UTC') returning id`,
      [clinic.organizationId, therapist(clinic), client(clinic), window.start_time, window.end_time],
    );
    return rows[0].id;
  });
}

/** The outcome of a call that must not wait for anybody. */
async function doesAt(actor: Actor, statement: string, values: unknown[]) {
  const [row] = (await actor.does(statement, values)) as { outcome: Record<string, unknown> }[];
  return row?.outcome ?? {};
}

/** The bugs, by name. */
export const insiders: Record<string, Insider> = {
  'removed-books': {
    what: 'a booking takes the role that its caller had before the locks',
    caughtBy: /membership has ended/,
    edits: [
      [
        'private.who_may_book',
        /select member\.role into booker\.role[\s\S]*?end if;/,
        'booker.role := actor.role;',
      ],
    ],
    history: async ([clinic]) => {
      await removedMeanwhile(clinic, hold, [slot(clinic)]);
      return undefined;
    },
  },
  'removed-cancels': {
    what: 'a cancellation does not look again whether its caller is a member',
    caughtBy: /membership has ended/,
    edits: [['private.may_cancel', /return exists \([\s\S]*?\) and \(session_ids/, 'return (session_ids']],
    history: async ([clinic]) => {
      const id = await givenSession(clinic);
      await removedMeanwhile(clinic, 'select public.cancel_sessions($1) as outcome', [
        JSON.stringify({ session_ids: [id] }),
      ]);
      return undefined;
    },
  },
  'removed-releases': {
    what: 'private.require_same_role lets everybody pass',
    caughtBy: /membership has ended/,
    edits: [['private.require_same_role', /\bbegin\b/, 'begin\n  return;']],
    history: async ([clinic]) => {
      const [row] = await withOwner(async (db) => {
        await db.query("select set_config('request.jwt.claims', $1, false)", [
          JSON.stringify({ role: 'authenticated', ...asAdmin(clinic) }),
        ]);
        return (await db.query(hold, [slot(clinic)])).rows;
      });
      await removedMeanwhile(clinic, 'select public.release_hold($1) as outcome', [
        JSON.stringify({ hold_key: row.outcome.body.holdKey }),
      ]);
      return undefined;
    },
  },
  'handed-over': {
    what: 'an update policy that says nothing of what a row may become, and a trigger that does not ask either',
    caughtBy: /their own sessions only/,
    edits: [['private.who_may_book', 'therapist_id = actor.user_id and (', '(']],
    statements: [
      [
        'alter policy sessions_scoped_access_update on public.sessions with check (true)',
        `alter policy sessions_scoped_access_update on public.sessions with check (
          organization_id = (select private.claimed_organization_id())
          and (
            (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
            or (select private.is_admin())
          )
        )`,
      ],
    ],
    history: async ([clinic]) => {
      await givenSession(clinic);
      // Without a condition: then row-level security does not ask whether the new row may be read.
      await tries(
        'update public.sessions set therapist_id = $1',
        [therapist(clinic, 1)],
        as(clinic, therapist(clinic)),
      );
      return undefined;
    },
  },
  'any-client': {
    what: 'a therapist may book clients of any caseload',
    caughtBy: /their caseload only/,
    edits: [
      [
        'private.who_may_book',
        'bool_and(caseload.client_id is not null) as all_on_caseload',
        'true as all_on_caseload',
      ],
    ],
    history: async ([clinic]) => {
      await withOwner((db) =>
        db.query('delete from public.caseloads where organization_id = $1 and client_id = $2', [
          clinic.organizationId,
          client(clinic),
        ]),
      );
      await tries(hold, [slot(clinic)], as(clinic, therapist(clinic)));
      return undefined;
    },
  },
  'parents-book': {
    what: 'a parent passes for an admin',
    caughtBy: /only staff book/,
    edits: [
      ['private.may_ask(private.actor, uuid)', /\bbegin\b/, 'begin\n  return true;'],
      ['private.who_may_book', "elsif booker.role = 'client' then", 'elsif false then'],
    ],
    history: async ([clinic]) => {
      await withOwner((db) =>
        db.query(
          "update public.memberships set role = 'client' where organization_id = $1 and user_id = $2",
          [clinic.organizationId, therapist(clinic, 2)],
        ),
      );
      await tries(hold, [slot(clinic)], as(clinic, therapist(clinic, 2)));
      return undefined;
    },
  },
  'parents-wait': {
    what: 'the organization is locked before anybody asks who is calling',
    caughtBy: /had to wait for/,
    edits: [
      [
        'private.begin_booking',
        'perform private.enter_booking();',
        'perform private.share_organization(private.claimed_organization_id());\n  perform private.enter_booking();',
      ],
    ],
    history: async ([clinic]) => {
      await inLockStep(
        { writer: 'owner', stranger: as(clinic, randomUUID()) },
        async ({ writer, stranger }) => {
          await writer.does('begin');
          await writer.does('select private.take_organization($1)', [clinic.organizationId]);
          await stranger.does('begin');
          await doesAt(stranger, hold, [slot(clinic)]).catch((error: Error) => {
            if (!/PT403/.test(error.message)) throw error;
          });
        },
      );
      return undefined;
    },
  },
  'old-snapshots': {
    what: 'bookings are decided by whatever snapshot their transaction has',
    caughtBy: /approved/,
    edits: [['private.require_read_committed', /\bbegin\b/, 'begin\n  return;']],
    history: async ([clinic]) => {
      const limited = nth(limitedClients(clinic), 0);
      const three = (number: number) =>
        JSON.stringify(
          holdOf(therapist(clinic, number), limited, at(1, 400 + 300 * number, 180), { cpt_code: '97153' }),
        );
      await inLockStep({ anna: asAdmin(clinic), ben: asAdmin(clinic) }, async ({ anna, ben }) => {
        for (const each of [anna, ben]) {
          await each.does('begin isolation level repeatable read');
          await each.does('select count(*) from public.sessions');
        }
        for (const [number, each] of [anna, ben].entries()) {
          const ended = await each.does(hold, [three(number)]).then(
            () => 'commit',
            () => 'rollback',
          );
          await each.does(ended);
        }
      });
      return undefined;
    },
  },
  'foreign-locks': {
    what: 'the lock of a person is the same in every clinic',
    caughtBy: /had to wait for/,
    edits: [['private.lock_resources', 'uuid_send(lock_resources.organization_id) || ', '']],
    history: async ([here, there]) => {
      // The people of both clinics have the same ids.
      await inLockStep(
        { here: asAdmin(here), there: asAdmin(there) },
        async ({ here: one, there: other }) => {
          await one.does('begin');
          await one.does(hold, [slot(here)]);
          await other.does(hold, [slot(there)]);
          await one.does('commit');
        },
      );
      return undefined;
    },
  },
  'foreign-keys': {
    what: 'a kept answer is given to whoever has its key, in whichever clinic',
    caughtBy: /a replay equals the first answer/,
    edits: [['private.find_replay', 'candidate.organization_id = find_replay.organization_id', 'true']],
    history: async (clinics) => {
      const key = randomUUID();
      const calls: Call[] = [];
      for (const clinic of clinics) {
        const request = holdOf(therapist(clinic), client(clinic), at(1, 600));
        const id = randomUUID();
        const startedAt = Date.now();
        await inLockStep({ caller: as(clinic, therapist(clinic)) }, async ({ caller }) => {
          const outcome = await doesAt(caller, 'select public.hold_sessions($1, $2, $3) as outcome', [
            JSON.stringify(request),
            key,
            id,
          ]);
          calls.push({
            ...{ id, kind: 'hold', transport: 'sql', endpoint: 'sessions-hold', key, request, startedAt },
            actor: { clinic, userId: therapist(clinic), role: 'therapist' },
            endedAt: Date.now(),
            answer: {
              type: 'ok',
              replayed: outcome.replayed === true,
              body: outcome.body as Record<string, unknown>,
            },
          });
        });
      }
      return calls;
    },
  },
  'unsealed-notes': {
    what: 'any text passes for one that the functions sealed',
    caughtBy: /sealed by the functions/,
    edits: [['private.proof_holds', /\bbegin\b/, 'begin\n  return true;']],
    history: async ([clinic]) => {
      const id = await givenSession(clinic);
      const keyId = randomUUID();
      const proof = `tsp1.local-development.${'A'.repeat(43)}`;
      const own = as(clinic, therapist(clinic));
      await tries(
        'select public.start_data_key($1)',
        [JSON.stringify({ key_id: keyId, wrapped_key: `twk1.x.AAAAAAAAAAAAAAAA.${'A'.repeat(107)}`, proof })],
        own,
      );
      await tries(
        'select public.save_note_draft($1)',
        [
          JSON.stringify({
            ...{ session_id: id, base_version: 0, id: randomUUID(), content_mac: '0'.repeat(64), proof },
            ciphertext: `tsb1.${keyId}.AAAAAAAAAAAAAAAA.${'A'.repeat(40)}`,
          }),
        ],
        own,
      );
      return undefined;
    },
  },
  'deletable-claims': {
    what: 'the owner may delete claims',
    caughtBy: /claims are what the rows say/,
    statements: [
      [
        'alter table private.claims disable trigger refuse_derived_write',
        'alter table private.claims enable trigger refuse_derived_write',
      ],
    ],
    history: async ([clinic]) => {
      await givenSession(clinic);
      await tries('delete from private.claims where organization_id = $1', [clinic.organizationId]);
      return undefined;
    },
  },
  'ninth-member': {
    what: 'a group takes nine',
    caughtBy: /at most eight/,
    edits: [['private.group_size_limit', /\bbegin\b/, 'begin\n  return 9;']],
    history: async ([clinic]) => {
      const window = at(1, 600);
      const groupId = randomUUID();
      await withOwner((db) =>
        db.query(
          'insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values ($1, $2, $3, $4, $5)',
          [clinic.organizationId, groupId, therapist(clinic), window.start_time, window.end_time],
        ),
      );
      const join = (clients: string[]) =>
        tries(
          `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code, session_type)
            select $1, $2, client_id, $4, $5, 'UTC', $6, '97154', 'group' from unnest($3::uuid[]) as client_id`,
          [clinic.organizationId, therapist(clinic), clients, window.start_time, window.end_time, groupId],
        );
      await join(clinic.crowd.slice(0, 8));
      await join(clinic.crowd.slice(8));
      return undefined;
    },
  },
  'backdated-event': {
    what: 'the owner writes an event as of years ago',
    caughtBy: /audit\.verify/,
    statements: [
      [
        'alter table audit.events disable trigger user',
        // The chains are everybody's: whoever looks next finds them whole.
        "delete from audit.events where recorded_at < '2022-01-01'; alter table audit.events enable trigger user",
      ],
    ],
    history: async ([clinic]) => {
      await givenSession(clinic);
      await tries(
        `insert into audit.events
          select (jsonb_populate_record(event, jsonb_build_object('id', gen_random_uuid(), 'recorded_at', timestamptz '2021-01-01Z'))).*
          from audit.events as event where organization_id = $1 limit 1`,
        [clinic.organizationId],
      );
      return undefined;
    },
  },
};
