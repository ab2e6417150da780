/** What the edge function costs over the RPC it calls, both through the stack's one origin. */
import { createClient } from '@supabase/supabase-js';
import type { Stack } from '../local/stack.ts';
import { Times } from './measure.ts';
import { atMost, type Report } from './report.ts';

/** Of the seed's clinic: a technician, and a client of theirs whose payer has authorized the service. */
const THERAPIST = 'a0000000-0000-4000-8000-000000000005';
const CLIENT = 'a0000000-0000-4000-8000-000000000108';

/** A hold over HTTP: through the function, and as an RPC over REST. Calls take turns. */
export async function functionShare(stack: Stack, report: Report, calls: number): Promise<void> {
  const supabase = createClient(stack.apiUrl, stack.publishableKey);
  const { data, error } = await supabase.auth.signInWithPassword({
    email: 'admin@brightpath.test',
    password: 'demo-password-1234',
  });
  if (error) throw error;
  const headers = {
    authorization: `Bearer ${data.session.access_token}`,
    apikey: stack.publishableKey,
    'content-type': 'application/json',
  };
  const body = (call: number) => {
    // 12:00 to 12:15 Pacific, each weekday; the therapist works then.
    const day = new Date(
      Date.UTC(new Date().getUTCFullYear() + 1, 0, 4) +
        Math.floor(call / 5) * 7 * 86_400_000 +
        (call % 5) * 86_400_000,
    );
    while (day.getUTCDay() === 0 || day.getUTCDay() === 6) day.setUTCDate(day.getUTCDate() + 2);
    const start = new Date(day.getTime() + 20 * 3_600_000);
    const end = new Date(start.getTime() + 15 * 60_000);
    return {
      therapist_id: THERAPIST,
      client_id: CLIENT,
      start_time: start.toISOString(),
      end_time: end.toISOString(),
      start_time_offset_minutes: 0,
      end_time_offset_minutes: 0,
      time_zone: 'UTC',
      cpt_code: '97153',
    };
  };
  const release = async (key: string) => {
    await fetch(`${stack.apiUrl}/rest/v1/rpc/release_hold`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ request: { hold_key: key } }),
    });
  };
  const times = new Times();
  for (let call = 0; call < calls + 10; call++) {
    for (const way of ['function', 'rpc'] as const) {
      const start = performance.now();
      const response = await fetch(
        `${stack.apiUrl}${way === 'function' ? '/functions/v1/sessions-hold' : '/rest/v1/rpc/hold_sessions'}`,
        {
          method: 'POST',
          headers,
          body: JSON.stringify(way === 'function' ? body(call % 40) : { request: body(call % 40) }),
        },
      );
      const answer = (await response.json()) as {
        data?: { holdKey: string };
        body?: { holdKey: string };
      };
      const elapsed = performance.now() - start;
      const key = answer.data?.holdKey ?? answer.body?.holdKey;
      if (!key) throw new Error(`${way}: ${response.status} ${JSON.stringify(answer)}`);
      // The first calls of each open connections and plan.
      if (call >= 10) times.add(way, elapsed);
      await release(key);
    }
  }
  const added = times.p50('function') - times.p50('rpc');
  report.add(
    'edge function over its RPC, payer, one caller',
    `p50 ${times.p50('function').toFixed(1)} ms − ${times.p50('rpc').toFixed(1)} ms = ${added.toFixed(1)} ms`,
    added,
    atMost(3, 'ms more'),
  );
}
