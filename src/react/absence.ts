/** A day somebody is away: who takes their sessions, and what is left is cancelled. */
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import {
  addTimeOff,
  cancelSessions,
  dayBounds,
  findSubstitutes,
  reassignSessions,
  type SessionRow,
  type Substitute,
} from '../lib/index.ts';
import { useRead, useSchedule } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

/** A day away, until it is settled and after. */
export interface Absence {
  readonly pending: boolean;
  readonly error: unknown;
  /** The sessions of the day, each with who could take it, best first. */
  readonly sessions: readonly { readonly session: SessionRow; readonly substitutes: readonly Substitute[] }[];
  /** Who takes a session, by its id; none: it is cancelled. */
  readonly chosen: Readonly<Record<string, string>>;
  choose(sessionId: string, therapistId: string): void;
  /** Hands over and cancels what was chosen, and enters the day as time off. */
  settle(): Promise<void>;
  /** What was done with each session, in words; null until then. */
  readonly outcomes: readonly { readonly session: SessionRow; readonly what: string }[] | null;
}

/**
 * Settles a day somebody is away.
 *
 * @param absentId - the therapist
 * @param date - the local day, `YYYY-MM-DD`
 */
export function useAbsence(absentId: string, date: string): Absence {
  const supabase = useSupabase();
  const queries = useQueryClient();
  const { times, isAdmin } = useMe();
  const [chosen, setChosen] = useState<Readonly<Record<string, string>>>({});
  const [outcomes, setOutcomes] = useState<Absence['outcomes']>(null);
  const { from, to } = dayBounds(date, times.timeZone);
  const { sessions } = useSchedule({ from, to, therapistId: absentId });
  const open = (sessions ?? []).filter(({ status }) => status === 'scheduled');
  const ids = open.map(({ id }) => id);
  const { data: substitutes, error } = useRead(['substitutes', ids], async (signal) => {
    const found = ids.map(
      async (sessionId) => [sessionId, await findSubstitutes(supabase, { sessionId, signal })] as const,
    );
    return new Map(await Promise.all(found));
  });
  // Handing over is the admins'.
  const of = ({ id }: SessionRow) => (isAdmin ? (substitutes?.get(id) ?? []) : []);
  return {
    pending: !sessions || !substitutes,
    ...{ error, chosen, outcomes },
    sessions: open.map((session) => ({ session, substitutes: of(session) })),
    choose: (sessionId, therapistId) => setChosen((before) => ({ ...before, [sessionId]: therapistId })),
    async settle() {
      const done: { session: SessionRow; what: string }[] = [];
      const takers = Map.groupBy(open, ({ id }) => chosen[id] ?? '');
      takers.delete('');
      for (const [toTherapistId, theirs] of takers) {
        const request = {
          sessionIds: theirs.map(({ id }) => id),
          toTherapistId,
          onConflict: 'skip',
        } as const;
        const { skipped } = await reassignSessions(supabase, request);
        const kept = new Set(skipped?.map(({ sessionId }) => sessionId));
        for (const session of theirs) {
          const taker = of(session).find(({ therapistId }) => therapistId === toTherapistId);
          done.push({
            session,
            what: kept.has(session.id) ? 'stays as it is' : `handed over to ${taker?.name}`,
          });
        }
      }
      const others = open.filter(({ id }) => !chosen[id]);
      const sessionIds = others.map(({ id }) => id);
      const cancellation = {
        sessionIds,
        cancellationAttribution: 'staff',
        reason: 'Therapist away',
      } as const;
      if (others.length > 0) await cancelSessions(supabase, cancellation);
      await addTimeOff(supabase, { therapistId: absentId, fromDate: date });
      await queries.invalidateQueries({ queryKey: ['exceptions'] });
      setOutcomes([...done, ...others.map((session) => ({ session, what: 'cancelled' }))]);
    },
  };
}
