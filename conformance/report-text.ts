import { styleText } from 'node:util';
import type { Report, Result, Verdict } from './run.ts';

export const VERDICTS: readonly Verdict[] = ['passed', 'failed', 'blocked', 'not run'];

const MARKS: Record<Verdict, string> = {
  passed: styleText('green', 'ok     '),
  failed: styleText('red', 'FAIL   '),
  blocked: styleText('yellow', 'BLOCKED'),
  'not run': styleText('gray', 'not run'),
};

export function countOf({ results }: Pick<Report, 'results'>, verdict: Verdict): number {
  return results.filter((result) => result.verdict === verdict).length;
}

/** Green is green: what was not run does not make it red, and what could not be tried does. */
export function isPassed(report: Report): boolean {
  return countOf(report, 'failed') + countOf(report, 'blocked') === 0;
}

export function lineOf({ check, verdict, says }: Result): string {
  return `${MARKS[verdict]} ${check.id.padEnd(38)} ${check.title} (${check.section})${verdict === 'not run' ? `: ${says}` : ''}`;
}

export function textReport(report: Report): string {
  const bad = report.results.filter(({ verdict }) => verdict === 'failed' || verdict === 'blocked');
  const lines = report.results.map(lineOf);
  const details = bad.flatMap(({ check, verdict, says }) => [
    '',
    `${verdict === 'failed' ? 'FAIL' : 'BLOCKED'} ${check.id}: ${check.title}`,
    `  contract  section ${check.section}`,
    `  but       ${report.mask(says)}`,
    `  do        ${check.fix}`,
  ]);
  const counts = VERDICTS.map((verdict) => `${countOf(report, verdict)} ${verdict}`).join(', ');
  return [
    ...lines,
    ...details,
    '',
    ...(report.notice ? [report.mask(report.notice), ''] : []),
    `${report.results.length} checks of ${report.config.name} in ${report.seconds.toFixed(1)} s: ${counts}`,
    '',
  ].join('\n');
}
