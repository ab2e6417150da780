/** The results as a picture: how each measurement stands to its aim. */

/** What a measurement should reach: at least `limit`, or at most. */
export interface Aim {
  text: string;
  limit: number;
  atLeast: boolean;
}

/** One line of the results. `ratio` is in the unit of its aim: times, milliseconds, or megabytes. */
export interface Line {
  what: string;
  measured: string;
  ratio: number | null;
  aim: Aim | null;
  met: boolean | null;
}

/** Whether a value is on the right side of its aim. */
export const meets = (value: number, aim: Aim): boolean =>
  aim.atLeast ? value >= aim.limit : value <= aim.limit;

const WIDTH = 860;
const LEFT = 330;
const BAR = 300;
const ROW = 26;
const TOP = 58;

const xml = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/**
 * A bar for each measurement that has an aim. The bar's length is the measurement's share of what the aim allows, so
 * that the line at 100 % is the aim of all of them, and shorter is better; beyond 300 % the bar is cut.
 *
 * @returns an SVG document
 */
export function chart(lines: Line[], caption: string): string {
  const shown = lines.flatMap(({ what, ratio, aim, met }) =>
    aim && ratio !== null
      ? [{ what, ratio, aim, met, share: aim.atLeast ? aim.limit / ratio : ratio / aim.limit }]
      : [],
  );
  const height = TOP + shown.length * ROW + 24;
  const full = BAR / 3;
  const rows = shown.map(({ what, ratio, aim, met, share }, index) => {
    const y = TOP + index * ROW;
    const width = Math.max(1, Math.min(share, 3) * full);
    const value = Number.isFinite(ratio) ? ratio.toPrecision(3).replace(/\.?0+$/, '') : '∞';
    return [
      `<text x="${LEFT - 10}" y="${y + 14}" text-anchor="end">${xml(what)}</text>`,
      `<rect x="${LEFT}" y="${y + 3}" width="${width.toFixed(1)}" height="15" fill="${met ? '#3ecf8e' : '#e5484d'}"/>`,
      `<text x="${LEFT + BAR + 12}" y="${y + 14}">${xml(`${value} (aim ${aim.text})`)}</text>`,
    ].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12">
<title>How each measurement stands to its aim</title>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="12" y="20" font-size="15" font-weight="600">Measured against the aims: shorter is better, the line is the aim</text>
<text x="12" y="38" fill="#666666">${xml(caption)}</text>
${rows.join('\n')}
<line x1="${LEFT + full}" y1="${TOP - 6}" x2="${LEFT + full}" y2="${height - 14}" stroke="#333333" stroke-dasharray="4 3"/>
</svg>
`;
}
