import { parseObject } from './json.ts';
import { escapeXml } from './report-junit.ts';
import { countOf, VERDICTS } from './report-text.ts';
import type { Report, Result, Verdict } from './run.ts';
import type { Call } from './wix.ts';
import type { SubmittedEvent } from './wix-server.ts';

// One file for a browser, with nothing fetched from elsewhere and no script: what was sent, what came back, and what to do.

/** Of one message; an order of 300 lines says nothing more after that. */
const SHOWN_MAX = 4_000;
/** Of one check. */
const MESSAGES_MAX = 30;

const STYLE = `
:root { color-scheme: light dark; --good: #1a7f37; --bad: #cf222e; --warn: #9a6700; --quiet: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; --warn: #d29922; --quiet: #9198a1; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; }
.counts { display: flex; flex-wrap: wrap; gap: 1.5rem; padding: 0; list-style: none; font-size: 1.2rem; }
details { border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: .4rem 0; }
summary { cursor: pointer; }
summary .id { font-family: ui-monospace, monospace; font-size: .85em; color: var(--quiet); }
.verdict { display: inline-block; min-width: 5rem; font-weight: 600; }
.passed { color: var(--good); } .failed { color: var(--bad); } .blocked { color: var(--warn); } .notrun { color: var(--quiet); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .5rem 0 .5rem 1rem; }
dt { color: var(--quiet); } dd { margin: 0; }
pre { margin: .25rem 0 .75rem 1rem; padding: .5rem .75rem; overflow-x: auto; font-size: .8rem; white-space: pre-wrap;
  overflow-wrap: anywhere; background: color-mix(in srgb, currentColor 7%, transparent); border-radius: .3rem; }
`;

export function htmlReport(report: Report): string {
  const { results, config, seconds, startedAt } = report;
  const groups = Map.groupBy(results, ({ check }) => check.id.split('.')[0] ?? '');
  const bad = results.filter(({ verdict }) => verdict === 'failed' || verdict === 'blocked');
  const counts = VERDICTS.map(
    (verdict) => `<li class="${classOf(verdict)}">${countOf(report, verdict)} ${verdict}</li>`,
  );
  const sections = [...groups].map(
    ([name, group]) => `<h2>${escapeXml(name)}</h2>\n${group.map((result) => rowOf(report, result, false)).join('\n')}`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Conformance of ${escapeXml(config.name)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeXml(config.name)}</h1>
<p>${results.length} checks against the contract of Wix for payment service providers, ${startedAt.toISOString()}, ${seconds.toFixed(1)} s.
Card numbers, credentials, tokens and secrets are masked.</p>
<ul class="counts">${counts.join('')}</ul>
${report.notice ? `<p class="failed">${escapeXml(report.mask(report.notice))}</p>` : ''}
${bad.length > 0 ? `<h2>To do</h2>\n${bad.map((result) => rowOf(report, result, true)).join('\n')}` : '<p class="passed">Nothing is broken.</p>'}
${sections.join('\n')}
</body>
</html>
`;
}

function rowOf({ mask }: Report, { check, verdict, says, seconds, calls, events }: Result, isOpen: boolean): string {
  const shown = (text: string) => escapeXml(mask(text));
  const facts: [string, string][] = [
    ['section', check.section],
    ...(says ? [[verdict === 'not run' ? 'why not' : 'but', shown(says)] as [string, string]] : []),
    ...(verdict === 'failed' || verdict === 'blocked'
      ? [['what to do', escapeXml(check.fix)] as [string, string]]
      : []),
    ['time', `${seconds.toFixed(2)} s`],
  ];
  const messages = [
    ...calls.map((call) => [call.at, callText(call)] as const),
    ...events.map((event) => [event.at, eventText(event)] as const),
  ]
    .sort(([one], [other]) => one - other)
    .map(([, text]) => `<pre>${shown(text)}</pre>`);
  const more = messages.length > MESSAGES_MAX ? `<p>and ${messages.length - MESSAGES_MAX} more</p>` : '';
  return `<details${isOpen ? ' open' : ''}><summary><span class="verdict ${classOf(verdict)}">${verdict}</span> ${escapeXml(check.title)} <span class="id">${escapeXml(check.id)}</span></summary>
<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('')}</dl>
${messages.slice(0, MESSAGES_MAX).join('\n')}${more}</details>`;
}

const classOf = (verdict: Verdict) => verdict.replace(' ', '');

function callText({ url, headers, text, answer, problem }: Call): string {
  const sent = `Wix → plugin   POST ${url}\n${headerLines(headers)}\n${pretty(text)}`;
  if (!answer) return `${sent}\n\nno answer: ${problem ?? 'the check ended before'}`;
  const took = ((answer.endedAt - answer.startedAt) / 1_000).toFixed(3);
  return `${sent}\n\nplugin → Wix   ${answer.status}, after ${took} s\n${headerLines(answer.headers)}\n${pretty(answer.text)}`;
}

function eventText({ headers, text, answered, tokenRequest }: SubmittedEvent): string {
  const token = tokenRequest ? `token   ${tokenRequest.text.slice(0, SHOWN_MAX)}\n` : '';
  return `plugin → Wix   event, answered ${answered}\n${token}${headerLines(headers)}\n${pretty(text)}`;
}

/** What a Digest says can be read by nobody as it is. */
function headerLines(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\n${/^digest$/i.test(name) ? claimsOf(value) : ''}`)
    .join('')
    .slice(0, SHOWN_MAX);
}

function claimsOf(digest: string): string {
  const [head = '', claims = ''] = digest.replace(/^JWT=/, '').split('.');
  const read = (part: string) => Buffer.from(part, 'base64url').toString('utf8');
  return `        which says ${read(head)} ${read(claims)}\n`;
}

function pretty(text: string): string {
  const value = parseObject(text);
  const shown = value ? JSON.stringify(value, null, 2) : text;
  return shown.length > SHOWN_MAX
    ? `${shown.slice(0, SHOWN_MAX)}\n… ${shown.length - SHOWN_MAX} characters more`
    : shown;
}
