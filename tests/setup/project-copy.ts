/** Copies of the whole project, for tests that change its files: a copy's scripts work on the copy's files. */
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const project = fileURLToPath(new URL('../..', import.meta.url));

/** Installed, generated or local: not part of the project. `node_modules` is linked instead. */
const left = new Set([
  ...['node_modules', '.git', '.local', 'reports', 'dist'],
  ...['supabase/.temp', 'supabase/.branches'],
]);

/** How a command ended. */
export interface Ended {
  exitCode: number | undefined;
  /** Standard output and standard error. */
  output: string;
}

/** A copy of the project. */
export interface ProjectCopy {
  root: string;
  /** Runs a command in the copy, with the programs that `npm ci` installed. Does not throw. */
  run(command: string, ...args: string[]): Promise<Ended>;
  /** Starts one, and hands each piece of what it prints to `heard`. */
  start(
    heard: (text: string) => void,
    command: string,
    ...args: string[]
  ): { end(): Promise<Ended>; ended: Promise<Ended> };
  remove(): Promise<void>;
}

/** Makes a copy in a temporary folder. */
export async function copyProject(): Promise<ProjectCopy> {
  const root = await mkdtemp(join(tmpdir(), 'therapist-sessions-copy-'));
  await cp(project, root, { recursive: true, filter: (path) => !left.has(relative(project, path)) });
  await symlink(join(project, 'node_modules'), join(root, 'node_modules'));

  const start: ProjectCopy['start'] = (heard, command, ...args) => {
    const child = execa(command, args, {
      ...{ cwd: root, preferLocal: true, localDir: project, env: { NO_COLOR: '1', FORCE_COLOR: undefined } },
      ...{ reject: false, all: true, stdin: 'ignore' },
    });
    child.all.setEncoding('utf8').on('data', heard);
    const ended = child.then(({ exitCode, all, message }) => ({ exitCode, output: all || (message ?? '') }));
    return {
      ended,
      end() {
        child.kill('SIGINT');
        return ended;
      },
    };
  };
  return {
    root,
    start,
    run: (command, ...args) => start(() => {}, command, ...args).ended,
    remove: () => rm(root, { recursive: true, force: true }),
  };
}
