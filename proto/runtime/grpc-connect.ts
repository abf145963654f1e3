import net from 'node:net';
import { Http2SubchannelConnector } from '@grpc/grpc-js/build/src/transport.js';

// grpc-js itself waits for ever for a peer that takes a connection and says nothing, and holds all calls meanwhile (R49). What it does to
// connect is replaced in the one place where its sockets are made; a spec holds it to that, whatever the version.

/** For TCP, TLS and HTTP/2's settings together, in ms; then there is another try. */
const CONNECT_MS = 5_000;

/** What is private in the types of grpc-js. */
interface Connector {
  tcpConnect(address: net.NetConnectOpts): Promise<net.Socket>;
}

const { connect } = Http2SubchannelConnector.prototype;

/** Bounds every connect of every channel of this process. */
Http2SubchannelConnector.prototype.connect = async function (...args) {
  const connected = Promise.withResolvers<net.Socket>();
  let socket: net.Socket | undefined;
  (this as unknown as Connector).tcpConnect = (address) => {
    const tcp = net.connect(address, () => connected.resolve(tcp));
    tcp.once('error', connected.reject);
    tcp.once('close', () => connected.reject(new Error('the connection was closed')));
    socket = tcp;
    return connected.promise;
  };
  const timer = setTimeout(() => socket?.destroy(new Error(`no connection within ${CONNECT_MS} ms`)), CONNECT_MS);
  try {
    return await connect.apply(this, args);
  } finally {
    clearTimeout(timer);
  }
};
