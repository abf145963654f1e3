import assert from 'node:assert/strict';
import { CHECKS, choose } from '../../conformance/checks.ts';
import { type ConfigInput, readConfig } from '../../conformance/config.ts';
import { type Report, runChecks } from '../../conformance/run.ts';
import { createSigner, newPrivateKey } from '../../conformance/signature.ts';
import { BUGS, type Bug } from './bugs.ts';
import { BUTTONS } from './small-page.ts';
import { startSmallPlugin } from './small-plugin.ts';

// A kit that cannot fail proves nothing: a sound plugin passes it whole, and each of many broken ones is found by the check meant to.

const signer = createSigner(newPrivateKey());
const APP = { appId: '7a3f1c0e-0000-4000-8000-5f2d3b9c1e44', appSecret: 'small-app-secret' };

const configOf = (url: string, isSound: boolean): ConfigInput => ({
  name: 'Small',
  baseUrl: url,
  endpoints: { connect: '/connect', create: '/create', refund: '/refund', capture: '/capture', void: '/void' },
  wix: { ...APP, port: 0 },
  merchant: {
    credentials: { apiKey: 'small-api-key', shop: 'one' },
    wrongCredentials: { apiKey: 'invalid' },
    blockedCredentials: { apiKey: 'blocked' },
    inactiveCredentials: { apiKey: 'inactive' },
    otherCredentials: { apiKey: 'another-api-key' },
    refusedCurrency: 'ISK',
    otherCurrencies: ['JPY', 'KWD'],
  },
  cards: {
    approved: '4242424242424242',
    declined: { '4000000000000002': 3000 },
    pendingApproved: '4000000000009235',
    pendingDeclined: '4000000000004954',
    captureFails: '4000000000000341',
    refundFails: '4000000000005126',
    challenged: '4000002500003155',
  },
  capabilities: {
    ...{
      authorizeOnly: true,
      googlePay: true,
      applePay: true,
      credentialsOnFile: true,
      redirect: true,
      hostedPage: true,
    },
  },
  redirect: { buyerTimeoutSeconds: 3, buttons: BUTTONS },
  // Of a sound plugin everything comes long before; what a broken one owes never comes.
  limits: isSound
    ? { eventSeconds: 15, retrySeconds: 15, pendingSeconds: 15, quietSeconds: 0.25 }
    : { answerSeconds: 5, eventSeconds: 1.5, retrySeconds: 1.5, pendingSeconds: 1.5, quietSeconds: 0.25 },
});

async function held(bug: Bug | undefined, patterns: readonly string[]): Promise<Report> {
  const plugin = await startSmallPlugin({ publicKeyPem: signer.publicKeyPem, ...APP, bug });
  const onStart = ({ url }: { url: string }) => {
    plugin.wixUrl = url;
  };
  const config = readConfig(JSON.stringify(configOf(plugin.url, bug === undefined)));
  return runChecks({ config, signer, checks: choose(patterns), onStart }).finally(plugin.stop);
}

describe('the conformance kit', () => {
  it('finds nothing wrong with a sound plugin, and tries every check on it', async function () {
    this.timeout(60_000);
    const { results } = await held(undefined, []);
    const bad = results.filter(({ verdict }) => verdict !== 'passed');
    assert.deepEqual(
      bad.map(({ check, verdict, says }) => [check.id, verdict, says]),
      [],
    );
    assert.equal(results.length, CHECKS.length);
  });

  for (const [bug, id] of Object.entries(BUGS) as [Bug, string][])
    it(`finds by ${id} a plugin that ${bug}`, async () => {
      const { results } = await held(bug, [id]);
      assert.deepEqual(
        results.map(({ verdict }) => verdict),
        ['failed'],
        results[0]?.says,
      );
    });
});
