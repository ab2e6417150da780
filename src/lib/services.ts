import { providerLevel, type ServiceCode } from '../../supabase/functions/_shared/cpt.ts';
import { SERVICE_CODES } from '../../supabase/functions/_shared/service-codes.ts';

/** The kind of session a service is, where it is not treatment of one client. */
const typeOfCode: Readonly<Record<string, string>> = {
  '97151': 'assessment',
  '97152': 'assessment',
  '0362T': 'assessment',
  '97155': 'supervision',
  '97156': 'consultation',
};

/**
 * The services somebody may render on a day, the one they render most often first.
 *
 * @param credential - such as `RBT` or `BCBA`; of an unknown credential, all
 * @param date - the local day of service, `YYYY-MM-DD`
 * @param clients - how many clients take part; 1 when absent
 * @returns the service codes
 * @example
 * ```ts
 * servicesFor('RBT', '2026-12-01')[0]?.code; // '97153'
 * servicesFor('BCBA', '2026-12-01')[0]?.code; // '97155'
 * ```
 */
export function servicesFor(credential: string, date: string, clients = 1): readonly ServiceCode[] {
  const level = providerLevel(credential);
  const usual = level === 'technician' ? '97153' : '97155';
  return SERVICE_CODES.filter(
    ({ levels, clients: { min, max }, validFrom, validTo }) =>
      (level === null || levels.includes(level)) &&
      min <= clients &&
      clients <= max &&
      validFrom <= date &&
      (validTo === null || validTo >= date),
  ).sort((a, b) => Number(b.code === usual) - Number(a.code === usual));
}

/**
 * The type of session a service is booked as.
 *
 * @param code - a service code
 * @param clients - how many clients take part; 1 when absent
 * @returns such as `individual`, `group` or `assessment`
 * @example
 * ```ts
 * sessionTypeOf('97151'); // 'assessment'
 * ```
 */
export function sessionTypeOf(code: string, clients = 1): string {
  return clients > 1 ? 'group' : (typeOfCode[code] ?? 'individual');
}
