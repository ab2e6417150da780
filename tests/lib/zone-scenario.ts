/** Run under Deno, whose zone rules may be older than the database's: books at noon, local time, and moves on by an hour. */
import { createClient } from '@supabase/supabase-js';
import { bookSession, cancelSessionHold, offsetMinutesAt, requestSessionHold } from '../../src/lib/index.ts';

const { url, publishableKey, email, password, therapistId, clientId, timeZone, noonUtc } = JSON.parse(
  (globalThis as unknown as { Deno: { args: string[] } }).Deno.args[0] ?? '',
);
const supabase = createClient(url, publishableKey, {
  auth: { persistSession: false, autoRefreshToken: false },
});
await supabase.auth.signInWithPassword({ email, password });

/** The instant at which this runtime's clocks of the zone show an hour of the day. */
const at = (hour: number) => {
  const civil = Date.parse(noonUtc) + (hour - 12) * 3_600_000;
  return new Date(civil - offsetMinutesAt(timeZone, civil) * 60_000).toISOString();
};

const booked = await bookSession(supabase, {
  session: { therapist_id: therapistId, client_id: clientId, start_time: at(12), end_time: at(13) },
  timeZone,
});
const hold = await requestSessionHold(supabase, {
  ...{ therapistId, clientId, timeZone },
  ...{ startTime: at(15), endTime: at(16) },
  occurrences: [
    { startTime: at(15), endTime: at(16) },
    { startTime: at(17), endTime: at(18) },
  ],
});
await cancelSessionHold(supabase, { holdKey: hold.holdKey });
const series = await bookSession(supabase, {
  session: { therapist_id: therapistId, client_id: clientId, start_time: at(20), end_time: at(21) },
  recurrence: { rule: 'FREQ=DAILY;COUNT=3' },
  timeZone,
});
console.log(
  JSON.stringify({
    offset: offsetMinutesAt(timeZone, Date.parse(at(12))),
    zoneRulesDiffer: [booked.zoneRulesDiffer, hold.zoneRulesDiffer ?? false, series.zoneRulesDiffer],
    starts: [booked.session, ...series.sessions]
      .map(({ start_time }) => start_time)
      .concat(hold.holds.map(({ startTime }) => startTime)),
    occurrence: booked.occurrences[0],
  }),
);
