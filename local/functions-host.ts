/**
 * Runs under Deno: serves every edge function of the project from one process, as the platform's runtime does for each.
 *
 * Arguments: the folder of the functions, then their names. Prints `listening <port>` when it answers. Ends when its
 * standard input closes, so that it never outlives the stack, even after `kill -9`.
 */

/** The little of Deno's API used here; the rest of the repository is checked against Node's types. */
declare const Deno: {
  args: string[];
  exit(code?: number): never;
  stdin: { readable: ReadableStream<Uint8Array> };
  serve(
    options: { hostname: string; port: number; onListen(address: { port: number }): void },
    handler: (request: Request) => Response | Promise<Response>,
  ): unknown;
};

interface FunctionModule {
  default: { fetch(request: Request): Response | Promise<Response> };
}

const [folder, ...names] = Deno.args;

const loaded = new Map<string, Promise<FunctionModule>>();
for (const name of names) {
  const module = import(`file://${folder}/${name}/index.ts`) as Promise<FunctionModule>;
  module.catch((error) =>
    console.error(`Function ${name} does not load: ${error?.message ?? error}\n${error?.stack ?? ''}`),
  );
  loaded.set(name, module);
}
await Promise.allSettled(loaded.values());

function failure(status: number, code: string, message: string): Response {
  return Response.json({ code, message }, { status, headers: { 'access-control-allow-origin': '*' } });
}

Deno.serve(
  { hostname: '127.0.0.1', port: 0, onListen: ({ port }) => console.log(`listening ${port}`) },
  async (request) => {
    const name = new URL(request.url).pathname.split('/')[1] ?? '';
    const loading = loaded.get(name);
    if (!loading) return failure(404, 'NOT_FOUND', 'Requested function was not found');
    let module: FunctionModule;
    try {
      module = await loading;
    } catch {
      return failure(503, 'BOOT_ERROR', 'Function failed to start (please check logs)');
    }
    try {
      return await module.default.fetch(request);
    } catch (error) {
      console.error(`Function ${name} failed:`, error);
      return failure(500, 'WORKER_ERROR', 'Function exited due to an error (please check logs)');
    }
  },
);

for await (const _ of Deno.stdin.readable);
Deno.exit();

export {};
