/** Child processes run in groups of their own, out of reach of Ctrl-C: they must not outlive this process either. */

const alive = new Map<number, NodeJS.Signals>();

process.on('exit', () => {
  for (const [pid, signal] of alive)
    try {
      process.kill(pid, signal);
    } catch {
      // Already gone.
    }
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    // Whoever has a way of their own to stop listens too. Without a listener, Node would end without an exit event.
    if (process.listenerCount(signal) === 1) process.exit(130);
  });

/**
 * Sends a signal to a child if this process ends before it, whichever way but `kill -9`.
 * @param exited resolves when the child has ended
 */
export function endWithParent(
  pid: number | undefined,
  signal: NodeJS.Signals,
  exited: Promise<unknown>,
): void {
  if (pid === undefined) return;
  alive.set(pid, signal);
  void exited.finally(() => alive.delete(pid));
}
