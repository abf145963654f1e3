import { existsSync } from 'node:fs';
import type { Context } from 'mocha';
import { type Browser, chromium } from 'playwright-core';

// Chromium, as the machine has it.

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';

/** Skips the suite with one line where there is no Chromium, but for CI. */
export async function launchBrowser(suite: Context, what: string): Promise<Browser> {
  if (!existsSync(CHROMIUM) && !process.env.CI) {
    process.stderr.write(`${what} not tried in a browser: there is no ${CHROMIUM}; CHROMIUM names another\n`);
    suite.skip();
  }
  // It has no sandbox for root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: CHROMIUM, args });
}
