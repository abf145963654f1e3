/**
 * For the programs of test/ that start others: at Ctrl-C or SIGTERM ends them by `end` first, and then itself, with the code that a
 * shell gives for that signal.
 */
export function onSignal(end: () => unknown): void {
  let isEnding = false;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.on(signal, async () => {
      if (isEnding) return;
      isEnding = true;
      try {
        await end();
      } finally {
        process.exit(code);
      }
    });
}
