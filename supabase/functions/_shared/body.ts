/** Reading a request's body without trusting its size. */

/** Largest body accepted, in bytes. */
export const MAX_BODY_BYTES = 1_048_576;

/**
 * Most bytes thrown away before answering a request whose body is not wanted. An answer sent while the caller is
 * still writing often reaches it as a reset connection, so a body of tolerable size is read to its end first.
 */
const MAX_DRAINED_BYTES = 33_554_432;

/** Longest time, in milliseconds, spent on a body that is being thrown away. */
const MAX_DRAIN_MS = 5_000;

async function drainReader(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const deadline = Date.now() + MAX_DRAIN_MS;
  const timer = setTimeout(() => reader.cancel().catch(() => {}), MAX_DRAIN_MS);
  try {
    for (let drained = 0; drained < MAX_DRAINED_BYTES && Date.now() < deadline; ) {
      const { done, value } = await reader.read();
      if (done) return;
      drained += value.byteLength;
    }
    await reader.cancel();
  } catch {
    // The caller hung up; there is nobody to answer.
  } finally {
    clearTimeout(timer);
  }
}

/** Throws the body away, so that the answer reaches a caller that is still sending. */
export async function drain(request: Request): Promise<void> {
  if (request.body && !request.bodyUsed) await drainReader(request.body.getReader());
}

export type BodyText = { ok: true; text: string } | { ok: false; reason: 'too-large' | 'unreadable' };

/**
 * Reads the body as UTF-8 text, counting bytes as they arrive: `Content-Length` may lie or be absent.
 *
 * @returns the text, `too-large` over 1 MiB, or `unreadable` when it is not UTF-8 or the caller hung up
 */
export async function readBody(request: Request): Promise<BodyText> {
  if (!request.body) return { ok: true, text: '' };
  const reader = request.body.getReader();
  const declared = Number(request.headers.get('content-length') ?? 0);
  if (declared > MAX_BODY_BYTES) {
    await drainReader(reader);
    return { ok: false, reason: 'too-large' };
  }
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let received = 0;
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { ok: true, text: text + decoder.decode() };
      received += value.byteLength;
      if (received > MAX_BODY_BYTES) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    await drainReader(reader);
    return { ok: false, reason: 'unreadable' };
  }
  await drainReader(reader);
  return { ok: false, reason: 'too-large' };
}
