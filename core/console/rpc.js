// The public RPCs of this port, in the JSON of the Connect protocol. The token lives in this module's memory, and goes with the page.

let token = '';

export const PAYMENTS = 'payments.v1.PaymentsService';
export const DELIVERIES = 'relay.v1.DeliveriesService';

export class RpcError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const headers = (type) => ({ 'content-type': type, authorization: `Bearer ${token}`, 'connect-protocol-version': '1' });

async function send(service, method, type, body, signal) {
  try {
    return await fetch(`/${service}/${method}`, {
      method: 'POST',
      headers: headers(type),
      body,
      signal,
      cache: 'no-store',
      credentials: 'omit',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new RpcError('unavailable', 'The core does not answer.');
  }
}

export async function rpc(service, method, request = {}, signal = undefined) {
  return read(await send(service, method, 'application/json', JSON.stringify(request), signal));
}

async function read(response) {
  const text = await response.text();
  const answer = text ? parse(text) : {};
  if (response.ok) return answer;
  throw new RpcError(answer.code ?? 'unknown', answer.message ?? `The core answered with status ${response.status}.`);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Follows one payment: yields whenever it has changed, until it rests. */
export async function* watch(id, signal) {
  const response = await send(PAYMENTS, 'WatchTransaction', 'application/connect+json', envelope({ id }), signal);
  if (!response.ok) throw new RpcError('unknown', `The core answered with status ${response.status}.`);
  let rest = new Uint8Array();
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    rest = joined;
    while (rest.length >= 5) {
      const end = 5 + new DataView(rest.buffer, rest.byteOffset).getUint32(1);
      if (rest.length < end) break;
      const message = parse(new TextDecoder().decode(rest.subarray(5, end)));
      const isEnd = (rest[0] & 2) !== 0;
      rest = rest.slice(end);
      if (!isEnd) yield message;
      else if (message.error) throw new RpcError(message.error.code, message.error.message);
    }
  }
}

/** One message of a stream: flags, length, JSON. */
function envelope(message) {
  const json = new TextEncoder().encode(JSON.stringify(message));
  const bytes = new Uint8Array(5 + json.length);
  new DataView(bytes.buffer).setUint32(1, json.length);
  bytes.set(json, 5);
  return bytes;
}

/** Answers with whether the token may decide or only look; throws for one that may not even look. */
export async function signIn(text) {
  token = text;
  try {
    const response = await send(PAYMENTS, 'ListTransactions', 'application/json', '{"pageSize":1}');
    await read(response);
    return { mayDecide: response.headers.get('caller-role') === 'operator' };
  } catch (error) {
    token = '';
    throw error;
  }
}

export function signOut() {
  token = '';
}
