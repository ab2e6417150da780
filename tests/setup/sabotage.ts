/** Mistakes planted on purpose, in a database that is thrown away: what proves that a test would see them. */
import type pg from 'pg';

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
