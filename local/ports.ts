/** Ports of the local machine: finding free ones, and saying clearly when a wanted one is taken. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** A message for the person at the terminal: printed without a stack trace. */
export class StackError extends Error {
  override name = 'StackError';
}

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
