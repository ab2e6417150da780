import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  DEVELOPMENT_KEY_ID,
  masterKeys,
  newDataKey,
  openDataKey,
  parseMasterKeys,
  rewrapDataKey,
} from './master-keys.ts';
import { open, seal } from './sealed-box.ts';

const base64 = (byte: number, length = 32) => Buffer.alloc(length, byte).toString('base64');
const json = (keys: Record<string, unknown>) => JSON.stringify(keys);
const organizationId = '0a900000-0000-4000-8000-000000000001';
const other = '0a900000-0000-4000-8000-000000000002';
const place = { organizationId, column: 'a.b', subjectId: 'c', rowId: 'd' };

describe('the master keys', () => {
  it('may leave the active one unnamed while there is only one', async () => {
    expect((await parseMasterKeys(json({ a: base64(1) }), undefined)).activeId).toBe('a');
    expect((await parseMasterKeys(json({ a: base64(1) }), '')).activeId).toBe('a');
    expect((await parseMasterKeys(json({ a: base64(1), b: base64(2) }), 'b')).activeId).toBe('b');
  });

  it.each([
    ['no keys', undefined, undefined],
    ['an empty object', '{}', undefined],
    ['no JSON', 'c2VjcmV0', undefined],
    ['a JSON string', '"c2VjcmV0"', undefined],
    ['null', 'null', undefined],
    ['a short key', json({ a: base64(1, 31) }), undefined],
    ['a long key', json({ a: base64(1, 33) }), undefined],
    ['a key that is no base64', json({ a: '!'.repeat(44) }), undefined],
    ['a key that is a number', json({ a: 1 }), undefined],
    ['an id with a dot', json({ 'a.b': base64(1) }), undefined],
    ['two keys, none named', json({ a: base64(1), b: base64(2) }), undefined],
    ['another key named', json({ a: base64(1) }), 'b'],
  ])('are refused: %s', async (_case, text, activeId) => {
    const error: Error = await parseMasterKeys(text, activeId).then(
      () => new Error('accepted'),
      (thrown) => thrown,
    );
    expect(error.name).toBe('MasterKeyError');
    if (text !== undefined) expect(error.message).not.toContain(base64(1).slice(0, 12));
    expect(error.message).not.toContain('c2VjcmV0');
  });
});

describe('the keys of a deployment', () => {
  afterEach(() => vi.unstubAllEnvs());

  const published = Buffer.from(Array.from({ length: 32 }, (_, index) => index)).toString('base64');
  it.each([
    ['as an old key', { [DEVELOPMENT_KEY_ID]: base64(7), mine: base64(8) }],
    ['under another id', { mine: base64(8), renamed: published }],
  ])('on a real project are not the public development key %s', async (_how, keys) => {
    vi.stubEnv('PHI_MASTER_KEYS', json(keys));
    vi.stubEnv('PHI_MASTER_KEY_ID', 'mine');
    vi.stubEnv('SUPABASE_URL', 'https://abc.supabase.co');
    await expect(masterKeys()).rejects.toThrow('development master key is public');
  });

  it.each([
    ['http://127.0.0.1:54321', true],
    ['http://kong:8000', true],
    ['https://abc.supabase.co', false],
    ['http://127.0.0.1.example.test', false],
    ['', false],
  ])('at %s accept the public development key: %s', async (url, accepted) => {
    vi.stubEnv('PHI_MASTER_KEYS', json({ [DEVELOPMENT_KEY_ID]: base64(url.length) }));
    vi.stubEnv('PHI_MASTER_KEY_ID', DEVELOPMENT_KEY_ID);
    vi.stubEnv('SUPABASE_URL', url);
    const outcome = masterKeys().then(
      () => true,
      () => false,
    );
    expect(await outcome).toBe(accepted);
  });

  it('are read again when the secrets change', async () => {
    vi.stubEnv('PHI_MASTER_KEYS', json({ a: base64(1) }));
    vi.stubEnv('PHI_MASTER_KEY_ID', '');
    expect((await masterKeys()).activeId).toBe('a');
    vi.stubEnv('PHI_MASTER_KEYS', json({ a: base64(1), b: base64(2) }));
    vi.stubEnv('PHI_MASTER_KEY_ID', 'b');
    expect((await masterKeys()).activeId).toBe('b');
  });
});

describe('a data key', () => {
  it('has the form the database admits', async () => {
    const keys = await parseMasterKeys(json({ 'm-1': base64(1) }), undefined);
    const { keyId, wrappedKey } = await newDataKey(keys, organizationId);
    expect(keyId).toMatch(/^[0-9a-f-]{36}$/);
    expect(wrappedKey).toMatch(/^twk1\.m-1\.[\w-]{16}\.[\w-]{107}$/);
  });

  it('opens what it sealed after it was wrapped anew, when the old master key is gone', async () => {
    const before = await parseMasterKeys(json({ old: base64(1) }), undefined);
    const during = await parseMasterKeys(json({ old: base64(1), new: base64(2) }), 'new');
    const after = await parseMasterKeys(json({ new: base64(2) }), undefined);
    const key = await newDataKey(before, organizationId);
    const sealed = await seal(await openDataKey(before, organizationId, key), place, 'Ann cried');

    const rewrapped = await rewrapDataKey(during, organizationId, key);
    expect(rewrapped.wrappedKey).toMatch(/^twk1\.new\./);
    const reopened = await openDataKey(after, organizationId, rewrapped);
    expect(await open(reopened, place, sealed)).toBe('Ann cried');
    await expect(openDataKey(after, organizationId, key)).rejects.toThrow('unknown master key');
  });

  it('opens for its own organization and under its own id only', async () => {
    const keys = await parseMasterKeys(json({ m: base64(1) }), undefined);
    const key = await newDataKey(keys, organizationId);
    await expect(openDataKey(keys, other, key)).rejects.toThrow('does not open');
    await expect(openDataKey(keys, organizationId, { ...key, keyId: other })).rejects.toThrow(
      'does not open',
    );
  });

  it('does not open with other bytes under the same master key id', async () => {
    const key = await newDataKey(await parseMasterKeys(json({ m: base64(1) }), undefined), organizationId);
    const impostor = await parseMasterKeys(json({ m: base64(2) }), undefined);
    await expect(openDataKey(impostor, organizationId, key)).rejects.toThrow('does not open');
  });
});
