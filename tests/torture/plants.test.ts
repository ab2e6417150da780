/** Every planted bug can still be planted: a run with `--plants` takes long, and the functions that it rewrites change. */
import { expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { plants } from './plants.ts';

it.each(Object.entries(plants))('%s', async (_name, { plant, afterwards }) => {
  await withConnection(async (db) => {
    await db.query('begin');
    await plant?.(db);
    await afterwards?.(db);
    await db.query('rollback');
  });
  expect(plant ?? afterwards).toBeDefined();
});
