/** The order of test files: those that take longest come first, so that all workers end at about the same time. */
import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * What takes longest, the longest first: beginnings of paths. A browser test leaves the processor idle a third of the time,
 * so that two of them run beside something that needs all of it.
 */
const long = [
  ...['tests/web/looks', 'tests/web/booking', 'tests/tools/check'],
  ...['tests/web/faults', 'tests/growth/growth', 'tests/web/mid-flight', 'tests/clinical/authorizations'],
  ...['tests/web/clinic-life', 'tests/rules/', 'tests/web/beyond-sessions', 'tests/model/contract'],
  ...['tests/web/access', 'tests/lib/package', 'tests/web/clocks', 'tests/growth/', 'tests/model/offered'],
  ...['tests/web/privacy', 'tests/model/', 'tests/web/series', 'tests/web/'],
  ...['tests/lib/feed', 'tests/audit/edits', 'tests/phi/rotation', 'tests/access/matrix', 'tests/lib/faults'],
  ...['tests/access/refused-rows', 'tests/tools/', 'tests/clinical/', 'tests/locks/', 'tests/phi/'],
  ...[
    'tests/torture/torture',
    'tests/attack/',
    'tests/torture/insiders',
    'tests/crash/',
    'tests/local/crash',
  ],
  ...['tests/races/one-slot', 'tests/races/busy', 'tests/races/one-hold'],
  ...['supabase/tests/a_local_day_anywhere', 'supabase/tests/open_slots', 'tests/unit/recurrence.property'],
];

/** vitest's own order knows durations only where tests have run before, which is not so in CI. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification) => {
      const place = long.findIndex((path) => relative(this.ctx.config.root, moduleId).startsWith(path));
      return place === -1 ? long.length : place;
    };
    // A stable sort: whatever is not listed stays in the order of size.
    return (await super.sort(files)).sort((a, b) => placeOf(a) - placeOf(b));
  }
}
