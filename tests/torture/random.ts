/** Chance that can be repeated: every decision has a generator of its own, so one decision never shifts the others. */
import { createHash } from 'node:crypto';

/** A generator of numbers from one seed. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** An integer from `from` to `to`, both included. */
  integer(from: number, to: number): number;
  /** One element; the list must not be empty. */
  pick<T>(list: readonly T[]): T;
  /** True with this probability. */
  chance(probability: number): boolean;
  /** A UUID of version 4. */
  uuid(): string;
}

/**
 * A generator for one decision.
 *
 * @example
 * random(42, 'worker', 3, 'call', 17).pick(['hold', 'confirm'])
 */
export function random(...labels: (string | number)[]): Random {
  // 128 bits of seed: with 32, two of fifty thousand calls soon draw the same id.
  const digest = createHash('sha256').update(labels.join('/')).digest();
  let [a, b, c, d] = [0, 4, 8, 12].map((offset) => digest.readInt32LE(offset)) as [
    number,
    number,
    number,
    number,
  ];
  // sfc32
  const next = () => {
    const sum = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 4_294_967_296;
  };
  const integer = (from: number, to: number) => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    integer,
    pick<T>(list: readonly T[]): T {
      const found = list[integer(0, list.length - 1)];
      if (found === undefined) throw new Error('nothing to pick from');
      return found;
    },
    chance: (probability) => next() < probability,
    uuid() {
      const hex = Array.from({ length: 32 }, () => integer(0, 15).toString(16));
      hex[12] = '4';
      hex[16] = integer(8, 11).toString(16);
      return hex.join('').replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
    },
  };
}

/** One of the names, as often as its weight says. */
export function weighted<Name extends string>(chance: Random, weights: Record<Name, number>): Name {
  const entries = Object.entries(weights) as [Name, number][];
  let left = chance.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [name, weight] of entries) {
    left -= weight;
    if (left < 0) return name;
  }
  throw new Error('no weights');
}
