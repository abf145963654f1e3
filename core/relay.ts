import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { type CallOptions, type Client, ConnectError, type ServiceImpl, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { DeliveriesService } from '../proto/gen/relay/v1/deliveries_pb.js';
import type { Role } from '../proto/runtime/callers.ts';
import { onRenewed } from '../proto/runtime/renew.ts';
import { MESSAGE_LIMITS } from '../proto/runtime/rpc.ts';
import { secureContextOf, type Tls } from '../proto/runtime/tls.ts';

// The relay's deliveries, shown and decided about at the core's own port, for tools that are to know one address. Each call goes on with the
// token of whoever made it: the relay lets that caller in or not, and records that name. The core has no token of its own there, and so
// no power over what Wix is told.

const CALL_MS = 5_000;
const CONNECTIONS_MAX = 8;

/** To the relay at RELAY_URL, http(s)://host:port of RELAY_PORT. */
export function createRelayTransport({ url, tls }: { url: string; tls?: Tls | undefined }): Transport {
  const agentOptions = { keepAlive: true, maxSockets: CONNECTIONS_MAX };
  const isSecure = url.startsWith('https:');
  const agent = isSecure
    ? new HttpsAgent({ ...agentOptions, ...(tls && secureContextOf(tls)) })
    : new HttpAgent(agentOptions);
  if (tls && agent instanceof HttpsAgent) onRenewed(() => void Object.assign(agent.options, secureContextOf(tls)));
  return createConnectTransport({
    ...{ baseUrl: url, httpVersion: '1.1', nodeOptions: { agent }, defaultTimeoutMs: CALL_MS },
    ...MESSAGE_LIMITS,
  });
}

/** Who may ask the core to ask the relay, which decides whether this caller may. */
export const RELAYED: Readonly<Record<string, readonly Role[]>> = Object.fromEntries(
  DeliveriesService.methods.map(({ name }) => [name, ['reader', 'operator']]),
);

/** What a call takes along to the relay. */
export function withTokenOf(header: Headers): CallOptions {
  const authorization = header.get('authorization');
  return { timeoutMs: CALL_MS, ...(authorization !== null && { headers: { authorization } }) };
}

/** The deliveries service, answered by the relay. */
export function forwardDeliveries(relay: Client<typeof DeliveriesService>): ServiceImpl<typeof DeliveriesService> {
  const forward =
    <Request, Response>(call: (request: Request, options: CallOptions) => Promise<Response>) =>
    async (request: Request, { requestHeader }: { requestHeader: Headers }) => {
      try {
        return await call(request, withTokenOf(requestHeader));
      } catch (error) {
        const { rawMessage, code, details } = ConnectError.from(error);
        throw Object.assign(new ConnectError(rawMessage, code), { details });
      }
    };
  return {
    listDeliveries: forward(relay.listDeliveries),
    getStatus: forward(relay.getStatus),
    getDelivery: forward(relay.getDelivery),
    redriveDeliveries: forward(relay.redriveDeliveries),
    parkDelivery: forward(relay.parkDelivery),
    unparkDelivery: forward(relay.unparkDelivery),
    skipDelivery: forward(relay.skipDelivery),
    pauseDeliveries: forward(relay.pauseDeliveries),
    resumeDeliveries: forward(relay.resumeDeliveries),
  };
}
