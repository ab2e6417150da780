/** Bugs planted on purpose, each in the database of one run: a checker that has never found anything proves nothing. */
import type pg from 'pg';
import { edit } from '../setup/sabotage.ts';

/** A bug. */
export interface Plant {
  /** What was done to the database. */
  what: string;
  /** Rules that must catch it: at least one of them. */
  caughtBy: RegExp;
  /** Before anybody calls. */
  plant?: (db: pg.ClientBase) => Promise<unknown>;
  /** After the last call, before the check. */
  afterwards?: (db: pg.ClientBase) => Promise<unknown>;
}

const withoutLocks = (db: pg.ClientBase) =>
  edit(db, 'private.lock_resources', /perform pg_advisory_xact_lock[\s\S]*?as ascending;/, 'return;');
const withoutConstraint = (db: pg.ClientBase) =>
  db.query('alter table private.claims drop constraint claims_no_overlap');

const overlap = /booked twice|overlap/;

/** The bugs, by name. */
export const plants: Record<string, Plant> = {
  'drop-constraint': {
    what: 'private.claims without claims_no_overlap',
    caughtBy: overlap,
    plant: withoutConstraint,
  },
  'no-lock': {
    what: 'private.lock_resources does nothing; the constraint still decides',
    caughtBy: /deadlocks|turned away|raw error/,
    plant: withoutLocks,
  },
  'no-lock-no-constraint': {
    what: 'neither resource locks nor the constraint',
    caughtBy: overlap,
    plant: async (db) => {
      await withoutLocks(db);
      await withoutConstraint(db);
    },
  },
  'no-key-check': {
    what: 'private.find_replay finds nothing',
    caughtBy: /first answer|one effect a key|raw error/,
    plant: (db) => edit(db, 'private.find_replay', /\bbegin\b/, 'begin\n  return null;'),
  },
  'no-key-lock': {
    what: 'private.find_replay looks without locking the key',
    caughtBy: /first answer|one effect a key|raw error/,
    plant: (db) =>
      edit(db, 'private.find_replay', /perform pg_advisory_xact_lock[\s\S]*?\);\s+as_of/, 'as_of'),
  },
  'no-fingerprint': {
    what: 'a key answers any request',
    caughtBy: /first answer|another request/,
    plant: (db) => edit(db, 'private.find_replay', 'kept.fingerprint <> find_replay.fingerprint', 'false'),
  },
  'forgetful-keys': {
    what: 'private.keep_answer keeps nothing',
    caughtBy: /first answer|one effect a key/,
    plant: (db) =>
      edit(db, 'private.keep_answer', 'where keep_answer.idempotency_key is not null', 'where false'),
  },
  'keys-outlive-holds': {
    what: 'the key of a dead hold is replayed',
    caughtBy: /lapses/,
    plant: (db) => edit(db, 'private.find_replay', 'kept.hold_batch_id is not null', 'false'),
  },
  'expired-confirms': {
    what: 'sessions-confirm does not look at expires_at',
    caughtBy: /expired hold never confirms/,
    plant: (db) =>
      edit(db, 'private.holds_of_key', "(hold.status = 'held' and batch.expires_at <= as_of)", 'false'),
  },
  'orphaned-claims': {
    what: 'a released hold leaves its claims behind',
    caughtBy: /claims are what the rows say/,
    plant: (db) =>
      edit(
        db,
        'private.release_hold(private.actor,jsonb,text)',
        /if not private\.sync_claims\([\s\S]*?\), as_of\) then/,
        'if false then',
      ),
  },
  'unclaimed-moves': {
    what: 'a session written directly claims nothing',
    caughtBy: /claims are what the rows say|booked twice/,
    plant: (db) => edit(db, 'private.settle_written', "moved_ids <> '{}'", 'false'),
  },
  'wrong-lanes': {
    what: "a client's bookings choose a lane at random",
    caughtBy: overlap,
    plant: (db) =>
      edit(
        db,
        'private.lanes_on',
        /\bbegin\b/,
        'begin\n  return int4multirange(int4range(x, x + 1)) from (select (random() * 1000000)::integer as x) as chosen;',
      ),
  },
  'crowded-groups': {
    what: 'sessions-hold does not count who is in a group',
    caughtBy: /at most eight/,
    plant: (db) =>
      edit(
        db,
        'private.join_issue',
        /cardinality\(member_ids\) \+ private\.group_joiners\([^)]*\)\s+>= private\.group_size_limit\(\)/,
        'false',
      ),
  },
  'double-offers': {
    what: 'who waits is offered a slot while they have one',
    caughtBy: /one offer at a time/,
    plant: (db) =>
      edit(
        db,
        'private.next_in_line',
        "candidate.state = 'waiting'",
        "candidate.state in ('waiting', 'offered')",
      ),
  },
  'free-units': {
    what: 'nobody asks whether an authorization has units left',
    caughtBy: /approved|has taken its units/,
    plant: (db) => edit(db, 'private.shortages_of', /\bbegin\b/, 'begin\n  return null;'),
  },
  'deaf-moves': {
    what: 'a live move does not claim anew when one of its sessions changes',
    caughtBy: /claims are what the rows say|live move wants|booked twice/,
    plant: (db) =>
      edit(
        db,
        'private.claim_dependents',
        "hold.session_id = named.id and hold.status = 'held'",
        "hold.session_id = named.id and hold.status = 'held' and false",
      ),
  },
  'unsuited-offers': {
    what: 'a freed slot is offered to anybody who waits, whether or not it suits them',
    caughtBy: /what somebody waits for/,
    plant: async (db) => {
      await edit(db, 'private.entry_place', 'entry.windows @> whole and ', '');
      await edit(db, 'private.entry_place', 'entry.windows * ', '');
    },
  },
  'open-when-closed': {
    what: 'closures and time off close nothing',
    caughtBy: /clinic is closed/,
    plant: (db) => edit(db, 'private.is_open', /\bbegin\b/, 'begin\n  return true;'),
  },
  'never-gone': {
    what: 'sessions-hold does not ask whether the therapist is still a member',
    caughtBy: /has left/,
    plant: (db) =>
      edit(
        db,
        'private.who_may_book',
        'join public.memberships as renders',
        'left join public.memberships as renders',
      ),
  },
  'always-covered': {
    what: 'nobody asks whether a payer covers the day',
    caughtBy: /no payer covers/,
    plant: (db) =>
      edit(db, 'private.quote_units', 'service.payer_id is null and service.was_covered then', 'false then'),
  },
  'silent-changes': {
    what: 'what is written directly is not audited',
    caughtBy: /audited exactly once/,
    plant: (db) => edit(db, 'private.audit_written', /\bbegin\b/, 'begin\n  return;'),
  },
  'edited-audit': {
    what: 'the owner edits one event afterwards',
    caughtBy: /audit\.verify/,
    afterwards: async (db) => {
      await db.query('alter table audit.events disable trigger refuse_change');
      await db.query(`
        update audit.events set actor_user_id = gen_random_uuid()
        where (organization_id, id) = (select organization_id, id from audit.events where action = 'hold.acquired' limit 1)`);
      await db.query('alter table audit.events enable trigger refuse_change');
    },
  },
  'lost-booking': {
    what: 'an acknowledged session vanishes afterwards, with all its traces',
    caughtBy: /acknowledged booking/,
    afterwards: async (db) => {
      const tables = ['public.sessions', 'public.session_cancellations', 'private.claims'];
      for (const table of tables) await db.query(`alter table ${table} disable trigger user`);
      // Not one of those that notes or corrections speak of: their foreign keys keep it.
      await db.query(`
        do $$
        declare
          chosen uuid;
        begin
          for chosen in
            select id from public.sessions as session
            where not exists (select 1 from public.session_holds as hold where hold.session_id = session.id)
              and exists (select 1 from audit.events where entity_ids @> array[session.id] and action = 'hold.confirmed')
              and not exists (select 1 from public.session_cancellations as c where c.session_id = session.id)
          loop
            begin
              delete from private.claims where owner_id = chosen;
              delete from public.sessions where id = chosen;
              return;
            exception when foreign_key_violation then
              null;
            end;
          end loop;
        end
        $$`);
      for (const table of tables) await db.query(`alter table ${table} enable trigger user`);
    },
  },
};
