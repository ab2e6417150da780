/** Cells of the matrix that do not hold yet. A cell that holds must leave the list: it only ever shrinks. */
export const holes: ReadonlySet<string> = new Set<string>([]);
