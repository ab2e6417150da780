/** What requests about sealed content have in common. */
import { z } from 'zod';
import { integer } from './primitives.ts';

/** Largest content, in bytes of JSON: what the database takes once it is sealed. */
export const MAX_SEALED_BYTES = 262_144;

/** Refuses content that would not fit once sealed. */
export function fits<Schema extends z.ZodType>(schema: Schema) {
  return schema.refine(
    (value) => new TextEncoder().encode(JSON.stringify(value)).length <= MAX_SEALED_BYTES,
    {
      error: `must have at most ${MAX_SEALED_BYTES} bytes as JSON`,
    },
  );
}

/** The version a save builds on. */
export function baseVersion() {
  return integer(0, 1_000_000).meta({
    description: 'The version this builds on; 0 when there is none yet. Another than the newest is refused.',
  });
}

/** An id in an answer. */
export function rowId() {
  return z.string().meta({ format: 'uuid' });
}

/** An instant in an answer. */
export function isoInstant() {
  return z.iso.datetime({ offset: true });
}

/** What is wrong with an `action`. Bodies are objects by then. */
export function actionError(actions: string) {
  return ({ input }: { readonly input?: unknown }): string => {
    const action = (input as { action?: unknown } | null | undefined)?.action;
    return action === undefined || action === null ? `is required: ${actions}` : `must be ${actions}`;
  };
}
