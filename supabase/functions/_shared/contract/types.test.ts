import { expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import type { cancelData, releaseData } from './cancel.ts';
import type { clientDetails, detailsReadData } from './client-details.ts';
import type { holdData, OVERRIDABLE_RULES, OVERRIDE_RULES } from './hold.ts';
import type { alternative, conflict, issue, Problem as ProblemOfSchema, shortage } from './problem.ts';
import type { noteContent, noteReadData, noteVersion } from './session-notes.ts';
import type * as plain from './types.ts';

it('the plain types are those of the schemas', () => {
  expectTypeOf<plain.Issue>().toEqualTypeOf<z.output<typeof issue>>();
  expectTypeOf<plain.Conflict>().toEqualTypeOf<z.output<typeof conflict>>();
  expectTypeOf<plain.Shortage>().toEqualTypeOf<z.output<typeof shortage>>();
  expectTypeOf<plain.Alternative>().toEqualTypeOf<z.output<typeof alternative>>();
  expectTypeOf<plain.HoldData>().toEqualTypeOf<z.output<typeof holdData>>();
  expectTypeOf<plain.ReleaseData>().toEqualTypeOf<z.output<typeof releaseData>>();
  expectTypeOf<plain.CancelData>().toEqualTypeOf<z.output<typeof cancelData>>();
  expectTypeOf<plain.OverridableRule>().toEqualTypeOf<(typeof OVERRIDABLE_RULES)[number]>();
  expectTypeOf<plain.OverrideRule>().toEqualTypeOf<(typeof OVERRIDE_RULES)[number]>();
  expectTypeOf<z.output<typeof noteContent>>().toExtend<plain.NoteContent>();
  expectTypeOf<keyof plain.NoteContent>().toEqualTypeOf<keyof z.output<typeof noteContent>>();
  expectTypeOf<plain.NoteVersion>().toEqualTypeOf<z.output<typeof noteVersion>>();
  expectTypeOf<z.output<typeof noteReadData>['note']>().toExtend<plain.NoteWithContent>();
  expectTypeOf<keyof plain.ClientDetails>().toEqualTypeOf<keyof z.output<typeof clientDetails>>();
  expectTypeOf<z.output<typeof detailsReadData>>().toExtend<plain.DetailsReadData>();
  expectTypeOf<keyof plain.DetailsReadData>().toEqualTypeOf<keyof z.output<typeof detailsReadData>>();
  expectTypeOf<plain.Problem>().toExtend<ProblemOfSchema>();
  expectTypeOf<ProblemOfSchema>().toExtend<plain.Problem>();
});
