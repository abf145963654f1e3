import { setTimeout as delay } from 'node:timers/promises';
import type { Bug } from './bugs.ts';

// How the small plugin tells Wix (contract 8): one queue for each payment, each event until it is taken.

export type Message = Record<string, unknown>;

interface Told {
  readonly kind: string;
  readonly body: Message;
}

/** The first gap between two attempts; it doubles. */
const GAP_MS = 40;
const PENDING = [5005, 5009];

const isPending = ({ kind, body }: Told) => kind === 'transaction' && PENDING.includes(body.reasonCode as number);
const isEnd = (told: Told) => told.kind === 'transaction' && !isPending(told);

export function createTeller(options: {
  readonly appId: string;
  readonly appSecret: string;
  readonly has: (bug: Bug) => boolean;
  readonly urlOf: () => string;
  readonly signal: AbortSignal;
}) {
  const { appId, appSecret, has, urlOf, signal } = options;
  const queues = new Map<string, Told[]>();
  let kept = '';

  async function tokenOf(before: string): Promise<string> {
    if (has('keeps its token') && kept) return kept;
    if (has('retries with the same token') && before) return before;
    const scope = has('asks for another scope') ? 'CASHIER' : 'CASHIER.GET_ACCESS';
    const fields = { grant_type: 'client_credentials', scope, client_id: appId, client_secret: appSecret };
    const isForm = has('asks for tokens with a form');
    const body = isForm ? String(new URLSearchParams(fields)) : JSON.stringify(fields);
    const type = isForm ? 'application/x-www-form-urlencoded' : 'application/json';
    const response = await fetch(`${urlOf()}/oauth/access`, {
      method: 'POST',
      headers: { 'Content-Type': type },
      body,
      signal,
    });
    kept = ((await response.json()) as { access_token: string }).access_token;
    return kept;
  }

  async function isTaken({ kind, body }: Told, token: string): Promise<boolean> {
    const headers = {
      'Content-Type': 'application/json',
      'User-Agent': has('has no name') ? 'curl' : 'small/1.0.0',
      Authorization: has('says Bearer') ? `Bearer ${token}` : token,
    };
    const event = { ...(has('sends its plugin id') && { pluginId: 'small' }), [kind]: body };
    const url = `${urlOf()}/payments/v1/provider-platform-events`;
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({ event }),
      redirect: 'manual',
      signal,
    });
    const text = await response.text();
    if (has('drops events at a 4xx') && response.status >= 400 && response.status < 500) return true;
    if (has('takes any 2xx for success') && response.ok) return true;
    const isJson = has('takes a page for success') || /json/.test(response.headers.get('content-type') ?? '');
    return response.status === 200 && isJson && (text === '{}' || has('takes a page for success'));
  }

  /** Until it is taken, or what came after it makes it old. */
  async function deliver(told: Told, queue: readonly Told[]): Promise<void> {
    let token = '';
    for (let attempt = 1; !signal.aborted; attempt++) {
      if (isPending(told) && queue.some(isEnd) && !has('sends pending events late')) return;
      try {
        token = await tokenOf(token);
        if (await isTaken(told, token)) return;
      } catch {
        // No answer is no delivery.
      }
      if (attempt === 3 && has('tries three times')) return;
      await delay(has('never waits') ? 1 : GAP_MS * 2 ** attempt, undefined, { signal }).catch(() => undefined);
    }
  }

  async function empty(queue: Told[]): Promise<void> {
    for (let told = queue[0]; told && !signal.aborted; told = queue[0]) {
      await deliver(told, queue);
      queue.shift();
    }
  }

  return {
    tell: (wixTransactionId: string, kind: string, body: Message): void => {
      const told = { kind, body };
      const queue = queues.get(wixTransactionId) ?? [];
      queues.set(wixTransactionId, queue);
      if (has('tells in any order') || has('sends pending events late')) return void deliver(told, []);
      queue.push(told);
      if (queue.length === 1) void empty(queue);
    },
  };
}
