import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { cancelData, parseCancel, releaseData } from './cancel.ts';
import { detailsReadData, detailsSavedData, parseDetails } from './client-details.ts';
import { ERROR_CODES } from './codes.ts';
import { confirmData, parseConfirm } from './confirm.ts';
import { holdData, parseHold } from './hold.ts';
import { conflictProblem, invalidRequestProblem, problem } from './problem.ts';
import { noteHistoryData, noteReadData, noteSavedData, parseNote } from './session-notes.ts';

type Examples = Record<string, { value: Record<string, unknown> }>;
type Operation = {
  requestBody: { content: { 'application/json': { examples: Examples } } };
  responses: Record<string, { content: Record<string, { examples: Examples }> }>;
};

const document: { paths: Record<string, { post: Operation }> } = parse(
  readFileSync(new URL('../../../../openapi.yaml', import.meta.url), 'utf8'),
);
const parsers = {
  '/sessions-hold': parseHold,
  '/sessions-confirm': parseConfirm,
  '/sessions-cancel': parseCancel,
  '/session-notes': parseNote,
  '/client-details': parseDetails,
};
const data = {
  '/sessions-hold': holdData,
  '/sessions-confirm': confirmData,
  '/sessions-cancel': cancelData.or(releaseData),
  '/session-notes': noteReadData.or(noteSavedData).or(noteHistoryData),
  '/client-details': detailsReadData.or(detailsSavedData),
};

/** The codes that an endpoint may answer, `all` included. */
function codesOf(path: keyof typeof parsers): string[] {
  return Object.entries(ERROR_CODES)
    .filter(([, { endpoints }]) => endpoints === 'all' || endpoints.some((name) => `/${name}` === path))
    .map(([code]) => code);
}

describe.each(Object.keys(parsers) as (keyof typeof parsers)[])('openapi.yaml on %s', (path) => {
  const { requestBody, responses } = (document.paths[path] ?? { post: undefined }).post as Operation;

  it('shows requests that the contract accepts', () => {
    const examples = Object.values(requestBody.content['application/json'].examples);
    expect(examples).not.toEqual([]);
    for (const { value } of examples) expect(parsers[path](value)).toMatchObject({ ok: true });
  });

  it('shows answers that the contract describes', () => {
    const examples = Object.values(responses['200']?.content['application/json']?.examples ?? {});
    expect(examples).not.toEqual([]);
    for (const { value } of examples) expect(data[path].safeParse(value.data).error).toBeUndefined();
  });

  it('shows a problem for each code that it can answer', () => {
    const shown: string[] = [];
    for (const [status, { content }] of Object.entries(responses)) {
      const schema = { 400: invalidRequestProblem, 409: conflictProblem }[status] ?? problem;
      for (const [code, { value }] of Object.entries(content['application/problem+json']?.examples ?? {})) {
        shown.push(code);
        expect(schema.safeParse(value).error).toBeUndefined();
        expect(value).toMatchObject({
          code,
          status: Number(status),
          title: ERROR_CODES[code as keyof typeof ERROR_CODES].title,
        });
      }
    }
    expect(shown.sort()).toEqual(codesOf(path).sort());
  });
});
