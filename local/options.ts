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
