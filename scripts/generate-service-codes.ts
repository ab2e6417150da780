/**
 * Writes `supabase/functions/_shared/service-codes.ts` from the rows of `public.service_codes` that the migrations enter;
 * with `--check`, fails when the file in the repository differs.
 */
import { readFile, writeFile } from 'node:fs/promises';
import pg from 'pg';
import { startStack } from '../local/stack.ts';

const target = new URL('../supabase/functions/_shared/service-codes.ts', import.meta.url);

interface Row {
  code: string;
  description: string;
  levels: string[];
  unit_minutes: number;
  min_clients: number;
  max_clients: number;
  session_type: string | null;
  valid_from: string;
  valid_to: string | null;
}

const literal = (value: string | null) => (value === null ? 'null' : `'${value.replaceAll("'", "\\'")}'`);

function entryOf(row: Row): string {
  return `  {
    code: ${literal(row.code)},
    description: ${literal(row.description)},
    levels: [${row.levels.map(literal).join(', ')}],
    unitMinutes: ${row.unit_minutes},
    clients: { min: ${row.min_clients}, max: ${row.max_clients} },
    sessionType: ${literal(row.session_type)},
    validFrom: ${literal(row.valid_from)},
    validTo: ${literal(row.valid_to)},
  },`;
}

async function generate(): Promise<string> {
  const stack = await startStack({ api: false, seed: false });
  try {
    const client = new pg.Client({ connectionString: stack.dbUrl });
    await client.connect();
    const { rows } = await client.query<Row>(
      `select code, description, levels::text[], unit_minutes, min_clients, max_clients, session_type,
        valid_from::text, valid_to::text
      from public.service_codes where organization_id is null order by ordinal, valid_from`,
    );
    await client.end();
    return `// Generated from public.service_codes: \`npm run service-codes\`. Do not edit.
import type { ServiceCode } from './cpt.ts';

/** Every version of the service codes that all organizations have. */
export const SERVICE_CODES: readonly ServiceCode[] = [
${rows.map(entryOf).join('\n')}
];
`;
  } finally {
    await stack.stop();
  }
}

const generated = await generate();
if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8').catch(() => '')) !== generated) {
    console.error('service-codes.ts does not match public.service_codes: run `npm run service-codes`.');
    process.exitCode = 1;
  }
} else {
  await writeFile(target, generated);
}
