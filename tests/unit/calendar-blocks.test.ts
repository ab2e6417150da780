/** What a calendar draws of sessions, holds and hours, in the clinic's local times. */
import { describe, expect, it } from 'vitest';
import {
  appointmentsOf,
  calendarHours,
  hoursBlocks,
  type Naming,
  sessionBlocks,
} from '../../src/lib/calendarBlocks.ts';
import { clinicTimes } from '../../src/lib/clinicTimes.ts';
import type { LiveHold } from '../../src/lib/liveHolds.ts';
import type { SessionRow } from '../../src/lib/scheduleQueries.ts';

const times = clinicTimes('America/Los_Angeles', 'en-US');
const naming: Naming = {
  times,
  nameOf: (id) => `client ${id}`,
  therapistById: new Map([['t', { display_name: 'Jordan' }]]),
  showTherapist: false,
};

const row = (id: string, fields: Partial<SessionRow> = {}): SessionRow =>
  ({
    ...{ id, client_id: id, therapist_id: 't', group_id: null, series_id: null, status: 'scheduled' },
    ...{ start_time: '2099-12-01T18:00:00Z', end_time: '2099-12-01T19:00:00Z' },
    ...fields,
  }) as SessionRow;

const hold = (fields: Partial<LiveHold>): LiveHold => ({
  ...{ id: 'h', batchKey: 'k', therapistId: 't', clientId: 'c', isOwn: true },
  ...{
    startTime: '2099-12-01T20:00:00Z',
    endTime: '2099-12-01T21:00:00Z',
    expiresAt: '2099-12-01T18:05:00Z',
  },
  ...fields,
});

describe('an appointment', () => {
  it('is a group with all who come, and each who has cancelled by themselves', () => {
    const members = [
      row('a', { group_id: 'g' }),
      row('b', { group_id: 'g' }),
      row('c', { group_id: 'g', status: 'cancelled' }),
      row('d'),
    ];
    expect(appointmentsOf(members).map((group) => group.map(({ id }) => id).join())).toEqual([
      ...['a,b', 'c', 'd'],
    ]);
  });
});

describe('a block', () => {
  const drawn = (fields: Partial<SessionRow>) => sessionBlocks([row('a', fields)], [], naming, true)[0];

  it('of a session lasts as long as the session, also over a change of clocks', () => {
    expect(drawn({})).toMatchObject({ start: '2099-12-01T10:00:00', end: '2099-12-01T11:00:00' });
    expect(drawn({ start_time: '2026-11-01T08:30:00Z', end_time: '2026-11-01T09:30:00Z' })).toMatchObject({
      start: '2026-11-01T01:30:00',
      end: '2026-11-01T02:30:00',
    });
  });

  it('can be dragged while its session is to come', () => {
    expect(drawn({})?.movable).toBe(true);
    expect(drawn({ status: 'cancelled' })?.movable).toBe(false);
    expect(drawn({ start_time: '2020-01-01T10:00:00Z', end_time: '2020-01-01T11:00:00Z' })?.movable).toBe(
      false,
    );
    expect(sessionBlocks([row('a')], [], naming, false)[0]?.movable).toBe(false);
  });

  it('of a hold names the client to whoever holds it, and to nobody else', () => {
    const titles = [hold({}), hold({ isOwn: false }), hold({ clientId: '' })].map(
      (one) => sessionBlocks([], [one], naming, true)[0]?.title,
    );
    expect(titles).toEqual(['client c', 'Held', 'Held']);
  });
});

describe('hours', () => {
  const therapist = (fields: object) => ({
    ...{ id: 't', time_zone: 'America/Los_Angeles', availability_hours: {} },
    ...fields,
  });
  const off = (fields: object, day: string) =>
    hoursBlocks([therapist(fields)], [], [day], times, false).map(
      ({ start, end }) => `${start.slice(11, 16)}-${end.slice(11, 16)}`,
    );

  it('are those of the weekday', () => {
    const hours = { availability_hours: { monday: [{ start: '08:00', end: '12:00' }] } };
    expect(off(hours, '2026-11-30')).toEqual(['00:00-08:00', '12:00-00:00']);
    expect(off(hours, '2026-11-29')).toEqual(['00:00-00:00']);
    expect(off(hours, '2026-12-01')).toEqual(['00:00-00:00']);
  });

  it('of a therapist in another zone are drawn when they are here', () => {
    const hours = {
      time_zone: 'America/New_York',
      availability_hours: { tuesday: [{ start: '09:00', end: '17:00' }] },
    };
    expect(off(hours, '2026-12-01')).toEqual(['00:00-06:00', '14:00-00:00']);
  });

  it('that a calendar draws hold all that is drawn', () => {
    const early = { id: '1', title: '', detail: '', kind: 'scheduled' };
    const at = (start: string, end: string) => ({
      ...early,
      start: `2026-12-01T${start}:00`,
      end: `2026-12-01T${end}:00`,
    });
    expect(calendarHours([], [])).toEqual({ from: '08:00', to: '18:00' });
    expect(calendarHours([at('06:30', '07:00'), at('18:15', '19:00')], [])).toEqual({
      from: '06:00',
      to: '19:00',
    });
    expect(
      calendarHours([], [{ availability_hours: { monday: [{ start: '07:45', end: '20:15' }] } }]),
    ).toEqual({ from: '07:00', to: '21:00' });
  });
});

describe('times of a clinic', () => {
  it.each([
    ['America/Los_Angeles', '2026-12-01T18:00:00Z', '-08:00'],
    ['America/Los_Angeles', '2026-07-01T18:00:00Z', '-07:00'],
    ['Asia/Kathmandu', '2026-12-01T18:00:00Z', '+05:45'],
    ['UTC', '2026-12-01T18:00:00Z', '+00:00'],
  ])('have the offset of their zone: %s, %s', (zone, at, offset) => {
    expect(clinicTimes(zone).offset(at)).toBe(offset);
  });

  it('name both zones where clocks change between them', () => {
    expect(times.range('2026-11-01T08:30:00Z', '2026-11-01T09:15:00Z')).toBe('1:30 AM PDT – 1:15 AM PST');
    expect(times.range('2026-12-01T18:00:00Z', '2026-12-01T19:00:00Z')).not.toContain('PST');
  });
});
