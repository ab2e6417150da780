/** Resident memory of the stack's processes. */
import { readdir, readFile } from 'node:fs/promises';
import type { Stack } from '../local/stack.ts';

async function proportionalMegabytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024;
}

async function childrenOf(parent: number): Promise<number[]> {
  const children: number[] = [];
  for (const entry of await readdir('/proc').catch(() => []))
    if (/^\d+$/.test(entry)) {
      const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
      if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent)
        children.push(Number(entry));
    }
  return children;
}

/** Proportional set size in MB of the database with its backends, the functions' process and this one. Linux only. */
export async function memoryOf(stack: Stack): Promise<Map<string, number>> {
  const memory = new Map<string, number>();
  const backends = await childrenOf(stack.pids.postgres);
  const database = await Promise.all([stack.pids.postgres, ...backends].map(proportionalMegabytes));
  memory.set(
    'Postgres with its backends',
    database.reduce((total, own) => total + own, 0),
  );
  if (stack.pids.functions)
    memory.set('edge functions (Deno)', await proportionalMegabytes(stack.pids.functions));
  memory.set('REST, Auth, gateway and benchmark (Node)', await proportionalMegabytes(process.pid));
  return memory;
}
