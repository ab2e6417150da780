/** Options of commands, which are text, as what they mean. */

/**
 * A number that an option gives.
 *
 * @param option - its name, such as `--minutes`
 * @param text - what was given
 * @param rules - least: the least that it may be; whole: whether it must be a whole number
 * @throws Error in one line that names the option
 * @example
 * ```ts
 * numberOption('--workers', values.workers, { least: 1, whole: true });
 * ```
 */
export function numberOption(
  option: string,
  text: string,
  { least, whole }: { least: number; whole: boolean },
): number {
  const number = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(number) || number < least || (whole && !Number.isSafeInteger(number)))
    throw new Error(
      `${option} must be a ${whole ? 'whole number' : 'number'} of at least ${least}, not "${text}"`,
    );
  return number;
}

/**
 * One of the names that an option may give.
 *
 * @param option - its name, such as `--plant`
 * @param text - what was given
 * @param names - all that it may be
 * @throws Error in one line that names the option
 */
export function nameOption(option: string, text: string, names: string[]): string {
  if (!names.includes(text)) throw new Error(`${option} must be one of ${names.join(', ')}, not "${text}"`);
  return text;
}

/**
 * What a command makes of its options. A mistake in them is said in its one line and ends the command with 2: 1 often
 * means that the command ran and found something.
 */
export function readOptions<Read>(read: () => Read): Read {
  try {
    return read();
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
}
