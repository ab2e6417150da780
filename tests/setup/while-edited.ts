/** Mistakes for the length of a test. Apart from sabotage.ts, which commands use that have no test stack. */
import { withConnection } from './db.ts';
import { type Edit, edit } from './sabotage.ts';

/** Rewrites parts of functions while something runs, and puts them back. */
export async function whileEdited<T>(edits: readonly Edit[], run: () => Promise<T>): Promise<T> {
  const former: string[] = [];
  try {
    for (const change of edits) former.push(await withConnection((db) => edit(db, ...change)));
    return await run();
  } finally {
    await withConnection(async (db) => {
      for (const source of former.toReversed()) await db.query(source);
    });
  }
}
