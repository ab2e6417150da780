/** The database that an operator's command works on, and what is said when it cannot be reached. */
import pg from 'pg';

/**
 * What `DATABASE_URL` says. Only its beginning is looked at: an address may name a socket, which no URL can.
 *
 * @throws Error in one line that names DATABASE_URL
 */
export function ownerAddress(): string {
  const { DATABASE_URL } = process.env;
  if (!DATABASE_URL) throw new Error('DATABASE_URL is not set');
  if (!/^postgres(ql)?:\/\//i.test(DATABASE_URL))
    throw new Error(
      'DATABASE_URL must be an address such as postgresql://postgres:password@host:5432/postgres',
    );
  return DATABASE_URL;
}

/**
 * Connects to `DATABASE_URL`, as the owner.
 *
 * @throws Error in one line that names DATABASE_URL; a password in it is never printed
 */
export async function connectAsOwner(): Promise<pg.Client> {
  const connectionString = ownerAddress();
  try {
    const client = new pg.Client({ connectionString });
    await client.connect();
    return client;
  } catch (error) {
    // Of a name with several addresses the error has no message, but one for each address.
    const causes = error instanceof AggregateError ? (error.errors as Error[]) : [error as Error];
    throw new Error(`DATABASE_URL: no connection: ${causes.map(({ message }) => message).join('; ')}`);
  }
}
