/**
 * Master keys, from the functions' secrets, and the data keys they wrap. A master key never reaches the database, a
 * data key reaches it only wrapped.
 *
 * - `PHI_MASTER_KEYS`: JSON of key id → 32 bytes in base64, e.g. `{"2026-11": "…"}`. Old ones stay until every data key
 *   is wrapped anew (`npm run keys:rotate`).
 * - `PHI_MASTER_KEY_ID`: the one that wraps new data keys. May be left out while there is only one.
 *
 * A wrapped data key is `twk1.<master key id>.<nonce>.<wrapped bytes and tag>`, bound to its organization and its id.
 *
 * From each master key an attestation key is derived, one way. The database keeps that one too (`npm run keys:rotate`
 * installs it) and checks the proofs made with it, so that nobody can pass random bytes off as sealed content.
 */
import { env } from './env.ts';
import { type DataKey, fromBase64, NONCE_BYTES, toBase64Url } from './sealed-box.ts';

/** The master keys of this deployment. */
export type MasterKeys = {
  readonly activeId: string;
  readonly byId: ReadonlyMap<string, CryptoKey>;
  /** Derived from the active one; makes proofs, see {@link proofOf}. */
  readonly attestation: CryptoKey;
  /** Whether the public development key is among them, under whatever id. */
  readonly hasDevelopmentKey: boolean;
};

/** A data key as the database keeps it. */
export type WrappedKey = { keyId: string; wrappedKey: string };

/** The id of the development key in `.env.example`. Its bytes, 0 to 31, are public. */
export const DEVELOPMENT_KEY_ID = 'local-development';

/** What is wrong with the keys. Messages name ids, never key material. */
export class MasterKeyError extends Error {
  override readonly name = 'MasterKeyError';
}

const KEY_ID = /^[A-Za-z0-9_-]{1,64}$/;
const MASTER_KEY_BYTES = 32;

/** 32 bytes that seal and 32 that make keyed digests. */
const DATA_KEY_BYTES = 64;
const WRAPPED = /^twk1\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{107})$/;

const encoder = new TextEncoder();

function keyBytes(id: string, value: unknown): Uint8Array<ArrayBuffer> {
  try {
    const bytes = fromBase64(typeof value === 'string' ? value : '');
    if (bytes.length === MASTER_KEY_BYTES) return bytes;
  } catch {
    // Falls through: whatever was there stays out of the message.
  }
  throw new MasterKeyError(`PHI_MASTER_KEYS: "${id}" must be ${MASTER_KEY_BYTES} bytes in base64`);
}

function readEntries(json: string | undefined): [string, Uint8Array<ArrayBuffer>][] {
  if (!json) throw new MasterKeyError('PHI_MASTER_KEYS is not set');
  let entries: [string, unknown][];
  try {
    entries = Object.entries(JSON.parse(json) as Record<string, unknown>);
  } catch {
    throw new MasterKeyError('PHI_MASTER_KEYS must be a JSON object of key id → base64');
  }
  return entries.map(([id, value]) => {
    if (!KEY_ID.test(id)) throw new MasterKeyError('PHI_MASTER_KEYS: ids have 1–64 of A–Z a–z 0–9 _ -');
    return [id, keyBytes(id, value)];
  });
}

/** The attestation key of a master key: HKDF-SHA256 (RFC 5869), from which no way leads back. */
async function attestationBytes(master: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey('raw', master, 'HKDF', false, ['deriveBits']);
  const info = encoder.encode('therapist-sessions attestation 1');
  const bits = await crypto.subtle.deriveBits(
    { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info },
    key,
    MASTER_KEY_BYTES * 8,
  );
  return new Uint8Array(bits);
}

/**
 * The attestation keys to install in `private.attestation_keys`, by the id of their master key. For the operator's
 * script: the functions never hold them in a form that can be exported.
 *
 * @throws {@link MasterKeyError} when a master key is missing or malformed
 */
export async function attestationKeys(
  json: string | undefined,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const derived = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [id, bytes] of readEntries(json)) derived.set(id, await attestationBytes(bytes));
  return derived;
}

/**
 * Reads master keys.
 *
 * @param json - JSON of key id → base64
 * @param activeId - the key for new wrapping; the only key when undefined
 * @throws {@link MasterKeyError} when one is missing or malformed
 */
export async function parseMasterKeys(
  json: string | undefined,
  activeId: string | undefined,
): Promise<MasterKeys> {
  const entries = readEntries(json);
  const byId = new Map<string, CryptoKey>();
  for (const [id, bytes] of entries)
    byId.set(id, await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']));
  const active = activeId || (entries.length === 1 ? entries[0]?.[0] : undefined);
  if (active === undefined) throw new MasterKeyError('PHI_MASTER_KEY_ID must name one of PHI_MASTER_KEYS');
  const activeBytes = new Map(entries).get(active);
  if (!activeBytes) throw new MasterKeyError('PHI_MASTER_KEY_ID is not among PHI_MASTER_KEYS');
  const attestation = await crypto.subtle.importKey(
    'raw',
    await attestationBytes(activeBytes),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const hasDevelopmentKey = entries.some(
    ([id, bytes]) => id === DEVELOPMENT_KEY_ID || bytes.every((byte, index) => byte === index),
  );
  return { activeId: active, byId, attestation, hasDevelopmentKey };
}

/** A project of the developer's own: the local stack's address, or its gateway's name inside its containers. */
const LOCAL_PROJECT =
  /^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\]|kong|supabase_kong_[\w-]+|api\.supabase\.internal|host\.docker\.internal)(?::\d+)?\/?$/;

let known: { of: string; keys: MasterKeys } | undefined;

/**
 * The master keys of this deployment, from its environment.
 *
 * @throws {@link MasterKeyError} when they are missing or malformed, or when the development key, which everybody
 *   knows, is used on a project that is not local
 */
export async function masterKeys(): Promise<MasterKeys> {
  const json = env('PHI_MASTER_KEYS');
  const activeId = env('PHI_MASTER_KEY_ID');
  const of = `${activeId}\n${json}`;
  if (known?.of !== of) {
    const keys = await parseMasterKeys(json, activeId);
    if (keys.hasDevelopmentKey && !LOCAL_PROJECT.test(env('SUPABASE_URL') ?? '')) {
      throw new MasterKeyError('the development master key is public: set PHI_MASTER_KEYS to your own');
    }
    known = { of, keys };
  }
  return known.keys;
}

function boundTo(organizationId: string, keyId: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(['twk1', organizationId, keyId].join('|').toLowerCase());
}

async function wrap(
  keys: MasterKeys,
  organizationId: string,
  keyId: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<WrappedKey> {
  const master = keys.byId.get(keys.activeId) as CryptoKey;
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const wrapped = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv: nonce, additionalData: boundTo(organizationId, keyId) },
    master,
    bytes,
  );
  const parts = ['twk1', keys.activeId, toBase64Url(nonce), toBase64Url(new Uint8Array(wrapped))];
  return { keyId, wrappedKey: parts.join('.') };
}

async function unwrap(keys: MasterKeys, organizationId: string, { keyId, wrappedKey }: WrappedKey) {
  const [, masterId, nonce = '', wrapped = ''] = WRAPPED.exec(wrappedKey) ?? [];
  if (masterId === undefined) throw new MasterKeyError(`data key ${keyId} is malformed`);
  const master = keys.byId.get(masterId);
  if (!master) throw new MasterKeyError(`data key ${keyId} is wrapped by an unknown master key`);
  try {
    const bytes = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: fromBase64(nonce), additionalData: boundTo(organizationId, keyId) },
      master,
      fromBase64(wrapped),
    );
    return new Uint8Array(bytes);
  } catch {
    throw new MasterKeyError(`data key ${keyId} does not open`);
  }
}

/** SHA-256 of a text, in hex. */
async function textDigest(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', encoder.encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * A proof that this deployment made a row: `tsp1.<master key id>.<HMAC-SHA-256>`. The database makes the same statement
 * of the row it is given, and keeps it only if the two agree.
 *
 * @param statement - the table, and what identifies the row and makes it up; no part contains a `|`
 * @param content - the row's long text, which goes in by its digest
 */
export async function proofOf(keys: MasterKeys, statement: string[], content: string): Promise<string> {
  const said = ['tsp1', ...statement, await textDigest(content)].join('|').toLowerCase();
  const mac = await crypto.subtle.sign('HMAC', keys.attestation, encoder.encode(said));
  return `tsp1.${keys.activeId}.${toBase64Url(new Uint8Array(mac))}`;
}

/** The proof of a wrapped data key: nobody without a master key can start one, or put another in its place. */
export function dataKeyProof(
  keys: MasterKeys,
  organizationId: string,
  { keyId, wrappedKey }: WrappedKey,
): Promise<string> {
  return proofOf(keys, ['data_keys', organizationId, keyId], wrappedKey);
}

/** Makes a data key for an organization and wraps it with the active master key. */
export async function newDataKey(keys: MasterKeys, organizationId: string): Promise<WrappedKey> {
  const bytes = crypto.getRandomValues(new Uint8Array(DATA_KEY_BYTES));
  return await wrap(keys, organizationId, crypto.randomUUID(), bytes);
}

/**
 * Unwraps a data key for use.
 *
 * @throws {@link MasterKeyError} when no master key here opens it, or it is another organization's
 */
export async function openDataKey(
  keys: MasterKeys,
  organizationId: string,
  key: WrappedKey,
): Promise<DataKey> {
  const bytes = await unwrap(keys, organizationId, key);
  const half = DATA_KEY_BYTES / 2;
  const [box, mac] = await Promise.all([
    crypto.subtle.importKey('raw', bytes.subarray(0, half), 'AES-GCM', false, ['encrypt', 'decrypt']),
    crypto.subtle.importKey('raw', bytes.subarray(half), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']),
  ]);
  return { id: key.keyId, box, mac };
}

/**
 * Wraps a data key anew, with the active master key. What it sealed stays as it is.
 *
 * @throws {@link MasterKeyError} when no master key here opens it
 */
export async function rewrapDataKey(
  keys: MasterKeys,
  organizationId: string,
  key: WrappedKey,
): Promise<WrappedKey> {
  return await wrap(keys, organizationId, key.keyId, await unwrap(keys, organizationId, key));
}
