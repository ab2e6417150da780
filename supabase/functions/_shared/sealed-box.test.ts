import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { newDataKey, openDataKey, parseMasterKeys } from './master-keys.ts';
import {
  contentMac,
  type DataKey,
  fromBase64,
  keyIdOf,
  open,
  type Place,
  seal,
  toBase64Url,
} from './sealed-box.ts';

const master = Buffer.alloc(32, 7).toString('base64');
const organizationId = '0a900000-0000-4000-8000-000000000001';
const place: Place = {
  organizationId,
  column: 'session_note_versions.ciphertext',
  subjectId: '5e550000-0000-4000-8000-000000000001',
  rowId: '7d1e3c52-0c1f-4a5e-9a53-2f6f0f6c9b10',
};
const elsewhere = 'ffffffff-0000-4000-8000-000000000001';

let key: DataKey;
let otherKey: DataKey;

beforeAll(async () => {
  const keys = await parseMasterKeys(JSON.stringify({ m: master }), undefined);
  key = await openDataKey(keys, organizationId, await newDataKey(keys, organizationId));
  otherKey = await openDataKey(keys, organizationId, await newDataKey(keys, organizationId));
});

describe('sealed text', () => {
  it('opens where it was sealed for, whatever it says', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 300 }), async (text) => {
        expect(await open(key, place, await seal(key, place, text))).toBe(text);
      }),
      { numRuns: 50 },
    );
  });

  it('opens when it is long', async () => {
    const text = 'é'.repeat(200_000);
    expect(await open(key, place, await seal(key, place, text))).toBe(text);
  });

  it('keeps a byte order mark', async () => {
    expect(await open(key, place, await seal(key, place, '\ufeffx'))).toBe('\ufeffx');
  });

  it('differs each time, and shows nothing but its key', async () => {
    const [first, second] = await Promise.all([seal(key, place, 'Ann cried'), seal(key, place, 'Ann cried')]);
    expect(first).not.toBe(second);
    expect(first).toMatch(/^tsb1\.[0-9a-f-]{36}\.[\w-]{16}\.[\w-]{22,}$/);
    expect(keyIdOf(first)).toBe(key.id);
    expect(Buffer.from(first.split('.')[3] ?? '', 'base64url').toString('latin1')).not.toContain('Ann');
  });

  it.each(['organizationId', 'subjectId', 'rowId'] as const)('does not open at another %s', async (part) => {
    const sealed = await seal(key, place, 'Ann cried');
    await expect(open(key, { ...place, [part]: elsewhere }, sealed)).rejects.toMatchObject({
      reason: 'does-not-open',
    });
  });

  it('does not open in another column', async () => {
    const sealed = await seal(key, place, 'Ann cried');
    await expect(
      open(key, { ...place, column: 'client_detail_versions.ciphertext' }, sealed),
    ).rejects.toMatchObject({ reason: 'does-not-open' });
  });

  it('does not open with another key, also not under a forged key id', async () => {
    const sealed = await seal(key, place, 'Ann cried');
    await expect(open(otherKey, place, sealed)).rejects.toMatchObject({ reason: 'other-key' });
    await expect(open(otherKey, place, sealed.replace(key.id, otherKey.id))).rejects.toMatchObject({
      reason: 'does-not-open',
    });
  });

  it('does not open when any byte was changed', async () => {
    const [scheme, id, nonce = '', sealed = ''] = (await seal(key, place, 'Ann cried')).split('.');
    const bytes = fromBase64(sealed);
    for (let index = 0; index < bytes.length; index++) {
      const changed = bytes.slice();
      changed[index] = (changed[index] ?? 0) ^ 1;
      const forged = [scheme, id, nonce, toBase64Url(changed)].join('.');
      await expect(open(key, place, forged)).rejects.toMatchObject({ reason: 'does-not-open' });
    }
  });

  it.each(['', 'Ann cried', 'tsb1.x.y.z', 'tsb2', '{"given_name":"Ann"}'])('is not %j', async (text) => {
    await expect(open(key, place, text)).rejects.toMatchObject({ reason: 'malformed' });
    expect(() => keyIdOf(text)).toThrow('malformed');
  });

  it('says nothing of its content when it does not open', async () => {
    const sealed = await seal(key, place, 'Ann cried');
    const error = await open(key, { ...place, rowId: elsewhere }, sealed).catch((thrown: Error) => thrown);
    expect(`${error} ${JSON.stringify(error)}`).not.toMatch(/Ann|tsb1/);
  });
});

describe('the keyed digest of content', () => {
  it('is equal for equal content and key only', async () => {
    const mac = await contentMac(key, 'Ann cried');
    expect(mac).toMatch(/^[0-9a-f]{64}$/);
    expect(await contentMac(key, 'Ann cried')).toBe(mac);
    expect(await contentMac(key, 'Ann smiled')).not.toBe(mac);
    expect(await contentMac(otherKey, 'Ann cried')).not.toBe(mac);
  });
});
