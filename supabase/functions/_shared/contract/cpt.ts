/** The billing code a caller names. What it means, and which clients may have it, are data. */
import { z } from 'zod';
import { expected, list, optional } from './primitives.ts';

/** A CPT or HCPCS code, or one of a clinic's own: five letters and digits. Handed on in upper case. */
export function cptCode() {
  return z
    .string({ error: expected('a service code') })
    .regex(/^[ \t\n\v\f\r]*[A-Za-z0-9]{5}[ \t\n\v\f\r]*$/, {
      error: 'must be a service code of five letters and digits, like 97153',
    })
    .trim()
    .toUpperCase()
    .meta({ examples: ['97153'] });
}

/** A billing modifier: two letters or digits. Handed on in upper case. */
function modifier() {
  return z
    .string({ error: expected('a modifier') })
    .regex(/^[ \t\n\v\f\r]*[A-Za-z0-9]{2}[ \t\n\v\f\r]*$/, {
      error: 'must be two letters or digits, like HQ',
    })
    .trim()
    .toUpperCase()
    .meta({ examples: ['HO'] });
}

/** A code with at most 4 modifiers (a claim line has room for four), each counted once. */
export const cpt = z.object(
  {
    code: cptCode(),
    modifiers: optional(list(modifier(), 0, 4))
      .transform((modifiers) => modifiers && [...new Set(modifiers)])
      .meta({
        description:
          'Left out: those the payer of that day wants for the code, the credential and the place. Empty: none.',
      }),
  },
  { error: expected('an object') },
);
export type CptInput = z.output<typeof cpt>;
