/**
 * The adaptive-behavior service codes, and what a session is billed as.
 *
 * Descriptions are this product's own (CPT descriptors are the AMA's). Payers' rules are data and come as an argument.
 *
 * @module
 */
import { parseTemporal } from './civil-time.ts';
import { billableUnits, type UnitRounding } from './units.ts';

/** Who may render a service: a technician (RBT), an assistant (BCaBA), a qualified professional (BCBA, BCBA-D). */
export type ProviderLevel = 'technician' | 'assistant' | 'qhp';

/** What is known of a service code. All are timed, in units of 15 minutes. */
export interface ServiceCode {
  readonly code: string;
  readonly description: string;
  /** Whether only a qualified professional may render it. */
  readonly qhpOnly: boolean;
  /** How many clients, or for 97157 families, take part. */
  readonly clients: { readonly min: number; readonly max: number };
  /** Modifiers the code goes with unless a payer says otherwise. */
  readonly modifiers: readonly string[];
}

const one = { min: 1, max: 1 };
const group = { min: 2, max: 8 };

/** The service codes by code. */
export const SERVICE_CODES: Readonly<Record<string, ServiceCode>> = Object.fromEntries(
  (
    [
      ['97151', 'Assessment and treatment planning', true, one, []],
      ['97152', 'Supporting assessment by a technician', false, one, []],
      ['97153', 'One-to-one treatment by protocol', false, one, []],
      ['97154', 'Group treatment by protocol', false, group, ['HQ']],
      ['97155', 'Treatment with protocol modification', true, one, []],
      ['97156', 'Guidance for a family', true, one, ['HO']],
      ['97157', 'Guidance for a group of families', true, group, []],
      ['97158', 'Group treatment with protocol modification', true, group, []],
      ['0362T', 'Supporting assessment of severe behavior', true, one, []],
      ['0373T', 'Treatment of severe behavior', true, one, []],
    ] as const
  ).map(([code, description, qhpOnly, clients, modifiers]) => [
    code,
    { code, description, qhpOnly, clients, modifiers },
  ]),
);

const CODE_OF_SESSION_TYPE: Readonly<Record<string, string>> = {
  individual: '97153',
  group: '97154',
  assessment: '97151',
  consultation: '97156',
};
const FALLBACK_CODE = '97153';
const MAX_MODIFIERS = 4;

/** What a payer wants for one code. */
export interface PayerCodeRule {
  readonly rounding?: UnitRounding;
  /** Modifiers the payer asks for with this code, such as `HM` for a technician below a bachelor's degree. */
  readonly modifiers?: readonly string[];
  /** The most units of this code a day (a warning, not a refusal). */
  readonly maxDailyUnits?: number;
}

/** A payer's rules, as the organization keeps them. */
export interface PayerRules {
  /** Of codes that have no rule of their own. Default `midpoint`. */
  readonly rounding?: UnitRounding;
  /** The modifier for telehealth; default `95`, some payers want `GT`. `null`: none. */
  readonly telehealthModifier?: string | null;
  readonly codes?: Readonly<Record<string, PayerCodeRule>>;
}

/** What deriving needs to know of a session. */
export interface BillableSession {
  /** The start, an instant in ISO 8601. */
  readonly start_time?: string | null;
  /** The end, an instant in ISO 8601. */
  readonly end_time?: string | null;
  readonly session_type?: string | null;
  readonly location_type?: string | null;
}

/** The billing of a session. */
export interface CptMetadata {
  readonly code: string;
  readonly description: string;
  /** At most four, each once, in upper case. */
  readonly modifiers: string[];
  /** Where the code comes from. */
  readonly source: 'override' | 'session_type' | 'fallback';
  /** Whole elapsed minutes; null when start or end is missing or the end is not after the start. */
  readonly durationMinutes: number | null;
  /** Billable units by the payer's rounding; null without a duration. */
  readonly units: number | null;
}

/**
 * What a session is billed as: code, modifiers and units.
 *
 * @param input - the session, what the user chose instead, and the payer's rules
 * @returns the metadata; it never throws
 * @example
 * ```ts
 * deriveCptMetadata({
 *   session: {
 *     start_time: '2025-11-02T00:30:00-07:00',
 *     end_time: '2025-11-02T02:30:00-08:00',
 *     session_type: 'Group',
 *     location_type: 'telehealth',
 *   },
 * });
 * // { code: '97154', description: 'Group treatment by protocol', modifiers: ['HQ', '95'],
 * //   source: 'session_type', durationMinutes: 180, units: 12 }
 * ```
 */
export function deriveCptMetadata(input: {
  readonly session: BillableSession;
  readonly overrides?: {
    readonly cptCode?: string | null;
    readonly modifiers?: readonly string[] | null;
  } | null;
  readonly payerRules?: PayerRules | null;
}): CptMetadata {
  const { session, overrides, payerRules } = input;
  const chosen = overrides?.cptCode?.trim().toUpperCase();
  const byType = ownValue(CODE_OF_SESSION_TYPE, session.session_type?.trim().toLowerCase() ?? '');
  const code = chosen || byType || FALLBACK_CODE;
  const known = serviceCode(code);
  const payerCode = ownValue(payerRules?.codes, code);
  const durationMinutes = elapsedMinutes(session);
  return {
    code,
    description: known?.description ?? 'Custom CPT code',
    modifiers: modifierSet(
      overrides?.modifiers ?? [],
      known?.modifiers ?? [],
      isTelehealth(session.location_type) ? [telehealthModifier(payerRules)] : [],
      payerCode?.modifiers ?? [],
    ),
    source: chosen ? 'override' : byType ? 'session_type' : 'fallback',
    durationMinutes,
    units:
      durationMinutes === null
        ? null
        : billableUnits(durationMinutes, payerCode?.rounding ?? payerRules?.rounding ?? 'midpoint'),
  };
}

/**
 * What is known of a code, or null for one that is not an adaptive-behavior code.
 *
 * @param code - the code, in any case
 * @returns the code's facts, or null
 * @example
 * ```ts
 * serviceCode('97155')?.qhpOnly; // true
 * ```
 */
export function serviceCode(code: string): ServiceCode | null {
  return ownValue(SERVICE_CODES, code.trim().toUpperCase()) ?? null;
}

/**
 * The level of a credential: RBT is a technician, BCaBA an assistant, BCBA and BCBA-D are qualified professionals.
 *
 * @param credential - as on the therapist's profile, in any case
 * @returns the level, or null for a credential that is not one of these
 * @example
 * ```ts
 * providerLevel('BCBA-D'); // 'qhp'
 * ```
 */
export function providerLevel(credential: string): ProviderLevel | null {
  const levels: Readonly<Record<string, ProviderLevel>> = {
    RBT: 'technician',
    BCABA: 'assistant',
    BCBA: 'qhp',
    BCBAD: 'qhp',
  };
  return ownValue(levels, credential.toUpperCase().replace(/[^A-Z]/g, '')) ?? null;
}

/**
 * The codes that exceed what a payer allows a day. Limits warn: an appeal may still have them paid.
 *
 * @param units - units by code, of one client on one day
 * @param payerRules - the payer's rules, with `maxDailyUnits`
 * @returns one entry per exceeded code
 * @example
 * ```ts
 * dailyUnitWarnings({ '97153': 40 }, { codes: { '97153': { maxDailyUnits: 32 } } });
 * // [{ code: '97153', units: 40, maxDailyUnits: 32 }]
 * ```
 */
export function dailyUnitWarnings(
  units: Readonly<Record<string, number>>,
  payerRules: PayerRules,
): { code: string; units: number; maxDailyUnits: number }[] {
  return Object.entries(units).flatMap(([code, given]) => {
    const limit = ownValue(payerRules.codes, code)?.maxDailyUnits;
    return limit !== undefined && given > limit ? [{ code, units: given, maxDailyUnits: limit }] : [];
  });
}

/** Whole minutes between two instants, or null when there are none. */
function elapsedMinutes({ start_time, end_time }: BillableSession): number | null {
  const start = parseTemporal(start_time);
  const end = parseTemporal(end_time);
  if (start?.kind !== 'instant' || end?.kind !== 'instant' || end.instant <= start.instant) return null;
  return Math.floor((end.instant - start.instant) / 60_000);
}

function isTelehealth(location: string | null | undefined): boolean {
  return /\b(tele|virtual|remote)/i.test((location ?? '').replaceAll('_', ' '));
}

function telehealthModifier(rules: PayerRules | null | undefined): string {
  return rules?.telehealthModifier === undefined ? '95' : (rules.telehealthModifier ?? '');
}

/** In order, each once, in upper case: a claim line has room for four. */
function modifierSet(...lists: (readonly string[])[]): string[] {
  const all = lists.flat().map((modifier) => modifier.trim().toUpperCase());
  return [...new Set(all.filter((modifier) => modifier !== ''))].slice(0, MAX_MODIFIERS);
}

/** A property of the object itself, so that `constructor` is no code. */
function ownValue<Value>(
  record: Readonly<Record<string, Value>> | undefined,
  key: string,
): Value | undefined {
  return record && Object.hasOwn(record, key) ? record[key] : undefined;
}
