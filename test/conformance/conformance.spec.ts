import assert from 'node:assert/strict';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { NEEDS } from '../../conformance/check.ts';
import { CHECKS, choose } from '../../conformance/checks.ts';
import { readConfig } from '../../conformance/config.ts';
import { htmlReport } from '../../conformance/report-html.ts';
import { junitReport } from '../../conformance/report-junit.ts';
import { isPassed, textReport } from '../../conformance/report-text.ts';
import { runChecks } from '../../conformance/run.ts';
import { createSigner, newPrivateKey } from '../../conformance/signature.ts';
import * as tables from '../../conformance/tables.ts';
import { endPrograms, freePort, startProgram } from '../faults/program.ts';
import { freshDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';

const root = path.join(import.meta.dirname, '../..');
const OURS = path.join(import.meta.dirname, 'connector.yaml');
const KIT = 'conformance/main.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'conformance-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));
afterEach(endPrograms);

/** What the kit's program prints and exits with. */
async function kit(...args: string[]) {
  const program = startProgram(KIT, {}, args);
  return { code: await program.ended, out: program.out, err: program.err };
}

describe('the checks of the conformance kit', () => {
  it('are 120 and more, each with a name of its own, its section and what to do', () => {
    assert.ok(CHECKS.length >= 120);
    assert.equal(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
    for (const { id, section, title, fix, needs = [] } of CHECKS) {
      assert.match(id, /^[a-z]+\.[a-z0-9-]+$/);
      assert.match(section, /^\d+(\.\d+)?$/, id);
      assert.ok(title.length > 10 && fix.length > 5, id);
      assert.deepEqual(
        needs.filter((need) => !(need in NEEDS)),
        [],
      );
    }
  });

  it('take nothing from the connector: the kit imports itself, node, yaml and zod alone', () => {
    const files = globSync('conformance/**/*.ts', { cwd: root }).filter((file) => !file.includes('.types'));
    assert.ok(files.length > 20);
    for (const file of files)
      for (const [, target = ''] of readFileSync(path.join(root, file), 'utf8').matchAll(/from '([^']+)'/g)) {
        const isOwn = target.startsWith('.') && path.join(path.dirname(file), target).startsWith('conformance/');
        assert.ok(isOwn || target.startsWith('node:') || ['yaml', 'zod'].includes(target), `${file}: ${target}`);
      }
  });

  it('know the reason codes that the simulated Wix knows', () => {
    const codes: { code: number; group: string; status: string }[] = JSON.parse(
      readFileSync(path.join(root, 'test/wix/reason-codes.json'), 'utf8'),
    );
    const of = (group: string) =>
      codes.filter((each) => each.group === group && each.status === 'current').map(({ code }) => code);
    assert.deepEqual([...tables.GENERAL], [...of('general'), 6000]);
    assert.deepEqual([...tables.CONNECTION], of('connect'));
    assert.deepEqual([...tables.PENDING], of('pending'));
    assert.deepEqual([...tables.DECLINE], of('decline'));
    assert.deepEqual([...tables.REFUND_DECLINE], of('refund'));
    assert.deepEqual(
      [...tables.LEGACY],
      codes.filter(({ status }) => status === 'legacy').map(({ code }) => code),
    );
  });
});

describe('the conformance kit on the connector', () => {
  it('finds nothing broken, and runs every rule', async function () {
    this.timeout(180_000);
    const program = startProgram('test/conformance/own.ts', {}, ['--report', folder]);
    const code = await program.ended;
    assert.equal(code, 0, program.out.slice(-4_000) + program.err.slice(-2_000));
    const report = readFileSync(path.join(folder, 'report.xml'), 'utf8');
    const skipped = [...report.matchAll(/name="(\S+): [^>]*><skipped/g)].map(([, id = '']) => id);
    assert.deepEqual(skipped, []);
  });
});

/** It knows no accounts, reviews, stored credentials, wallets or methods; a decline before it has a row is told to nobody. */
const LACKS = `
  connect.inactive-code connect.inactive-without-account connect.currency-code connect.sandbox-account-live
  create.pending create.pending-has-id create.pending-without-page
  create.set-up create.set-up-in-event create.charge-again create.unknown-token
  create.google-pay-card-details create.google-pay-event create.apple-pay
  payment.lacks-card payment.amount-large payment.currency-of-account payment.method-unknown payment.wrong-credentials
  refund.fails capture.fails event.declined-without-payment
  pending.then-approved pending.then-declined pending.repeat-after-end pending.declined-repeat-after-end
  pending.never-after-final pending.ends-once
  all.told`;

describe('the conformance kit on a server of one file', () => {
  it('finds what that server does not do, and nothing else', async function () {
    this.timeout(120_000);
    const signer = createSigner(newPrivateKey());
    const keyFile = path.join(folder, 'bare.pem');
    writeFileSync(keyFile, signer.publicKeyPem);
    const [port, wixPort] = [await freePort(), await freePort()];
    const config = readConfig(readFileSync(OURS, 'utf8'), {
      baseUrl: `http://127.0.0.1:${port}`,
      wix: { port: Number(wixPort) },
      limits: { eventSeconds: 3, quietSeconds: 0.5 },
      capabilities: { redirect: false, hostedPage: false },
    });
    const bare = startProgram('test/bench/bare/server.mjs', {
      ...{ DATABASE_URL: await freshDatabase(), GATEWAY_PORT: port, WIX_PUBLIC_KEY_FILE: keyFile },
      ...{ WIX_API_URL: `http://127.0.0.1:${wixPort}`, WIX_USER_AGENT: 'bare/1.0' },
      ...{ WIX_APP_ID: config.wix.appId, WIX_APP_SECRET: config.wix.appSecret },
    });
    await eventually(async () => assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 404), {
      timeoutMs: 20_000,
    });
    const { results } = await runChecks({ config, signer });
    bare.signal('SIGTERM');
    const bad = results.filter(({ verdict }) => verdict === 'failed' || verdict === 'blocked');
    assert.deepEqual(
      bad.map(({ check }) => check.id),
      LACKS.trim().split(/\s+/),
    );
  });
});

describe('the report of the conformance kit', () => {
  const SECRETS = ['small-api-secret', '4242424242424242', 'app-secret-of-the-kit'];

  /** A plugin that says yes to everything, with what it heard, and an answer that breaks XML. */
  async function gullible() {
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      response.writeHead(200, { 'Content-Type': 'application/json' });
      const heard = String(Buffer.concat(chunks));
      response.end(JSON.stringify({ heard, note: '<script>alert("\u0001")</script> & ]]>' }));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const config = readConfig('', {
      name: 'Gullible <b>',
      baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      endpoints: { connect: '/', create: '/', refund: '/' },
      wix: { port: 0, appSecret: SECRETS[2] },
      merchant: { credentials: { apiKey: SECRETS[0] } },
      cards: { approved: SECRETS[1] },
    });
    const checks = choose(['create.approved', 'connect.account-id', 'refund.whole', 'page.method', 'auth.alg-none']);
    const report = await runChecks({ config, signer: createSigner(newPrivateKey()), checks });
    server.close();
    server.closeAllConnections();
    return report;
  }

  it('says of each rule whether it holds, could not be tried, or was not run, and what to do', async () => {
    const report = await gullible();
    assert.equal(isPassed(report), false);
    const verdicts = Object.fromEntries(report.results.map(({ check, verdict }) => [check.id, verdict]));
    assert.deepEqual(verdicts, {
      'auth.alg-none': 'failed',
      'connect.account-id': 'failed',
      'create.approved': 'failed',
      'refund.whole': 'blocked',
      'page.method': 'not run',
    });
    const text = textReport(report);
    const { fix } = choose(['create.approved'])[0]!;
    for (const part of [fix, 'section 5.5', 'needs capabilities.redirect', '3 failed, 1 blocked, 1 not run'])
      assert.ok(text.includes(part), part);
    assert.match(junitReport(report), /tests="5" failures="3" errors="1" skipped="1"/);
  });

  it('is XML and HTML whatever a plugin answers, shows both sides of the wire, and fetches and runs nothing', async () => {
    const report = await gullible();
    const xml = junitReport(report);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML cannot hold them.
    assert.doesNotMatch(xml, /[\u0000-\u0008]|<script|&(?!amp;|lt;|gt;|quot;)/);
    assert.equal(xml.match(/<testcase /g)?.length, 5);
    const html = htmlReport(report);
    assert.doesNotMatch(html, /<script|<link|<img|\b(src|href)=|@import|Gullible <b>/);
    assert.match(html, /Wix → plugin {3}POST http:\/\/127/);
    assert.match(html, /plugin → Wix {3}200, after/);
    assert.match(html, /which says {&quot;alg&quot;:&quot;none&quot;/);
  });

  it('holds no card number, credential, secret or signature', async () => {
    const report = await gullible();
    for (const text of [textReport(report), junitReport(report), htmlReport(report)]) {
      for (const secret of SECRETS) assert.ok(!text.includes(secret), secret);
      assert.doesNotMatch(text, /JWT=[\w-]+\.[\w-]+\.[\w-]/);
      assert.doesNotMatch(text, /"cvv": ?"1/);
    }
  });
});

describe('docs/CONFORMANCE.md', () => {
  const text = readFileSync(path.join(root, 'docs/CONFORMANCE.md'), 'utf8');
  const [, example = ''] = /```yaml\n([\s\S]*?)```/.exec(text) ?? [];

  it('has a config that the kit takes, with its comments and without', () => {
    assert.equal(readConfig(example).name, 'Harbor Pay');
    const { capabilities, cards } = readConfig(example.replaceAll(/^( *)# ?/gm, '$1'));
    assert.equal(capabilities.authorizeOnly, true);
    assert.equal(cards.declined['4000000000000002'], 3000);
  });

  it('lists every entry of the config, and names checks that are there', () => {
    const leaves = (value: object, at: string): string[] =>
      Object.entries(value).flatMap(([name, member]) =>
        /^(credentials|declined|otherCurrencies)$/.test(name) || typeof member !== 'object'
          ? [`${at}${name}`]
          : leaves(member, `${at}${name}.`),
      );
    const table = text.slice(text.indexOf('## The config'));
    for (const leaf of leaves(readConfig(readFileSync(OURS, 'utf8'), { baseUrl: 'http://127.0.0.1' }), '')) {
      const [group = '', name = ''] = leaf.includes('.') ? leaf.split('.') : ['', leaf];
      assert.match(table, new RegExp(`^\\| ${group && `${group}\\.`}[^|]*\\b${name}\\b`, 'm'), leaf);
    }
    for (const [, pattern = ''] of text.matchAll(/`((?:auth|create|payment|refund|event|retry|repeat)\.[a-z*-]+)`/g))
      assert.ok(choose([pattern]).length > 0, pattern);
  });
});

describe('npm run conformance', () => {
  const NEEDED = ['--connect=http://127.0.0.1:1/', '--create=http://127.0.0.1:1/', '--refund=http://127.0.0.1:1/'];
  const flags = (...more: string[]) => [
    ...[...NEEDED, '--card=approved=4242424242424242', '--credential=key=abc', '--events-port=0'],
    ...[`--private-key=${folder}/private.pem`, `--public-key=${folder}/public.pem`, `--report=${folder}`, ...more],
  ];

  it('explains itself and lists its checks', async () => {
    const help = await kit('--help');
    assert.equal(help.code, 0);
    assert.match(help.out, /--config FILE/);
    const { code, out } = await kit('--list');
    assert.equal(code, 0);
    assert.ok(CHECKS.every(({ id }) => out.includes(`${id} `)));
    assert.match(out, new RegExp(`^${CHECKS.length} checks$`, 'm'));
  });

  it('writes the keys that it signs with, the private one for its owner alone, and keeps them', async () => {
    assert.equal((await kit(...flags('--keys'))).code, 0);
    const written = readFileSync(`${folder}/public.pem`, 'utf8');
    assert.match(written, /^-----BEGIN PUBLIC KEY-----/);
    assert.equal(statSync(`${folder}/private.pem`).mode & 0o777, 0o600);
    assert.equal((await kit(...flags('--keys'))).code, 0);
    assert.equal(readFileSync(`${folder}/public.pem`, 'utf8'), written);
  });

  it('exits with 2 and says why, if the plugin does not answer or the config is wrong', async () => {
    const silent = await kit(...flags());
    assert.equal(silent.code, 2);
    assert.match(silent.err, /connect got no HTTP answer[\s\S]*Is the plugin running/);
    const file = path.join(folder, 'wrong.yaml');
    writeFileSync(file, 'endpoints: { connect: /a }\ncards: { approved: 12 }\nunheard: of\n');
    const wrong = await kit('--config', file);
    assert.equal(wrong.code, 2);
    for (const line of ['endpoints.create: ', 'cards.approved: ', 'merchant: ', '"unheard"'])
      assert.ok(wrong.err.includes(line), `${line} in ${wrong.err}`);
    for (const args of [
      ['--config', '/no/such/file'],
      flags('--only=nothing'),
      ['--nonsense'],
      flags('--events-port=x'),
    ])
      assert.equal((await kit(...args)).code, 2, args.join(' '));
  });
});
