/** The billing code a caller names. What it means, and which clients may have it, are data. */
import { z } from 'zod';
import { expected, list, optional } from './primitives.ts';

/** A CPT or HCPCS code, or one of a clinic's own: five letters and digits. Handed on in upper case. */
export function cptCode() {
  return z
    .string({ error: expected('a service code') })
    .trim()
    .toUpperCase()
    .regex(/^[A-Z0-9]{5}$/, { error: 'must be a service code of five letters and digits, like 97153' })
    .meta({ examples: ['97153'] });
}

/** A billing modifier: two letters or digits. Handed on in upper case. */
function modifier() {
  return z
    .string({ error: expected('a modifier') })
    .trim()
    .toUpperCase()
    .regex(/^[A-Z0-9]{2}$/, { error: 'must be two letters or digits, like HQ' })
    .meta({ examples: ['HO'] });
}

/** A code with at most 4 modifiers (a claim line has room for four), each counted once. */
export const cpt = z.object(
  {
    code: cptCode(),
    modifiers: optional(list(modifier(), 0, 4)).transform((modifiers) => [...new Set(modifiers ?? [])]),
  },
  { error: expected('an object') },
);
export type CptInput = z.output<typeof cpt>;
