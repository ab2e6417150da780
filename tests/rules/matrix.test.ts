/**
 * Every rule of bookings on every way to write one, tried: what should be refused is, whoever writes, and what breaks no
 * rule is booked. Ways come from the catalog: a function or a table that is not in `matrix.ts` fails.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addClinic, everybody, members } from '../setup/clinics.ts';
import { connect } from '../setup/db.ts';
import { holes } from './holes.ts';
import { IMPORT_SAYS, IMPORT_SAYS_OTHERWISE } from './import.ts';
import {
  expectedCell,
  functions,
  type Path,
  type Place,
  paths,
  placementRules,
  type Rule,
  recordRules,
  tables,
} from './matrix.ts';
import { recodedFrom } from './series.ts';

let client: pg.Client;

/** As `rule_matrix.id`. */
function id(name: string): string {
  const digest = createHash('md5').update(`rule-matrix/${name}`).digest('hex');
  return digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

beforeAll(async () => {
  client = await connect();
  await client.query('begin');
  const clients = ['ann', 'ben', 'eve', 'fay', ...Array.from({ length: 8 }, (_, at) => `c${at + 1}`)];
  const therapists = { rbt: 'RBT', rbt2: 'RBT', bcba: 'BCBA' };
  const rows = (names: readonly string[]) => names.map((name) => ({ id: id(name) }));
  await addClinic(client, {
    id: id('clinic'),
    memberships: [
      ...members('admin', [id('admin')]),
      ...members('super_admin', [id('super'), id('another super')]),
      ...members('therapist', Object.keys(therapists).map(id)),
      ...members('client', [id('parent')]),
    ],
    therapists: Object.entries(therapists).map(([name, credential]) => ({ id: id(name), credential })),
    clients: rows(clients),
    caseloads: everybody(Object.keys(therapists).map(id), clients.map(id)),
    rooms: [{ id: id('blue'), name: 'blue' }],
  });
  await addClinic(client, {
    id: id('other clinic'),
    memberships: members('therapist', [id('other rbt')]),
    therapists: rows(['other rbt']),
    clients: rows(['other ann']),
    caseloads: everybody([id('other rbt')], [id('other ann')]),
    rooms: [{ id: id('other blue'), name: 'other blue' }],
  });
  for (const file of ['world.sql', 'hand-over.sql', 'staff-time.sql', 'import.sql', 'series.sql'])
    await client.query(await readFile(new URL(file, import.meta.url), 'utf8'));
});
afterAll(async () => {
  await client.query('rollback');
  await client.end();
});

const literal = (value: unknown) =>
  `'${(typeof value === 'string' ? value : JSON.stringify(value)).replaceAll("'", "''")}'`;
const placed = (place: Place, days = 0) => `rule_matrix.placed(${literal(place)}, ${days})`;

/** The call that tries a rule on a path. */
function attemptOf(rule: Rule, { way, person }: Path): string {
  const { place = {}, setup = '' } = rule;
  // Where the place is meant in the setup.
  const start = `rule_matrix.time_of(${literal(place.start ?? 'monday 10:00')})`;
  const end = `rule_matrix.time_of(${literal(place.end ?? 'monday 11:00')})`;
  const arranged = literal(setup.replaceAll('{start}', start).replaceAll('{end}', end));
  const from = placed(rule.from ?? {}, 1);
  const to = placed(place);
  switch (way) {
    case 'hold':
    case 'confirm':
    case 'insert':
    case 'hand over':
    case 'resync':
    case 'staff time':
    case 'insert staff time':
    case 'import':
      return `rule_matrix.by_${way.replaceAll(' ', '_')}('${person}', ${arranged}, ${to})`;
    case 'move':
    case 'update':
    case 'move group':
    case 'update group':
    case 'change staff time':
    case 'update staff time':
      return `rule_matrix.by_${way.replaceAll(' ', '_')}('${person}', ${arranged}, ${from}, ${to})`;
    case 'recode': {
      const former = recodedFrom[rule.name];
      const around = former?.setup ? literal(former.setup) : arranged;
      return `rule_matrix.by_recode('${person}', ${around}, ${former ? literal(former.code) : 'null'}, ${to})`;
    }
    case 'extend series':
    case 'change staff series':
      return `rule_matrix.by_${way.replaceAll(' ', '_')}('${person}', ${arranged}, ${literal(rule.from ?? {})}, ${to})`;
    case 'change series':
    case 'change following': {
      const scope = way === 'change series' ? 'all' : 'following';
      return `rule_matrix.by_change_series('${person}', ${arranged}, ${literal(rule.from ?? {})}, ${to}, '${scope}')`;
    }
    case 'offer':
      return `rule_matrix.by_offer(${arranged}, ${to})`;
    default:
      throw new Error(`${way} is tried by its own statements`);
  }
}

/** How a refusal of a rule is told on a path. */
function saysOf(rule: Rule, { way }: Path): readonly string[] | undefined {
  // What a law moves back names what is in the way, not why the two may not be at once.
  if (way === 'resync' && rule.name === 'concurrency') return ['CLIENT_CONFLICT'];
  if (way !== 'import') return rule.says;
  return IMPORT_SAYS[rule.name] ?? IMPORT_SAYS_OTHERWISE;
}

async function attempt(expression: string): Promise<string> {
  const { rows } = await client.query('select rule_matrix.try($1) as verdict', [expression]);
  return rows[0].verdict;
}

/** What differs from what should be: `cell: verdict`, or a hole that is closed but still listed. */
const problems: string[] = [];

function judge(cell: string, verdict: string, outcome: string): void {
  if (verdict.startsWith(outcome)) {
    if (holes.has(cell)) problems.push(`${cell}: ${verdict}, and still in holes.ts`);
  } else if (!holes.has(cell)) {
    problems.push(`${cell}: should be ${outcome}, was ${verdict}`);
  }
}

async function check(
  cell: string,
  expression: string,
  outcome: string,
  says?: readonly string[],
): Promise<void> {
  const verdict = await attempt(expression);
  const isOther =
    says &&
    verdict.startsWith('refused') &&
    ![...says, 'no offer'].some((each) => verdict.endsWith(` ${each}`));
  judge(cell, isOther ? `another rule's: ${verdict}` : verdict, outcome);
}

describe('nothing in the catalog is left out', () => {
  it('every function of the API that may write is a way here, or said to be none', async () => {
    const { rows } = await client.query(
      `select distinct proname as name from pg_proc
       where pronamespace = 'public'::regnamespace and provolatile = 'v'
         and (has_function_privilege('authenticated', oid, 'execute') or has_function_privilege('service_role', oid, 'execute'))
         and not exists (select from pg_depend where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')`,
    );
    expect(rows.map(({ name }) => name).filter((name) => !(name in functions))).toEqual([]);
  });

  it('every table that an API role may write is a way here, or said to be none', async () => {
    const { rows } = await client.query(
      `select relname as name from pg_class
       where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v') and (
         has_any_column_privilege('authenticated', oid, 'insert, update')
         or has_any_column_privilege('service_role', oid, 'insert, update'))`,
    );
    expect(rows.map(({ name }) => name).filter((name) => !(name in tables))).toEqual([]);
  });

  it('every way that a function or a table is has paths', () => {
    const used = [...Object.values(functions), ...Object.values(tables)].flatMap((ways) =>
      typeof ways === 'string' ? [] : ways,
    );
    for (const way of used) expect([...paths.map((path) => path.way), 'record']).toContain(way);
  });

  it('every cell has a name of its own', () => {
    const names = recordRules.flatMap(({ name, trials }) =>
      trials.map(({ title, who }) => `${name} | ${title} · ${who}`),
    );
    expect(names.filter((name, at) => names.indexOf(name) < at)).toEqual([]);
  });

  it('every cell that is said to be otherwise names a way or a path', () => {
    const names = new Set([...paths.map(({ id }) => id), ...paths.map(({ way }) => way)]);
    for (const { cells = {} } of placementRules)
      expect(Object.keys(cells).filter((name) => !names.has(name))).toEqual([]);
  });
});

describe('each rule holds on each way', { timeout: 240_000 }, () => {
  it.each(placementRules.map((rule) => [rule.title, rule] as const))('%s', async (_, rule) => {
    problems.length = 0;
    for (const path of paths) {
      const cell = expectedCell(rule, path);
      if (typeof cell === 'string')
        await check(`${rule.name} | ${path.id}`, attemptOf(rule, path), cell, saysOf(rule, path));
    }
    expect(problems).toEqual([]);
  });

  it.each(recordRules.map((rule) => [rule.title, rule] as const))('%s', async (_, rule) => {
    problems.length = 0;
    for (const { who, title, statement, outcome } of rule.trials) {
      const expression = `rule_matrix.by_statement('${who}', ${literal(rule.setup ?? '')}, ${placed(rule.place ?? {})}, ${literal(statement)})`;
      await check(`${rule.name} | ${title} · ${who}`, expression, outcome, rule.says);
    }
    expect(problems).toEqual([]);
  });

  it('holes.ts names no cell that is not tried', () => {
    const known = new Set([
      ...['isolation | insert · SQL', 'isolation | hold · rbt'],
      ...placementRules.flatMap((rule) => paths.map((path) => `${rule.name} | ${path.id}`)),
      ...recordRules.flatMap(({ name, trials }) =>
        trials.map(({ title, who }) => `${name} | ${title} · ${who}`),
      ),
    ]);
    expect([...holes].filter((cell) => !known.has(cell))).toEqual([]);
  });
});

describe('a booking that would not see what others have booked meanwhile is refused', () => {
  // Of the seed: a transaction of its own has no clinic that is not committed.
  const clinic = 'a0000000-0000-4000-8000-0000000000a0';
  const rbt = 'a0000000-0000-4000-8000-000000000004';
  const place = `
    select caseload.organization_id, caseload.therapist_id, caseload.client_id, 'UTC' as time_zone,
      date_trunc('day', now()) + interval '500 days 3 hours' as start_time,
      date_trunc('day', now()) + interval '500 days 4 hours' as end_time
    from public.caseloads as caseload
    where caseload.organization_id = '${clinic}' and caseload.therapist_id = '${rbt}' order by caseload.client_id limit 1`;

  it.each(['read committed', 'repeatable read', 'serializable'])('%s', async (level) => {
    problems.length = 0;
    const outcome = level === 'read committed' ? 'allowed' : 'refused';
    const other = await connect();
    const tried = async (sql: string, ...parameters: unknown[]) => {
      await other.query('savepoint before');
      const verdict = await other.query(sql, parameters).then(
        ({ rows }) => (rows[0]?.outcome.ok === false ? `refused ${rows[0].outcome.code}` : 'allowed'),
        ({ code }) => (/^(PT|23|25|40)/.test(code) ? `refused ${code}` : `error ${code}`),
      );
      await other.query('rollback to before');
      return verdict;
    };
    try {
      await other.query(`begin isolation level ${level}`);
      await other.query('update public.therapists set availability_hours = null where id = $1', [rbt]);
      const { rows } = await other.query(`select to_jsonb(place) as body from (${place}) as place`);
      const inserted = await tried(
        `insert into public.sessions (organization_id, therapist_id, client_id, time_zone, start_time, end_time) ${place}`,
      );
      judge('isolation | insert · SQL', inserted, outcome);
      await other.query(
        "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
        [JSON.stringify({ sub: rbt, role: 'authenticated', org_id: clinic, user_role: 'therapist' })],
      );
      const { start_time, end_time, ...body } = rows[0].body;
      const request = {
        ...body,
        start_time: new Date(start_time),
        end_time: new Date(end_time),
        start_time_offset_minutes: 0,
        end_time_offset_minutes: 0,
      };
      judge(
        'isolation | hold · rbt',
        await tried('select public.hold_sessions($1) as outcome', JSON.stringify(request)),
        outcome,
      );
    } finally {
      await other.query('rollback');
      await other.end();
    }
    // A hole is of the levels that should be refused.
    expect(problems.filter((problem) => level !== 'read committed' || !problem.includes('holes.ts'))).toEqual(
      [],
    );
  });
});
