/** Days of tests. */

/**
 * The midnight (UTC) with which the day began on which this test file did, in milliseconds since 1970. It stays the same
 * while the file runs: two windows that a test makes before and after midnight are of the days that it means.
 */
export const midnight = new Date().setUTCHours(0, 0, 0, 0);
