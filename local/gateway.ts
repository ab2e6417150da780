/** The one origin of the stack: what the platform's API gateway does, on 127.0.0.1. */
import { once } from 'node:events';
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { asksForRealtime, serveRealtime } from './realtime.ts';
import { serveWebApp } from './web.ts';

/** Where requests go. */
export interface Routes {
  rest: Hono;
  auth: Hono;
  /** Port of the functions' process at this moment, or null while it is not running. */
  functionsPort(): number | null;
  /** Folder of the built web app, or null where there is none. */
  webFolder(): string | null;
}

const functionsPrefix = '/functions/v1/';

/** Headers that concern one connection only (RFC 9110, section 7.6.1). */
const hopByHop = ['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade'];

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'access-control-allow-origin': '*' });
  response.end(JSON.stringify(body));
}

/**
 * Hands a request to the functions' process.
 *
 * Streams both ways, for a function must be able to refuse a body by its first bytes, and a caller who goes away must
 * be seen to go: `fetch` would buffer the one and lose an answer that comes before the body has been sent.
 */
function passToFunctions(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  agent: Agent,
  port: number,
): void {
  const headers = { ...incoming.headers };
  for (const name of hopByHop) delete headers[name];
  headers['x-forwarded-host'] = incoming.headers.host;
  headers['x-forwarded-proto'] = 'http';
  headers['x-forwarded-for'] = incoming.socket.remoteAddress ?? '127.0.0.1';
  headers['sb-execution-id'] = crypto.randomUUID();

  const upstream = request({
    ...{ host: '127.0.0.1', port, agent, method: incoming.method, headers },
    // As on the platform, a function sees its own name as the first part of the path.
    path: `/${(incoming.url ?? '').slice(functionsPrefix.length)}`,
  });
  upstream.on('response', (response) => {
    const shown = { ...response.headers };
    for (const name of hopByHop) delete shown[name];
    // Answered before the whole body came: the rest is read and dropped, so that the caller sees the answer.
    if (!incoming.complete) incoming.unpipe(upstream).resume();
    outgoing.writeHead(response.statusCode ?? 502, response.statusMessage, shown);
    response.pipe(outgoing);
  });
  upstream.on('error', () => {
    if (outgoing.headersSent) outgoing.destroy();
    else answer(outgoing, 503, { code: 'BOOT_ERROR', message: 'The function could not be reached' });
  });
  // A body that never ends would keep its connection for ever, also after it was answered: 256 of them, all.
  outgoing.on('close', () => {
    if (!outgoing.writableFinished || !upstream.writableEnded) upstream.destroy();
  });
  incoming.pipe(upstream);
}

/**
 * Listens on 127.0.0.1.
 * @returns a function that stops listening and ends open connections
 */
export async function startGateway(port: number, routes: Routes): Promise<() => Promise<void>> {
  const agent = new Agent({ keepAlive: true });
  const rest = getRequestListener(routes.rest.fetch);
  const auth = getRequestListener(routes.auth.fetch);

  const server: Server = createServer((incoming, outgoing) => {
    const path = incoming.url ?? '/';
    if (path.startsWith('/rest/v1')) return void rest(incoming, outgoing);
    if (path.startsWith('/auth/v1')) return void auth(incoming, outgoing);
    if (path.startsWith(functionsPrefix)) {
      const functionsPort = routes.functionsPort();
      if (functionsPort !== null) return passToFunctions(incoming, outgoing, agent, functionsPort);
      return answer(outgoing, 503, { code: 'BOOT_ERROR', message: 'The functions are not running' });
    }
    if (asksForRealtime(path)) return answer(outgoing, 200, { message: 'Success' });
    const unknown = () => answer(outgoing, 404, { message: 'no Route matched with those values' });
    const folder = routes.webFolder();
    if (folder === null) return unknown();
    void serveWebApp(folder, incoming, outgoing).then((served) => served || unknown(), unknown);
  });
  server.keepAliveTimeout = 65_000;
  const endRealtime = serveRealtime(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return async () => {
    server.close();
    server.closeAllConnections();
    endRealtime();
    agent.destroy();
  };
}
