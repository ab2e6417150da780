import type {
  ClientDetails,
  DetailsReadData,
  NamesReadData,
} from '../../supabase/functions/_shared/contract/types.ts';
import { type CallOptions, callEdge, newIdempotencyKey } from './callEdge.ts';
import type { Database } from './database.types.ts';
import { callRpc, type ReadOptions, read, readWholeList } from './readRest.ts';
import type { Role } from './routeGuards.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven, SessionsApiError } from './sessionsApiError.ts';
import { type FunctionsCaller, type RpcCaller, type TableReader, tableOf } from './supabaseClient.ts';

type Tables = Database['public']['Tables'];

/** A therapist's profile, as stored. */
export type Therapist = Tables['therapists']['Row'];
/** A client's row, which has no name: the clinic's own file number only. */
export type Client = Tables['clients']['Row'];
/** A room, as stored. */
export type Room = Tables['rooms']['Row'];

/** What a parent sees of a therapist. */
export type OwnTherapist = Database['public']['Functions']['own_therapists']['Returns'][number];

/** The part of a supabase-js client that reads lists. */
export type DirectoryReader = TableReader;

/** A clinic the caller belongs to, and as what. */
export interface Membership {
  readonly organizationId: string;
  readonly name: string;
  /** The clinic's IANA zone, in which its schedule is shown. */
  readonly timeZone: string;
  readonly role: Role;
  readonly permissions: readonly string[];
  /** Whether the access token is for this clinic. */
  readonly isActive: boolean;
  /** The database's clock when this was answered, for countdowns on a device whose own clock is wrong. */
  readonly asOf: string;
}

/**
 * The clinics the caller belongs to.
 *
 * @param supabase - a supabase-js client
 * @param query - whose token, and a signal
 * @returns the memberships; none for somebody who belongs to no clinic
 * @throws SessionsApiError 401 without a session
 * @example
 * ```ts
 * const here = (await fetchMemberships(supabase)).find(({ isActive }) => isActive);
 * here?.permissions.includes('view_clients');
 * ```
 */
export async function fetchMemberships(supabase: RpcCaller, query: ReadOptions = {}): Promise<Membership[]> {
  checkGiven(query);
  type Row = Database['public']['Functions']['my_organizations']['Returns'][number];
  const rows = await callRpc<Row[]>(supabase, 'my_organizations', {}, query);
  return rows.map((row) => ({
    organizationId: row.organization_id,
    name: row.name,
    timeZone: row.time_zone,
    role: row.role,
    permissions: row.permissions,
    isActive: row.is_active,
    asOf: row.as_of,
  }));
}

/** A list of a clinic, and whether it is to have what is archived. */
export interface DirectoryQuery extends ReadOptions {
  /** Also those that are archived. Default false. */
  readonly archived?: boolean;
}

/**
 * The therapists the caller may see: an admin those of the clinic, a therapist themselves.
 *
 * @param supabase - a supabase-js client
 * @param query - whose token, and whether archived ones are wanted
 * @returns the profiles, by name
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @example
 * ```ts
 * for (const { display_name, credential } of await fetchTherapists(supabase)) console.log(display_name, credential);
 * ```
 */
export async function fetchTherapists(
  supabase: DirectoryReader,
  query: DirectoryQuery = {},
): Promise<Therapist[]> {
  checkGiven(query);
  const { role, userId } = await readScope(supabase, query.accessToken);
  return await fetchList<Therapist>(supabase, 'therapists', 'display_name', query, {
    id: role === 'therapist' ? userId : null,
  });
}

/**
 * The therapists who come to a parent's children: their names, which is all a parent sees of them.
 *
 * @param supabase - a supabase-js client
 * @param query - whose token, and a signal
 * @returns the therapists
 * @throws SessionsApiError 401 without a session
 * @example
 * ```ts
 * for (const { display_name } of await fetchOwnTherapists(supabase)) console.log(display_name);
 * ```
 */
export async function fetchOwnTherapists(
  supabase: RpcCaller,
  query: ReadOptions = {},
): Promise<OwnTherapist[]> {
  checkGiven(query);
  return await callRpc<OwnTherapist[]>(supabase, 'own_therapists', {}, query);
}

/**
 * The clients the caller may see: an admin those of the clinic, a therapist those of their caseload, a parent their own.
 *
 * @param supabase - a supabase-js client
 * @param query - whose token, and whether archived ones are wanted
 * @returns the rows, by reference
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @example
 * ```ts
 * const clients = await fetchClients(supabase);
 * const names = await fetchNames(supabase, { clientIds: clients.map(({ id }) => id) });
 * ```
 */
export async function fetchClients(supabase: DirectoryReader, query: DirectoryQuery = {}): Promise<Client[]> {
  checkGiven(query);
  return await fetchList<Client>(supabase, 'clients', 'reference', query);
}

/**
 * The rooms of the clinic; none for a parent.
 *
 * @param supabase - a supabase-js client
 * @param query - whose token, and whether archived ones are wanted
 * @returns the rooms, by name
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @example
 * ```ts
 * const [room] = await fetchRooms(supabase);
 * room?.name; // 'Sunflower'
 * ```
 */
export async function fetchRooms(supabase: DirectoryReader, query: DirectoryQuery = {}): Promise<Room[]> {
  checkGiven(query);
  return await fetchList<Room>(supabase, 'rooms', 'name', query);
}

/** A profile to add. */
export interface NewTherapist extends ReadOptions {
  /** The account, which is already a member of the clinic. */
  readonly userId: string;
  readonly displayName: string;
  /** Such as `RBT`, `BCaBA`, `BCBA` or `BCBA-D`. */
  readonly credential: string;
  /** The IANA zone of their hours. */
  readonly timeZone: string;
}

/**
 * Adds the profile of a therapist, as an admin.
 *
 * @param supabase - a supabase-js client
 * @param payload - the account and the profile; see {@link NewTherapist}
 * @returns the profile as stored
 * @throws SessionsApiError 403 for who is no admin, 409 when there is one already or the account is no member
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const profile = { displayName: 'Robin Tate', credential: 'RBT', timeZone: 'America/Los_Angeles' };
 * await addTherapist(supabase, { userId: therapistId, ...profile });
 * ```
 */
export async function addTherapist(supabase: DirectoryReader, payload: NewTherapist): Promise<Therapist> {
  checkGiven(payload);
  const { organizationId } = await readScope(supabase, payload.accessToken);
  const [profile] = await read<Therapist[]>(
    tableOf(supabase, 'therapists')
      .insert({
        organization_id: organizationId,
        id: payload.userId,
        display_name: payload.displayName,
        credential: payload.credential,
        time_zone: payload.timeZone,
      })
      .select(),
    payload,
    supabase,
  );
  if (!profile)
    throw new SessionsApiError({ status: 403, code: 'FORBIDDEN', message: 'Nothing was stored.' });
  return profile;
}

async function fetchList<Row extends { readonly id: string }>(
  supabase: DirectoryReader,
  table: 'therapists' | 'clients' | 'rooms',
  order: string,
  query: DirectoryQuery,
  filters: Readonly<Record<string, string | null>> = {},
): Promise<Row[]> {
  const { organizationId } = await readScope(supabase, query.accessToken);
  return await readWholeList<Row>(
    () => {
      let asked = tableOf(supabase, table).select('*').eq('organization_id', organizationId);
      for (const [column, value] of Object.entries(filters)) if (value) asked = asked.eq(column, value);
      if (!query.archived) asked = asked.is('deleted_at', null);
      return asked.order(order).order('id');
    },
    query,
    supabase,
  );
}

/** Whose names {@link fetchNames} reads. */
export interface NamesQuery extends CallOptions {
  readonly clientIds: readonly string[];
}

/** What a client is called. */
export interface ClientName {
  readonly givenName: string;
  readonly familyName: string;
  readonly preferredName: string | null;
  /** For lists: family name first. */
  readonly listed: string;
}

/** Most clients one request asks for. */
const NAMES_AT_ONCE = 100;

/**
 * The names of the clients the caller may see, and nothing else of who they are; others are left out, so that one client
 * off the caseload hides nobody else's. Reading is recorded in the audit trail.
 *
 * @param supabase - a supabase-js client
 * @param query - whose names; see {@link NamesQuery}
 * @returns the names by client id; a client without saved details, or out of reach, is not in it
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const names = await fetchNames(supabase, { clientIds: [clientId] });
 * names.get(clientId)?.listed; // 'Rivera, Jo'
 * ```
 */
export async function fetchNames(
  supabase: FunctionsCaller,
  query: NamesQuery,
): Promise<Map<string, ClientName>> {
  checkGiven(query);
  const wanted = [...new Set(query.clientIds)];
  const names = new Map<string, ClientName>();
  for (let from = 0; from < wanted.length; from += NAMES_AT_ONCE) {
    const { clients } = await callEdge<NamesReadData>(
      supabase,
      'client-details',
      { action: 'names', client_ids: wanted.slice(from, from + NAMES_AT_ONCE) },
      { ...query, idempotencyKey: query.idempotencyKey ?? newIdempotencyKey() },
    );
    for (const { clientId, name } of clients) if (name) names.set(clientId, nameOf(name));
  }
  return names;
}

export type { ClientDetails };

function nameOf(name: NonNullable<NamesReadData['clients'][number]['name']>): ClientName {
  const preferredName = name.preferred_name ?? null;
  return {
    givenName: name.given_name,
    familyName: name.family_name,
    preferredName,
    listed: `${name.family_name}, ${preferredName ?? name.given_name}`,
  };
}

/**
 * All that is kept of who a client is: names, birth date, guardians, contacts. Recorded in the audit trail.
 *
 * @param supabase - a supabase-js client
 * @param query - the client; see {@link CallOptions}
 * @returns the details, or null when none are saved
 * @throws SessionsApiError 403 for a client out of scope
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const details = await fetchClientDetails(supabase, { clientId });
 * details?.guardians?.map(({ name }) => name);
 * ```
 */
export async function fetchClientDetails(
  supabase: FunctionsCaller,
  query: CallOptions & { readonly clientId: string },
): Promise<ClientDetails | null> {
  checkGiven(query);
  const { clients } = await callEdge<DetailsReadData>(
    supabase,
    'client-details',
    { action: 'read', client_ids: [query.clientId] },
    { ...query, idempotencyKey: query.idempotencyKey ?? newIdempotencyKey() },
  );
  return clients[0]?.details ?? null;
}
