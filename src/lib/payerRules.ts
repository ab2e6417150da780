import type { PayerCodeRule, PayerRules } from '../../supabase/functions/_shared/cpt.ts';
import type { Database } from './database.types.ts';
import { type ReadOptions, read, readAllRows } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven, invalidArgument } from './sessionsApiError.ts';
import { type TableReader, tableOf } from './supabaseClient.ts';

type Table<Name extends keyof Database['public']['Tables']> = Database['public']['Tables'][Name]['Row'];

/** Whose payer, and on which day. */
export interface PayerRulesQuery extends ReadOptions {
  readonly clientId: string;
  /** The local day of service, `YYYY-MM-DD`: coverages and rules have versions by date. */
  readonly date: string;
}

/**
 * The rules of the payer who pays first for a client on a day: rounding, modifiers by level, daily limits, what is not
 * covered. They are what {@link deriveCptMetadata}, {@link bookSession}, {@link coverageGap} and {@link dailyUnitWarnings}
 * take as `payerRules`, and what the database applies itself.
 *
 * @param supabase - a supabase-js client
 * @param query - the client and the day; see {@link PayerRulesQuery}
 * @returns the rules, or null when no payer is known for that day: then the defaults hold
 * @throws SessionsApiError 400 for a day that is none, 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const payerRules = await fetchPayerRules(supabase, { clientId, date: '2026-12-01' });
 * const session = { start_time: '2026-12-01T18:00:00Z', end_time: '2026-12-01T18:40:00Z', session_type: 'individual' };
 * const { modifiers, units } = deriveCptMetadata({ session, payerRules, credential: 'RBT' });
 * ```
 */
export async function fetchPayerRules(
  supabase: TableReader,
  query: PayerRulesQuery,
): Promise<PayerRules | null> {
  checkGiven(query);
  const { date } = query;
  if (!/^\d{4}-\d{2}-\d{2}$/.test(date) || Number.isNaN(Date.parse(date))) {
    throw invalidArgument([{ path: 'date', message: 'must be a day, such as 2026-12-01' }]);
  }
  const { organizationId } = await readScope(supabase, query.accessToken);
  const validThen = `valid_to.is.null,valid_to.gte.${date}`;
  const [coverage] = await read<Pick<Table<'client_coverages'>, 'payer_id'>[]>(
    tableOf(supabase, 'client_coverages')
      .select('payer_id')
      .eq('organization_id', organizationId)
      .eq('client_id', query.clientId)
      .lte('valid_from', date)
      .or(validThen)
      .order('priority')
      .limit(1),
    query,
    supabase,
  );
  if (!coverage) return null;
  const rulesOf = (table: 'payer_rules' | 'payer_code_rules' | 'unit_limits') =>
    tableOf(supabase, table)
      .select('*')
      .eq('organization_id', organizationId)
      .eq('payer_id', coverage.payer_id)
      .lte('valid_from', date)
      .or(validThen);
  const [[rule], codeRules, dailyLimits] = await Promise.all([
    read<Table<'payer_rules'>[]>(rulesOf('payer_rules').limit(1), query, supabase),
    readAllRows<Table<'payer_code_rules'>>(
      (after) => {
        const rules = rulesOf('payer_code_rules').order('id');
        return after ? rules.gt('id', after.id) : rules;
      },
      query,
      supabase,
    ),
    readAllRows<Table<'unit_limits'>>(
      (after) => {
        const limits = rulesOf('unit_limits').eq('period', 'day').eq('per', 'client').order('id');
        return after ? limits.gt('id', after.id) : limits;
      },
      query,
      supabase,
    ),
  ]);
  const codes: Record<string, PayerCodeRule> = Object.fromEntries(
    codeRules.map((each) => [each.cpt_code, codeRuleOf(each)]),
  );
  for (const { cpt_codes: limited, max_units } of dailyLimits) {
    const [code, another] = limited;
    // A limit of several codes together is the database's to count.
    if (code === undefined || another !== undefined) continue;
    codes[code] = {
      ...codes[code],
      maxDailyUnits: Math.min(max_units, codes[code]?.maxDailyUnits ?? max_units),
    };
  }
  return {
    ...(rule && { rounding: rule.rounding, telehealthModifier: rule.telehealth_modifier }),
    codes,
  };
}

function codeRuleOf(rule: Table<'payer_code_rules'>): PayerCodeRule {
  const modifiers = rule.modifiers as NonNullable<PayerCodeRule['modifiers']>;
  return {
    ...(rule.rounding && { rounding: rule.rounding }),
    ...(Object.keys(modifiers).length > 0 && { modifiers }),
    ...(!rule.is_covered && { isCovered: false }),
    ...(rule.excluded_places.length > 0 && { excludedPlaces: rule.excluded_places }),
  };
}
