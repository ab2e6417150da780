/**
 * `npm run demo`: the main job end to end, on a stack of its own. A weekly series is held across a change of clocks,
 * contested, confirmed, replayed, moved and cancelled by the real edge functions on a real Postgres; then come the audit
 * trail and a report. Every answer shown is the one that came back. Any other than expected ends the demo with exit 1.
 */
import { createSpinner } from 'nanospinner';
import colors from 'picocolors';
import type { Stack } from '../stack.ts';
import { DemoFailure } from './failure.ts';
import { say, stepCount } from './terminal.ts';

const began = performance.now();
const secondsSoFar = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;

let starting: Promise<Stack> | undefined;
let interrupted = false;

async function stopStack(): Promise<void> {
  const stack = await starting?.catch(() => undefined);
  await stack?.stop();
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    if (interrupted) return;
    interrupted = true;
    say(colors.yellow('\nInterrupted; stopping the stack …'));
    void stopStack().finally(() => process.exit(130));
  });

/** Loading the stack takes a second or two by itself, so it happens while the spinner turns. */
async function start() {
  const spinner = createSpinner('Starting Postgres 17, Auth, REST and the edge functions on free ports …', {
    stream: process.stdout,
  }).start();
  try {
    const [{ startStack }, { ClinicDay }] = await Promise.all([
      import('../stack.ts'),
      import('./clinic-day.ts'),
    ]);
    starting = startStack();
    const stack = await starting;
    spinner.success({
      text: `Postgres 17, Auth, REST and the edge functions at ${stack.apiUrl} (${secondsSoFar()})`,
    });
    return new ClinicDay(stack);
  } catch (error) {
    spinner.error({ text: 'The stack did not start.' });
    throw error;
  }
}

async function main(): Promise<void> {
  say(colors.bold('\ntherapist-sessions: one booking from hold to report\n'));
  const day = await start();
  await day.signIn();
  await day.holdSeries();
  await day.letRivalTry();
  await day.confirmSeries();
  await day.replay();
  await day.moveSeries();
  await day.cancelOne();
  await day.showAuditTrail();
  await day.showReport();
  say(colors.green(colors.bold(`\nAll ${stepCount()} steps answered as they should, in ${secondsSoFar()}.`)));
  const [command, readme] = [colors.cyan('npm start'), colors.cyan('README.md')];
  const app = colors.cyan('http://127.0.0.1:54321');
  say(
    `Run ${command} for a stack of your own: the web app is at ${app}, an example to paste in ${readme}.\n`,
  );
}

main()
  .catch((error: unknown) => {
    if (interrupted) return;
    process.exitCode = 1;
    const [title, text] =
      error instanceof DemoFailure
        ? ['An unexpected answer.', error.message]
        : ['The demo broke off.', error instanceof Error ? (error.stack ?? error.message) : String(error)];
    process.stderr.write(`\n${colors.red(colors.bold(`✗ ${title}`))} ${text}\n`);
  })
  .finally(stopStack);
