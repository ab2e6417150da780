import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nasty, pathsIn, spoil } from '../../../../tests/functions/hostile.ts';
import { parseCancel } from './cancel.ts';
import { parseDetails } from './client-details.ts';
import { parseConfirm } from './confirm.ts';
import { parseHold } from './hold.ts';
import type { Parsed } from './parsed.ts';
import { parseNote } from './session-notes.ts';

const id = '00000000-0000-0000-0000-000000000001';
const window = {
  start_time: '2026-12-07T10:00:00-08:00',
  end_time: '2026-12-07T11:00:00-08:00',
  start_time_offset_minutes: -480,
  end_time_offset_minutes: -480,
};
const session = {
  therapist_id: id,
  client_id: id,
  ...window,
  id,
  session_type: 'individual',
  location_type: 'home',
};
const hold = {
  ...session,
  ...window,
  time_zone: 'America/Los_Angeles',
  session_id: null,
  hold_seconds: 60,
  cpt_code: '97153',
  group_id: id,
  room_id: id,
  buffer_before_minutes: 5,
  buffer_after_minutes: 5,
  override: { reason: 'because' },
  occurrences: [{ ...window, time_zone: 'America/Los_Angeles', session_id: id }],
  recurrence: {
    rule: 'FREQ=WEEKLY;COUNT=3',
    count: 2,
    until: '2027-01-01',
    exceptions: ['2026-12-14'],
    time_zone: 'UTC',
  },
};
const confirm = {
  hold_key: id,
  session,
  cpt: { code: '97153', modifiers: ['HQ'] },
  ...window,
  time_zone: 'America/Los_Angeles',
  occurrences: [{ hold_key: id, session, cpt: { code: '97155', modifiers: [] }, ...window }],
  notes: null,
};
const cancel = {
  hold_key: id,
  session_ids: [id],
  date: '2026-11-01',
  time_zone: 'America/Los_Angeles',
  therapist_id: id,
  all_therapists: true,
  reason: 'ill',
  cancellation_attribution: 'staff',
};

const { occurrences, recurrence, ...plain } = hold;
const { hold_key, ...cancelSessions } = cancel;
const content = {
  narratives: [{ cpt_code: '97153', narrative: 'Ten trials.' }],
  client_response: 'Calm.',
  progress: 'More.',
  participants: ['Client'],
  location: 'Home',
  remarks: 'None.',
};
const amendment = { action: 'amend', session_id: id, base_version: 3, content, reason: 'Miscounted.' };
const contacts = [{ kind: 'phone', value: '+1 555 0100', label: 'mobile' }];
const details = {
  given_name: 'Ann',
  family_name: 'Example',
  preferred_name: 'Annie',
  birth_date: '2019-03-09',
  contacts,
  guardians: [{ name: 'Mia Example', relationship: 'mother', contacts }],
  address: {
    line1: '1 Main Street',
    line2: 'B',
    city: 'Oakland',
    region: 'CA',
    postal_code: '94601',
    country: 'US',
  },
  insurance_member_ids: ['1'],
  remarks: 'None.',
};
const cases: [string, (body: unknown) => Parsed<unknown>, object][] = [
  ['a hold of listed occurrences', parseHold, { ...plain, occurrences }],
  ['a hold of a recurrence', parseHold, { ...plain, recurrence }],
  ['a confirmation', parseConfirm, confirm],
  ['a release', parseCancel, { hold_key }],
  ['a cancellation', parseCancel, { ...cancelSessions, all_therapists: false }],
  ['an amendment', parseNote, amendment],
  ['a read note', parseNote, { action: 'read', session_id: id, version: 1 }],
  ['saved details', parseDetails, { action: 'save', client_id: id, base_version: 0, details }],
  ['read details', parseDetails, { action: 'read', client_ids: [id], version: 1 }],
];

describe.each(cases)('%s', (_, parse, example) => {
  it('is accepted as it is', () => {
    expect(parse(example)).toMatchObject({ ok: true });
  });

  const paths = pathsIn(example);

  it('never throws, whatever it is given', () => {
    fc.assert(
      fc.property(fc.anything(), (body) => {
        const parsed = parse(body);
        if (!parsed.ok) expect(parsed.issues.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it('answers a spoiled request with issues that name fields, or with a call fit for the database', () => {
    const changes = fc.array(fc.record({ at: fc.nat(), value: nasty }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(changes, (spoiled) => {
        const parsed = parse(spoil(example, paths, spoiled));
        if (parsed.ok) {
          const text = JSON.stringify(parsed.value);
          expect(text).not.toContain('\\u0000');
          expect(text).not.toMatch(/\\ud[89a-f]/i);
          return;
        }
        expect(parsed.issues.length).toBeLessThanOrEqual(50);
        for (const { path, message } of parsed.issues) {
          expect(path).toMatch(/^[a-z_]+(\.[a-z_0-9]+)*$/);
          expect(message.length).toBeLessThan(400);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('a megabyte of wrong items', () => {
  it.each([
    ['occurrences', parseHold, hold],
    ['occurrences', parseConfirm, confirm],
    ['session_ids', parseCancel, { session_ids: [] }],
  ] as const)('in %s costs one issue: no item is looked at', (field, parse, example) => {
    const looks: string[] = [];
    const item = new Proxy({}, { get: (_, name) => looks.push(String(name)) });
    const parsed = parse({ ...example, [field]: Array(500_000).fill(item) });
    expect(parsed).toMatchObject({ ok: false, issues: [{ path: field }] });
    expect(looks).toEqual([]);
  });
});

describe('spoiling a request', () => {
  it('leaves the values it writes as they were, so that one case does not spoil the next', () => {
    const value = {};
    const spoiled = spoil(
      { a: { b: 1 } },
      [['a'], ['a', 'b']],
      [
        { at: 0, value },
        { at: 1, value },
      ],
    );
    expect(value).toEqual({});
    expect(JSON.stringify(spoiled)).toBe('{"a":{"b":{}}}');
  });
});
