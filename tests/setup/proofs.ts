/** What the functions prove about what they seal, for tests that call the database past the functions. */
import { createHash, createHmac, hkdfSync } from 'node:crypto';

const master = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
/** The attestation key that the development master key stands for; the seed installs it. */
export const proofKey = Buffer.from(hkdfSync('sha256', master, '', 'therapist-sessions attestation 1', 32));

/** SHA-256 of a text, in hex. */
export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** A proof by the development master key, whose attestation key the seed installs. `content` goes in by its digest. */
export function proofOf(statement: (string | number)[], content: string): string {
  const said = ['tsp1', ...statement, digestOf(content)].join('|').toLowerCase();
  return `tsp1.local-development.${createHmac('sha256', proofKey).update(said).digest('base64url')}`;
}
