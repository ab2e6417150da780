/** The order of test files: those that take longest come first, so that all workers end at about the same time. */
import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Seconds of the files that take longest; all others are ordered by their size. */
const seconds: Readonly<Record<string, number>> = {};

/** vitest's own order knows durations only where tests have run before, which is not so in CI. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const timeOf = ({ moduleId }: TestSpecification) =>
      seconds[relative(this.ctx.config.root, moduleId)] ?? 0;
    // A stable sort: whatever is not listed stays in the order of size.
    return (await super.sort(files)).sort((a, b) => timeOf(b) - timeOf(a));
  }
}
