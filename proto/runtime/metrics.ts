import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

// One registry for each process. Asking twice for a name gives the same metric, so that a metric lives beside the code it counts.

export const registry = new Registry();
const registers = [registry];

export function counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
  return (registry.getSingleMetric(name) as Counter) ?? new Counter({ name, help, labelNames, registers });
}

/** `collect` sets it whenever it is asked for. */
export function gauge(
  name: string,
  help: string,
  labelNames: readonly string[] = [],
  collect?: (gauge: Gauge) => void,
): Gauge {
  const known = registry.getSingleMetric(name) as Gauge | undefined;
  if (known) return known;
  const made: Gauge = new Gauge({
    name,
    help,
    labelNames,
    registers,
    ...(collect && { collect: () => collect(made) }),
  });
  return made;
}

/** Of rows, connections and the like. */
export function sizes(name: string, help: string, labelNames: readonly string[] = []): Histogram {
  const buckets = [1, 2, 4, 8, 16, 32, 64];
  return (registry.getSingleMetric(name) as Histogram) ?? new Histogram({ name, help, labelNames, buckets, registers });
}

/** CPU, memory, event loop and garbage collection of this process, as prom-client names them. */
export function measureProcess(): void {
  if (!registry.getSingleMetric('nodejs_eventloop_lag_seconds')) collectDefaultMetrics({ register: registry });
}

/** Seconds since 1970, for gauges of when something was last: now() - it, in a query. */
export const unixSeconds = (): number => Date.now() / 1000;

/** Of seconds. */
export function histogram(name: string, help: string, labelNames: readonly string[] = []): Histogram {
  const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
  return (registry.getSingleMetric(name) as Histogram) ?? new Histogram({ name, help, labelNames, buckets, registers });
}
