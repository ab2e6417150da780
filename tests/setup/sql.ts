/** SQL files as `psql` runs them: one statement after the other, each on its own. */
import { parse } from 'libpg-query';
import type pg from 'pg';

/** One statement of a file. */
interface Statement {
  text: string;
  /** Line of the file, from 1, at which the text begins. */
  line: number;
}

/**
 * Splits a file into statements with Postgres' own parser, so that function bodies (`$$ … $$`, `begin atomic … end`)
 * stay whole. `psql`'s own commands (lines that start with a backslash) are left out.
 * @throws Error when the file is not SQL
 */
export async function statementsOf(sql: string): Promise<Statement[]> {
  // The parser counts bytes.
  const bytes = Buffer.from(sql.replaceAll(/^\\.*$/gm, ''));
  const { stmts = [] } = (await parse(bytes.toString())) as {
    stmts?: { stmt_location?: number; stmt_len?: number }[];
  };
  return stmts.map(({ stmt_location: from = 0, stmt_len: length }) => ({
    text: bytes.subarray(from, length === undefined ? undefined : from + length).toString(),
    line: bytes.subarray(0, from).toString().split('\n').length,
  }));
}

/**
 * Runs a file's statements in order and stops at the first error.
 * @returns the first column of every row, and the error with the line it is at
 */
export async function runStatements(
  client: pg.Client,
  sql: string,
): Promise<{ lines: string[]; error: string | null }> {
  const lines: string[] = [];
  let running: Statement | undefined;
  try {
    for (running of await statementsOf(sql)) {
      const { rows } = await client.query<unknown[]>({ text: running.text, rowMode: 'array' });
      for (const [first] of rows) if (typeof first === 'string') lines.push(first);
    }
    return { lines, error: null };
  } catch (error) {
    const { message, detail, where, position } = error as pg.DatabaseError;
    const before = running?.text.slice(0, position ? Number(position) : undefined).trimEnd();
    const line = running && before ? `line ${running.line + before.split('\n').length - 1}` : null;
    return { lines, error: [message, detail, where, line].filter(Boolean).join('\n') };
  }
}
