import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';

// The console: a page for support and operators. It is files alone: whatever it shows and does, it asks of the public RPCs on the same port, with
// the token that its user typed in, which stays in the page's memory.

const PATH = '/console/';

/** By their name on the wire; nothing else is served, and nothing of a path is looked up on the disk. */
const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  '': ['console/index.html', 'text/html'],
  'console.css': ['console/console.css', 'text/css'],
  'console.js': ['console/console.js', 'text/javascript'],
  'payment.js': ['console/payment.js', 'text/javascript'],
  'deliveries.js': ['console/deliveries.js', 'text/javascript'],
  'health.js': ['console/health.js', 'text/javascript'],
  'rpc.js': ['console/rpc.js', 'text/javascript'],
  'show.js': ['console/show.js', 'text/javascript'],
  'timeline.js': ['console/timeline.js', 'text/javascript'],
  'ask.js': ['console/ask.js', 'text/javascript'],
  'icon.svg': ['console/icon.svg', 'image/svg+xml'],
  // Preact and htm in one module.
  'preact.js': ['htm/preact/standalone', 'text/javascript'],
};

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

/** Answers what is below /console/, and says whether it did. The files are read once. */
export function createConsole(): (request: IncomingMessage, response: ServerResponse) => boolean {
  const files = new Map(
    Object.entries(FILES).map(([name, [file, type]]) => {
      const url = file.startsWith('console/') ? new URL(file, import.meta.url) : import.meta.resolve(file);
      return [`${PATH}${name}`, { body: readFileSync(fileURLToPath(url)), type: `${type}; charset=utf-8` }];
    }),
  );
  return ({ method = '', url = '' }, response) => {
    const path = url.split('?')[0] ?? '';
    if (path !== PATH.slice(0, -1) && !path.startsWith(PATH)) return false;
    const file = files.get(path);
    if (method !== 'GET' && method !== 'HEAD') response.writeHead(405, { allow: 'GET, HEAD' }).end();
    else if (path === PATH.slice(0, -1)) response.writeHead(308, { location: PATH }).end();
    else if (!file) response.writeHead(404, { 'content-type': 'text/plain' }).end('There is no such page.\n');
    else
      response
        .writeHead(200, { ...HEADERS, 'content-type': file.type, 'content-length': file.body.length })
        .end(method === 'HEAD' ? undefined : file.body);
    return true;
  };
}
