/** Every database function that answers an outcome does so in a story, where the answer is held against openapi.yaml. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ANSWERS } from '../../scripts/rpc-answers.ts';
import { answerProblem } from '../setup/rpc-answers.ts';

const folder = new URL('../../supabase/tests/', import.meta.url);
const stories = readdirSync(folder)
  .map((name) => readFileSync(new URL(name, folder), 'utf8'))
  .join('\n');

describe('what a database function answers', () => {
  it.each(Object.keys(ANSWERS))('%s is called by a story', (name) => {
    expect(stories).toMatch(new RegExp(`\\b${name}\\b`));
  });

  const body = { cancelledCount: 1, alreadyCancelledCount: 0, cancelledIds: [crypto.randomUUID()] };
  const answered = (changes: object) =>
    answerProblem({
      name: 'cancel_staff_time',
      answer: { ok: true, status: 200, body: { ...body, ...changes } },
    });

  it('is as openapi.yaml says, or the difference is told', () => {
    expect(answered({})).toBeNull();
    expect(answered({ cancelledCount: 'one' })).toContain('/body/cancelledCount must be integer');
    expect(answered({ cancelledIds: ['x'] })).toContain('must match format "uuid"');
    expect(answered({ cancelledCount: undefined })).toContain("must have required property 'cancelledCount'");
    expect(answered({ surprise: true })).toContain('"additionalProperty":"surprise"');
  });

  it('is a refusal with a code that is known', () => {
    const refused = (code: string) =>
      answerProblem({ name: 'cancel_staff_time', answer: { ok: false, status: 403, code, detail: 'no' } });
    expect(refused('FORBIDDEN')).toBeNull();
    expect(refused('FORBIDEN')).toContain('/code must be equal to one of the allowed values');
  });
});
