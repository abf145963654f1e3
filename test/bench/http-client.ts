import net from 'node:net';

// A connection that asks one thing after the other, as cheaply as can be: what calls shall not weigh more than what is called.

export interface Answered {
  /** 0: the connection was lost. */
  readonly status: number;
  readonly text: string;
}

export interface Connection {
  /** One at a time. */
  ask(request: Buffer): Promise<Answered>;
  close(): void;
}

/** A whole POST as bytes. */
export function post(path: string, body: Buffer, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries({ host: '127.0.0.1', 'content-type': 'application/json', ...headers });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${head}content-length: ${body.length}\r\n\r\n`), body]);
}

/** Connects anew whenever the server has closed. It understands answers with a content-length, which is what both servers send. */
export function createConnection(port: number): Connection {
  let socket: net.Socket | undefined;
  let received = '';
  let settle: ((answered: Answered) => void) | undefined;

  const end = (answered: Answered) => {
    received = '';
    settle?.(answered);
    settle = undefined;
  };
  const open = () => {
    const opened = net.connect(port, '127.0.0.1').setNoDelay(true).setEncoding('latin1');
    opened.on('data', (chunk: string) => {
      received = received === '' ? chunk : received + chunk;
      const head = received.indexOf('\r\n\r\n');
      if (head < 0) return;
      const headers = received.slice(0, head).toLowerCase();
      const at = headers.indexOf('content-length:');
      const length = at < 0 ? 0 : Number.parseInt(headers.slice(at + 15), 10);
      if (received.length - head - 4 < length) return;
      if (headers.includes('connection: close')) socket = undefined;
      end({ status: Number(received.slice(9, 12)), text: received.slice(head + 4) });
    });
    opened.on('error', () => undefined);
    opened.on('close', () => {
      if (socket !== opened) return;
      socket = undefined;
      end({ status: 0, text: '' });
    });
    return opened;
  };

  return {
    ask: (request) =>
      new Promise((resolve) => {
        settle = resolve;
        socket ??= open();
        socket.write(request);
      }),
    close: () => {
      const closed = socket;
      socket = undefined;
      closed?.destroy();
    },
  };
}
