import { describe, expect, it } from 'vitest';
import { parseDetails } from './client-details.ts';
import { missingForSignature, parseNote } from './session-notes.ts';

const session_id = '5E550000-0000-4000-8000-000000000001';
const client_id = 'c11e0000-0000-4000-8000-000000000001';
const whole = {
  narratives: [{ cpt_code: '97153', narrative: 'Ten trials.' }],
  client_response: 'Calm.',
  progress: 'More than last week.',
  participants: ['Client'],
};

function issuesOf(parsed: ReturnType<typeof parseNote> | ReturnType<typeof parseDetails>) {
  return parsed.ok ? 'accepted' : parsed.issues.map(({ path, message }) => `${path} ${message}`);
}

describe('session-notes', () => {
  it('takes a draft, trimmed, codes in upper case, blanks left out', () => {
    const content = {
      narratives: [{ cpt_code: ' 0362t ', narrative: ' Two\nlines. ' }],
      progress: ' ',
      participants: null,
      unknown: 'ignored',
    };
    const parsed = parseNote({ action: 'save_draft', session_id, base_version: 0, content });
    expect(parsed).toEqual({
      ok: true,
      value: {
        action: 'save_draft',
        session_id: session_id.toLowerCase(),
        base_version: 0,
        content: { narratives: [{ cpt_code: '0362T', narrative: 'Two\nlines.' }] },
      },
    });
  });

  it.each([
    [{}, ['action is required: "save_draft", "sign", "amend", "read" or "history"']],
    [{ action: 'delete' }, ['action must be "save_draft", "sign", "amend", "read" or "history"']],
    [{ action: 'read' }, ['session_id is required']],
    [{ action: 'read', session_id, version: 0 }, ['version must be a whole number from 1 to 1000000']],
    [{ action: 'save_draft', session_id, content: {} }, ['base_version is required']],
    [{ action: 'save_draft', session_id, base_version: 0 }, ['content is required']],
    [{ action: 'save_draft', session_id, base_version: 0, content: 'x' }, ['content must be an object']],
    [
      { action: 'amend', session_id, base_version: 1, content: whole, reason: ' ' },
      ['reason must not be blank'],
    ],
    [
      { action: 'save_draft', session_id, base_version: 0, content: { progress: 'x'.repeat(10_001) } },
      ['content.progress must have at most 10000 characters'],
    ],
    [
      { action: 'save_draft', session_id, base_version: 0, content: { progress: 'half \ud800' } },
      ['content.progress must not contain a NUL character or half of a surrogate pair'],
    ],
    [
      {
        action: 'save_draft',
        session_id,
        base_version: 0,
        content: { narratives: Array(12).fill({ cpt_code: '97153', narrative: '語'.repeat(10_000) }) },
      },
      ['content must have at most 262144 bytes as JSON'],
    ],
  ])('refuses %o', (body, issues) => {
    expect(issuesOf(parseNote(body))).toEqual(issues);
  });

  it('never repeats what was sent', () => {
    const body = { action: 'canary', session_id: 'canary', content: { narratives: 'canary', canary: 1 } };
    for (const action of ['canary', 'save_draft', 'sign', 'amend', 'read', 'history']) {
      expect(JSON.stringify(parseNote({ ...body, action }))).not.toContain('canary');
    }
  });
});

describe('a note to be signed', () => {
  const place = { cptCode: '97153', locationType: 'clinic' };

  it('is complete with participants, a narrative for the service, response, progress and a place', () => {
    expect(missingForSignature(whole, place)).toEqual([]);
    expect(
      missingForSignature({ ...whole, location: 'Home' }, { cptCode: null, locationType: null }),
    ).toEqual([]);
  });

  it('is told what it lacks', () => {
    expect(missingForSignature({}, { cptCode: '97153', locationType: null }).map(({ path }) => path)).toEqual(
      [
        'content.narratives',
        'content.client_response',
        'content.progress',
        'content.participants',
        'content.location',
      ],
    );
    expect(missingForSignature(whole, { ...place, cptCode: '97155' })).toEqual([
      { path: 'content.narratives', message: 'must have a narrative for 97155' },
    ]);
  });
});

describe('client-details', () => {
  const details = { given_name: 'Sample', family_name: 'Client' };

  it('takes details and lists of clients, each once', () => {
    expect(parseDetails({ action: 'save', client_id, base_version: 0, details })).toMatchObject({ ok: true });
    expect(parseDetails({ action: 'read', client_ids: [client_id, client_id.toUpperCase()] })).toMatchObject({
      value: { client_ids: [client_id] },
    });
  });

  it.each([
    [{}, ['action is required: "save", "read" or "names"']],
    [{ action: 'names', client_ids: [] }, ['client_ids must have at least 1 item']],
    [{ action: 'names', client_ids: Array(101).fill(client_id) }, ['client_ids must have at most 100 items']],
    [{ action: 'names', client_ids: ['x'] }, ['client_ids.0 must be a UUID']],
    [{ action: 'read', client_ids: [] }, ['client_ids must have at least 1 item']],
    [{ action: 'read', client_ids: Array(101).fill(client_id) }, ['client_ids must have at most 100 items']],
    [{ action: 'read', client_ids: [client_id, session_id], version: 1 }, ['version goes with one client']],
    [
      { action: 'save', client_id, base_version: 0, details: { given_name: 'Sample' } },
      ['details.family_name is required'],
    ],
  ])('refuses %o', (body, issues) => {
    expect(issuesOf(parseDetails(body))).toEqual(issues);
  });

  it.each(['2019-02-29', '2019-13-01', '19-01-01', 'soon', '2019-03-09T00:00:00Z', '1899-12-31'])(
    'refuses %s as a birth date',
    (birth_date) => {
      expect(
        issuesOf(
          parseDetails({ action: 'save', client_id, base_version: 0, details: { ...details, birth_date } }),
        ),
      ).toEqual(['details.birth_date must be a date that exists, like 2019-03-09']);
    },
  );

  it.each(['2020-02-29', '1955-07-01'])('takes %s as a birth date', (birth_date) => {
    expect(
      parseDetails({ action: 'save', client_id, base_version: 0, details: { ...details, birth_date } }),
    ).toMatchObject({ ok: true });
  });
});
