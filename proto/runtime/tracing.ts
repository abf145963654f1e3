import type { Interceptor } from '@connectrpc/connect';
import {
  type Attributes,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { ConfigError, type Env } from './config.ts';
import type { Log } from './log.ts';

// One trace from Wix's call over gateway, core and engine, and by the event to Wix again (W3C traceparent). Off, each of these functions is one
// comparison. A span holds names of calls and our own ids, and nothing that anybody sent.

let isOn = false;
const tracer = () => trace.getTracer('wix-payments-connector');

/** From now on spans are made, for whatever SDK the process has registered. */
export function switchTracingOn(): void {
  isOn = true;
}

export interface SpanOptions {
  readonly kind: 'server' | 'client' | 'internal';
  /** A traceparent from elsewhere; without it the span belongs to the one that is under way. */
  readonly parent?: string | null | undefined;
  readonly attributes?: Attributes;
}

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;

/** Runs work within a span. What it throws marks the span as failed, by its kind alone: a message may quote what was sent. */
export function inSpan<T>(name: string, { kind, parent, attributes }: SpanOptions, work: () => Promise<T>): Promise<T> {
  if (!isOn) return work();
  const around = parent ? propagation.extract(ROOT_CONTEXT, { traceparent: parent }) : context.active();
  const end = (span: Span) => {
    return work().then(
      (result) => {
        span.end();
        return result;
      },
      (error: unknown) => {
        span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error)?.name ?? 'Error' });
        span.end();
        throw error;
      },
    );
  };
  return tracer().startActiveSpan(name, { kind: KINDS[kind], ...(attributes && { attributes }) }, around, end);
}

/** Of the span that is under way; undefined without one. */
export function currentTraceparent(): string | undefined {
  if (!isOn) return undefined;
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent;
}

/** Adds ids that became known to the span under way. */
export function nameInSpan(attributes: Attributes): void {
  if (isOn) trace.getActiveSpan()?.setAttributes(attributes);
}

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** A traceparent as it may be kept; undefined for anything else. */
export const readTraceparent = (text: string | null | undefined): string | undefined =>
  text && TRACEPARENT.test(text) ? text : undefined;

/** Server side of an RPC: a span that continues its caller's. */
export const traceCalls: Interceptor = (next) => (request) => {
  if (!isOn) return next(request);
  const parent = readTraceparent(request.header.get('traceparent'));
  return inSpan(`${request.service.typeName}/${request.method.name}`, { kind: 'server', parent }, () => next(request));
};

/** Client side: the span that is under way goes along. */
export const carryTrace: Interceptor = (next) => (request) => {
  const traceparent = currentTraceparent();
  if (traceparent) request.header.set('traceparent', traceparent);
  return next(request);
};

/** The SDK's packages, of versions that go with each other and with the API. */
const SDK: Readonly<Record<string, string>> = {
  '@opentelemetry/sdk-trace-node': '2.12.1',
  '@opentelemetry/exporter-trace-otlp-http': '0.223.1',
  '@opentelemetry/resources': '2.12.1',
};

/**
 * With OTEL_EXPORTER_OTLP_ENDPOINT, starts OpenTelemetry's SDK, which reads that and OTEL_EXPORTER_OTLP_HEADERS itself. Its packages are no part of the
 * product: throws a ConfigError where they are not installed.
 */
export async function startTracing(service: string, env: Env, log: Log): Promise<void> {
  if (!env.OTEL_EXPORTER_OTLP_ENDPOINT && !env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return;
  const [sdk, exporter, resources] = await Promise.all(Object.keys(SDK).map((name) => import(name))).catch(
    (cause: Error) => {
      const packages = Object.entries(SDK).map(([name, version]) => `${name}@${version}`);
      const problem = `OTEL_EXPORTER_OTLP_ENDPOINT needs packages that are not installed: npm install ${packages.join(' ')}`;
      throw new ConfigError([problem], { cause });
    },
  );
  const provider = new sdk.NodeTracerProvider({
    resource: resources.resourceFromAttributes({ 'service.name': env.OTEL_SERVICE_NAME || service }),
    spanProcessors: [new sdk.BatchSpanProcessor(new exporter.OTLPTraceExporter())],
  });
  provider.register();
  switchTracingOn();
  log.info('tracing.started');
}
