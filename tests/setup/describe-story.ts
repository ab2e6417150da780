/** Makes each line of a story's TAP a test. `vitest.config.ts` calls this for every file in `supabase/tests`. */
import { describe, expect, test } from 'vitest';
import { withConnection } from './db.ts';
import { answerProblem } from './rpc-answers.ts';
import { runStoryOn } from './story.ts';

/** Runs a story and registers what it said: TAP names its tests only by running. */
export async function describeStory(file: string): Promise<void> {
  // It is rolled back at its end: the next one of this worker may have the connection.
  const { assertions, planned, bailout, answers, error } = await withConnection((client) =>
    runStoryOn(client, file),
  );
  describe(file, () => {
    for (const { result, comments } of assertions) {
      const title = `${result.id} ${result.name}`;
      // A story leaves nothing out: what TAP calls skipped or still to do has not been shown.
      test(title, () => {
        if (!result.ok || result.skip || result.todo)
          expect.fail(comments.join('\n') || 'not ok, skipped or to do');
      });
    }
    test('is answered as openapi.yaml says', () => {
      expect(answers.map(answerProblem).filter((problem) => problem !== null)).toEqual([]);
    });
    test('runs to its end, with as many tests as planned', () => {
      expect(error).toBeNull();
      expect(bailout).toBeNull();
      expect(assertions.length).toBe(planned);
    });
  });
}
