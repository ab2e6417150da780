/** The Chromium of this machine, as tests start it. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** The shell, which can show no window, takes less of the processor than the whole browser and draws the same. */
const path = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium-headless-shell',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((known) => known && existsSync(known));

/** Added to the names of tests that are skipped for want of a browser; empty where there is one. */
export const noBrowser = path ? '' : ' — NOT RUN: install chromium or set CHROMIUM_PATH';

/** Starts a browser of its own. It ends with this process at the latest. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: path, chromiumSandbox: false });
}
