/** From the start of a session to its completion, and its correction afterwards. */
import { useEffect, useState } from 'react';
import {
  type CorrectionReason,
  type CorrectionRequest,
  completeSession,
  correctVisit,
  endSession,
  fetchVisitVersions,
  markNoShow,
  type ServiceCode,
  type SessionRow,
  SessionsApiError,
  servicesFor,
  startSession,
  type VisitVersion,
} from '../lib/index.ts';
import { type Action, useAction } from './actions.ts';
import { useRead, useTherapists } from './reads.ts';
import { useMe, useSupabase } from './session.ts';

/** How early a session may be started, as the database has it. */
export const EARLY_HOURS = 12;

const questions = {
  otherDayReason: 'Why not on the day it is booked for',
  overlapReason: 'Why two visits took place at once',
};

/** Where a visit stands, and its next step. */
export interface Visit {
  readonly action: Action;
  /** It cannot be started yet. */
  readonly isEarly: boolean;
  /** Its time has come, so that somebody may not have come. */
  readonly hasBegun: boolean;
  /** What its record still lacks, in words, after completing it was refused. */
  readonly missing: readonly string[];
  /** What needs a reason before it goes on, in words: another day than booked, or for admins an overlap. */
  readonly asks: string | null;
  readonly reason: string;
  setReason(reason: string): void;
  start(): Promise<void>;
  /** Records when it ended, `HH:mm` on the booked day; now when empty. Then its note can be signed. */
  end(time: string): Promise<void>;
  complete(): Promise<void>;
  noShow(): Promise<void>;
}

/**
 * The steps of a visit.
 *
 * @param session - the session
 * @param onChanged - told what was done, in words
 */
export function useVisit(session: SessionRow, onChanged: (text: string) => void): Visit {
  const supabase = useSupabase();
  const action = useAction();
  const { isAdmin, times, now } = useMe();
  const [reason, setReason] = useState('');
  const [asked, setAsked] = useState<keyof typeof questions | null>(null);
  const sessionId = session.id;
  const refusal = action.error instanceof SessionsApiError ? action.error : null;
  const isOtherDay = refusal?.issues.some(({ path }) => path === 'other_day_reason');
  const asksNow = isOtherDay
    ? 'otherDayReason'
    : isAdmin && refusal?.code === 'VISIT_OVERLAPS'
      ? 'overlapReason'
      : null;
  useEffect(() => setAsked((before) => asksNow ?? before), [asksNow]);
  const request = { sessionId, ...(asked && reason && { [asked]: reason }) };
  const untilStart = Date.parse(session.start_time) - now();
  return {
    ...{ action, reason, setReason },
    asks: asked && questions[asked],
    isEarly: untilStart > EARLY_HOURS * 3_600_000,
    hasBegun: untilStart < 0,
    missing: refusal?.code === 'SESSION_INCOMPLETE' ? refusal.issues.map(({ message }) => message) : [],
    async start() {
      await startSession(supabase, request);
      setAsked(null);
      onChanged('Started.');
    },
    async end(time) {
      const actualEndTime = time
        ? times.instant(`${times.civil(session.start_time).slice(0, 10)}T${time}`)
        : null;
      const { actualEndTime: ended } = await endSession(supabase, { ...request, actualEndTime });
      onChanged(`Ended at ${times.clock(ended)}. Sign the note, then complete the session.`);
    },
    async complete() {
      const { units } = await completeSession(supabase, request);
      onChanged(`Completed, ${units} units.`);
    },
    async noShow() {
      await markNoShow(supabase, { sessionId });
      onChanged('Noted that the client did not come.');
    },
  };
}

/** What is corrected, as inputs have it; empty fields stay as they are. */
export interface CorrectionFields {
  /** `HH:mm` on the booked day. */
  readonly from?: string;
  readonly to?: string;
  readonly cptCode?: string;
  readonly locationType?: string;
  /** Who rendered it, and whom it was for: an admin's to correct. */
  readonly therapistId?: string;
  readonly clientId?: string;
  readonly undo?: string;
  readonly reasonCode?: string;
  readonly remark?: string;
}

/**
 * What was corrected in a visit, and correcting it further.
 *
 * @param session - the session
 * @param onChanged - told what was done, in words
 */
export function useCorrections(
  session: SessionRow,
  onChanged: (text: string) => void,
): {
  versions: readonly VisitVersion[];
  /** What the therapist renders. */
  services: readonly ServiceCode[];
  error: unknown;
  correct(fields: CorrectionFields): Promise<void>;
} {
  const supabase = useSupabase();
  const { times } = useMe();
  const sessionId = session.id;
  const { credential = '' } = useTherapists().byId.get(session.therapist_id) ?? {};
  const services = servicesFor(credential, times.civil(session.start_time).slice(0, 10));
  const ask = (signal: AbortSignal) => fetchVisitVersions(supabase, { sessionId, signal });
  const {
    data: versions = [],
    error,
    refetch,
  } = useRead(['visit-versions', sessionId], ask, { staleTime: 0 });
  return {
    ...{ versions, services, error },
    async correct({ from, to, undo, reasonCode, remark, cptCode, locationType, therapistId, clientId }) {
      const day = times.civil(session.start_time).slice(0, 10);
      const at = (time = '') => (time && !undo ? times.instant(`${day}T${time}`) : null);
      const { noteStatus } = await correctVisit(supabase, {
        sessionId,
        baseVersion: versions.length + 1,
        reasonCode: reasonCode as CorrectionReason,
        remark: remark || null,
        undo: (undo || null) as CorrectionRequest['undo'],
        actualStartTime: at(from),
        actualEndTime: at(to),
        ...{ cptCode: cptCode || null, locationType: locationType || null },
        ...{ therapistId: therapistId || null, clientId: clientId || null },
      });
      await refetch();
      onChanged(noteStatus === 'needs_amendment' ? 'Corrected. The note must be amended.' : 'Corrected.');
    },
  };
}
