/**
 * The quick way to try mistakes in functions, views, triggers and policies of the database: on one database, each replaced in place, with the
 * stories whose business it is. A second or two a mistake, where a copy of the project takes half a minute.
 */
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { projectRoot } from '../../local/settings.ts';
import { startStack } from '../../local/stack.ts';
import { installStoryHelpers, runStory, storiesNamed, storyFiles } from '../setup/story.ts';
import type { Mutant } from './mutants.ts';

/** What became of a mistake. */
export interface QuickVerdict {
  readonly mutant: Mutant;
  /** The first story that failed, and how; null when none did. */
  readonly seenBy: string | null;
  readonly seconds: number;
}

/** A mistake and the statements that plant it and take it back. */
interface Replacement {
  readonly mutant: Mutant;
  readonly stories: readonly string[];
  readonly plant: string;
  readonly takeBack: string;
}

const BEGINS = /^create (?:or replace )?(function|view|trigger|policy) /gm;

/** How the statement ends that begins a text: by the way its body is written. */
function endOf(statement: string): RegExp {
  if (!/^create (?:or replace )?function /.test(statement)) return /;$/m;
  const [body = ''] = /^(?:as \$\$|begin atomic|return )/m.exec(statement) ?? [];
  return body === 'as $$' ? /^\$\$;$/m : body === 'begin atomic' ? /^end;$/m : /;$/m;
}

/** The statement of the function, view, trigger or policy that a place of a schema file is in; null when it is in none. */
function statementAt(text: string, at: number): string | null {
  const begin = [...text.matchAll(BEGINS)].filter(({ index }) => index <= at).at(-1);
  if (!begin) return null;
  const rest = text.slice(begin.index);
  const end = endOf(rest).exec(rest);
  const statement = end && rest.slice(0, end.index + end[0].length);
  return statement && begin.index + statement.length > at ? statement : null;
}

/** The statement in place of the one of that name. A policy cannot be replaced. */
function replacing(statement: string): string {
  const [, policy] = /^create policy (\S+ on \S+)/.exec(statement) ?? [];
  return policy
    ? `drop policy ${policy};\n${statement}`
    : statement.replace(/^create (?:or replace )?/, 'create or replace ');
}

/** How to plant a mistake on a database; null when it is none of these, or no story is to see it. */
async function replacementOf(mutant: Mutant, stories: readonly string[]): Promise<Replacement | null> {
  const named = mutant.tests
    .filter((test) => test.endsWith('.sql'))
    .flatMap((test) => storiesNamed(test.replace(/^.*\//, '').replace(/\.sql$/, ''), [...stories]));
  if (!mutant.file.startsWith('supabase/schemas/') || named.length === 0) return null;
  const text = await readFile(`${projectRoot}/${mutant.file}`, 'utf8');
  const statement = statementAt(text, text.indexOf(mutant.from));
  if (!statement?.includes(mutant.from)) return null;
  return {
    mutant,
    stories: named,
    plant: replacing(statement.replace(mutant.from, () => mutant.to)),
    takeBack: replacing(statement),
  };
}

/**
 * Tries those of the mistakes that are in functions, views, triggers and policies and have stories.
 *
 * @param mutants - the mistakes
 * @param tell - is told what became of each
 * @returns the mistakes that cannot be tried like this
 */
export async function tryQuickly(
  mutants: readonly Mutant[],
  tell: (verdict: QuickVerdict) => void,
): Promise<Mutant[]> {
  const stories = await storyFiles();
  const others: Mutant[] = [];
  const stack = await startStack({ api: false });
  try {
    await installStoryHelpers(stack.dbUrl);
    const db = new pg.Client(stack.dbUrl);
    await db.connect();
    try {
      for (const mutant of mutants) {
        const replacement = await replacementOf(mutant, stories);
        if (!replacement) {
          others.push(mutant);
          continue;
        }
        const began = performance.now();
        await db.query(replacement.plant);
        const seenBy = await firstFailure(stack.dbUrl, replacement.stories);
        await db.query(replacement.takeBack);
        tell({ mutant, seenBy, seconds: (performance.now() - began) / 1000 });
      }
    } finally {
      await db.end();
    }
  } finally {
    await stack.stop();
  }
  return others;
}

async function firstFailure(dbUrl: string, stories: readonly string[]): Promise<string | null> {
  for (const story of stories) {
    const { assertions, planned, bailout, error } = await runStory(dbUrl, story);
    const failed = assertions.find(({ result }) => !result.ok && !result.todo && !result.skip);
    if (failed) return `${story}: ${failed.result.name}`;
    if (error !== null || bailout !== null || assertions.length !== planned)
      return `${story}: ${(error ?? bailout ?? 'it did not come to its end').split('\n', 1)[0]}`;
  }
  return null;
}
