/** A group moves whole through a hold, also when several people move it, join it and leave it at once. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Arena,
  alone,
  at,
  cancelling,
  confirming,
  holding,
  holdOf,
  nth,
  openArena,
  patience,
  race,
  releasing,
  rounds,
  tally,
} from '../races/rivals.ts';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';

const size = 8;
let arena: Arena;
let day = 0;

beforeAll(async () => {
  arena = await openArena(2, size + 1);
});

interface Member {
  id: string;
  client_id: string;
  group_id: string;
}

/** Books a group of eight on a day of its own. */
async function bookGroup(): Promise<Member[]> {
  const therapist = nth(arena.therapists, 0);
  const members = arena.clients.slice(0, size);
  const window = at(day, 600);
  const held = await alone(
    arena,
    holding(holdOf(therapist, nth(members, 0), window, { client_ids: members, session_type: 'group' })),
  );
  expect(held).toMatchObject({ ok: true });
  const booked = await alone(arena, confirming(confirmationOfAll(held.body)));
  expect(booked).toMatchObject({ ok: true });
  return booked.body.sessions;
}

interface HeldGroup {
  holdKey: string;
  holds: { holdKey: string; clientIds: string[]; startTime: string; endTime: string }[];
}

/** Confirms each occurrence of the answer by the first of its clients. */
function confirmationOfAll(held: HeldGroup) {
  const items = held.holds.map(({ holdKey, clientIds, startTime, endTime }) => ({
    hold_key: holdKey,
    session: {
      therapist_id: nth(arena.therapists, 0),
      client_id: nth(clientIds, 0),
      start_time: startTime,
      end_time: endTime,
    },
    ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0, time_zone: 'UTC' },
  }));
  return { ...nth(items, 0), hold_key: held.holdKey, occurrences: items };
}

const moving = (member: Member, minute: number, therapist = 0) =>
  holding(
    holdOf(nth(arena.therapists, therapist), member.client_id, at(day, minute), { session_id: member.id }),
  );

async function startsOf(members: Member[]): Promise<string[]> {
  return withConnection(async (client) => {
    const { rows } = await client.query<{ start_time: Date }>(
      'select distinct start_time from public.sessions where organization_id = $1 and id = any ($2) order by 1',
      [arena.organizationId, members.map(({ id }) => id)],
    );
    return rows.map(({ start_time }) => start_time.toISOString());
  });
}

async function expectSound(): Promise<void> {
  expect(await withConnection((client) => brokenInvariants(client, arena.organizationId))).toEqual([]);
}

describe('two who move one group at once', patience, () => {
  it('and name different members: one holds it, the others are told; it moves whole', async () => {
    for (let round = 0; round < rounds; round++) {
      day += 1;
      const members = await bookGroup();
      const results = await race(
        arena,
        members.map((member, index) => moving(member, 700 + index * 5)),
      );
      expect(tally(results)).toEqual({ ok: 1, SESSION_BEING_MOVED: size - 1 });
      const winner = results.findIndex(({ outcome }) => outcome?.ok);
      const confirmed = await alone(arena, confirming(confirmationOfAll(nth(results, winner).outcome?.body)));
      expect(confirmed.body.sessions).toHaveLength(size);
      expect(nth<Member>(confirmed.body.sessions, 0).id).toBe(nth(members, winner).id);
      expect(await startsOf(members)).toEqual([new Date(at(day, 700 + winner * 5).start_time).toISOString()]);
    }
    await expectSound();
  });

  it('one by a hold, one at once, one joins, one cancels: the group stays one', async () => {
    for (let round = 0; round < rounds; round++) {
      day += 1;
      const members = await bookGroup();
      const [first, second, last] = [nth(members, 0), nth(members, 1), nth(members, size - 1)];
      const newcomer = nth(arena.clients, size);
      const results = await race(arena, [
        moving(first, 700),
        moving(second, 605),
        {
          sql: 'select public.move_group($1) as outcome',
          values: [
            JSON.stringify({
              ...{ group_id: first.group_id, time_zone: 'UTC' },
              ...at(day, 800),
            }),
          ],
        },
        cancelling([last.id]),
        holding(
          holdOf(nth(arena.therapists, 0), newcomer, at(day, 600), {
            ...{ group_id: first.group_id, session_type: 'group' },
          }),
        ),
      ]);
      // A raw error would be a SQLSTATE of its own; busy (PT503) is an answer, and may be asked again.
      expect(
        results
          .map(({ sqlstate }) => sqlstate)
          .filter((code) => code && code !== 'PT503' && code !== 'PT400'),
      ).toEqual([]);
      for (const index of [0, 1, 4]) {
        const outcome = results[index]?.outcome;
        if (!outcome?.ok) continue;
        const settled = await alone(
          arena,
          confirming(
            confirmationOfAll({
              holdKey: outcome.body.holdKey,
              holds: outcome.body.holds,
            }),
          ),
        );
        expect([null, 'SESSION_NOT_MOVABLE']).toContain(settled.ok ? null : settled.code);
        if (!settled.ok) await alone(arena, releasing(outcome.body.holdKey));
      }
      const coming = await withConnection(async (client) => {
        const { rows } = await client.query(
          `select distinct member.start_time, member.start_time = grouped.start_time as with_group
            from public.sessions as member
            join public.session_groups as grouped on grouped.organization_id = member.organization_id and grouped.id = member.group_id
            where member.organization_id = $1 and member.group_id = $2 and member.status = 'scheduled'`,
          [arena.organizationId, first.group_id],
        );
        return rows;
      });
      expect(coming).toHaveLength(1);
      expect(coming[0]).toMatchObject({ with_group: true });
    }
    await expectSound();
  });
});
