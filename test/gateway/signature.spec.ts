import assert from 'node:assert/strict';
import { constants, createHmac, createSign, generateKeyPairSync, sign } from 'node:crypto';
import {
  bytesOf,
  connect,
  digestOf,
  exampleJson,
  headOf,
  lifetime,
  pemOf,
  sha256,
  startGateway,
  stopGateways,
  type TestGateway,
  tokenOf,
  wixKeys,
} from './harness.ts';

const account = { account: { id: 'acct', name: 'Tidepool' }, credentials: { values: {} } };
const body = bytesOf(exampleJson('connect-account.basic.request.json'));
const good = { data: { SHA256: sha256(body) }, ...lifetime() };
const other = generateKeyPairSync('rsa', { modulusLength: 2048 });

describe('the signature of Wix', () => {
  let gateway: TestGateway;
  before(async () => {
    gateway = await startGateway({ script: { connectMerchantAccount: () => account } });
  });
  beforeEach(() => gateway.calls.splice(0));
  after(stopGateways);

  const refuses = async (digest: string | undefined) => {
    const headers = digest === undefined ? { digest: '' } : { digest };
    const answer = await gateway.post('connect-account', body, headers);
    assert.equal(answer.status, 401);
    assert.equal(answer.text, '');
    assert.equal(answer.headers.get('connection'), 'close');
    assert.deepEqual(gateway.calls, []);
  };
  const accepts = async (digest: string, sent: Uint8Array = body) => {
    const answer = await gateway.post('connect-account', sent, { digest });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(gateway.calls.length, 1);
  };

  const fixture = exampleJson('auth.digest.fixture.json');
  for (const { name, header, at, accept } of fixture.cases)
    it(`${accept ? 'accepts' : 'refuses'} the fixture's case "${name}"`, async () => {
      const fixtureGateway = await startGateway({
        script: { connectMerchantAccount: () => account },
        env: { WIX_PUBLIC_KEY: fixture.publicKeyPem },
        now: () => new Date(at * 1000),
      });
      const raw = Buffer.from(fixture.rawBodyBase64, 'base64');
      const answer = await fixtureGateway.post('connect-account', raw, { digest: header });
      assert.equal(answer.status, accept ? 200 : 401);
      assert.equal(fixtureGateway.calls.length, accept ? 1 : 0);
    });

  it('accepts the example’s claims over the fixture’s bytes, signed', async () => {
    const claims = exampleJson('auth.digest.claims.json');
    const exampleGateway = await startGateway({
      script: { connectMerchantAccount: () => account },
      now: () => new Date(claims.iat * 1000),
    });
    const raw = Buffer.from(fixture.rawBodyBase64, 'base64');
    const answer = await exampleGateway.post('connect-account', raw, { digest: `JWT=${tokenOf(claims)}` });
    assert.equal(answer.status, 200);
  });

  it('accepts what Wix signed', () => accepts(`JWT=${tokenOf(good)}`));
  it('accepts a hash in upper case', () =>
    accepts(`JWT=${tokenOf({ ...good, data: { SHA256: sha256(body).toUpperCase() } })}`));
  it('accepts a token without iat', () => accepts(`JWT=${tokenOf({ data: good.data, exp: good.exp })}`));
  it('accepts a clock that is a few seconds behind', () =>
    accepts(`JWT=${tokenOf({ ...good, exp: Math.floor(Date.now() / 1000) - 2 })}`));

  it('U14 accepts either of two keys', async () => {
    const rotating = await startGateway({
      script: { connectMerchantAccount: () => account },
      env: { WIX_PUBLIC_KEY: (pemOf(other.publicKey) + pemOf(wixKeys.publicKey)).replaceAll('\n', '\\n') },
    });
    for (const { privateKey } of [wixKeys, other]) {
      const token = tokenOf(good, undefined, (input) => createSign('RSA-SHA256').update(input).sign(privateKey));
      const answer = await rotating.post('connect-account', body, { digest: `JWT=${token}` });
      assert.equal(answer.status, 200);
    }
  });

  it('refuses a missing header', () => refuses(undefined));
  it('refuses another prefix', () => refuses(`jwt=${tokenOf(good)}`));
  it('refuses a token that is none', () => refuses('JWT=a.b.c'));
  it('refuses two headers', () => refuses(`JWT=${tokenOf(good)}, JWT=${tokenOf(good)}`));
  it('refuses another key', () =>
    refuses(`JWT=${tokenOf(good, undefined, (i) => createSign('RSA-SHA256').update(i).sign(other.privateKey))}`));
  it('refuses a changed payload', () => {
    const [head, , signature] = tokenOf(good).split('.');
    const payload = Buffer.from(JSON.stringify({ ...good, exp: good.exp + 1 })).toString('base64url');
    return refuses(`JWT=${head}.${payload}.${signature}`);
  });
  it('refuses the algorithm none', () =>
    refuses(`JWT=${tokenOf(good, { alg: 'none', typ: 'JWT' }, () => Buffer.alloc(0))}`));
  it('refuses HS256 with the public key as its secret', () => {
    const secret = pemOf(wixKeys.publicKey);
    const hmac = (input: string) => createHmac('sha256', secret).update(input).digest();
    return refuses(`JWT=${tokenOf(good, { alg: 'HS256', typ: 'JWT' }, hmac)}`);
  });
  it('refuses PS256, RS384 and RS512 under the right key', async () => {
    const padding = { key: wixKeys.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    await refuses(`JWT=${tokenOf(good, { alg: 'PS256' }, (input) => sign('sha256', Buffer.from(input), padding))}`);
    for (const bits of ['384', '512'])
      await refuses(
        `JWT=${tokenOf(good, { alg: `RS${bits}` }, (input) => sign(`sha${bits}`, Buffer.from(input), wixKeys.privateKey))}`,
      );
  });

  it('refuses a token that has expired', () => refuses(`JWT=${tokenOf({ ...good, exp: good.iat - 6 })}`));
  it('accepts a token that lives for ten minutes', () => accepts(`JWT=${tokenOf({ ...good, exp: good.iat + 600 })}`));
  it('refuses a token that lives longer, so that nothing recorded can be sent again for long', async () => {
    for (const exp of [good.iat + 700, good.iat + 86_400, 2 ** 53, Number.MAX_VALUE]) {
      await refuses(`JWT=${tokenOf({ ...good, exp })}`);
      await refuses(`JWT=${tokenOf({ data: good.data, exp })}`);
    }
    await refuses(`JWT=${tokenOf({ ...good, iat: good.iat - 86_400 })}`);
    await refuses(`JWT=${tokenOf({ ...good, iat: good.iat + 86_400, exp: good.iat + 86_500 })}`);
  });
  it('refuses a token without exp', () => refuses(`JWT=${tokenOf({ data: good.data, iat: good.iat })}`));
  it('refuses exp and iat that are no numbers', async () => {
    await refuses(`JWT=${tokenOf({ ...good, exp: String(good.exp) })}`);
    await refuses(`JWT=${tokenOf({ ...good, iat: String(good.iat) })}`);
    await refuses(`JWT=${tokenOf({ ...good, iat: null })}`);
  });
  it('refuses claims that are no object', async () => {
    await refuses(`JWT=${tokenOf([good])}`);
    await refuses(`JWT=${tokenOf('SHA256')}`);
    await refuses(`JWT=${tokenOf(null)}`);
  });
  it('refuses a hash that is missing or malformed', async () => {
    const hash = sha256(body);
    for (const data of [
      undefined,
      null,
      [hash],
      hash,
      {},
      { SHA256: [hash] },
      { SHA256: hash.slice(2) },
      { sha256: hash },
    ])
      await refuses(`JWT=${tokenOf({ ...good, data })}`);
  });
  it('refuses a second hash beside SHA256', () =>
    refuses(`JWT=${tokenOf({ ...good, data: { SHA256: sha256(body), MD5: 'd41d8cd98f00b204e9800998ecf8427e' } })}`));

  it('refuses a body that was parsed and written again', async () => {
    const raw = bytesOf('{"credentials": {}, "wixMerchantId": "caf\\u00e9", "weight": 1.0}');
    await accepts(digestOf(raw), raw);
    gateway.calls.splice(0);
    const again = bytesOf(JSON.parse(Buffer.from(raw).toString()));
    const answer = await gateway.post('connect-account', again, { digest: digestOf(raw) });
    assert.equal(answer.status, 401);
    assert.equal(answer.text, '');
    assert.deepEqual(gateway.calls, []);
  });

  it('reads a body signed for one endpoint by the schema of the one it came to', async () => {
    const answer = await gateway.post('capture-transaction', body);
    assert.equal(answer.status, 200);
    assert.equal(answer.json.reasonCode, 1004);
    assert.deepEqual(gateway.calls, []);
  });

  it('R7 answers 401 and closes without waiting for a body that never comes', async () => {
    const { send, closed } = connect(gateway.port);
    send(headOf('create-transaction', { Digest: 'JWT=x.y.z', 'Content-Length': '500' }));
    const received = await closed;
    assert.match(received, /^HTTP\/1\.1 401 /);
    assert.ok(received.endsWith('\r\n\r\n'), 'the body of the answer is empty');
    assert.deepEqual(gateway.calls, []);
  });

  it('R7 never asks an unsigned client for its body', async () => {
    const { send, closed } = connect(gateway.port);
    send(headOf('create-transaction', { Digest: 'JWT=x.y.z', 'Content-Length': '500', Expect: '100-continue' }));
    assert.match(await closed, /^HTTP\/1\.1 401 /);
  });

  it('asks a signed client that waits for it for its body', async () => {
    const { send, closed, socket } = connect(gateway.port);
    const headers = { Digest: digestOf(body), 'Content-Length': String(body.length), Expect: '100-continue' };
    send(headOf('connect-account', { ...headers, Connection: 'close' }));
    await new Promise((resolve) => socket.once('data', resolve));
    send(body);
    assert.match(await closed, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
  });
});
