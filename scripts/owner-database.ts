/** The database that an operator's command works on, and what is said when it cannot be reached. */
import pg from 'pg';

/**
 * Connects to `DATABASE_URL`, as the owner.
 *
 * @throws Error in one line that names DATABASE_URL; a password in it is never printed
 */
export async function connectAsOwner(): Promise<pg.Client> {
  const { DATABASE_URL } = process.env;
  if (!DATABASE_URL) throw new Error('DATABASE_URL is not set');
  const protocol = URL.canParse(DATABASE_URL) ? new URL(DATABASE_URL).protocol : '';
  if (!['postgres:', 'postgresql:'].includes(protocol))
    throw new Error(
      'DATABASE_URL must be an address such as postgresql://postgres:password@host:5432/postgres',
    );
  const client = new pg.Client({ connectionString: DATABASE_URL });
  try {
    await client.connect();
  } catch (error) {
    // Of a name with several addresses the error has no message, but one for each address.
    const causes = error instanceof AggregateError ? (error.errors as Error[]) : [error as Error];
    throw new Error(`DATABASE_URL: no connection: ${causes.map(({ message }) => message).join('; ')}`);
  }
  return client;
}
