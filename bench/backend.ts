/** One Postgres backend in single-user mode under callgrind, which counts the instructions it executes. */
import { execa, type ResultPromise } from 'execa';
import { serverProgram } from '../local/postgres.ts';

/** Why instructions cannot be counted on this machine; null when they can. */
export async function whyNotCounted(): Promise<string | null> {
  if (process.platform !== 'linux') return 'instructions are counted on Linux only';
  const found = await Promise.all(
    ['valgrind', 'callgrind_control'].map((program) => execa(program, ['--version'], { reject: false })),
  );
  return found.every(({ failed }) => !failed)
    ? null
    : 'valgrind is not installed (Debian: apt-get install valgrind)';
}

/** A backend of a stopped cluster. Statements are sent one after the other, each a transaction of its own. */
export class CountedBackend {
  readonly #process: ResultPromise;
  readonly #environment: Record<string, string>;
  readonly #user: { uid?: number; gid?: number };
  #unread = '';
  #log = '';
  #heard: () => void = () => undefined;
  #ended = false;
  #marks = 0;

  private constructor(
    started: ResultPromise,
    environment: Record<string, string>,
    user: { uid?: number; gid?: number },
  ) {
    this.#process = started;
    this.#environment = environment;
    this.#user = user;
    started.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#unread += text;
      this.#heard();
    });
    started.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-4000);
    });
    void started.finally(() => {
      this.#ended = true;
      this.#heard();
    });
  }

  /**
   * Starts the backend and waits until it answers.
   *
   * @param dataDir a cluster that no server runs on
   * @param folder where it may write: valgrind talks through pipes there
   */
  static async start(dataDir: string, folder: string): Promise<CountedBackend> {
    const { path, user } = await serverProgram();
    // Anything that differs between two environments could move the stack, and with it a count.
    const environment = { PATH: process.env.PATH ?? '', TMPDIR: folder, LC_ALL: 'C', TZ: 'UTC' };
    const settings = ['fsync=off', 'jit=off', 'timezone=UTC', 'log_timezone=UTC', 'log_min_messages=error'];
    const backend = new CountedBackend(
      execa(
        'valgrind',
        [
          ...['--tool=callgrind', '--callgrind-out-file=/dev/null', '--quiet'],
          ...[path, '--single', '-D', dataDir],
          ...settings.flatMap((setting) => ['-c', setting]),
          'postgres',
        ],
        {
          ...user,
          cwd: folder,
          env: environment,
          extendEnv: false,
          reject: false,
          stdin: 'pipe',
          stdout: 'pipe',
          stderr: 'pipe',
          buffer: false,
        },
      ),
      environment,
      user,
    );
    await backend.run([]);
    return backend;
  }

  /** Runs statements and gives the values of their column `outcome`, which is JSON. */
  async run<Outcome>(statements: string[]): Promise<Outcome[]> {
    const mark = `mark ${++this.#marks}`;
    // One line is one statement in this mode.
    for (const statement of [...statements, `select '${mark}' as mark`])
      this.#process.stdin?.write(`${statement.replaceAll('\n', ' ')}\n`);
    while (!this.#unread.includes(`mark = "${mark}"`)) {
      if (this.#ended) throw new Error(`The backend ended.\n${this.#log}`);
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
    const answer = this.#unread;
    this.#unread = '';
    const outcomes = [...answer.matchAll(/outcome = "(.*)"\t\(typeid/g)].map(
      ([, json]) => JSON.parse(json ?? '') as Outcome,
    );
    if (outcomes.length !== statements.filter((statement) => statement.includes(' as outcome')).length)
      throw new Error(`A statement failed.\n${this.#log}`);
    return outcomes;
  }

  /** Instructions executed so far. */
  async instructions(): Promise<number> {
    const { stdout } = await execa('callgrind_control', ['-e', String(this.#process.pid)], {
      ...this.#user,
      env: this.#environment,
      extendEnv: false,
      cwd: this.#environment.TMPDIR ?? '/',
    });
    const counted = /Th\s*1\s+([\d,]+)/.exec(stdout)?.[1];
    if (!counted) throw new Error(`callgrind_control answered: ${stdout}`);
    return Number(counted.replaceAll(',', ''));
  }

  /** Ends the backend and waits for it. */
  async end(): Promise<void> {
    this.#process.stdin?.end();
    await this.#process;
  }
}
