/**
 * Runs every `supabase/tests/*.sql` against the stack, each in its own connection, and makes each line of TAP a test.
 * The same files run under `supabase test db`, where Docker is at hand.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Parser, type Result } from 'tap-parser';
import { describe, expect, test } from 'vitest';
import { connect } from './setup/db.ts';
import { runStatements } from './setup/sql.ts';

/** What one file said. */
interface Report {
  assertions: { result: Result; comments: string[] }[];
  planned: number | null;
  bailout: string | null;
  /** An error of the database, which ends the file as `psql -v ON_ERROR_STOP=1` does. */
  error: string | null;
}

const folder = fileURLToPath(new URL('../supabase/tests/', import.meta.url));

async function run(sql: string): Promise<{ lines: string[]; error: string | null }> {
  const client = await connect();
  try {
    await client.query('create extension if not exists pgtap with schema extensions');
    return await runStatements(client, sql);
  } finally {
    await client.end();
  }
}

async function report(file: string): Promise<Report> {
  const { lines, error } = await run(readFileSync(`${folder}${file}`, 'utf8'));
  const found: Report = { assertions: [], planned: null, bailout: null, error };
  const parser = new Parser();
  parser.on('plan', (plan) => {
    found.planned = plan.end - plan.start + 1;
  });
  parser.on('assert', (result) => found.assertions.push({ result, comments: [] }));
  parser.on('comment', (comment) => found.assertions.at(-1)?.comments.push(comment.trimEnd()));
  parser.on('bailout', (reason) => {
    found.bailout = String(reason);
  });
  parser.end(`${lines.join('\n')}\n`);
  return found;
}

const files = readdirSync(folder)
  .filter((name) => name.endsWith('.sql'))
  .sort();

test('there are pgTAP files', () => {
  expect(files).not.toEqual([]);
});

for (const file of files) {
  const { assertions, planned, bailout, error } = await report(file);
  describe(file, () => {
    for (const { result, comments } of assertions) {
      const title = `${result.id} ${result.name}`;
      if (result.skip) test.skip(title, () => {});
      else if (result.todo) test.todo(title);
      else
        test(title, () => {
          if (!result.ok) expect.fail(comments.join('\n') || 'not ok');
        });
    }
    test('runs to its end, with as many tests as planned', () => {
      expect(error).toBeNull();
      expect(bailout).toBeNull();
      expect(assertions.length).toBe(planned);
    });
  });
}
