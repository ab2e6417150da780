/** Members of the clinic, and what is next for each client. */
import {
  addMember,
  changeMember,
  fetchAllPages,
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
import { type Balance, useRead, useReport } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

/** Who belongs to the clinic, and changing that. */
export interface Members {
  readonly members: readonly Member[];
  readonly error: unknown;
  readonly isPending: boolean;
  readonly action: Action;
  change(userId: string, role: Role): Promise<void>;
  remove(userId: string): Promise<void>;
}

/** The members of the clinic, for a super admin. */
export function useMembers(): Members {
  const supabase = useSupabase();
  const action = useAction();
  const read = useRead(['members'], (signal) => fetchMembers(supabase, { signal }));
  const act = (work: () => Promise<unknown>) => action.run(() => work().then(read.refetch));
  return {
    members: read.data ?? [],
    ...{ action, error: read.error, isPending: read.isPending },
    change: (userId, role) => act(() => changeMember(supabase, { userId, role })),
    remove: (userId) => act(() => removeMember(supabase, { userId })),
  };
}

/** Makes somebody a member who may see clients; somebody who is one already stays as they are. */
export function useWelcome(): (userId: string, role: Role) => Promise<void> {
  const supabase = useSupabase();
  return async (userId, role) => {
    try {
      await addMember(supabase, { userId, role, permissions: ['view_clients'] });
    } catch (error) {
      if (!(error instanceof SessionsApiError) || error.code !== 'ALREADY_A_MEMBER') throw error;
    }
  };
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
  const nextOf = (clientId: string): SessionRow | undefined =>
    upcoming.data?.find(
      ({ client_id, start_time }) => client_id === clientId && Date.parse(start_time) > now(),
    );
  const tightestOf = (clientId: string): Balance | undefined =>
    balances.data
      ?.filter(({ client_id, ends_on }) => client_id === clientId && ends_on >= today)
      .sort((a, b) => Number(b.taken_percent) - Number(a.taken_percent))[0];
  return { nextOf, tightestOf, error: upcoming.error ?? balances.error };
}
