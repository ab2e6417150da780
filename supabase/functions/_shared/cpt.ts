/**
 * The adaptive-behavior service codes, and what a session is billed as.
 *
 * Descriptions are this product's own (CPT descriptors are the AMA's). Payers' rules are data and come as an argument.
 *
 * @module
 */
import { parseTemporal } from './civil-time.ts';
import { SERVICE_CODES } from './service-codes.ts';
import { billableUnits, type UnitRounding } from './units.ts';

/** Who may render a service: a technician (RBT), an assistant (BCaBA), a qualified professional (BCBA, BCBA-D). */
export type ProviderLevel = 'technician' | 'assistant' | 'qhp';

/** What is known of a service code between two days. */
export interface ServiceCode {
  readonly code: string;
  readonly description: string;
  /** Who may render it. What an assistant may bill differs by payer. */
  readonly levels: readonly ProviderLevel[];
  /** The minutes of one unit. */
  readonly unitMinutes: number;
  /** How many clients, or for 97157 families, take part. */
  readonly clients: { readonly min: number; readonly max: number };
  /** The session type that means this code when none is named. */
  readonly sessionType: string | null;
  /** The first day, `YYYY-MM-DD`. */
  readonly validFrom: string;
  /** The last day; null while it lasts. */
  readonly validTo: string | null;
}

const FALLBACK_CODE = '97153';
const MAX_MODIFIERS = 4;

/** What a payer wants for one code. */
export interface PayerCodeRule {
  readonly rounding?: UnitRounding;
  /** Modifiers by the level of who renders, in the payer's order, such as `{ technician: ['HM'], qhp: ['HO'] }`. */
  readonly modifiers?: Readonly<Partial<Record<ProviderLevel, readonly string[]>>>;
  /** The most units of this code a day (a warning, not a refusal). */
  readonly maxDailyUnits?: number;
  /** False: the payer does not pay for this code at all. */
  readonly isCovered?: boolean;
  /** Places where the payer does not pay for this code, such as `telehealth`. */
  readonly excludedPlaces?: readonly string[];
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
 * @param input - the session, what the user chose instead, and the payer's rules; the `level` of who renders, or the
 *   `credential` it follows from, for the modifiers that payers want by level; the local day of service (default: the day that `start_time` is written with);
 *   an organization's own codes
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
 *   credential: 'RBT',
 *   payerRules: { codes: { '97154': { modifiers: { technician: ['HM', 'HQ'] } } } },
 * });
 * // { code: '97154', description: 'Group treatment by protocol', modifiers: ['HM', 'HQ', '95'],
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
  readonly credential?: string | null;
  readonly level?: ProviderLevel | null;
  readonly date?: string | null;
  readonly ownCodes?: readonly ServiceCode[] | null;
}): CptMetadata {
  const { session, overrides, payerRules } = input;
  const date = input.date ?? session.start_time?.slice(0, 10);
  const lookUp = { date, ownCodes: input.ownCodes };
  const chosen = overrides?.cptCode?.trim().toUpperCase();
  const byType = codeOfSessionType(session.session_type, lookUp);
  const code = chosen || byType || FALLBACK_CODE;
  const known = serviceCode(code, lookUp);
  const payerCode = ownValue(payerRules?.codes, code);
  const level = input.level ?? (input.credential ? providerLevel(input.credential) : null);
  const wanted = overrides?.modifiers ?? (level && payerCode?.modifiers?.[level]) ?? [];
  const ofPlace = isTelehealth(session.location_type) ? [telehealthModifier(payerRules)] : [];
  const durationMinutes = elapsedMinutes(session);
  const rounding = payerCode?.rounding ?? payerRules?.rounding ?? 'midpoint';
  return {
    code,
    description: known?.description ?? 'Custom CPT code',
    // An empty list is a choice: none.
    modifiers: overrides?.modifiers?.length === 0 ? [] : modifierSet(wanted, ofPlace),
    source: chosen ? 'override' : byType ? 'session_type' : 'fallback',
    durationMinutes,
    units: durationMinutes === null ? null : billableUnits(durationMinutes, rounding, known?.unitMinutes),
  };
}

/** How to look a code up. */
export interface ServiceCodeLookUp {
  /** The local day of service, `YYYY-MM-DD`. Without one, the newest version counts. */
  readonly date?: string | null;
  /** The organization's own codes; see `fetchServiceCodes`. */
  readonly ownCodes?: readonly ServiceCode[] | null;
}

/**
 * What is known of a code, or null when it is unknown, or not valid on the day.
 *
 * @param code - the code, in any case
 * @param lookUp - the day, and an organization's own codes
 * @returns the code's facts, or null
 * @example
 * ```ts
 * serviceCode('97155')?.levels; // ['assistant', 'qhp']
 * serviceCode('0373T', { date: '2027-01-01' }); // null: it ends with 2026
 * ```
 */
export function serviceCode(code: string, lookUp: ServiceCodeLookUp = {}): ServiceCode | null {
  const wanted = code.trim().toUpperCase();
  return versionsOn(lookUp).findLast((version) => version.code === wanted) ?? null;
}

function codeOfSessionType(type: string | null | undefined, lookUp: ServiceCodeLookUp): string | null {
  const wanted = type?.trim().toLowerCase();
  if (!wanted) return null;
  return versionsOn(lookUp).findLast(({ sessionType }) => sessionType === wanted)?.code ?? null;
}

/** Versions of a day, or all of them, oldest first. */
function versionsOn({ date, ownCodes }: ServiceCodeLookUp): ServiceCode[] {
  return [...SERVICE_CODES, ...(ownCodes ?? [])]
    .filter(({ validFrom, validTo }) => !date || (validFrom <= date && (validTo === null || date <= validTo)))
    .sort((a, b) => (a.validFrom < b.validFrom ? -1 : a.validFrom > b.validFrom ? 1 : 0));
}

/**
 * Why a payer does not pay for a code at a place: `code` (never), `place` (not there), or null when it does.
 *
 * @param cptCode - the code
 * @param locationType - where it is rendered
 * @param payerRules - the payer's rules of the day
 * @returns the reason, or null
 * @example
 * ```ts
 * coverageGap('97153', 'Tele-health', { codes: { '97153': { excludedPlaces: ['telehealth'] } } }); // 'place'
 * ```
 */
export function coverageGap(
  cptCode: string,
  locationType: string | null | undefined,
  payerRules: PayerRules,
): 'code' | 'place' | null {
  const rule = ownValue(payerRules.codes, cptCode);
  if (rule?.isCovered === false) return 'code';
  const place = isTelehealth(locationType) ? 'telehealth' : locationType?.trim().toLowerCase();
  return place && rule?.excludedPlaces?.includes(place) ? 'place' : null;
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
  return /(^|[^a-z0-9])(tele|virtual|remote)/i.test(location ?? '');
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
