/** Whether what a database function answered is what `openapi.yaml` says that it answers. */
import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { parse } from 'yaml';

/** What a story was answered. */
export interface RpcAnswer {
  name: string;
  answer: unknown;
}

type Json = Record<string, unknown>;

/** A reader may meet fields that are new to it; a test may not. Rows follow their table, so they stay open. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return 'properties' in inner && !('additionalProperties' in inner)
    ? { ...inner, additionalProperties: false }
    : inner;
}

const document: { paths: Json; components: Json } = parse(
  readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8'),
);
const compiler = new Ajv2020({ strict: false, allErrors: true });
formats.default(compiler);
compiler.addSchema(document, 'api').addSchema(closed({ components: document.components }) as Json, 'bodies');
const checks = new Map<string, ValidateFunction>();

function checkOf(reference: string): ValidateFunction {
  const check = checks.get(reference) ?? compiler.compile({ $ref: reference });
  checks.set(reference, check);
  return check;
}

/** What is not as `openapi.yaml` says, in words; null when all of it is. */
export function answerProblem({ name, answer }: RpcAnswer): string | null {
  // Those for the edge functions alone are not in it.
  if (!(`/rest/v1/rpc/${name}` in document.paths)) return null;
  const path = `~1rest~1v1~1rpc~1${name}/post/responses/200/content/application~1json/schema`;
  const words = name.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const outcome = answer as { ok?: boolean; body?: unknown } | null;
  const asked: [string, unknown][] = [
    [`api#/paths/${path}`, answer],
    ...(outcome?.ok === true
      ? [[`bodies#/components/schemas/Rpc${words}Body`, outcome.body] as [string, unknown]]
      : []),
  ];
  const errors = asked.flatMap(([reference, value]) => {
    const check = checkOf(reference);
    return check(value) ? [] : (check.errors ?? []);
  });
  return errors.length > 0
    ? `${name}: ${errors
        .slice(0, 5)
        .map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
        .join('; ')}`
    : null;
}
