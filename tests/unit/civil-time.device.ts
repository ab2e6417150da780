/** Prints conversions around clock changes; run under several device zones by civil-time.test.ts. */
import { fromCivil, toCivil } from '../../supabase/functions/_shared/civil-time.ts';

const HOUR = 3_600_000;
const changes = ['2025-03-09', '2025-03-30', '2025-04-05', '2025-10-04', '2025-10-26', '2025-11-02'];
for (const zone of [
  'America/Los_Angeles',
  'America/New_York',
  'America/Havana',
  'Europe/London',
  'Australia/Lord_Howe',
]) {
  for (const day of changes) {
    const midnight = Date.parse(`${day}T00:00:00Z`);
    for (let at = midnight - 12 * HOUR; at < midnight + 36 * HOUR; at += HOUR / 2) {
      const { instant, kind } = fromCivil(at, zone);
      console.log(zone, at, instant, kind, toCivil(at, zone));
    }
  }
}
