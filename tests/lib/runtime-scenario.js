/**
 * What an app does with the library, the same file in Node, Deno and a browser. Plain JavaScript that imports the
 * packages by name, as an app would.
 */
import { createClient } from '@supabase/supabase-js';
import {
  bookSession,
  cancelSessions,
  deriveCptMetadata,
  fetchAllPages,
  fetchSchedule,
  findGuardForPath,
  generateOccurrences,
  previewSeries,
  SessionsApiError,
} from 'therapist-sessions';

/** Runs the scenario and returns what it saw, as JSON. */
export async function scenario({ url, publishableKey, email, password, therapistId, clientId, start }) {
  const supabase = createClient(url, publishableKey, {
    auth: { persistSession: false, autoRefreshToken: false },
  });
  const { error: signInError } = await supabase.auth.signInWithPassword({ email, password });
  if (signInError) throw signInError;

  const session = {
    therapist_id: therapistId,
    client_id: clientId,
    start_time: start,
    end_time: new Date(Date.parse(start) + 3_600_000).toISOString(),
    session_type: 'individual',
    location_type: 'telehealth',
  };
  const timeZone = 'America/Los_Angeles';
  const recurrence = { rule: 'FREQ=WEEKLY;COUNT=4' };
  const series = { session, recurrence, timeZone };

  const booked = await bookSession(supabase, {
    ...series,
    recurrence: { ...recurrence, exceptions: [start] },
  });
  const preview = await previewSeries(supabase, series);
  const refused = await bookSession(supabase, series).catch((error) => error);
  const filled = await bookSession(supabase, { ...series, onConflict: 'skip' });
  const week = { from: start, to: new Date(Date.parse(start) + 29 * 86_400_000).toISOString(), limit: 3 };
  const schedule = await fetchAllPages((cursor) => fetchSchedule(supabase, { ...week, cursor }));
  const { summary } = await cancelSessions(supabase, { sessionIds: schedule.map(({ id }) => id) });
  const aborted = await bookSession(supabase, { ...series, signal: AbortSignal.abort() }).catch(
    (error) => error,
  );

  return {
    booked: booked.sessions.length,
    units: booked.cpt.units,
    modifiers: booked.sessions[0].cpt_modifiers,
    preview: preview.map(({ blockedBy }) => blockedBy),
    refused:
      refused instanceof SessionsApiError
        ? [refused.status, refused.code, refused.conflicts.length > 0]
        : null,
    filled: [filled.sessions.length, filled.skipped.length],
    schedule: schedule.length,
    cancelled: summary.cancelledCount,
    aborted: aborted.name,
    acrossTheChange: generateOccurrences(
      { start_time: '2025-10-29T10:00:00-07:00', end_time: '2025-10-29T11:00:00-07:00' },
      { rule: 'FREQ=WEEKLY;COUNT=2' },
      { timeZone },
    )[1].startTime,
    guard: findGuardForPath('/therapists/new/').allowedRoles.join(),
    code: deriveCptMetadata({ session }).code,
  };
}
