/**
 * One JSON line per unexpected error: the request id and what kind of error, never its text, since messages of
 * databases and parsers quote what they were given, and that may be about a patient.
 */
export function logError(event: string, requestId: string, errorClass: string): void {
  console.error(JSON.stringify({ level: 'error', event, requestId, errorClass }));
}

/** The class of a thrown value. */
export function classOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.name : typeof thrown;
}
