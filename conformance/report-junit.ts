import { countOf } from './report-text.ts';
import type { Report, Result } from './run.ts';

// JUnit XML, as CI servers read it.

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML 1.0 cannot hold.
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

export function junitReport(report: Report): string {
  const { results, seconds, config, mask, startedAt } = report;
  const masked = (text: string) => escapeXml(mask(text));
  const one = ({ check, verdict, says, seconds: took }: Result): string => {
    const [suite = ''] = check.id.split('.');
    const head = `    <testcase classname="${escapeXml(suite)}" name="${escapeXml(`${check.id}: ${check.title} (${check.section})`)}" time="${took.toFixed(3)}"`;
    if (verdict === 'passed') return `${head}/>`;
    if (verdict === 'not run') return `${head}><skipped message="${masked(says)}"/></testcase>`;
    const tag = verdict === 'failed' ? 'failure' : 'error';
    return `${head}><${tag} message="${masked(says)}">${masked(`${says}\nTo do: ${check.fix}`)}</${tag}></testcase>`;
  };
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="${escapeXml(config.name)}" tests="${results.length}" failures="${countOf(report, 'failed')}" errors="${countOf(report, 'blocked')}" skipped="${countOf(report, 'not run')}" time="${seconds.toFixed(3)}" timestamp="${startedAt.toISOString()}">
${results.map(one).join('\n')}
  </testsuite>
</testsuites>
`;
}

/** For text and for attributes, in XML and in HTML. */
export function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(NOT_XML, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
