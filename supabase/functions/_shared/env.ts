/** Settings from the environment, in Deno and in Node. */

type Runtime = {
  readonly Deno?: { readonly env: { get(name: string): string | undefined } };
  readonly process?: { readonly env: Readonly<Record<string, string | undefined>> };
};

/** The value of an environment variable, or undefined when it is unset. */
export function env(name: string): string | undefined {
  const runtime = globalThis as unknown as Runtime;
  return runtime.Deno ? runtime.Deno.env.get(name) : runtime.process?.env[name];
}
