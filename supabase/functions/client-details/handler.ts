import { z } from 'zod';
import { parseDetails } from '../_shared/contract/client-details.ts';
import { createEndpoint } from '../_shared/http.ts';
import { type Answer, interpret } from '../_shared/outcome.ts';
import { callAudited, callRpc, type RpcContext } from '../_shared/rpc.ts';
import {
  bodyOf,
  openContent,
  sealContent,
  sealingKey,
  withSealedContent,
  wrappedKey,
} from '../_shared/sealed-content.ts';

const COLUMN = 'client_detail_versions.ciphertext';

const prepared = z.object({
  organizationId: z.string(),
  authorId: z.string(),
  key: wrappedKey.nullable(),
});

const version = z.object({
  clientId: z.string(),
  versionId: z.string(),
  version: z.number(),
  savedAt: z.string(),
  ciphertext: z.string(),
});
const nothing = z.object({
  clientId: z.string(),
  versionId: z.null(),
  version: z.null(),
  savedAt: z.null(),
  ciphertext: z.null(),
});
const found = z.object({
  organizationId: z.string(),
  clients: z.array(version.or(nothing)),
  keys: z.array(wrappedKey),
});

async function read(
  request: { client_ids: string[]; version?: number },
  context: RpcContext,
): Promise<Answer> {
  const answer = interpret(await callAudited('read_client_details', request, context));
  const { organizationId, clients, keys } = bodyOf(found, answer);
  const envelopes = clients
    .filter((client) => client.ciphertext !== null)
    .map(({ clientId, versionId, ciphertext }) => ({
      place: { column: COLUMN, subjectId: clientId, rowId: versionId },
      ciphertext,
    }));
  const opened = await openContent(organizationId, keys, envelopes);
  const details = new Map(envelopes.map(({ place }, index) => [place.subjectId, opened[index]]));
  return {
    kind: 'success',
    status: 200,
    replayed: false,
    data: {
      clients: clients.map(({ ciphertext: _sealed, ...client }) => ({
        ...client,
        details: details.get(client.clientId) ?? null,
      })),
    },
  };
}

async function save(
  { client_id, base_version, details }: { client_id: string; base_version: number; details: unknown },
  idempotencyKey: string | null,
  context: RpcContext,
): Promise<Answer> {
  const prepare = await callAudited('prepare_client_details', { client_id }, context);
  const { organizationId, authorId, key: active } = bodyOf(prepared, interpret(prepare));
  const key = await sealingKey(organizationId, active, context);
  const place = { organizationId, column: COLUMN, subjectId: client_id };
  const sealed = await sealContent(key, place, details, [String(base_version + 1), authorId]);
  const request = { client_id, base_version, ...sealed };
  return interpret(await callRpc({ rpc: 'save_client_details', request }, idempotencyKey, context));
}

/** `POST /functions/v1/client-details`: saves and reads who a client is. */
export const handleDetails = createEndpoint((body, idempotencyKey, context) =>
  withSealedContent(context, async () => {
    const parsed = parseDetails(body);
    if (!parsed.ok) return { kind: 'invalid', code: parsed.code, issues: parsed.issues };
    const request = parsed.value;
    return request.action === 'read'
      ? read({ client_ids: request.client_ids, version: request.version }, context)
      : save(request, idempotencyKey, context);
  }),
);
