/** Sealed content on its way to and from the database: keys, envelopes, and what becomes of what does not open. */
import { z } from 'zod';
import { logError } from './log.ts';
import { dataKeyProof, MasterKeyError, masterKeys, newDataKey, openDataKey, proofOf } from './master-keys.ts';
import { type Answer, interpret } from './outcome.ts';
import { callAudited, type RpcContext } from './rpc.ts';
import { contentMac, type DataKey, keyIdOf, open, type Place, SealedBoxError, seal } from './sealed-box.ts';

/** A wrapped data key as the database answers it. */
export const wrappedKey = z.object({ keyId: z.string(), wrappedKey: z.string() });

/** An answer other than success: the request ends with it. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly answer: Answer;

  constructor(answer: Answer) {
    super('refused');
    this.answer = answer;
  }
}

/** The body of a successful answer. */
export function bodyOf<Schema extends z.ZodType>(schema: Schema, answer: Answer): z.output<Schema> {
  if (answer.kind !== 'success') throw new Refusal(answer);
  const body = schema.safeParse(answer.data);
  if (!body.success) throw new Refusal({ kind: 'unexpected', errorClass: 'MalformedOutcome' });
  return body.data;
}

/**
 * The key that seals an organization's new content. Its first is made here; when another request makes one at the same
 * time, the database keeps one of the two, and both use that.
 */
export async function sealingKey(
  organizationId: string,
  active: z.output<typeof wrappedKey> | null,
  context: RpcContext,
): Promise<DataKey> {
  const masters = await masterKeys();
  if (active) return openDataKey(masters, organizationId, active);
  const made = await newDataKey(masters, organizationId);
  const proof = await dataKeyProof(masters, organizationId, made);
  const request = { key_id: made.keyId, wrapped_key: made.wrappedKey, proof };
  const answer = interpret(await callAudited('start_data_key', request, context));
  return openDataKey(masters, organizationId, bodyOf(z.object({ key: wrappedKey }), answer).key);
}

/**
 * What the database is given of content: a new row's id, the envelope made for it, the content's keyed digest, and the
 * proof that this was done here.
 *
 * @param statement - what the proof says of the row between its id and its content, see {@link proofOf}
 */
export async function sealContent(
  key: DataKey,
  place: Omit<Place, 'rowId'>,
  content: unknown,
  statement: string[],
) {
  const id = crypto.randomUUID();
  const text = JSON.stringify(content);
  const [ciphertext, mac] = await Promise.all([
    seal(key, { ...place, rowId: id }, text),
    contentMac(key, text),
  ]);
  const table = place.column.split('.')[0] ?? '';
  const proof = await proofOf(
    await masterKeys(),
    [table, place.organizationId, place.subjectId, id, ...statement],
    ciphertext,
  );
  return { id, ciphertext, content_mac: mac, proof };
}

/** Sealed content, and where it belongs. */
type Envelope = { place: Omit<Place, 'organizationId'>; ciphertext: string };

/**
 * What opens envelopes of an organization, each with its own key.
 *
 * @throws {@link MasterKeyError} when a key does not open
 * @returns throws {@link SealedBoxError} for an envelope that does not open
 */
export async function contentOpener(
  organizationId: string,
  wrapped: z.output<typeof wrappedKey>[],
): Promise<(envelope: Envelope) => Promise<unknown>> {
  const masters = await masterKeys();
  const keys = new Map<string, DataKey>();
  for (const key of wrapped) keys.set(key.keyId, await openDataKey(masters, organizationId, key));
  return async ({ place, ciphertext }) => {
    const key = keys.get(keyIdOf(ciphertext));
    if (!key) throw new SealedBoxError('other-key');
    return JSON.parse(await open(key, { ...place, organizationId }, ciphertext)) as unknown;
  };
}

/** Opens content: all of it, or it throws as {@link contentOpener} says. */
export async function openContent(
  organizationId: string,
  wrapped: z.output<typeof wrappedKey>[],
  envelopes: Envelope[],
): Promise<unknown[]> {
  return Promise.all(envelopes.map(await contentOpener(organizationId, wrapped)));
}

/**
 * Runs a request about sealed content. Whatever does not open is reported alike, with no detail: the log has the
 * reason, and nothing has the content.
 */
export async function withSealedContent(context: RpcContext, run: () => Promise<Answer>): Promise<Answer> {
  try {
    return await run();
  } catch (thrown) {
    if (thrown instanceof Refusal) return thrown.answer;
    if (!(thrown instanceof SealedBoxError) && !(thrown instanceof MasterKeyError)) throw thrown;
    const reason = thrown instanceof SealedBoxError ? thrown.reason : 'key';
    logError('content_unreadable', context.requestId, `${thrown.name} ${reason}`);
    return {
      kind: 'refused',
      code: 'CONTENT_UNREADABLE',
      detail: 'The sealed content cannot be opened or sealed. Quote requestId when you report it.',
    };
  }
}
