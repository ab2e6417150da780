/**
 * Stacks for the test files of a project, on free ports, so that tests run beside `npm start`. Each vitest worker has a
 * stack of its own, which starts when its first file asks for it (`tests/setup/stack.ts`) and serves the worker's later
 * files: files that run at the same time share nothing.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestProject } from 'vitest/node';
import { type Stack, type StackOptions, startStack } from '../../local/stack.ts';
import { buildWebApp } from '../../local/web.ts';
import type { TestStack } from './stack.ts';

/** What a test may know of its stack. */
function forTests(stack: Stack): TestStack {
  const { apiUrl, dbUrl, apiPort, dbPort, publishableKey, secretKey, jwtSecret, jwtKeyId } = stack;
  return { apiUrl, dbUrl, apiPort, dbPort, publishableKey, secretKey, jwtSecret, jwtKeyId };
}

/** Stacks by worker: each project loads this file anew. */
type Stacks = Map<string, Promise<Stack>>;

/**
 * Answers the workers of a project with their stacks.
 * @param prepare done to a stack before its first test
 * @param early start the first worker's at once: other projects' tests run before, and the template takes seconds to make
 * @param stacks those that are running, when projects share them
 * @returns what stops them
 */
export async function provideStacks(
  project: TestProject,
  options?: StackOptions,
  prepare: (stack: Stack) => Promise<void> = async () => {},
  early = false,
  stacks: Stacks = new Map(),
): Promise<() => Promise<void>> {
  const start = async () => {
    const stack = await startStack(options);
    await prepare(stack);
    return stack;
  };
  if (early) {
    const first = start();
    first.catch(() => {});
    stacks.set('/1', first);
  }
  const server = createServer(async ({ url: worker = '' }, response) => {
    const starting = stacks.get(worker) ?? start();
    stacks.set(worker, starting);
    await starting.then(
      (stack) => response.end(JSON.stringify(forTests(stack))),
      (error: Error) => response.writeHead(500).end(error.stack),
    );
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  project.provide('stacksUrl', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    server.close();
    for (const starting of stacks.values()) await (await starting.catch(() => null))?.stop();
  };
}

/** The stacks of the projects that set up here: the tests of one run after all of the other's, and find theirs running. */
const shared = globalThis as { stacksOfTests?: Stacks };

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  // The web app is built once for all tests that open it, beside those that run before: for the first project that needs it.
  if (project.name === 'stack') buildWebApp().catch(() => {});
  shared.stacksOfTests ??= new Map();
  return provideStacks(project, { web: true }, undefined, false, shared.stacksOfTests);
}
