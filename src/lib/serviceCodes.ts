import type { ServiceCode } from '../../supabase/functions/_shared/cpt.ts';
import type { Database } from './database.types.ts';
import { type ReadOptions, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type TableReader, tableOf } from './supabaseClient.ts';

type Row = Database['public']['Tables']['service_codes']['Row'];

/**
 * The codes that an organization has entered for itself, such as `H2019`, in all their versions. The codes that everybody
 * has are in {@link SERVICE_CODES}; {@link serviceCode}, {@link deriveCptMetadata} and {@link assertSessionCompleteness}
 * take these beside them, as `ownCodes`.
 *
 * @param supabase - a supabase-js client
 * @param options - token and signal; see {@link ReadOptions}
 * @returns the codes, oldest version first
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const ownCodes = await fetchServiceCodes(supabase);
 * serviceCode('H2019', { date: '2026-12-01', ownCodes })?.unitMinutes; // 15
 * ```
 */
export async function fetchServiceCodes(
  supabase: TableReader,
  options: ReadOptions = {},
): Promise<ServiceCode[]> {
  checkGiven(options);
  const { organizationId } = await readScope(supabase, options.accessToken);
  const rows = await readWholeList<Row>(
    () =>
      tableOf(supabase, 'service_codes')
        .select('*')
        .eq('organization_id', organizationId)
        .order('valid_from')
        .order('code'),
    options,
    supabase,
  );
  return rows.map((row) => ({
    code: row.code,
    description: row.description,
    levels: row.levels,
    unitMinutes: row.unit_minutes,
    clients: { min: row.min_clients, max: row.max_clients },
    sessionType: row.session_type,
    validFrom: row.valid_from,
    validTo: row.valid_to,
  }));
}
