/** How much there is to read, and how much a browser loads before it shows anything. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { buildWebApp } from '../../local/web.ts';

interface Chunk {
  file: string;
  imports?: string[];
  css?: string[];
  isEntry?: boolean;
}

describe('the size of the web app', () => {
  it('is under 2,500 lines of code and style, so that it can be read as an example', () => {
    const folder = new URL('../../examples/web/src/', import.meta.url);
    const lines = readdirSync(folder).map(
      (name) => readFileSync(new URL(name, folder), 'utf8').split('\n').length - 1,
    );
    expect(lines.reduce((sum, count) => sum + count, 0)).toBeLessThan(2500);
  });

  it.each([
    ['at first load, without the calendar', [], 200],
    ['for the schedule, with the calendar and its styles', ['schedule.tsx', 'weekCalendar.ts'], 260],
  ])('is small, gzipped: %s', async (_, pages, most) => {
    const folder = await buildWebApp();
    const manifest: Record<string, Chunk> = JSON.parse(
      readFileSync(join(folder, '.vite/manifest.json'), 'utf8'),
    );
    const files = new Set<string>();
    const visit = (name: string) => {
      const chunk = manifest[name];
      if (!chunk || files.has(chunk.file)) return;
      for (const file of [chunk.file, ...(chunk.css ?? [])]) files.add(file);
      for (const imported of chunk.imports ?? []) visit(imported);
    };
    for (const [name, { isEntry }] of Object.entries(manifest))
      if (isEntry || pages.some((page) => name.endsWith(page))) visit(name);
    expect(files.size).toBeGreaterThan(pages.length);
    const code = [...files].map((file) => readFileSync(join(folder, file)));
    const kilobytes = code.reduce((sum, file) => sum + gzipSync(file).length, 0) / 1000;
    expect(kilobytes).toBeLessThanOrEqual(most);
    expect(code.some((file) => file.includes('ec-time-grid'))).toBe(pages.length > 0);
  });
});
