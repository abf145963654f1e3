import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parser } from '@prometheus-io/lezer-promql';
import { before, describe, it } from 'mocha';
import { parse } from 'yaml';
import { eventually } from '../support/eventually.ts';
import { useStage } from '../support/stage.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');
const MADE = /\b(counter|gauge|histogram|sizes)\(\s*'([a-z_]+)'/g;
const TYPES: Record<string, string> = { sizes: 'histogram' };

/** Each metric that the code makes, with its type. */
const made = new Map(
  globSync('{proto/runtime,gateway,core,webhook-relay}/**/*.ts', { cwd: ROOT, exclude: ['**/.types/**'] }).flatMap(
    (file) => [...read(file).matchAll(MADE)].map(([, how = '', name = '']) => [name, TYPES[how] ?? how] as const),
  ),
);

/** Each metric of the catalogue, with its type and its labels. */
const catalogue = new Map(
  [...read('docs/METRICS.md').matchAll(/^\| ([a-z_]+) \| (\w+)(?:, shared)? \|([^|]*)\|/gm)]
    .filter(([, name]) => name !== 'name')
    .map(([, name = '', type = '', labels = '']) => [
      name,
      {
        type,
        labels: labels
          .split(';')
          .flatMap((part) => (part.includes(':') ? part.replace(/:.*/, '') : part).split(','))
          .map((name) => name.trim())
          .filter(Boolean),
      },
    ]),
);

describe('the catalogue of metrics', () => {
  it('lists what the code measures, and nothing else', () => {
    assert.ok(made.size > 30);
    assert.deepEqual([...catalogue.keys()].sort(), [...made.keys()].sort());
    for (const [name, { type }] of catalogue) assert.equal(type, made.get(name), name);
  });

  describe('after traffic', () => {
    const stage = useStage();
    type Sample = { name: string; labels: Record<string, string>; line: string };
    let samples: Sample[];
    const ids: string[] = [];
    before(async () => {
      const payment = await stage.pay({ authorizeOnly: true });
      await stage.wix.capture(payment);
      await stage.wix.refund(payment, { amount: 100 });
      const declined = await stage.pay({ number: '4000000000000002' });
      await stage.wix.call(stage.gatewayUrl, 'create', {}, { forgery: 'tampered body' });
      await stage.settled(payment);
      ids.push(
        payment.wixTransactionId,
        payment.pluginTransactionId,
        declined.wixTransactionId,
        stage.merchant.merchantId,
      );
      await eventually(async () => {
        const text = await (await fetch(`${stage.coreUrl}/metrics`)).text();
        samples = text.split('\n').flatMap((line) => {
          const [, name, labels = ''] = /^([a-z_]+)(?:\{(.*)\})? /.exec(line) ?? [];
          if (!name || /^(nodejs|process)_/.test(name)) return [];
          return [
            {
              name,
              line,
              labels: Object.fromEntries(
                [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
              ),
            },
          ];
        });
        assert.ok(samples.some(({ name }) => name === 'payments_open'));
        assert.ok(samples.some(({ name }) => name === 'relay_deliveries'));
      });
    });

    it('R32 no label holds an id, or anything that grows with the payments', () => {
      for (const { labels, line } of samples)
        for (const value of Object.values(labels)) {
          assert.doesNotMatch(value, /[0-9a-f]{8}-[0-9a-f]{4}-/i, line);
          assert.ok(!ids.includes(value), line);
          assert.ok(value.length <= 60, line);
        }
    });

    it('metrics have the labels that the catalogue says', () => {
      for (const { name, labels, line } of samples) {
        const known = catalogue.get(name) ?? catalogue.get(name.replace(/_(bucket|sum|count)$/, ''));
        // Specs of the registry itself make some of their own.
        if (!known && name.startsWith('lifecycle_spec')) continue;
        assert.ok(known, line);
        assert.deepEqual(
          Object.keys(labels)
            .filter((label) => label !== 'le')
            .sort(),
          known.labels.sort(),
          line,
        );
      }
    });

    it('it is seen when Wix called, when it was told, how far the clocks are apart, and why a call was not believed', () => {
      const value = (name: string, more = '') =>
        Number(
          samples
            .find(({ line }) => line.startsWith(name) && line.includes(more))
            ?.line.split(' ')
            .at(-1),
        );
      const age = (name: string) => Date.now() / 1000 - value(name);
      assert.ok(age('wix_last_signed_call_timestamp_seconds') < 60);
      assert.ok(age('relay_last_delivery_timestamp_seconds') < 60);
      assert.ok(Math.abs(value('wix_clock_difference_seconds')) < 30);
      assert.ok(value('wix_signature_refusals_total', 'cause="body"') >= 1);
      assert.ok(value('refusals_total', 'reason="3000"') >= 1);
      assert.ok(value('gathered_rows_count', 'what="beginnings"') >= 2);
      assert.equal(value('relay_breaker_open'), 0);
    });
  });
});

/** Names in an expression of PromQL; throws for what is none. */
function namesIn(expression: string): string[] {
  const names: string[] = [];
  const text = expression.replaceAll('$__rate_interval', '5m');
  parser.parse(text).iterate({
    enter: ({ type, from, to }) => {
      if (type.isError) throw new Error(`no PromQL: ${expression}`);
      if (type.name === 'Identifier' && text.slice(from, to) !== 'le') names.push(text.slice(from, to));
    },
  });
  return names.filter((name) => name.includes('_') && !/^(histogram_quantile)$/.test(name));
}

const isKnown = (name: string) =>
  /^(nodejs|process)_/.test(name) || catalogue.has(name) || catalogue.has(name.replace(/_(bucket|sum|count)$/, ''));

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; runbook: string };
}

describe('the alert rules', () => {
  const { groups } = parse(read('docs/prometheus/alerts.yml')) as { groups: { name: string; rules: Rule[] }[] };
  const rules = groups.flatMap((group) => group.rules);
  const paragraphs = [...read('docs/OPERATIONS.md').matchAll(/^### (\w+)$/gm)].map(([, name]) => name);

  it('are expressions over metrics of the catalogue', () => {
    for (const { expr } of rules) {
      const names = namesIn(expr);
      assert.ok(names.length > 0, expr);
      assert.deepEqual(
        names.filter((name) => !isKnown(name)),
        [],
        expr,
      );
    }
    assert.throws(() => namesIn('sum(rate(alerts_total[5m])'), /no PromQL/);
  });

  it('each say what is wrong, how urgent it is, and which paragraph helps; no paragraph is without a rule', () => {
    assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
    const named = rules.map(({ alert, labels, annotations }) => {
      assert.match(labels.severity, /^(page|ticket)$/, alert);
      assert.ok(annotations.summary.length > 5, alert);
      return annotations.runbook.replace('docs/OPERATIONS.md#', '');
    });
    assert.deepEqual([...new Set(named)].sort(), [...new Set(paragraphs)].sort());
  });
});

describe('the dashboard', () => {
  interface Panel {
    id: number;
    type: string;
    title: string;
    gridPos: { x: number; y: number; w: number; h: number };
    targets?: { expr: string; refId: string }[];
  }
  const { panels } = JSON.parse(read('docs/grafana/connector.json')) as { panels: Panel[] };

  it('shows metrics of the catalogue by valid expressions, each panel in a place of its own', () => {
    const taken = new Set<string>();
    for (const { type, title, gridPos, targets = [] } of panels) {
      assert.ok(type === 'row' || targets.length > 0, title);
      for (const { expr } of targets)
        assert.deepEqual(
          namesIn(expr).filter((name) => !isKnown(name)),
          [],
          expr,
        );
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!taken.has(`${x},${y}`) && x < 24, title);
          taken.add(`${x},${y}`);
        }
    }
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  });

  it('shows every metric of the catalogue', () => {
    const shown = new Set(
      panels
        .flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => namesIn(expr)))
        .map((name) => name.replace(/_(bucket|sum|count)$/, '')),
    );
    assert.deepEqual(
      [...catalogue.keys()].filter((name) => !shown.has(name)),
      [],
    );
  });
});
