/**
 * `kill -9` of `npm start` itself, with its gateway, REST and Auth, in the middle of bookings: the next start clears what
 * was left over, what was answered with 200 is there, and everything answers again.
 */
import { chmod } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { confirmationOf, type Held, holdOf, nth, type Window } from '../races/rivals.ts';
import { copyProject, type ProjectCopy } from '../setup/project-copy.ts';
import { midnight } from '../setup/today.ts';

const therapist = 'a0000000-0000-4000-8000-000000000004';
const client = 'a0000000-0000-4000-8000-000000000101';

let copy: ProjectCopy;
beforeAll(async () => {
  copy = await copyProject();
  // Its data is kept in it then, and removed with it, whoever runs this.
  await chmod(copy.root, 0o755);
});
afterAll(() => copy?.remove());

/** Starts as `npm start` does, on free ports, and waits until it is ready. */
async function start() {
  const child = execa('node', ['local/start.ts'], {
    ...{ cwd: copy.root, preferLocal: true, localDir: copy.root, reject: false, all: true, stdin: 'ignore' },
    env: { API_PORT: '0', DB_PORT: '0', NO_COLOR: '1', FORCE_COLOR: undefined },
  });
  let said = '';
  const [apiUrl, key] = await new Promise<string[]>((ready, failed) => {
    child.all.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const found = /Publishable key\s+(\S+)[\s\S]*ready (\S+)\n/.exec(said);
      if (found) ready([found[2] ?? '', found[1] ?? '']);
    });
    void child.then(() => failed(new Error(`It ended: ${said}`)));
  });
  const ask = (path: string, token: string | null, body?: object) =>
    fetch(`${apiUrl}${path}`, {
      method: body ? 'POST' : 'GET',
      headers: {
        ...{ apikey: key ?? '', 'content-type': 'application/json' },
        ...(token && { authorization: `Bearer ${token}` }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
  const signedIn = await ask('/auth/v1/token?grant_type=password', null, {
    ...{ email: 'admin@brightpath.test', password: 'demo-password-1234' },
  });
  const { access_token } = (await signedIn.json()) as { access_token: string };
  return { child, ask: (path: string, body?: object) => ask(path, access_token, body) };
}

/** An hour of a day: Wednesdays, within the therapist's hours. */
function hour(number: number): Window {
  const wednesday =
    midnight +
    (((3 - new Date(midnight).getUTCDay() + 7) % 7) + 28 + 7 * Math.floor(number / 4)) * 86_400_000;
  const begins = wednesday + (18 + (number % 4)) * 3_600_000;
  return {
    start_time: new Date(begins).toISOString(),
    end_time: new Date(begins + 3_600_000).toISOString(),
    ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
  };
}

it('is cleared up by the next start, and nothing that was answered is lost', {
  timeout: 600_000,
}, async () => {
  const first = await start();
  const answered: string[] = [];
  const book = async ({ ask }: typeof first, number: number) => {
    const override = { reason: 'A test of what a crash leaves behind.' };
    const hold = await ask(
      '/functions/v1/sessions-hold',
      holdOf(therapist, client, hour(number), { override }),
    );
    const held = (await hold.json()) as { data: Held };
    if (hold.status !== 200) throw new Error(`hold: ${JSON.stringify(held)}`);
    const confirm = await ask('/functions/v1/sessions-confirm', confirmationOf(therapist, client, held.data));
    const booked = (await confirm.json()) as { data: { session: { id: string } } };
    if (confirm.status !== 200) throw new Error(`confirm: ${JSON.stringify(booked)}`);
    return booked.data.session.id;
  };
  // Several at once, so that it is in the middle of some of them when it dies.
  let next = 0;
  let isDead = false;
  const work = async () => {
    while (!isDead)
      await book(first, next++).then(
        (id) => answered.push(id),
        (error) => {
          if (!isDead) throw error;
        },
      );
  };
  const kill = async () => {
    while (answered.length < 10) await new Promise((wait) => setTimeout(wait, 5));
    isDead = true;
    first.child.kill('SIGKILL');
    await first.child;
  };
  await Promise.all([kill(), work(), work(), work()]);

  const second = await start();
  try {
    const found = await second.ask(`/rest/v1/sessions?select=id,status&id=in.(${answered.join(',')})`);
    const rows = (await found.json()) as { id: string; status: string }[];
    expect(rows.map(({ id }) => id).toSorted()).toEqual(answered.toSorted());
    expect(new Set(rows.map(({ status }) => status))).toEqual(new Set(['scheduled']));
    expect(await book(second, next)).toMatch(/^[0-9a-f-]{36}$/);
  } finally {
    second.child.kill('SIGINT');
  }
  expect((await second.child).exitCode).toBe(0);
  expect(nth(answered, 0)).toBeDefined();
});
