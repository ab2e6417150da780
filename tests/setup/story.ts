/**
 * Stories: the pgTAP files in `supabase/tests`, each one transaction that is rolled back. The same files run under
 * `supabase test db`, where Docker is at hand.
 */
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { Parser, type Result } from 'tap-parser';
import type { RpcAnswer } from './rpc-answers.ts';
import { runStatements } from './sql.ts';

/** Where they are. */
export const storyFolder = fileURLToPath(new URL('../../supabase/tests/', import.meta.url));

/** What one file said. */
export interface StoryReport {
  assertions: { result: Result; comments: string[] }[];
  planned: number | null;
  bailout: string | null;
  /** What the database functions answered that the story called. */
  answers: RpcAnswer[];
  /** An error of the database, which ends the file as `psql -v ON_ERROR_STOP=1` does. */
  error: string | null;
}

/** File names of all stories, helpers first. */
export async function storyFiles(): Promise<string[]> {
  return (await readdir(storyFolder)).filter((name) => name.endsWith('.sql')).sort();
}

/**
 * The stories that somebody means by a name: the one of that name, else those that begin with it, else those that have
 * it in their name.
 */
export function storiesNamed(name: string, files: readonly string[]): string[] {
  const wanted = name.replace(/^.*\//, '').replace(/\.sql$/, '');
  const matches = [
    (file: string) => file === `${wanted}.sql`,
    (file: string) => file.startsWith(wanted),
    (file: string) => file.includes(wanted),
  ].map((test) => files.filter(test));
  return matches.find((found) => found.length > 0) ?? [];
}

/** Runs a story on a connection of its own. */
export async function runStory(dbUrl: string, file: string): Promise<StoryReport> {
  const client = new pg.Client({ connectionString: dbUrl });
  await client.connect();
  try {
    return await runStoryOn(client, file);
  } finally {
    await client.end();
  }
}

/** Runs a story on a connection outside any transaction. After an error it is of no more use. */
export async function runStoryOn(client: pg.Client, file: string): Promise<StoryReport> {
  const answers: RpcAnswer[] = [];
  const hear = ({ message }: { message?: string }) => {
    const told = /^answered (.*)$/s.exec(message ?? '')?.[1];
    if (told) answers.push(JSON.parse(told));
  };
  client.on('notice', hear);
  try {
    // tests.call tells there what it was answered.
    await client.query('set client_min_messages = debug1');
    const sql = await readFile(`${storyFolder}${file}`, 'utf8');
    const { lines, error } = await runStatements(client, sql);
    return { ...parseTap(lines), answers, error };
  } finally {
    client.off('notice', hear);
  }
}

/** Brings what the stories share into a database: the files whose names begin with 000. @throws Error when one is broken */
export async function installStoryHelpers(dbUrl: string): Promise<void> {
  for (const file of (await storyFiles()).filter((name) => name.startsWith('000_'))) {
    const { error } = await runStory(dbUrl, file);
    if (error) throw new Error(`${file}: ${error}`);
  }
}

function parseTap(lines: string[]): Omit<StoryReport, 'error' | 'answers'> {
  const found: Omit<StoryReport, 'error' | 'answers'> = { assertions: [], planned: null, bailout: null };
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
