/**
 * `/realtime/v1`: a Realtime that follows no table. The platform's needs a replication slot and its own service; apps fall
 * back to looking every so often. Refusing the subscription politely, instead of the WebSocket, keeps the browser's
 * console free of errors that mean nothing.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, WebSocketServer } from 'ws';

const prefix = '/realtime/v1/';

/** What Realtime says of a table that is not enabled for it. */
const refusal = { reason: 'The local stack has no Realtime: look every so often instead' };

/** Answers one message of the Phoenix protocol, `[join reference, reference, topic, event, payload]`. */
function answerTo(data: RawData): string | null {
  try {
    const [joinRef, ref, topic, event] = JSON.parse(String(data));
    const isJoin = event === 'phx_join';
    const payload = { status: isJoin ? 'error' : 'ok', response: isJoin ? refusal : {} };
    return JSON.stringify([joinRef, ref, topic, 'phx_reply', payload]);
  } catch {
    return null;
  }
}

/**
 * Serves Realtime's WebSocket on a server.
 * @returns a function that ends its connections
 */
export function serveRealtime(server: Server): () => void {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 65_536 });
  sockets.on('connection', (connection) => {
    connection.on('error', () => connection.terminate());
    connection.on('message', (data) => {
      const answer = answerTo(data);
      if (answer !== null) connection.send(answer);
    });
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (!request.url?.startsWith(`${prefix}websocket`)) return void socket.destroy();
    sockets.handleUpgrade(request, socket, head, (connection) => sockets.emit('connection', connection));
  });
  return () => {
    for (const connection of sockets.clients) connection.terminate();
  };
}

/** Whether a request asks if there is a Realtime. */
export function asksForRealtime(path: string): boolean {
  return path.startsWith(`${prefix}api/ping`);
}
