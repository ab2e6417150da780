import { z } from 'zod';
import { clientName, parseDetails } from '../_shared/contract/client-details.ts';
import { createEndpoint } from '../_shared/http.ts';
import { logError } from '../_shared/log.ts';
import { type Answer, interpret } from '../_shared/outcome.ts';
import { callAudited, callRpc, type RpcContext } from '../_shared/rpc.ts';
import { SealedBoxError } from '../_shared/sealed-box.ts';
import {
  bodyOf,
  contentOpener,
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
const foundNames = found.extend({ notReadable: z.array(z.string()) });

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

/** Names of those the caller may see. One that does not open is not readable either, and the log says why. */
async function readNames(request: { client_ids: string[] }, context: RpcContext): Promise<Answer> {
  const answer = interpret(await callAudited('read_client_names', request, context));
  const { organizationId, clients, keys, notReadable } = bodyOf(foundNames, answer);
  const open = await contentOpener(organizationId, keys);
  const unopened: string[] = [];
  const named = await Promise.all(
    clients.map(async ({ clientId, versionId, ciphertext }) => {
      if (ciphertext === null) return { clientId, name: null };
      const place = { column: COLUMN, subjectId: clientId, rowId: versionId };
      const details = await open({ place, ciphertext }).catch((thrown: unknown) => {
        if (!(thrown instanceof SealedBoxError)) throw thrown;
        logError('content_unreadable', context.requestId, `${thrown.name} ${thrown.reason}`);
      });
      if (details === undefined) unopened.push(clientId);
      // Of the details no more than this leaves the function.
      return { clientId, name: details === undefined ? null : clientName.parse(details) };
    }),
  );
  return {
    kind: 'success',
    status: 200,
    replayed: false,
    data: {
      clients: named.filter(({ clientId }) => !unopened.includes(clientId)),
      notReadable: [...notReadable, ...unopened],
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
    if (request.action === 'save') return save(request, idempotencyKey, context);
    const { client_ids } = request;
    return request.action === 'names'
      ? readNames({ client_ids }, context)
      : read({ client_ids, version: request.version }, context);
  }),
);
