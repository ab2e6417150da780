/** Every call of the library that is given nothing says so, before it sends anything. */
import { expect, it } from 'vitest';
import * as library from '../../src/lib/index.ts';
import { SessionsApiError } from '../../src/lib/index.ts';

const sent = () => {
  throw new Error('It was sent.');
};
const supabase = {
  auth: {},
  rpc: sent,
  from: sent,
  schema: sent,
  functions: { invoke: sent },
  channel: sent,
};

type Call = (supabase: unknown, payload: unknown) => unknown;
const isCall = (value: unknown) => /^(async )?function \w+\(supabase, (?!name)/.test(String(value));
const calls = (Object.entries(library) as [string, Call][]).filter(
  ([name, value]) => isCall(value) && name !== 'readScope',
);

const byName: Readonly<Record<string, Call>> = Object.fromEntries(calls);

const errorOf = async (call: Call, payload: unknown) => {
  try {
    await call(supabase, payload);
  } catch (error) {
    return error;
  }
};

it.each(calls)('%s names the payload that is missing', async (_, call) => {
  const error = await errorOf(call, null);
  expect(error).toBeInstanceOf(SessionsApiError);
  expect(error).toMatchObject({ status: 400, code: 'MISSING_FIELDS', issues: [{ path: 'payload' }] });
});

it.each([
  ['bookSession', 'session'],
  ['moveSession', 'session'],
  ['previewSeries', 'session'],
  ['importSessions', 'rows'],
  ['changeSeries', 'change'],
  ['holdSeriesChange', 'change'],
  ['previewSeriesChange', 'change'],
] as const)('%s names what is missing in it: %s', async (name, path) => {
  const error = await errorOf(byName[name] as Call, {});
  expect(error).toMatchObject({
    status: 400,
    issues: expect.arrayContaining([expect.objectContaining({ path })]),
  });
});

it('there are as many calls as the guide has, and more', () => {
  expect(calls.length).toBeGreaterThan(60);
});
