import type { Context, Middleware } from 'koa';
import type { CallCore } from './core.ts';
import { HttpError } from './wix-answer.ts';

// Buyers who come back from a page of the engine (contract 12.5): the one path of this port for browsers. Whoever has the link may use
// it, so that nothing but the way to the shop is ever told, and the link itself is in no log.

const PREFIX = '/return/';
const TOKEN = /^[\w-]{22}$/;
/** Each may wait for the engine; nobody is signed here. */
const RETURNING_MAX = 200;

/** GET /return/<token>: 303 to a page of the shop, or a page of our own that tells nothing of the payment. */
export function createReturnRoute(callCore: CallCore): Middleware {
  let returning = 0;
  return async (ctx, next) => {
    if (!ctx.path.startsWith(PREFIX)) return next();
    ctx.state.call = 'return-buyer';
    ctx.state.pageOf = pageOf;
    ctx.set({ 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer', 'X-Content-Type-Options': 'nosniff' });
    // The engine's page may be in a frame of Wix's, and so is what follows it.
    ctx.set('Content-Security-Policy', "default-src 'none'; base-uri 'none'; form-action 'none'");
    if (ctx.method !== 'GET') throw new HttpError(405, 'only GET is allowed');
    const token = ctx.path.slice(PREFIX.length);
    if (!TOKEN.test(token)) throw new HttpError(404, 'no such link can be');
    if (returning >= RETURNING_MAX) throw new HttpError(503, 'too many buyers come back at once');
    returning += 1;
    try {
      await sendOn(ctx, callCore, token);
    } finally {
      returning -= 1;
    }
  };
}

async function sendOn(ctx: Context, callCore: CallCore, token: string): Promise<void> {
  const { url, transactionId } = await callCore('returnBuyer', { token });
  ctx.state.ids = { pluginTransactionId: transactionId };
  ctx.set('Connection', 'close');
  ctx.body = url ? null : pageOf(200);
  ctx.status = url ? 303 : 200;
  if (url) ctx.set('Location', url);
}

const PAGES: Readonly<Record<number, readonly [title: string, text: string]>> = {
  200: ['You can close this page', 'Go back to the shop: it shows what became of your payment.'],
  404: ['This link has ended', 'Go back to the shop: it shows what became of your payment.'],
  405: ['This link cannot be used that way', 'Go back to the shop: it shows what became of your payment.'],
};
const LATER = ['One moment, please', 'Load this page again: it will take you back to the shop.'] as const;

/** A whole page for a buyer, without script or style. */
function pageOf(status: number): string {
  const [title, text] = PAGES[status] ?? LATER;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<h1>${title}</h1>
<p>${text}</p>
</html>
`;
}
