/** Ways to spoil a good request. */
import fc from 'fast-check';

/** Values that have broken parsers, databases and dates before. */
export const nasty = fc.oneof(
  fc.constantFrom<unknown>(
    ...[
      '',
      ' ',
      '\u0000',
      '\ud800',
      '__proto__',
      'infinity',
      'now',
      '0001-01-01T00:00:00Z',
      'FREQ=DAILY;COUNT=1e9',
    ],
    ...[undefined, null, true, 0, -0, -1, 1e308, Number.POSITIVE_INFINITY, Number.NaN, 2 ** 53],
    ...[[], {}, [[]], [null], { length: 1e9 }, 'x'.repeat(70_000), Array(2_000).fill(null)],
    ...[
      '9999-12-31T23:59:59.999999999Z',
      '2026-12-07T10:00:00-99:99',
      'FREQ=MONTHLY;BYMONTHDAY=31;UNTIL=99991231',
    ],
  ),
  fc.anything({ maxDepth: 3 }),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
);

/**
 * A copy of a body with the value at some of its paths replaced, each by a copy: a later change may write into an earlier
 * one's value, and generators hand out the same objects again and again.
 */
export function spoil(body: object, paths: string[][], changes: { at: number; value: unknown }[]) {
  const copy = structuredClone(body) as Record<string, unknown>;
  for (const { at, value } of changes) {
    const path = [...(paths[at % paths.length] ?? [])];
    const last = path.pop() ?? '';
    let target: Record<string, unknown> | undefined = copy;
    for (const key of path) {
      const next: unknown = target?.[key];
      target = typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : undefined;
    }
    if (target) target[last] = structuredClone(value);
  }
  return copy;
}

/** The path of every value inside a body, its lists and objects included. */
export function pathsIn(value: unknown, prefix: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [prefix];
  const inner = Object.entries(value).flatMap(([key, each]) => pathsIn(each, [...prefix, key]));
  return prefix.length > 0 ? [prefix, ...inner] : inner;
}
