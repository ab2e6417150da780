/** What means "not now, try again", whoever says it. */

/**
 * SQLSTATEs and PostgREST codes: locks, timeouts, shutdowns, no connection, no disk, memory or connections left (53000 to
 * 53300, without 53400: a configured limit is met again by each repetition), a disk that fails (58030), a database that
 * only reads for now (25006), as a platform makes it when its disk is nearly full or another server takes over.
 */
const BUSY_CODES = new Set([
  '55P03',
  '40P01',
  '40001',
  '57014',
  '57P01',
  '57P02',
  '57P03',
  '53000',
  '53100',
  '53200',
  '53300',
  '58030',
  '25006',
  'PGRST000',
  'PGRST001',
  'PGRST002',
  'PGRST003',
]);
/** Lost connections. */
const BUSY_CLASS = '08';
const BUSY_STATUSES = new Set([0, 408, 429, 502, 503, 504]);

/**
 * Whether a failed call of the database may succeed when it is repeated.
 *
 * @param code - the SQLSTATE or PostgREST code; empty when there is none
 * @param status - the HTTP status; 0 when no answer came
 */
export function isBusy(code: string, status: number): boolean {
  return BUSY_CODES.has(code) || code.startsWith(BUSY_CLASS) || BUSY_STATUSES.has(status);
}
