/** What an attacker writes where a value of some type belongs, and what a request she bends began as. */
import type { Random } from '../torture/random.ts';

/** Text that must never come back from anywhere but the notes and details it is sealed in. */
export const canaries = {
  narrative: 'CANARY-narrative-b7e1',
  name: 'CANARY-name-94c2',
} as const;

const texts = [
  '',
  ' ',
  '\u0000',
  '\ud800',
  "'; drop table public.sessions; --",
  '%',
  '{}',
  'null',
  'x'.repeat(5000),
  '𝕏'.repeat(300),
  '../../etc/passwd',
  '<script>',
  'NaN',
];
const instants = [
  '294276-12-31T10:00:00Z',
  '9999-12-31T23:59:59Z',
  '1999-12-31T23:59:59Z',
  '2100-01-01T00:00:00Z',
  'infinity',
  '-infinity',
  'now',
  'tomorrow',
  '2026-02-30T10:00:00Z',
  '2026-11-01T01:30:00.000001Z',
  '4713-01-01 BC',
];
const numbers = [0, -1, 1, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, 0.5, 1_000_000];

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = level % 2 ? { a: value } : [value];
  return value;
}

/** A hostile value for a column or argument of this Postgres type; `ids` are real ones, of everybody. */
export function hostile(type: string, ids: readonly string[], chance: Random): unknown {
  if (type.endsWith('[]')) {
    const element = () => hostile(type.slice(0, -2), ids, chance);
    return chance.pick([
      [],
      [null],
      [element()],
      Array.from({ length: 300 }, element),
      [[element()], [element()]],
      '{',
      null,
    ]);
  }
  if (chance.chance(0.1)) return null;
  if (chance.chance(0.1)) return chance.pick<unknown>([...texts, ...numbers, true, [], {}, nested(5)]);
  switch (type) {
    case 'uuid':
      return chance.pick([
        chance.pick(ids),
        chance.uuid(),
        '00000000-0000-0000-0000-000000000000',
        'x',
        '{}',
      ]);
    case 'timestamp with time zone':
    case 'date':
      return chance.pick(instants);
    case 'integer':
    case 'bigint':
    case 'smallint':
    case 'numeric':
      return chance.pick<unknown>([...numbers, 'NaN', 'Infinity', '']);
    case 'boolean':
      return chance.pick<unknown>([true, false, 'maybe', 2]);
    case 'jsonb':
    case 'json':
      return chance.pick<unknown>([{}, [], null, 'text', 1, nested(50), nested(1500), { monday: [{}] }]);
    case 'tstzrange':
    case 'tstzmultirange':
      return chance.pick(['empty', '(,)', '{(,)}', '{[2026-01-01,294276-01-01)}', '[2,1)', '{}']);
    case 'int4multirange':
      return chance.pick(['{}', '{(,)}', '{[1,2)}', 'x']);
    default:
      return chance.pick(texts);
  }
}

/** Replaces one value somewhere in a request, or adds, removes or repeats one. */
export function bent(request: unknown, ids: readonly string[], chance: Random): unknown {
  if (typeof request !== 'object' || request === null) {
    const type =
      typeof request === 'number'
        ? 'integer'
        : typeof request === 'string' && /^\d{4}-\d\d-\d\dT/.test(request)
          ? 'timestamp with time zone'
          : typeof request === 'string' && /^[0-9a-f]{8}-/.test(request)
            ? 'uuid'
            : chance.pick(['text', 'jsonb', 'uuid[]']);
    return hostile(type, ids, chance);
  }
  const copy: Record<string, unknown> | unknown[] = Array.isArray(request) ? [...request] : { ...request };
  const keys = Object.keys(copy);
  if (keys.length === 0 || chance.chance(0.1)) return hostile('jsonb', ids, chance);
  const key = chance.pick(keys);
  const at = copy as Record<string, unknown>;
  if (Array.isArray(copy) && chance.chance(0.2)) return Array.from({ length: 400 }, () => copy[0]);
  if (!Array.isArray(copy) && chance.chance(0.15)) delete at[key];
  else at[key] = bent(at[key], ids, chance);
  return copy;
}

/** Weekly hours of this many windows a day, apart from each other. */
export function crowdedWeek(windows: number): Record<string, { start: string; end: string }[]> {
  const clock = (minute: number) =>
    `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
  const monday = Array.from({ length: windows }, (_, at) => ({
    start: clock(2 * at),
    end: clock(2 * at + 1),
  }));
  return { monday };
}

/** JSON that is deeper than any parser likes. */
export function deepJson(chance: Random): { method: string; path: string; body: string } {
  return deepJsonOf(chance.pick(DEEP_PATHS), chance.pick([6_500, 100_000]));
}

/** Where such JSON is sent to. */
export const DEEP_PATHS = [
  '/rest/v1/rpc/preview_series',
  '/rest/v1/rpc/set_availability_hours',
  '/rest/v1/therapists',
  '/functions/v1/sessions-hold',
  '/functions/v1/client-details',
];

export function deepJsonOf(path: string, levels: number): { method: string; path: string; body: string } {
  const name =
    path.includes('availability') || path.endsWith('therapists') ? 'availability_hours' : 'request';
  return { method: 'POST', path, body: `{"${name}":${'['.repeat(levels)}${']'.repeat(levels)}}` };
}
