import assert from 'node:assert/strict';
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { freshDatabase } from '../support/database.ts';
import type { JsonObject } from '../wix/json.ts';
import { createKeys } from '../wix/keys.ts';
import { paymentRequest } from '../wix/requests.ts';
import type { Merchant } from '../wix/wix.ts';
import { endPrograms, freePort, type Program } from './program.ts';
import {
  AMOUNT,
  ask,
  connectMerchant,
  openSurroundings,
  type Surroundings,
  startConnector,
  untilSettled,
} from './surroundings.ts';

const GARBAGE = 9_000;
const SIGNED_GARBAGE = 1_000;
const IN_FLIGHT = 64;
/** These reach the database. This is about what they are, not about how many come at once. */
const SIGNED_IN_FLIGHT = 8;
/** A slow machine is not what goes wrong here. */
const PATIENT = { ANSWER_BUDGET_MS: '15000', PROCESSOR_TIMEOUT_MS: '20000', CORE_DEADLINE_MS: '17000' };
const CALLS = [
  'connect-account',
  'create-transaction',
  'refund-transaction',
  'capture-transaction',
  'void-transaction',
];
const stranger = createKeys();

describe('the connector under rubbish', function () {
  this.timeout(180_000);
  let stage: Surroundings;
  let database: string;
  let connector: Program & { readonly url: string };
  let merchant: Merchant;
  let adminPort: string;
  const sockets = new Set<net.Socket>();

  before(async () => {
    stage = await openSurroundings();
    database = await freshDatabase();
    adminPort = await freePort();
    connector = await startConnector({ ...stage.env, ...PATIENT, CORE_HTTP_PORT: adminPort, DATABASE_URL: database });
    merchant = await connectMerchant(stage.wix, connector.url);
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    await endPrograms();
    await stage?.close();
  });

  function open(): net.Socket {
    const socket = net.connect(Number(new URL(connector.url).port), '127.0.0.1');
    sockets.add(socket);
    return socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  }
  /** Sends bytes and reads until the other side closes. */
  async function send(bytes: Buffer | string): Promise<string> {
    const socket = open();
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.end(bytes);
    await once(socket, 'close');
    return text;
  }
  const head = (headers: string) =>
    `POST /wix/v1/${CALLS[randomInt(CALLS.length)]} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${headers}\r\n\r\n`;
  const body = JSON.stringify(
    paymentRequest({ merchantId: randomUUID(), credentials: {} }, { wixTransactionId: `unsigned-${randomUUID()}` }),
  );
  const wrong = stranger.digestFor(Buffer.from(body));

  const garbage: (() => Buffer | string)[] = [
    () => randomBytes(randomInt(1, 2_000)),
    () => `${head(`Content-Length: ${body.length}`)}${body}`,
    () => `${head(`Digest: ${wrong}\r\nContent-Length: ${body.length}`)}${body}`,
    () => head(`Digest: JWT=${randomBytes(300).toString('base64url')}\r\nContent-Length: 9999999999`),
    () => `${head('Transfer-Encoding: chunked')}${randomBytes(40).toString('latin1')}`,
    () => head(`X-${randomBytes(20).toString('hex')}: ${'y'.repeat(randomInt(20_000))}`),
  ];

  /** A signed body as Wix would never send it: somewhere in it stands something else. */
  function spoiled(): JsonObject {
    const request: JsonObject = structuredClone(paymentRequest(merchant));
    const junk = [null, -1, 1e300, '', '\u0000', [], {}, 'x'.repeat(2_000), true, [[[]]], { __proto__: 1 }];
    const parts: JsonObject[] = [];
    const collect = (value: unknown) => {
      if (typeof value !== 'object' || value === null) return;
      parts.push(value as JsonObject);
      Object.values(value).forEach(collect);
    };
    collect(request);
    for (let i = randomInt(1, 4); i > 0; i--) {
      const part = parts[randomInt(parts.length)] as JsonObject;
      const names = Object.keys(part);
      if (names.length > 0) part[names[randomInt(names.length)] as string] = junk[randomInt(junk.length)];
    }
    // By this Wix recognises what it is told of it.
    return { ...request, wixTransactionId: randomUUID() };
  }

  async function inFlight(lanes: number, count: number, run: (i: number) => Promise<unknown>): Promise<void> {
    let begun = 0;
    await Promise.all(
      Array.from({ length: lanes }, async () => {
        while (begun < count) await run(begun++);
      }),
    );
  }

  it('R7 is well after ten thousand requests of garbage, with slow and half-open clients at its door', async () => {
    const { wix, engine } = stage;
    const halves = Array.from({ length: 100 }, () => open());
    for (const half of halves) half.write(head(`Digest: ${wrong}`).slice(0, 200));
    const slow = setInterval(() => {
      for (const half of halves.slice(50)) half.write('x');
    }, 50);
    await inFlight(IN_FLIGHT, GARBAGE, (i) => send(garbage[i % garbage.length]!()));
    await inFlight(SIGNED_IN_FLIGHT, SIGNED_GARBAGE, () => wix.call(connector.url, 'create', spoiled()));
    clearInterval(slow);

    assert.equal((await fetch(`http://127.0.0.1:${adminPort}/health/ready`)).status, 200);
    const payment = await wix.pay(merchant);
    assert.equal(payment.answer.body?.reasonCode, undefined);
    assert.equal(engine.books.charged(payment.pluginTransactionId), AMOUNT);
    await untilSettled(wix, database, 60_000);
    const rows = await ask(database, `select 1 from core.transactions where external_id like 'unsigned-%'`);
    assert.deepEqual(rows, []);
    const broken = connector.lines.filter(({ level }) => level === 'error');
    assert.deepEqual(broken, []);
  });
});
