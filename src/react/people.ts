/** Members of the clinic, and what is next for each client. */
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import {
  addMember,
  addTherapist,
  type ClientDetails,
  type ClinicTimes,
  changeMember,
  fetchAllPages,
  fetchClientDetails,
  fetchMembers,
  fetchSchedule,
  type Member,
  plusDays,
  type Role,
  removeMember,
  type SessionRow,
  SessionsApiError,
  weekBounds,
} from '../lib/index.ts';
import { type Action, useAction } from './actions.ts';
import { type Balance, useClients, useRead, useReport, useSchedule, useTherapists } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

/** Who belongs to the clinic, and changing that. */
export interface Members {
  readonly members: readonly Member[];
  readonly error: unknown;
  readonly isPending: boolean;
  /** Changes, one after another. */
  readonly action: Action;
  /** Of the button that ends a membership: pressed twice, it does so once. */
  readonly ending: Action;
  change(userId: string, role: Role): Promise<void>;
  remove(userId: string): Promise<void>;
}

/** The members of the clinic, for a super admin. */
export function useMembers(): Members {
  const supabase = useSupabase();
  const action = useAction();
  const ending = useAction();
  const read = useRead(['members'], (signal) => fetchMembers(supabase, { signal }));
  // Of two members one after the other may be changed quicker than the list is read again: neither is lost.
  const act = (work: () => Promise<unknown>) => action.next(() => work().then(read.refetch));
  return {
    members: read.data ?? [],
    ...{ action, ending, error: read.error, isPending: read.isPending },
    change: (userId, role) => act(() => changeMember(supabase, { userId, role })),
    remove: (userId) => act(() => removeMember(supabase, { userId })),
  };
}

/** Somebody new at the clinic, as a form has them. */
export interface Newcomer {
  /** The id of their account. */
  readonly userId: string;
  readonly role: Role;
  /** Of a therapist. */
  readonly displayName?: string;
  readonly credential?: string;
}

/**
 * Takes somebody in: a super admin makes them a member who may see clients, and a therapist gets a profile. Somebody who
 * is a member already stays as they are.
 */
export function useWelcome(): (newcomer: Newcomer) => Promise<void> {
  const supabase = useSupabase();
  const queries = useQueryClient();
  const { role: own, times } = useMe();
  return async ({ userId, role, displayName = '', credential = '' }) => {
    try {
      if (own === 'super_admin') await addMember(supabase, { userId, role, permissions: ['view_clients'] });
    } catch (error) {
      if (!(error instanceof SessionsApiError) || error.code !== 'ALREADY_A_MEMBER') throw error;
    }
    if (role !== 'therapist') return;
    await addTherapist(supabase, { userId, displayName, credential, timeZone: times.timeZone });
    await queries.invalidateQueries({ queryKey: ['therapists'] });
  };
}

/** How far back and ahead a client's page goes, in days. */
export const CLIENT_DAYS = { back: 28, ahead: 56 };

/**
 * What a page about one client shows.
 *
 * @param clientId - the client
 */
export function useClientPage(clientId: string) {
  const { times, now } = useMe();
  const { byId, full, nameOf, isPending } = useClients([clientId]);
  const { byId: therapistById } = useTherapists();
  const midnight = (days: number) => times.instant(`${plusDays(times.today(), days)}T00:00`);
  const span = { from: midnight(-CLIENT_DAYS.back), to: midnight(CLIENT_DAYS.ahead), therapistId: null };
  const { sessions, error } = useSchedule({ ...span, clientId });
  const balances = useReport<Balance>('authorization_balances', { where: { client_id: clientId } });
  const isPast = ({ start_time }: SessionRow) => Date.parse(start_time) < now();
  const client = byId.get(clientId);
  return {
    ...{ isPending, error, balances },
    /** The client by name and number; null for one out of reach. */
    title: client ? full(client) : null,
    naming: { times, nameOf, therapistById, showTherapist: true },
    toCome: sessions?.filter((session) => !isPast(session) && session.status !== 'cancelled'),
    /** Newest first. */
    past: sessions?.filter(isPast).reverse(),
  };
}

/**
 * Who a client is: read when it is asked for, since each reading is recorded.
 *
 * @param clientId - the client
 */
export function useClientDetails(clientId: string) {
  const supabase = useSupabase();
  const action = useAction();
  const [details, setDetails] = useState<ClientDetails | null | undefined>();
  const guardians = details?.guardians?.map(({ name, relationship = 'guardian', contacts = [] }) =>
    [name, `(${relationship})`, contacts.map(({ value }) => value).join(', ')].join(' '),
  );
  return {
    action,
    show: async () => setDetails(await fetchClientDetails(supabase, { clientId })),
    /** By name, in words; null when none are saved, undefined until they are asked for. */
    facts: details && {
      Name: `${details.given_name} ${details.family_name}`,
      Born: details.birth_date,
      Guardians: guardians?.join('\n'),
      Remarks: details.remarks,
    },
  };
}

/** An authorization that ends sooner says in how many days. */
const SOON_DAYS = 60;

/** How much of an authorization is used, planned and left, and until when, in words. */
export function balanceInWords(balance: Balance, times: ClinicTimes): string {
  const { approved_units, used_units, scheduled_units, held_units, left_units, cpt_codes, ends_on } = balance;
  const days = Math.round((Date.parse(ends_on) - Date.parse(times.today())) / 86_400_000);
  const until = days <= SOON_DAYS ? `ends in ${days} days` : `until ${times.date(ends_on)}`;
  const taken = `${used_units} used, ${scheduled_units + held_units} planned`;
  return `${cpt_codes.join(', ')}: ${taken}, ${left_units} of ${approved_units} left, ${until}`;
}

/** How much of this week's hours is booked, by therapist, in words. */
export function useWorkload(): (therapistId: string) => string {
  const { times } = useMe();
  const { firstDay: from } = weekBounds(times.today(), times.timeZone);
  interface Row {
    readonly therapist_id: string;
    readonly available_hours: number | string | null;
    readonly booked_hours: number | string;
  }
  const { data } = useReport<Row>('therapist_utilization', { by: 'week_start', from, to: plusDays(from, 7) });
  return (therapistId) => {
    const row = data?.find(({ therapist_id }) => therapist_id === therapistId);
    return row ? `${Number(row.booked_hours)} of ${Number(row.available_hours ?? 0)} h` : '–';
  };
}

/** How far ahead a next session is looked for. */
const NEXT_DAYS = 28;

/** What is next for each client: their next session, and the authorization that is used up first. */
export function useOutlook() {
  const supabase = useSupabase();
  const { times, now } = useMe();
  const today = times.today();
  const midnight = (days: number) => times.instant(`${plusDays(today, days)}T00:00`);
  const span = { from: midnight(0), to: midnight(NEXT_DAYS), statuses: ['scheduled'] } as const;
  const upcoming = useRead(['upcoming', span], (signal) =>
    fetchAllPages((cursor) => fetchSchedule(supabase, { ...span, cursor, signal })),
  );
  const balances = useReport<Balance>('authorization_balances');
  const { byId } = useTherapists();
  /** When the next session is and with whom, in words; null when none is planned. */
  const nextOf = (clientId: string): string | null => {
    const next = upcoming.data?.find(
      ({ client_id, start_time }) => client_id === clientId && Date.parse(start_time) > now(),
    );
    const whom = next && (byId.get(next.therapist_id)?.display_name ?? '–');
    return next ? `${times.dayRange(next.start_time, next.end_time)} with ${whom}` : null;
  };
  const tightestOf = (clientId: string): Balance | undefined =>
    balances.data
      ?.filter(({ client_id, ends_on }) => client_id === clientId && ends_on >= today)
      .sort((a, b) => Number(b.taken_percent) - Number(a.taken_percent))[0];
  return { nextOf, tightestOf, error: upcoming.error ?? balances.error };
}
