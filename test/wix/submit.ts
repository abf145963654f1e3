import { type JsonObject, toJson } from './json.ts';
import type { Wix } from './wix.ts';

// What a PSP does to tell Wix of an event, for tests that have no relay.

export function requestToken(wix: Wix, url: string, secret = wix.appSecret): Promise<Response> {
  const body = {
    grant_type: 'client_credentials',
    scope: 'CASHIER.GET_ACCESS',
    client_id: wix.appId,
    client_secret: secret,
  };
  const headers = { 'content-type': 'application/json' };
  return fetch(`${url}/oauth/access`, { method: 'POST', headers, body: toJson(body) });
}

export async function freshToken(wix: Wix, url: string): Promise<string> {
  const { access_token } = (await (await requestToken(wix, url)).json()) as { access_token?: string };
  return access_token ?? '';
}

export async function submitEvent(wix: Wix, url: string, event: JsonObject, token?: string, signal?: AbortSignal) {
  return fetch(`${url}/payments/v1/provider-platform-events`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'harbor-pay/1.0',
      authorization: token ?? (await freshToken(wix, url)),
    },
    body: toJson({ event }),
    ...(signal && { signal }),
  });
}

export function approvalOf(wixTransactionId: string) {
  return { transaction: { wixTransactionId, pluginTransactionId: 'p-1' } };
}
