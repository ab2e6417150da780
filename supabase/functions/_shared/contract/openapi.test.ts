import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { cancelEndpoint, parseCancel } from './cancel.ts';
import { detailsEndpoint, parseDetails } from './client-details.ts';
import { type Endpoint, ERROR_CODES } from './codes.ts';
import { confirmEndpoint, parseConfirm } from './confirm.ts';
import type { EndpointDescription } from './endpoint.ts';
import { holdEndpoint, parseHold } from './hold.ts';
import type { Parsed } from './parsed.ts';
import { conflictProblem, invalidRequestProblem, problem } from './problem.ts';
import { noteEndpoint, parseNote } from './session-notes.ts';

type Examples = Record<string, { value: Record<string, unknown> }>;
type Operation = {
  requestBody: { content: { 'application/json': { examples: Examples } } };
  responses: Record<string, { content: Record<string, { examples: Examples }> }>;
};

const document: { paths: Record<string, { post: Operation }>; components: unknown } = parse(
  readFileSync(new URL('../../../../openapi.yaml', import.meta.url), 'utf8'),
);
const endpoints: [Endpoint, EndpointDescription, (body: unknown) => Parsed<unknown>][] = [
  ['sessions-hold', holdEndpoint, parseHold],
  ['sessions-confirm', confirmEndpoint, parseConfirm],
  ['sessions-cancel', cancelEndpoint, parseCancel],
  ['session-notes', noteEndpoint, parseNote],
  ['client-details', detailsEndpoint, parseDetails],
];

it('openapi.yaml has these endpoints and no others, besides the database functions', () => {
  // Those are in tests/functions/rpc-contract.test.ts.
  expect(Object.keys(document.paths).filter((path) => !path.startsWith('/rest/v1/rpc/'))).toEqual([
    ...endpoints.map(([name]) => `/${name}`),
    '/calendar/{token}.ics',
  ]);
});

it('everything that openapi.yaml refers to is in it', () => {
  const text = JSON.stringify(document);
  const references = [...text.matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path]) => path ?? '');
  expect(references.length).toBeGreaterThan(100);
  const found = (path: string) =>
    path
      .split('/')
      .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
  expect([...new Set(references)].filter((path) => found(path) === undefined)).toEqual([]);
});

it('openapi.yaml says of each field of the edge functions what may be sent or comes back', () => {
  const untyped: string[] = [];
  const visit = (node: unknown, path: string): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) visit(value, `${path}/${key}`);
    if (Array.isArray(node) || !('type' in node) || !('properties' in node)) return;
    for (const [name, schema] of Object.entries(node.properties as Record<string, object>)) {
      const says = ['type', '$ref', 'anyOf', 'oneOf', 'allOf', 'const', 'enum'].some(
        (word) => word in schema,
      );
      if (!says) untyped.push(`${path}: ${name}`);
    }
  };
  visit(document.components, '');
  for (const [name] of endpoints) visit(document.paths[`/${name}`], name);
  expect(untyped).toEqual([]);
});

describe.each(endpoints)('openapi.yaml on %s', (name, description, parseBody) => {
  const { requestBody, responses } = (document.paths[`/${name}`] ?? { post: undefined }).post as Operation;

  it('shows requests that the contract accepts', () => {
    const { examples } = requestBody.content['application/json'];
    expect(Object.keys(examples)).toEqual(Object.keys(description.requests));
    expect(Object.keys(examples).length).toBeGreaterThan(0);
    for (const { value } of Object.values(examples)) expect(parseBody(value)).toMatchObject({ ok: true });
  });

  it('shows answers that the contract describes, each kind at least once', () => {
    const examples = responses['200']?.content['application/json']?.examples ?? {};
    expect(Object.keys(examples)).toEqual(Object.keys(description.answers));
    const shown = Object.values(examples).map(({ value }) =>
      Object.keys(description.data).filter(
        (schema) => description.data[schema]?.safeParse(value.data).success,
      ),
    );
    for (const kinds of shown) expect(kinds).not.toEqual([]);
    expect(new Set(shown.flat())).toEqual(new Set(Object.keys(description.data)));
  });

  it('shows a problem for each code it answers', () => {
    const shown: string[] = [];
    for (const [status, { content }] of Object.entries(responses)) {
      if (status === '200') continue;
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
    const answered = Object.entries(ERROR_CODES)
      .filter(([, { endpoints: of }]) => of === 'all' || (of as readonly string[]).includes(name))
      .map(([code]) => code);
    expect(shown.sort()).toEqual(answered.sort());
  });
});
