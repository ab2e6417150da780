/** Every read the pages share. Nothing is kept beyond the tab, and the library does the retrying. */

import { createClient } from '@supabase/supabase-js';
import { QueryClient, type UseQueryOptions, useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useState } from 'react';
import {
  type Client,
  createScheduleFeed,
  type Database,
  fetchAvailabilityExceptions,
  fetchClients,
  fetchLiveHolds,
  fetchNames,
  fetchReport,
  fetchRooms,
  fetchTherapists,
  type ReportQuery,
  type SessionRow,
  type Therapist,
} from 'therapist-sessions';
import { useMe } from './session.tsx';
import { noteError } from './ui.tsx';

/** The API that serves this page, with the key every local project has; a build for a real project names its own. */
export const apiUrl: string = import.meta.env.VITE_SUPABASE_URL ?? location.origin;
const key = import.meta.env.VITE_SUPABASE_KEY ?? 'sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH';

/** Signed in for as long as the tab is open: clinics share computers. */
export const supabase = createClient<Database>(apiUrl, key, {
  auth: { storage: sessionStorage, storageKey: 'therapist-sessions', detectSessionInUrl: false },
});

export const queryClient = new QueryClient({
  defaultOptions: { queries: { retry: false, staleTime: 60_000, gcTime: 300_000 } },
});

/** A read of one page; what goes wrong with the sign-in is dealt with in one place. */
export function useRead<Data>(
  queryKey: readonly unknown[],
  queryFn: (signal: AbortSignal) => Promise<Data>,
  options: Omit<UseQueryOptions<Data>, 'queryKey' | 'queryFn'> = {},
) {
  const query = useQuery<Data>({ ...options, queryKey, queryFn: ({ signal }) => queryFn(signal) });
  useEffect(() => noteError(query.error), [query.error]);
  return query;
}

/** Therapists by id: an admin reads profiles, a therapist their own, a parent the names of those who come. */
export function useTherapists() {
  const { role } = useMe();
  const { data, error, refetch } = useRead(['therapists', role], async (signal) => {
    if (role !== 'client') return await fetchTherapists(supabase, { signal });
    const { data: own } = await supabase.rpc('own_therapists').abortSignal(signal);
    return (own ?? []).map((row) => ({ ...row, credential: '', availability_hours: null }) as unknown as Therapist);
  });
  const byId = useMemo(() => new Map((data ?? []).map((one) => [one.id, one])), [data]);
  return { therapists: data ?? [], byId, error, refetch };
}

/** Clients by id, and what each is called by who is looking: the name, or the reference for who may not see it. */
export function useClients() {
  const { data: clients = [], isPending, error } = useRead(['clients'], (signal) => fetchClients(supabase, { signal }));
  const ids = clients.map(({ id }) => id);
  const { data: names } = useRead(['names', ids], (signal) => fetchNames(supabase, { clientIds: ids, signal }), {
    enabled: ids.length > 0,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return useMemo(() => {
    const byId = new Map(clients.map((client) => [client.id, client]));
    const nameOf = (id: string) => names?.get(id)?.listed ?? byId.get(id)?.reference ?? 'A client';
    const full = (client: Client) => {
      const name = names?.get(client.id)?.listed;
      return name ? `${name} · ${client.reference}` : client.reference;
    };
    return { clients, byId, nameOf, full, isPending, error };
  }, [clients, names, isPending, error]);
}

export const useRooms = () => useRead(['rooms'], (signal) => fetchRooms(supabase, { signal }));

/** The rows of a report. */
export function useReport<Row>(name: string, query: Omit<ReportQuery, 'signal'> = {}, enabled = true) {
  return useRead(['report', name, query], (signal) => fetchReport<Row>(supabase, name, { ...query, signal }), {
    enabled,
  });
}

/** How much of an authorization is left, for a client. */
export interface Balance {
  authorization_id: string;
  client_id: string;
  client_reference: string;
  payer_name: string;
  cpt_codes: string[];
  starts_on: string;
  ends_on: string;
  approved_units: number;
  used_units: number;
  scheduled_units: number;
  held_units: number;
  left_units: number;
  taken_percent: number | string;
}

export interface Span {
  readonly from: string;
  readonly to: string;
  readonly therapistId: string | null;
}

/** Time off and extra hours of a span. */
export const useExceptions = (span: Span, enabled = true) =>
  useRead(['exceptions', span], (signal) => fetchAvailabilityExceptions(supabase, { ...span, signal }), {
    enabled,
  });

/** Slots that are held; they are looked for again as often as the schedule. */
export const useHolds = (span: Span, enabled = true) =>
  useRead(['holds', span], (signal) => fetchLiveHolds(supabase, { ...span, signal }), {
    enabled,
    refetchInterval: 15_000,
  });

export interface ScheduleState {
  readonly sessions: readonly SessionRow[] | null;
  readonly error: unknown;
  /** When the server last answered. */
  readonly readAt: Date | null;
  refresh(): Promise<void>;
}

/** Follows the sessions of a span; what others change is told to `onOthers`. */
export function useSchedule(span: Span & { readonly clientId?: string }, onOthers?: (count: number) => void): ScheduleState {
  const { from, to, therapistId, clientId } = span;
  const spanKey = JSON.stringify([from, to, therapistId, clientId]);
  const [state, setState] = useState<{
    key: string;
    sessions: readonly SessionRow[] | null;
    error: unknown;
    readAt: Date | null;
  }>({
    ...{ key: '', sessions: null, error: null, readAt: null },
  });
  const [feed, setFeed] = useState<ReturnType<typeof createScheduleFeed> | null>(null);
  useEffect(() => {
    let first = true;
    const following = createScheduleFeed(supabase, {
      query: clientId ? { from, to, clientId } : { from, to, therapistId },
      onChange: (sessions, { added, changed, removed }) => {
        setState({ key: spanKey, sessions, error: null, readAt: new Date() });
        if (!first) onOthers?.(added.length + changed.length + removed.length);
        first = false;
      },
      onError: (error) => {
        noteError(error);
        setState((before) => ({ ...before, error }));
      },
    });
    setFeed(following);
    const back = () => void following.refresh().then(() => setState((before) => ({ ...before, error: null })));
    addEventListener('online', back);
    return () => {
      removeEventListener('online', back);
      following.close();
    };
  }, [spanKey]);
  return {
    sessions: state.key === spanKey ? state.sessions : null,
    error: state.error,
    readAt: state.readAt,
    refresh: async () => {
      await Promise.all([feed?.refresh(), queryClient.invalidateQueries({ queryKey: ['holds'] })]);
    },
  };
}
