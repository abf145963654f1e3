import { execFile, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import kafkajs from 'kafkajs';

// Readers of a topic that share no code with the product: what any consumer sees.

export interface Read {
  readonly partition: number;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly value: Buffer;
}

type Reader = (env: { KAFKA_BROKERS: string; KAFKA_TOPIC: string }) => Promise<Read[]>;

/** Debian's kafkacat, by either of its names. */
const kafkacat = ['kcat', 'kafkacat'].find((name) => spawnSync(name, ['-V']).status === 0);

/** Everything that is on the topic now, by each reader that this machine has. */
export const READERS: Readonly<Record<string, Reader>> = {
  'a plain consumer': readPlainly,
  ...(kafkacat && { kafkacat: readByKafkacat }),
};

async function readPlainly({ KAFKA_BROKERS, KAFKA_TOPIC: topic }: Parameters<Reader>[0]): Promise<Read[]> {
  const kafka = new kafkajs.Kafka({ brokers: KAFKA_BROKERS.split(','), logLevel: kafkajs.logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const left = new Set(ends.filter(({ high, low }) => high !== low).map(({ partition }) => partition));
  const read: Read[] = [];
  if (left.size === 0) return read;
  const consumer = kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer.on('consumer.crash', ({ payload }) => reject(payload.error));
    void consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        const headers = Object.entries(message.headers ?? {}).map(([name, content]) => [name, String(content)]);
        const { key, value } = message;
        if (left.has(partition))
          read.push({
            partition,
            key: String(key),
            headers: Object.fromEntries(headers),
            value: value ?? Buffer.alloc(0),
          });
        const end = ends.find((candidate) => candidate.partition === partition);
        if (BigInt(message.offset) + 1n >= BigInt(end?.high ?? 0)) left.delete(partition);
        if (left.size === 0) resolve();
      },
    });
  });
  await consumer.disconnect();
  return read;
}

async function readByKafkacat({ KAFKA_BROKERS, KAFKA_TOPIC }: Parameters<Reader>[0]): Promise<Read[]> {
  const format = '%p\n%k\n%h\n%S\n%s\n';
  const args = ['-b', KAFKA_BROKERS, '-t', KAFKA_TOPIC, '-C', '-e', '-q', '-o', 'beginning', '-f', format];
  const { stdout } = await promisify(execFile)(kafkacat ?? '', args, {
    encoding: 'buffer',
    maxBuffer: 64 * 1024 * 1024,
  });
  const read: Read[] = [];
  for (let at = 0; at < stdout.length; ) {
    const lines = Array.from({ length: 4 }, () => {
      const end = stdout.indexOf('\n', at);
      const line = stdout.subarray(at, end).toString();
      at = end + 1;
      return line;
    });
    const [partition, key = '', headers = '', size] = lines;
    const value = stdout.subarray(at, at + Number(size));
    at += Number(size) + 1;
    const pairs = headers
      .split(',')
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]);
    read.push({ partition: Number(partition), key, headers: Object.fromEntries(pairs), value });
  }
  return read;
}

/** The fields of a protobuf message by number, as they stand on the wire: numbers and bytes. */
export function wireFields(bytes: Buffer): Map<number, (bigint | Buffer)[]> {
  const fields = new Map<number, (bigint | Buffer)[]>();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(bytes.readUInt8(at++));
      value |= (byte & 0x7fn) << shift;
      if (byte < 0x80n) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    let value: bigint | Buffer;
    if ((tag & 7n) === 0n) value = varint();
    else if ((tag & 7n) === 2n) {
      const length = Number(varint());
      value = bytes.subarray(at, at + length);
      at += length;
    } else throw new Error(`wire type ${tag & 7n} is not used in an event`);
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}
