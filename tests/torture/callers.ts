/** The ways into the product: SQL, SQL through a pooler, and HTTP. Each turns whatever happens into an `Answer`. */
import pg from 'pg';
import { signAccessToken } from '../../local/tokens.ts';
import { type Answer, type Endpoint, namesOrganization, type Transport } from './history.ts';
import type { Actor } from './world.ts';

/** Where the product is. */
export interface Target {
  dbUrl: string;
  /** Null without a pooler. */
  poolUrl: string | null;
  apiUrl: string;
  publishableKey: string;
  secretKey: string;
}

/** How a call is to be cut off: milliseconds after it was sent. */
export type Drop = number | null;

/** Errors that come with the end of a connection: the statement did not answer. */
const CONNECTION_LOST = /^(08|57P0)/;
const rpcs: Record<string, string> = {
  hold: 'hold_sessions',
  move: 'hold_sessions',
  confirm: 'confirm_sessions',
  release: 'release_hold',
  cancel: 'cancel_sessions',
};
const MISSING_ANSWER_MS = 30_000;

/** What a statement is to run as. */
interface Settings {
  role: 'authenticated' | 'service_role' | 'postgres';
  claims: Record<string, unknown> | null;
  requestId: string;
  /** Whose rows are written past the booking functions; empty when that is not said. */
  organizationId: string;
}

/** What the booking functions return. */
interface Outcome {
  ok: boolean;
  status: number;
  code: string;
  replayed?: boolean;
  body: Record<string, unknown>;
}

function answerOf(outcome: Outcome): Answer {
  return outcome.ok
    ? { type: 'ok', replayed: outcome.replayed ?? false, body: outcome.body }
    : { type: 'refused', status: outcome.status, code: outcome.code };
}

/** Claims of an actor's access token. */
export function claimsOf({ clinic, userId, role }: Actor): Record<string, unknown> {
  return { sub: userId, role: 'authenticated', org_id: clinic.organizationId, user_role: role };
}

/** State that one client's transaction left on a pooled connection for the next. */
export class Leak extends Error {}

/** One person's connections. Opened when needed, thrown away when broken, and now and then for no reason. */
export class Caller {
  readonly #target: Target;
  readonly #clients = new Map<Transport, pg.Client>();
  readonly #tokens = new Map<string, Promise<string>>();

  constructor(target: Target) {
    this.#target = target;
  }

  /** Calls a booking function. */
  async book(
    transport: Transport,
    actor: Actor,
    call: {
      kind: string;
      endpoint: Endpoint;
      request: Record<string, unknown>;
      key: string | null;
      id: string;
    },
    options: { drop: Drop; autocommit: boolean },
  ): Promise<Answer> {
    if (transport === 'http') return this.#post(actor, call, options.drop);
    const { answer, rows } = await this.#run(
      transport,
      { role: 'authenticated', claims: claimsOf(actor), requestId: call.id, organizationId: '' },
      [
        {
          text: `select public.${rpcs[call.kind]}($1, $2, $3) as outcome`,
          values: [JSON.stringify(call.request), call.key, call.id],
        },
      ],
      options,
    );
    return answer ?? answerOf(rows[0]?.outcome as Outcome);
  }

  /** Calls a function that has no endpoint of its own, over REST or SQL. */
  async call(
    transport: Transport,
    actor: Actor,
    rpc: string,
    { id, request }: { id: string; request: Record<string, unknown> },
    options: { drop: Drop; autocommit: boolean },
  ): Promise<Answer> {
    if (transport === 'http') return this.#postRpc(actor, rpc, { request, request_id: id });
    const { answer, rows } = await this.#run(
      transport,
      { role: 'authenticated', claims: claimsOf(actor), requestId: id, organizationId: '' },
      [{ text: `select public.${rpc}($1, $2) as outcome`, values: [JSON.stringify(request), id] }],
      options,
    );
    return answer ?? answerOf(rows[0]?.outcome as Outcome);
  }

  /** Offers one freed slot to whoever waits for it, as a member of the staff. */
  async offer(
    transport: 'sql' | 'pool',
    actor: Actor,
    id: string,
    options: { drop: Drop; autocommit: boolean },
  ): Promise<Answer> {
    const { answer, rows } = await this.#run(
      transport,
      { role: 'authenticated', claims: claimsOf(actor), requestId: id, organizationId: '' },
      [{ text: 'select public.offer_freed_slots($1) as outcome', values: [id] }],
      options,
    );
    return answer ?? { type: 'ok', replayed: false, body: rows[0]?.outcome as Record<string, unknown> };
  }

  async #postRpc(actor: Actor, rpc: string, body: Record<string, unknown>): Promise<Answer> {
    try {
      const response = await fetch(`${this.#target.apiUrl}/rest/v1/rpc/${rpc}`, {
        method: 'POST',
        headers: {
          apikey: this.#target.publishableKey,
          authorization: `Bearer ${await this.#tokenOf(actor)}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(MISSING_ANSWER_MS),
      });
      const answer = (await response.json()) as Outcome & { code?: string; message?: string };
      if (response.ok) return answerOf(answer);
      const { code = 'none', message = '' } = answer;
      if (response.status >= 500) return { type: 'unknown', why: `HTTP ${response.status} ${code}` };
      return { type: 'raised', sqlstate: code, message };
    } catch (error) {
      return { type: 'unknown', why: String(error) };
    }
  }

  #tokenOf(actor: Actor): Promise<string> {
    const cached = `${actor.clinic.organizationId}/${actor.userId}`;
    const known = this.#tokens.get(cached);
    if (known) return known;
    const now = Math.floor(Date.now() / 1000);
    const token = signAccessToken({ ...claimsOf(actor), aud: 'authenticated', iat: now, exp: now + 7200 });
    this.#tokens.set(cached, token);
    return token;
  }

  /** Runs statements in one transaction, past the booking functions. `body.rows` is what the last one returned. */
  async write(
    transport: 'sql' | 'pool',
    role: 'service_role' | 'postgres',
    requestId: string,
    organizationId: string,
    statements: { text: string; values: unknown[] }[],
    options: { drop: Drop; autocommit: boolean },
  ): Promise<Answer> {
    const settings: Settings = {
      ...{ role, claims: role === 'postgres' ? null : { role }, requestId },
      organizationId: namesOrganization(requestId) ? organizationId : '',
    };
    const { answer, rows } = await this.#run(transport, settings, statements, options);
    return answer ?? { type: 'ok', replayed: false, body: { rows } };
  }

  /** Inserts a session over REST with the secret key, as a backend does. */
  async insertOverRest(session: Record<string, unknown>): Promise<Answer> {
    try {
      const response = await fetch(`${this.#target.apiUrl}/rest/v1/sessions`, {
        method: 'POST',
        headers: {
          apikey: this.#target.secretKey,
          'content-type': 'application/json',
          prefer: 'return=minimal',
        },
        body: JSON.stringify(session),
        signal: AbortSignal.timeout(MISSING_ANSWER_MS),
      });
      const text = await response.text();
      if (response.ok) return { type: 'ok', replayed: false, body: { rows: [] } };
      const code = /"code":\s*"([^"]+)"/.exec(text)?.[1] ?? 'none';
      if (response.status >= 500) return { type: 'unknown', why: `HTTP ${response.status} ${code}` };
      return { type: 'raised', sqlstate: code, message: text };
    } catch (error) {
      return { type: 'unknown', why: String(error) };
    }
  }

  /** Adds or removes a member, as a super_admin. */
  async member(
    transport: 'sql' | 'pool',
    actor: Actor,
    kind: 'leave' | 'return',
    { id, request }: { id: string; request: Record<string, unknown> },
    options: { drop: Drop; autocommit: boolean },
  ): Promise<Answer> {
    const { answer, rows } = await this.#run(
      transport,
      { role: 'authenticated', claims: claimsOf(actor), requestId: id, organizationId: '' },
      [
        {
          text:
            kind === 'leave'
              ? 'select public.remove_member($1) as outcome'
              : "select public.add_member($1, 'therapist') as outcome",
          values: [request.user_id],
        },
      ],
      options,
    );
    return answer ?? answerOf(rows[0]?.outcome as Outcome);
  }

  /** Writes a session over REST as a user does: a new one, or changes of the one with this id. `body.rows` is what was written. */
  async writeOverRest(
    actor: Actor,
    request: Record<string, unknown>,
    changed: string | null,
  ): Promise<Answer> {
    try {
      const response = await fetch(
        `${this.#target.apiUrl}/rest/v1/sessions?select=id,therapist_id${changed ? `&id=eq.${changed}` : ''}`,
        {
          method: changed ? 'PATCH' : 'POST',
          headers: {
            apikey: this.#target.publishableKey,
            authorization: `Bearer ${await this.#tokenOf(actor)}`,
            'content-type': 'application/json',
            prefer: 'return=representation',
          },
          body: JSON.stringify(request),
          signal: AbortSignal.timeout(MISSING_ANSWER_MS),
        },
      );
      const body = (await response.json()) as { code?: string; message?: string };
      if (response.ok) return { type: 'ok', replayed: false, body: { rows: body } };
      const { code = 'none', message = '' } = body;
      if (response.status >= 500) return { type: 'unknown', why: `HTTP ${response.status} ${code}` };
      return { type: 'raised', sqlstate: code, message };
    } catch (error) {
      return { type: 'unknown', why: String(error) };
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients.keys()].map((transport) => this.hangUp(transport)));
  }

  /** Drops a connection; the next call opens another. */
  async hangUp(transport: Transport): Promise<void> {
    const client = this.#clients.get(transport);
    this.#clients.delete(transport);
    await client?.end().catch(() => {});
  }

  async #client(transport: 'sql' | 'pool'): Promise<pg.Client> {
    const known = this.#clients.get(transport);
    if (known) return known;
    const client = new pg.Client({
      connectionString: transport === 'pool' ? (this.#target.poolUrl ?? '') : this.#target.dbUrl,
      connectionTimeoutMillis: 5000,
      query_timeout: MISSING_ANSWER_MS,
    });
    client.on('error', () => this.#forget(transport, client));
    try {
      await client.connect();
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    this.#clients.set(transport, client);
    return client;
  }

  #forget(transport: Transport, client: pg.Client): void {
    if (this.#clients.get(transport) === client) this.#clients.delete(transport);
    socketOf(client).destroy();
  }

  /** Runs statements as somebody, in a transaction of its own, or autocommitted. */
  async #run(
    transport: 'sql' | 'pool',
    settings: Settings,
    statements: { text: string; values: unknown[] }[],
    { drop, autocommit }: { drop: Drop; autocommit: boolean },
  ): Promise<{ answer: Answer | null; rows: Record<string, unknown>[] }> {
    let client: pg.Client | undefined;
    let commitSent = false;
    let timer: NodeJS.Timeout | undefined;
    const alone = autocommit && transport === 'sql' && statements.length === 1;
    try {
      client = await this.#client(transport);
      const connection = client;
      const set = (local: boolean) =>
        connection.query(
          `select set_config('request.jwt.claims', $1, $4), set_config('therapist_sessions.request_id', $2, $4),
            set_config('therapist_sessions.organization', $5, $4), set_config('role', $3, $4)`,
          [
            settings.claims ? JSON.stringify(settings.claims) : '',
            settings.requestId,
            settings.role === 'postgres' ? 'none' : settings.role,
            local,
            settings.organizationId,
          ],
        );
      if (alone) await set(false);
      else {
        await client.query('begin');
        if (transport === 'pool') await refuseLeaks(client);
        await set(true);
      }
      if (drop !== null) timer = setTimeout(() => socketOf(connection).destroy(), drop);
      // On its own a statement commits with its answer.
      commitSent = alone;
      let rows: Record<string, unknown>[] = [];
      for (const statement of statements) rows = (await client.query(statement)).rows;
      if (!alone) {
        commitSent = true;
        await client.query('commit');
      }
      return { answer: null, rows };
    } catch (error) {
      if (error instanceof Leak) throw error;
      const { code, message, severity } = error as pg.DatabaseError;
      // A fatal error, a broken socket or silence ends the connection; anything else is the database's word.
      if (code && severity === 'ERROR' && !CONNECTION_LOST.test(code)) {
        try {
          if (!alone) await client?.query('rollback');
        } catch {
          if (client) this.#forget(transport, client);
        }
        return { answer: { type: 'raised', sqlstate: code, message }, rows: [] };
      }
      if (client) this.#forget(transport, client);
      const why = `${code ?? ''} ${message}`.trim();
      return { answer: commitSent ? { type: 'unknown', why } : { type: 'lost', why }, rows: [] };
    } finally {
      clearTimeout(timer);
    }
  }

  async #post(
    actor: Actor,
    call: { endpoint: Endpoint; request: Record<string, unknown>; key: string | null; id: string },
    drop: Drop,
  ): Promise<Answer> {
    try {
      const response = await fetch(`${this.#target.apiUrl}/functions/v1/${call.endpoint}`, {
        method: 'POST',
        headers: {
          apikey: this.#target.publishableKey,
          authorization: `Bearer ${await this.#tokenOf(actor)}`,
          'content-type': 'application/json',
          'x-request-id': call.id,
          ...(call.key === null ? {} : { 'idempotency-key': call.key }),
        },
        body: JSON.stringify(call.request),
        signal: AbortSignal.timeout(drop ?? MISSING_ANSWER_MS),
      });
      // The functions count the seconds of each answer anew, also of a repeated one.
      const answer = JSON.parse(await response.text(), (name, value) =>
        name === 'secondsLeft' ? undefined : value,
      ) as { data?: Record<string, unknown>; code?: string };
      if (response.status === 200 && answer.data)
        return {
          type: 'ok',
          replayed: response.headers.get('idempotent-replay') === 'true',
          body: answer.data,
        };
      // The function, or what is between it and the database, cannot always know whether the commit was reached.
      if (response.status >= 500) return { type: 'unknown', why: `HTTP ${response.status} ${answer.code}` };
      return { type: 'refused', status: response.status, code: answer.code ?? 'none' };
    } catch (error) {
      return { type: 'unknown', why: String(error) };
    }
  }
}

/** A pooled connection must come without anything of whoever had it before. */
async function refuseLeaks(client: pg.Client): Promise<void> {
  const { rows } = await client.query(`
    select current_setting('request.jwt.claims', true) as claims, current_setting('role') as role,
      current_setting('therapist_sessions.request_id', true) as request_id,
      current_setting('therapist_sessions.audit_chain', true) as audit_chain,
      current_setting('therapist_sessions.organization', true) as organization,
      current_setting('therapist_sessions.within', true) as within, current_setting('therapist_sessions.freed', true) as freed,
      (select count(*)::integer from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks`);
  const [left] = rows;
  const { role, locks, ...settings } = left;
  if (role !== 'none' || locks > 0 || Object.values(settings).some(Boolean))
    throw new Leak(`a pooled connection arrived with ${JSON.stringify(left)}`);
}

/** node-postgres keeps its socket to itself; a broken network is nothing it offers. */
function socketOf(client: pg.Client): { destroy(): void } {
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream;
}
