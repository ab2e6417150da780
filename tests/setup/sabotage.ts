/** Mistakes planted on purpose, in a database that is thrown away: what proves that a test would see them. */
import type pg from 'pg';
import { withConnection } from './db.ts';

/** A part of a function's source, and what it becomes: see `edit`. */
export type Edit = [name: string, from: string | RegExp, to: string];

/** Rewrites a part of a function's source; it must be there. @returns what it was @throws Error when it has changed */
export async function edit(
  db: pg.ClientBase,
  name: string,
  from: string | RegExp,
  to: string,
): Promise<string> {
  // A name with its arguments where there are several of that name.
  const { rows } = await db.query(
    `select pg_get_functiondef($1::${name.includes('(') ? 'regprocedure' : 'regproc'}) as source`,
    [name],
  );
  const source: string = rows[0].source;
  const changed = source.replace(from, to);
  if (changed === source) throw new Error(`${name} has changed: there is no ${from} to sabotage`);
  await db.query(changed);
  return source;
}

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
