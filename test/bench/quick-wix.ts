import http from 'node:http';

// Wix's side of events, as cheap as can be, in a process of its own: a token for whoever asks, and every event taken. Notes when each
// payment was told first, and tells its parent when it is asked. Its argument: how many ms each answer takes.

const delayMs = Number(process.argv[2] ?? 0);
const told = new Map<string, number>();
const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  let body = '';
  request.setEncoding('utf8').on('data', (chunk: string) => {
    body += chunk;
  });
  request.on('end', () => {
    const isToken = request.url?.startsWith('/oauth') ?? false;
    const id = isToken ? undefined : /"wixTransactionId":"([^"]+)"/.exec(body)?.[1];
    if (id !== undefined && !told.has(id)) told.set(id, performance.timeOrigin + performance.now());
    const text = isToken ? '{"access_token":"token"}' : '{}';
    const answer = () => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length });
      response.end(text);
    };
    if (delayMs > 0) setTimeout(answer, delayMs);
    else answer();
  });
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }));
process.on('message', (question: 'count' | 'told') => {
  process.send?.(question === 'count' ? { count: told.size } : { told: [...told] });
  if (question === 'told') told.clear();
});
process.on('disconnect', () => process.exit());
