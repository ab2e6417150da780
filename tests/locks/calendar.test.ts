/** A calendar feed that is read by several at once gives each change one number, and ends at once. */
import { beforeEach, expect, it } from 'vitest';
import { book, type Clinic, openClinic, rpc, window } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { inLockStep } from '../setup/lockstep.ts';

const read = 'select public.read_calendar_feed($1) as feed';
let clinic: Clinic;
let feed: { feedId: string; token: string };
let sessionId: string;

const move = (minutes: number) =>
  withConnection((db) =>
    db.query(
      `update public.sessions set start_time = start_time + $2 * interval '1 minute', end_time = end_time + $2 * interval '1 minute'
       where id = $1`,
      [sessionId, minutes],
    ),
  );
const sequence = (rows: { feed: { events: { uid: string; sequence: number }[] } }[] | undefined) =>
  rows?.[0]?.feed.events.find(({ uid }) => uid === sessionId)?.sequence;

beforeEach(async () => {
  clinic = await openClinic();
  feed = (await rpc(clinic.rbt, 'create_calendar_feed', {})).body.body;
  sessionId = await book(clinic.rbt, clinic.clients[0], window(5, 10));
  await withConnection((db) => db.query(read, [feed.token]));
});

it('a read that finds a change waits for another that tells it, and counts it once', async () => {
  await inLockStep({ first: 'service_role', second: 'service_role' }, async ({ first, second }) => {
    await move(15);
    await first.does('begin');
    expect(sequence((await first.does(read, [feed.token])) as never)).toBe(1);
    const waiting = await second.waitsFor(first, read, [feed.token]);
    await first.does('commit');
    expect(sequence((await waiting.ends()).rows)).toBe(1);
    // What changes while a read waits is a change of its own.
    await move(15);
    await first.does('begin');
    expect(sequence((await first.does(read, [feed.token])) as never)).toBe(2);
    const later = await second.waitsFor(first, read, [feed.token]);
    await move(15);
    await first.does('commit');
    expect(sequence((await later.ends()).rows)).toBe(3);
  });
});

it('a read that finds nothing new waits for nobody', async () => {
  // Midnight may pass: no read of today is still to be recorded.
  await withConnection((db) =>
    db.query("update private.calendar_tokens set read_on = '2099-01-01' where feed_id = $1", [feed.feedId]),
  );
  await inLockStep({ first: 'service_role', second: 'service_role' }, async ({ first, second }) => {
    await first.does('begin');
    expect(sequence((await first.does(read, [feed.token])) as never)).toBe(0);
    expect(sequence((await second.does(read, [feed.token])) as never)).toBe(0);
    await first.does('commit');
  });
});

it('a read that waits while the feed is revoked, or its member removed, reads nothing', async () => {
  const person = { sub: clinic.rbt.id, org_id: clinic.organizationId };
  await inLockStep({ owner: person, reader: 'service_role' }, async ({ owner, reader }) => {
    await move(15);
    await owner.does('begin');
    await owner.does('select public.revoke_calendar_feed($1)', [JSON.stringify({ feed_id: feed.feedId })]);
    const waiting = await reader.waitsFor(owner, read, [feed.token]);
    await owner.does('commit');
    expect((await waiting.ends()).rows).toEqual([{ feed: null }]);
  });
  const other = (await rpc(clinic.rbt, 'create_calendar_feed', {})).body.body;
  await inLockStep({ owner: 'owner', reader: 'service_role' }, async ({ owner, reader }) => {
    await owner.does('begin');
    await owner.does('delete from public.memberships where organization_id = $1 and user_id = $2', [
      ...[clinic.organizationId, clinic.rbt.id],
    ]);
    const waiting = await reader.waitsFor(owner, read, [other.token]);
    await owner.does('commit');
    expect((await waiting.ends()).rows).toEqual([{ feed: null }]);
  });
});

it('removing the member waits for a read that is under way', async () => {
  await inLockStep({ owner: 'owner', reader: 'service_role' }, async ({ owner, reader }) => {
    await move(15);
    await reader.does('begin');
    await reader.does(read, [feed.token]);
    const waiting = await owner.waitsFor(
      reader,
      'delete from public.memberships where organization_id = $1 and user_id = $2',
      [clinic.organizationId, clinic.rbt.id],
    );
    await reader.does('commit');
    expect((await waiting.ends()).sqlstate).toBeUndefined();
    expect(await reader.does(read, [feed.token])).toEqual([{ feed: null }]);
  });
});
