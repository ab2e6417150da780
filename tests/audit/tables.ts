/** The parts of docs/audit-trail.md that are written from what the tests try. */
import { edits } from './edits.ts';

const said = (sentences: string[]) =>
  sentences.length === 0
    ? '–'
    : [
        ...new Set(
          sentences.map((each) => each.replace(/^[-\d]+: /, '').replace('{quarter}', 'this quarter')),
        ),
      ].join('; ');

/** What each check says of each edit. */
export function editsTable(): string {
  return [
    '| Somebody who owns the database … | `audit.verify()` | a checkpoint kept elsewhere | `session_history` |',
    '|---|---|---|---|',
    ...edits.map(
      ({ what, verify, checkpoint, history }) =>
        `| ${what} | ${said(verify)} | ${said(checkpoint)} | ${said(history)} |`,
    ),
  ].join('\n');
}

/** Every action of an event. */
export function actionsTable(actions: { action: string; meaning: string }[]): string {
  return [
    '| Action | Means |',
    '|---|---|',
    ...actions.map(({ action, meaning }) => `| \`${action}\` | ${meaning} |`),
  ].join('\n');
}
