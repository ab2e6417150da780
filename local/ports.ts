/** Ports of the local machine: finding free ones, and saying clearly when a wanted one is taken. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** A message for the person at the terminal: printed without a stack trace. */
export class StackError extends Error {
  override name = 'StackError';
}

/**
 * Where free ports are looked for: below the range from which systems take the ports of outgoing connections (32768 and
 * up on Linux, 49152 on others), one of which could otherwise have the port before its server starts, or restarts.
 */
const FREE_PORTS = { from: 20_000, to: 32_000 };

async function tryListen(port: number): Promise<number> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('expected a TCP address');
  return address.port;
}

/**
 * The port to use on 127.0.0.1.
 * @param wanted a port number, or 0 for any free one
 * @param purpose what it is for, for the message
 * @param variable the environment variable that chooses another
 * @throws StackError in one line when the wanted port is taken or not allowed
 */
export async function claimPort(wanted: number, purpose: string, variable: string): Promise<number> {
  if (wanted === 0) return freePort();
  try {
    return await tryListen(wanted);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EADDRINUSE')
      throw new StackError(`Port ${wanted} (${purpose}) is already in use. Set ${variable} to another port.`);
    if (code === 'EACCES')
      throw new StackError(`Port ${wanted} (${purpose}) is not allowed. Set ${variable} to another port.`);
    throw error;
  }
}

/** A port is in use some time after it was found free: none is given twice, and each process first looks in a part of its own. */
const given = new Set<number>();
const PORTS_OF_ONE = 40;

async function freePort(): Promise<number> {
  const parts = Math.floor((FREE_PORTS.to - FREE_PORTS.from) / PORTS_OF_ONE);
  const own = FREE_PORTS.from + (process.pid % parts) * PORTS_OF_ONE;
  for (let tries = 0; tries < 300; tries++) {
    const port = tries < 150 ? randomInt(own, own + PORTS_OF_ONE) : randomInt(FREE_PORTS.from, FREE_PORTS.to);
    if (given.has(port)) continue;
    given.add(port);
    const isFree = await tryListen(port).then(
      () => true,
      () => false,
    );
    if (isFree) return port;
  }
  throw new StackError(`No free port was found between ${FREE_PORTS.from} and ${FREE_PORTS.to}.`);
}
