import { Counter, Gauge, Histogram, Registry } from 'prom-client';

// One registry for each process. Asking twice for a name gives the same metric, so that a metric lives beside the code it counts.

export const registry = new Registry();
const registers = [registry];

export function counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
  return (registry.getSingleMetric(name) as Counter) ?? new Counter({ name, help, labelNames, registers });
}

export function gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge {
  return (registry.getSingleMetric(name) as Gauge) ?? new Gauge({ name, help, labelNames, registers });
}

/** Of seconds. */
export function histogram(name: string, help: string, labelNames: readonly string[] = []): Histogram {
  const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
  return (registry.getSingleMetric(name) as Histogram) ?? new Histogram({ name, help, labelNames, buckets, registers });
}
