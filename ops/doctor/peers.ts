import { randomBytes, randomUUID, X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { ProcessorService } from '../../proto/gen/processor/v1/processor_pb.js';
import { withToken } from '../../proto/runtime/callers.ts';
import type { Secret } from '../../proto/runtime/config.ts';
import { createGrpcTransport } from '../../proto/runtime/grpc-transport.ts';
import type { KafkaConfig } from '../../proto/runtime/kafka-client.ts';
import { createClient as createKafka, topicProblems } from '../../proto/runtime/kafka-client.ts';
import { secureContextOf, type Tls } from '../../proto/runtime/tls.ts';
import type { RelayConfig } from '../../webhook-relay/config.ts';
import { createWixClient } from '../../webhook-relay/wix-client.ts';
import { type Check, type Finding, fail, ok, reasonOf, warn } from './check.ts';

const CALL_MS = 5_000;
const DAY_MS = 86_400_000;
const DAYS_LEFT = 30;

/** Asks for an operation that cannot be there. VerifyAccount is never called: it belongs to a merchant. */
export function engineCheck(config: { url: string; token: Secret; tls: Tls | undefined }): Check {
  return {
    name: 'core: engine',
    async run() {
      const { url, token, tls } = config;
      const transport = createGrpcTransport({ url, tls, interceptors: [withToken(token)], defaultTimeoutMs: CALL_MS });
      try {
        const { result } = await createClient(ProcessorService, transport).getOperation({
          subject: { requestId: randomUUID(), transactionId: randomUUID() },
        });
        return result.case === 'notFound'
          ? [ok(`${url} answers, and takes PROCESSOR_TOKEN`)]
          : [
              fail(
                `${url} knows an operation that was never sent: ${result.case ?? 'an empty answer'}`,
                'GetOperation must answer not_found (docs/PROCESSORS.md)',
              ),
            ];
      } catch (error) {
        const { code, rawMessage } = ConnectError.from(error);
        const remedies: Partial<Record<Code, string>> = {
          [Code.Unauthenticated]: 'compare PROCESSOR_TOKEN with what the engine expects',
          [Code.PermissionDenied]: 'compare PROCESSOR_TOKEN with what the engine expects',
          [Code.Unimplemented]: 'is that processor.v1.ProcessorService? See PROCESSOR_URL and docs/PROCESSORS.md',
          [Code.DeadlineExceeded]: 'it is connected, and does not answer: see the engine',
        };
        return [
          fail(
            `${url}: ${Code[code]}: ${rawMessage}`,
            remedies[code] ?? 'see PROCESSOR_URL, and whether the engine runs and can be reached from here',
          ),
        ];
      } finally {
        transport.close();
      }
    },
  };
}

/** Takes a token, which is used for nothing. */
export function wixCheck(config: RelayConfig): Check {
  return {
    name: 'webhook-relay: Wix',
    async run() {
      const wix = createWixClient(config, CALL_MS);
      try {
        const { token, answer } = await wix.fetchToken();
        const findings =
          token === undefined
            ? [refusedBy(config.WIX_API_URL, answer)]
            : [
                ok(
                  `${config.WIX_API_URL} gives a token; whether the app has CASHIER.GET_ACCESS shows with the first event`,
                ),
              ];
        return [...findings, ...(await clockOfWix(config.WIX_API_URL))];
      } finally {
        await wix.close();
      }
    },
  };
}

function refusedBy(
  url: string,
  { httpStatus, error, text }: { httpStatus: number | null; error: string | null; text: string },
): Finding {
  if (httpStatus === null)
    return fail(`${url} does not answer: ${error}`, 'see the way out: DNS, firewall, proxy (NODE_USE_ENV_PROXY)');
  return fail(
    `no token: ${error}${text ? `: ${text.slice(0, 120)}` : ''}`,
    'see WIX_APP_ID and WIX_APP_SECRET, and that the app has the permission CASHIER.GET_ACCESS',
  );
}

/** By the Date header of any answer. */
async function clockOfWix(url: string): Promise<Finding[]> {
  const before = Date.now();
  const response = await fetch(url, { method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(CALL_MS) }).catch(
    () => undefined,
  );
  const date = Date.parse(response?.headers.get('date') ?? '');
  if (Number.isNaN(date)) return [];
  // The header has whole seconds.
  const skew = Math.round((date + 500 - (before + Date.now()) / 2) / 1000);
  if (Math.abs(skew) <= 3) return [];
  const text = `this clock and Wix's differ by ${Math.abs(skew)} s`;
  const remedy = 'set this clock by NTP: signatures of Wix are refused where it is more than 5 s off their time';
  return [Math.abs(skew) > 5 ? fail(text, remedy) : warn(text, remedy)];
}

/** Looks at the topic, and makes none. */
export function kafkaCheck(config: KafkaConfig): Check {
  return {
    name: 'Kafka',
    async run() {
      const brokers = config.KAFKA_BROKERS.join(',');
      let trouble: unknown;
      const admin = createKafka(
        config,
        { trouble: (error) => (trouble = error), works: () => undefined },
        CALL_MS,
        1,
      ).admin();
      try {
        await admin.connect();
        const topic = config.KAFKA_TOPIC;
        if (!(await admin.listTopics()).includes(topic))
          return [ok(`${brokers} answers; no topic ${topic} yet: the first start makes it`)];
        const problems = await topicProblems(admin, config);
        return problems.length > 0
          ? [fail(`the topic ${topic} ${problems.join(', and ')}`, 'undo what changed it (docs/EVENTS.md)')]
          : [ok(`${brokers} answers; the topic ${topic} keeps what it must`)];
      } catch (error) {
        return [
          fail(
            `${brokers}: ${reasonOf(trouble ?? error)}`,
            'see KAFKA_BROKERS, KAFKA_SSL and KAFKA_SASL_*, and whether the role may describe the topic',
          ),
        ];
      } finally {
        await admin.disconnect().catch(() => undefined);
      }
    },
  };
}

/** Unsigned calls must be refused, from wherever this runs: better not behind the same firewall. */
export function publicUrlCheck(url: string): Check {
  const post = (path: string, init: RequestInit) =>
    fetch(url.replace(/\/+$/, '') + path, { redirect: 'manual', signal: AbortSignal.timeout(CALL_MS), ...init });
  return {
    name: 'gateway: public URL',
    async run() {
      try {
        const { status } = await post('/wix/v1/create-transaction', {
          method: 'POST',
          body: '{}',
          headers: { 'content-type': 'application/json' },
        });
        const page = await post(`/return/${randomBytes(16).toString('base64url')}`, {});
        const findings: Finding[] = status === 401 ? [ok(`${url} refuses who is not signed`)] : [];
        if (status !== 401)
          findings.push(
            fail(
              `an unsigned call is answered ${status}, not 401`,
              'what answers there is not the gateway, or something stands in front of it',
            ),
          );
        if (page.status !== 404)
          findings.push(
            warn(
              `an unknown link of a buyer is answered ${page.status}, not 404`,
              'pass /return/ on to the gateway, or unset PUBLIC_URL',
            ),
          );
        if (!url.startsWith('https://'))
          findings.push(warn('it is no https://', 'Wix and buyers need TLS: put a proxy with a certificate in front'));
        return findings;
      } catch (error) {
        return [fail(`${url}: ${reasonOf(error)}`, 'see DNS, the proxy in front, and its certificate')];
      }
    },
  };
}

export function ownCertificateCheck(peer: string, pem: string): Check {
  return { name: `certificate ${peer}_TLS_CERT`, run: async () => [aboutDays(new X509Certificate(pem).validToDate)] };
}

/** Of the other side, believed or not: whether it is believed is said by the call. */
export function remoteCertificateCheck(setting: string, url: string, tls?: Tls): Check {
  return {
    name: `certificate of ${setting}`,
    run: () =>
      new Promise((resolve, reject) => {
        const { hostname, port } = new URL(url);
        const host = hostname.replace(/^\[|\]$/g, '');
        const socket = connect(
          {
            host,
            port: Number(port) || 443,
            servername: host,
            ALPNProtocols: ['h2', 'http/1.1'],
            rejectUnauthorized: false,
            ...(tls && secureContextOf(tls)),
          },
          () => {
            const { valid_to: until } = socket.getPeerCertificate();
            const problem = socket.authorizationError;
            socket.end();
            resolve([
              aboutDays(new Date(until)),
              ...(problem
                ? [
                    fail(
                      `it is not believed: ${problem}`,
                      `see the authority in ${setting.replace('_URL', '')}_TLS_CA, and the name in the certificate`,
                    ),
                  ]
                : []),
            ]);
          },
        );
        socket.setTimeout(CALL_MS, () => socket.destroy(new Error('no TLS within 5 s')));
        socket.on('error', reject);
      }),
  };
}

function aboutDays(until: Date): Finding {
  const days = Math.floor((until.getTime() - Date.now()) / DAY_MS);
  const remedy = 'renew it (docs/ROTATION.md)';
  if (days < 0) return fail(`it expired ${-days} days ago`, remedy);
  return days < DAYS_LEFT ? warn(`it expires in ${days} days`, remedy) : ok(`valid for ${days} days`);
}
