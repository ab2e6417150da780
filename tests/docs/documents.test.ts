/** The documents: the README's example is pasted and run, SQL is executed, links lead somewhere. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const localUrl = 'http://127.0.0.1:54321';

async function documents(): Promise<string[]> {
  const inDocs = await readdir(join(root, 'docs'), { recursive: true });
  return [
    'README.md',
    'AGENTS.md',
    'SECURITY.md',
    'CHANGELOG.md',
    ...inDocs.map((name) => join('docs', name)),
  ].filter((name) => name.endsWith('.md'));
}

describe('the README’s example', () => {
  it('books a session when it is pasted and run', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8');
    const example = /```js\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
    expect(example).toContain(localUrl);
    // Inside the project, where a reader would save it too: it imports the project's packages.
    const folder = join(root, '.local');
    await mkdir(folder, { recursive: true });
    const file = join(folder, `readme-example-${process.pid}.mjs`);
    await writeFile(file, example.replace(localUrl, stack.apiUrl));
    const { stdout } = await execa(process.execPath, [file]).finally(() => rm(file));

    const id = /^booked ([0-9a-f-]{36}) at /.exec(stdout)?.[1];
    expect(id, stdout).toBeDefined();
    const { rows } = await withConnection((client) =>
      client.query('select status, therapist_id, client_id, time_zone from public.sessions where id = $1', [
        id,
      ]),
    );
    expect(rows).toEqual([
      {
        status: 'scheduled',
        therapist_id: 'a0000000-0000-4000-8000-000000000004',
        client_id: 'a0000000-0000-4000-8000-000000000101',
        time_zone: 'America/Los_Angeles',
      },
    ]);
  });
});

describe('the SQL of the documents', () => {
  it.each([
    ['docs/adding-a-table.md', {}],
    ['docs/audit-trail.md', { '<session id>': '00000000-0000-4000-8000-000000000000' }],
    ['docs/deploying.md', { 'owner@example.org': 'nobody@example.test' }],
  ])('%s runs as the schema’s owner', async (name, placeholders) => {
    const text = await readFile(join(root, name), 'utf8');
    const blocks = [...text.matchAll(/```sql\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
    expect(blocks).not.toEqual([]);
    await withConnection(async (client) => {
      await client.query('begin');
      for (const block of blocks) {
        const sql = Object.entries(placeholders).reduce(
          (done, [from, to]) => done.replaceAll(from, to),
          block,
        );
        await client.query(sql);
      }
      await client.query('rollback');
    });
  });

  it('leaves no organization behind when the first owner has not been invited', async () => {
    const text = await readFile(join(root, 'docs/deploying.md'), 'utf8');
    const [, sql = ''] = /```sql\n(\s+do [\s\S]*?)```/.exec(text) ?? [];
    expect(sql).toContain('owner@example.org');
    await withConnection(async (client) => {
      const count = async () =>
        (
          await client.query(
            "select count(*)::integer as clinics from public.organizations where name = 'My clinic'",
          )
        ).rows[0];
      await expect(client.query(sql)).rejects.toThrow('Nobody was invited by this address yet');
      expect(await count()).toEqual({ clinics: 0 });
      await client.query('begin');
      await client.query(sql.replace('owner@example.org', 'Nobody@Example.test'));
      const { rows } = await client.query(
        "select role from public.memberships as membership join public.organizations as clinic on clinic.id = organization_id where clinic.name = 'My clinic'",
      );
      await client.query('rollback');
      expect(rows).toEqual([{ role: 'super_admin' }]);
    });
  });
});

describe('the documents', async () => {
  it.each(await documents())('%s links only to files that exist', async (name) => {
    const text = await readFile(join(root, name), 'utf8');
    const targets = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => match[1] ?? '');
    const missing = targets
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => !existsSync(resolve(root, dirname(name), target)));
    expect(missing).toEqual([]);
  });

  it('name only npm scripts that exist', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const unknown: string[] = [];
    for (const name of await documents()) {
      const text = await readFile(join(root, name), 'utf8');
      for (const [, script] of text.matchAll(/npm run (?:--silent |-s )?([a-z:-]+)/g))
        if (script && !(script in scripts)) unknown.push(`${name}: npm run ${script}`);
    }
    expect(unknown).toEqual([]);
  });
});

describe('what SECURITY.md promises', () => {
  const rows = async () =>
    (await readFile(join(root, 'SECURITY.md'), 'utf8'))
      .split('\n')
      .filter((line) => line.startsWith('|') && line.includes('](') && line.split('|').length === 5);

  it.each(['outsider', 'another clinic', 'parent', 'therapist', 'admin', 'operates', 'owns the database'])(
    'has a row for: %s',
    async (whom) => {
      const said = (await rows()).map((line) => line.split('|')[1] ?? '');
      expect(said.join()).toContain(whom);
    },
  );

  it('is shown by tests that exist, each by its name', async () => {
    const missing: string[] = [];
    let named = 0;
    for (const line of await rows()) {
      const shown = line.split('|')[3] ?? '';
      const links = [...shown.matchAll(/\]\(([^)]+)\):((?: “[^”]+”,?)+)/g)];
      if (links.length === 0) missing.push(`no test: ${line}`);
      for (const [, file = '', names = ''] of links) {
        const source = await readFile(join(root, file), 'utf8').catch(() => '');
        for (const [, name = ''] of names.matchAll(/“([^”]+)”/g)) {
          named++;
          if (!source.includes(name)) missing.push(`${file}: ${name}`);
        }
      }
    }
    expect(missing).toEqual([]);
    expect(named).toBeGreaterThan(30);
  });
});
