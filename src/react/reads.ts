/** Reads that screens share, kept by TanStack Query. The library does the retrying, so the queries do none. */
import { keepPreviousData, type UseQueryOptions, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useMemo, useRef, useState } from 'react';
import {
  type AvailabilityException,
  type Client,
  type ClientName,
  type Closure,
  cancelSessionHold,
  createScheduleFeed,
  fetchAvailabilityExceptions,
  fetchClients,
  fetchClosures,
  fetchLiveHolds,
  fetchNames,
  fetchOwnTherapists,
  fetchReport,
  fetchRooms,
  fetchTherapists,
  type LiveHold,
  type ReportQuery,
  type Room,
  type SessionRow,
  type Therapist,
} from '../lib/index.ts';
import { noteError, useSeconds } from './actions.ts';
import { useMe, useSupabase } from './session.ts';

/** What a read is doing. */
export interface Read<Data> {
  readonly data: Data | undefined;
  readonly error: unknown;
  readonly isPending: boolean;
  refetch(): Promise<{ readonly data: Data | undefined }>;
}

/** A read of one screen; a sign-in that is over is dealt with in one place. */
export function useRead<Data>(
  queryKey: readonly unknown[],
  queryFn: (signal: AbortSignal) => Promise<Data>,
  options: Omit<UseQueryOptions<Data>, 'queryKey' | 'queryFn'> = {},
): Read<Data> {
  const query = useQuery<Data>({ ...options, queryKey, queryFn: ({ signal }) => queryFn(signal) });
  useEffect(() => noteError(query.error), [query.error]);
  return query;
}

/** Therapists by id: an admin reads profiles, a therapist their own, a parent the names of those who come. */
export function useTherapists() {
  const supabase = useSupabase();
  const { role } = useMe();
  const { data, error, refetch } = useRead(['therapists', role], async (signal) => {
    if (role !== 'client') return await fetchTherapists(supabase, { signal });
    const own = await fetchOwnTherapists(supabase, { signal });
    return own.map((row) => ({ ...row, credential: '', availability_hours: null }) as unknown as Therapist);
  });
  const byId = useMemo(() => new Map((data ?? []).map((one) => [one.id, one])), [data]);
  const options = (data ?? []).map(
    ({ id, display_name, credential }) => [id, `${display_name} · ${credential}`] as const,
  );
  return { therapists: data ?? [], options, byId, error, refetch, isPending: data === undefined && !error };
}

/**
 * Names by client id: of those that are not known yet they are read, and nobody else's, since each reading is recorded.
 * Clients without one, or out of reach, are not in it.
 */
function useNames(wanted: readonly string[]): ReadonlyMap<string, ClientName> | undefined {
  const supabase = useSupabase();
  const queries = useQueryClient();
  const ids = [...new Set(wanted)].sort();
  type Names = ReadonlyMap<string, ClientName>;
  const ask = async (signal: AbortSignal): Promise<Names> => {
    const read = queries.getQueriesData<Names>({ queryKey: ['names'] });
    const known = new Map(read.flatMap(([, names = new Map()]) => [...names]));
    const missing = ids.filter((id) => !known.has(id));
    for (const [id, name] of await fetchNames(supabase, { clientIds: missing, signal })) known.set(id, name);
    return known;
  };
  const options = { enabled: ids.length > 0, staleTime: Number.POSITIVE_INFINITY };
  return useRead(['names', ids], ask, { ...options, placeholderData: keepPreviousData }).data;
}

/**
 * Clients by id, and what each is called by who is looking: the name, or the reference for who may not see it.
 *
 * @param wanted - whose names are needed; all by default, for a search
 */
export function useClients(wanted?: readonly string[]) {
  const supabase = useSupabase();
  const {
    data: clients = [],
    isPending,
    error,
  } = useRead(['clients'], (signal) => fetchClients(supabase, { signal }));
  const names = useNames(wanted ?? clients.map(({ id }) => id));
  return useMemo(() => {
    const byId = new Map(clients.map((client) => [client.id, client]));
    const nameOf = (id: string) => names?.get(id)?.listed ?? byId.get(id)?.reference ?? 'A client';
    const full = (client: Client) => {
      const name = names?.get(client.id)?.listed;
      return name ? `${name} · ${client.reference}` : client.reference;
    };
    /** Those whose name or reference has the letters, by name. */
    const matching = (letters: string) =>
      clients
        .map((client) => ({ id: client.id, label: full(client) }))
        .filter(({ label }) => label.toLowerCase().includes(letters.trim().toLowerCase()))
        .sort((a, b) => a.label.localeCompare(b.label));
    return { clients, byId, nameOf, full, matching, isPending, error };
  }, [clients, names, isPending, error]);
}

/** The rooms of the clinic. */
export function useRooms(): readonly Room[] {
  const supabase = useSupabase();
  return useRead(['rooms'], (signal) => fetchRooms(supabase, { signal })).data ?? [];
}

/** The rows of a report. */
export function useReport<Row>(
  name: string,
  query: Omit<ReportQuery, 'signal'> = {},
  enabled = true,
): Read<Row[]> {
  const supabase = useSupabase();
  const ask = (signal: AbortSignal) => fetchReport<Row>(supabase, name, { ...query, signal });
  return useRead(['report', name, query], ask, { enabled });
}

/** How much of an authorization is left: a row of the report `authorization_balances`. */
export interface Balance {
  readonly authorization_id: string;
  readonly client_id: string;
  readonly client_reference: string;
  readonly payer_name: string;
  readonly cpt_codes: readonly string[];
  readonly starts_on: string;
  readonly ends_on: string;
  readonly approved_units: number;
  readonly used_units: number;
  readonly scheduled_units: number;
  readonly held_units: number;
  readonly left_units: number;
  readonly taken_percent: number | string;
}

/** A span of time, and whose: of everybody within reach when null. */
export interface Span {
  readonly from: string;
  readonly to: string;
  readonly therapistId: string | null;
}

/** Time off and extra hours of a span. */
export function useExceptions(span: Span, enabled = true): Read<AvailabilityException[]> {
  const supabase = useSupabase();
  const ask = (signal: AbortSignal) => fetchAvailabilityExceptions(supabase, { ...span, signal });
  return useRead(['exceptions', span], ask, { enabled });
}

/** When the clinic is closed, in a span. */
export function useClosures({ from, to }: Pick<Span, 'from' | 'to'>): Read<Closure[]> {
  const supabase = useSupabase();
  return useRead(['closures', from, to], (signal) => fetchClosures(supabase, { from, to, signal }));
}

/** Slots that are held; they are looked for again as often as the schedule. */
export function useHolds(span: Span, enabled = true): readonly LiveHold[] {
  const supabase = useSupabase();
  const ask = (signal: AbortSignal) => fetchLiveHolds(supabase, { ...span, signal });
  return useRead(['holds', span], ask, { enabled, refetchInterval: 15_000 }).data ?? [];
}

/** A hold of one's own that is alive, and how long it lasts. */
export interface OwnHold extends LiveHold {
  readonly secondsLeft: number;
  letGo(): Promise<unknown>;
}

/**
 * Of some holds, one's own that are still alive, each batch once: they outlive a reload of the page.
 *
 * @param holds - those of {@link useHolds}
 */
export function useOwnHolds(holds: readonly LiveHold[]): readonly OwnHold[] {
  const { now } = useMe();
  const supabase = useSupabase();
  const own = holds.filter(({ isOwn }) => isOwn);
  useSeconds(own.length > 0);
  return [...new Map(own.map((hold) => [hold.batchKey, hold])).values()]
    .map((hold) => ({
      ...hold,
      secondsLeft: Math.floor((Date.parse(hold.expiresAt) - now()) / 1000),
      letGo: () => cancelSessionHold(supabase, { holdKey: hold.batchKey }),
    }))
    .filter(({ secondsLeft }) => secondsLeft > 0);
}

/** The sessions of a span, as they are now. */
export interface Schedule {
  /** Null until the first reading. */
  readonly sessions: readonly SessionRow[] | null;
  readonly error: unknown;
  refresh(): Promise<void>;
}

/** Follows the sessions of a span; how many others have changed is told to `onOthers`. */
export function useSchedule(
  span: Span & { readonly clientId?: string },
  onOthers?: (count: number) => void,
): Schedule {
  const supabase = useSupabase();
  const queries = useQueryClient();
  const { from, to, therapistId, clientId } = span;
  const key = JSON.stringify([from, to, therapistId, clientId]);
  const [read, setRead] = useState<{ key: string; sessions: readonly SessionRow[] } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const feed = useRef<ReturnType<typeof createScheduleFeed> | null>(null);
  const tell = useRef(onOthers);
  tell.current = onOthers;
  useEffect(() => {
    let isFirst = true;
    const following = createScheduleFeed(supabase, {
      query: clientId ? { from, to, clientId } : { from, to, therapistId },
      onRead: () => setError(null),
      onChange: (sessions, { added, changed, removed }) => {
        setRead({ key, sessions });
        if (!isFirst) tell.current?.(added.length + changed.length + removed.length);
        isFirst = false;
      },
      onError: (failure) => {
        noteError(failure);
        setError(failure);
      },
    });
    feed.current = following;
    return () => following.close();
  }, [supabase, key]);
  return useMemo(
    () => ({
      sessions: read?.key === key ? read.sessions : null,
      error,
      async refresh() {
        await Promise.all([feed.current?.refresh(), queries.invalidateQueries({ queryKey: ['holds'] })]);
      },
    }),
    [read, key, error, queries],
  );
}
