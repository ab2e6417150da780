/** A proxy in front of the stack that loses requests and answers on demand: real sockets, real resets. */
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** What becomes of one request. */
export type Fate =
  | 'pass'
  /** The connection is reset before the stack hears of the request. */
  | 'lose-request'
  /** The stack answers; the connection is reset instead of passing the answer on. */
  | 'lose-answer'
  /** Half of the answer's body arrives. */
  | 'cut-answer'
  /** The stack never hears of it and nobody ever answers. */
  | 'hang'
  /** Something in between answers, with the `Retry-After` given. */
  | { status: number; retryAfter?: string; body?: string };

export interface FaultyProxy {
  url: string;
  server: Server;
  /** The calls of edge functions so far, with their idempotency keys. */
  calls: { name: string; key: string | undefined; at: number }[];
  /** Decides the fate of each edge-function call; `nth` counts the calls of that function from 1. */
  fate: (name: string, nth: number) => Fate | Promise<Fate>;
  /** Decides the fate of each request of the REST API. */
  restFate: (path: string) => Fate;
  /** Told of each request of the REST API, with a promise of its end. */
  onRest: (answered: Promise<void>) => void;
  /** Answers questions for Realtime in the stack's place, with a status. */
  realtimeStatus: ((path: string) => number) | undefined;
  close(): Promise<void>;
}

/** Starts a proxy to `target` on a free loopback port. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const server = createServer((incoming, outgoing) => {
    void handle(incoming, outgoing).catch(() => outgoing.destroy());
  });
  const proxy: FaultyProxy = {
    url: '',
    server,
    calls: [],
    fate: () => 'pass',
    restFate: () => 'pass',
    onRest: () => undefined,
    realtimeStatus: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const name = /^\/functions\/v1\/([\w-]+)/.exec(incoming.url ?? '')?.[1];
    let fate: Fate = 'pass';
    if (name && incoming.method === 'POST') {
      const key = incoming.headers['idempotency-key'];
      proxy.calls.push({ name, key: Array.isArray(key) ? key[0] : key, at: performance.now() });
      fate = await proxy.fate(name, proxy.calls.filter((call) => call.name === name).length);
    }
    const path = incoming.url ?? '';
    if (path.startsWith('/rest/v1/')) {
      proxy.onRest(new Promise((resolve) => outgoing.once('close', resolve)));
      fate = proxy.restFate(path);
    }
    if (path.startsWith('/realtime/') && proxy.realtimeStatus) fate = { status: proxy.realtimeStatus(path) };
    if (fate === 'lose-request') return void incoming.socket.resetAndDestroy();
    if (fate === 'hang') return;
    if (typeof fate === 'object') {
      outgoing.writeHead(fate.status, {
        'content-type': 'text/plain',
        'access-control-allow-origin': '*',
        ...(fate.retryAfter !== undefined && { 'retry-after': fate.retryAfter }),
      });
      return void outgoing.end(fate.body ?? 'busy');
    }
    const answer = await forward(target, incoming, Buffer.concat(chunks));
    if (fate === 'lose-answer') return void incoming.socket.resetAndDestroy();
    outgoing.writeHead(answer.status, answer.headers);
    if (fate === 'pass') return void outgoing.end(answer.body);
    outgoing.write(answer.body.subarray(0, answer.body.length / 2));
    setTimeout(() => incoming.socket.resetAndDestroy(), 20);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;
}

function forward(
  target: string,
  incoming: IncomingMessage,
  body: Buffer,
): Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const { 'transfer-encoding': _, ...headers } = incoming.headers;
    const request = httpRequest(
      new URL(incoming.url ?? '/', target),
      { method: incoming.method, headers: { ...headers, 'content-length': String(body.length) } },
      async (response) => {
        const chunks: Buffer[] = [];
        try {
          for await (const chunk of response) chunks.push(chunk as Buffer);
          const { 'transfer-encoding': _chunked, ...answered } = response.headers;
          const whole = Buffer.concat(chunks);
          resolve({
            status: response.statusCode ?? 502,
            headers: { ...answered, 'content-length': String(whole.length) },
            body: whole,
          });
        } catch (error) {
          reject(error as Error);
        }
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}
