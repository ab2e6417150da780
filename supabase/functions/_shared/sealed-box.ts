/**
 * Seals text so that only the functions can read it: AES-256-GCM under an organization's data key, bound to the place
 * it is kept. The database stores the envelope, and a constraint there admits nothing else.
 *
 * An envelope is `tsb1.<data key id>.<nonce>.<ciphertext and tag>`, the last two in base64url without padding. `tsb1`
 * names the scheme; another scheme takes another name, and both can be open at once.
 */

/** An organization's data key, ready for use. Neither half can be exported. */
export type DataKey = {
  readonly id: string;
  /** Seals and opens. */
  readonly box: CryptoKey;
  /** Makes keyed digests, see {@link contentMac}. */
  readonly mac: CryptoKey;
};

/**
 * Where an envelope belongs. It opens nowhere else: copied to another row, column, client, session or organization, it
 * is noise.
 */
export type Place = {
  organizationId: string;
  /** Table and column, e.g. `session_note_versions.ciphertext`. */
  column: string;
  /** Whom or what the content is about: the session's or client's id. */
  subjectId: string;
  /** The row's own id, made before sealing. */
  rowId: string;
};

/** Why an envelope does not open. Its message says no more than this: whatever is in there is not for logs. */
export class SealedBoxError extends Error {
  override readonly name = 'SealedBoxError';
  readonly reason: 'malformed' | 'other-key' | 'does-not-open';

  constructor(reason: SealedBoxError['reason']) {
    super(`sealed content: ${reason}`);
    this.reason = reason;
  }
}

const ENVELOPE = /^tsb1\.([0-9a-f-]{36})\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22,})$/;

/** Bytes of a nonce: 96 bits, random for each sealing (NIST SP 800-38D §8.2.2; good for 2^32 sealings a key). */
export const NONCE_BYTES = 12;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes as base64url without padding (RFC 4648 §5). */
export function toBase64Url(bytes: Uint8Array): string {
  let binary = '';
  for (let from = 0; from < bytes.length; from += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(from, from + 0x8000));
  }
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/**
 * Bytes of base64 or base64url text, padded or not.
 *
 * @throws DOMException when it is neither
 */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** What GCM authenticates beside the content. No part can contain the divider, so no two places read the same. */
function boundTo(keyId: string, place: Place): Uint8Array<ArrayBuffer> {
  const { organizationId, column, subjectId, rowId } = place;
  return encoder.encode(['tsb1', keyId, organizationId, column, subjectId, rowId].join('|').toLowerCase());
}

/**
 * Seals text for one place.
 *
 * @example await seal(key, { organizationId, column: 'session_note_versions.ciphertext', subjectId, rowId }, text)
 */
export async function seal(key: DataKey, place: Place, text: string): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv: nonce, additionalData: boundTo(key.id, place) },
    key.box,
    encoder.encode(text),
  );
  return `tsb1.${key.id}.${toBase64Url(nonce)}.${toBase64Url(new Uint8Array(sealed))}`;
}

/**
 * The id of the data key an envelope was sealed with.
 *
 * @throws {@link SealedBoxError} `malformed`
 */
export function keyIdOf(envelope: string): string {
  const keyId = ENVELOPE.exec(envelope)?.[1];
  if (keyId === undefined) throw new SealedBoxError('malformed');
  return keyId;
}

/**
 * Opens an envelope that was sealed for this place.
 *
 * @throws {@link SealedBoxError} when it is no envelope, was sealed with another key, was changed, or belongs elsewhere
 */
export async function open(key: DataKey, place: Place, envelope: string): Promise<string> {
  const [, keyId, nonce = '', sealed = ''] = ENVELOPE.exec(envelope) ?? [];
  if (keyId === undefined) throw new SealedBoxError('malformed');
  if (keyId !== key.id) throw new SealedBoxError('other-key');
  try {
    const opened = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: fromBase64(nonce), additionalData: boundTo(keyId, place) },
      key.box,
      fromBase64(sealed),
    );
    return decoder.decode(opened);
  } catch {
    throw new SealedBoxError('does-not-open');
  }
}

/**
 * A keyed digest of content, in hex: equal for equal content of one organization, and nothing can be guessed from it
 * without the key. Lets the database recognise a repeated request, whose ciphertext differs each time.
 */
export async function contentMac(key: DataKey, text: string): Promise<string> {
  const digest = await crypto.subtle.sign('HMAC', key.mac, encoder.encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
