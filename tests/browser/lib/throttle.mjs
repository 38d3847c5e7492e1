// A TCP proxy on loopback that lets only so many bytes a second down to the browser.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Share of a second that may pass at once: 20 ms worth of bytes. */
const TURNS_PER_SECOND = 50;

export class Throttle {
  #server;
  #rate;
  #pairs = new Set();
  #target = null;
  #delivered = 0;
  #changedAt = performance.now();

  /** @param {number} rate bytes a second towards the browser, over each connection */
  static async start(rate) {
    const throttle = new Throttle(rate);
    throttle.#server.listen(0, '127.0.0.1');
    await once(throttle.#server, 'listening');
    return throttle;
  }

  constructor(rate) {
    this.#rate = rate;
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#join(client));
  }

  get port() {
    return this.#server.address().port;
  }

  /** Bytes handed to browsers since the start. */
  get delivered() {
    return this.#delivered;
  }

  /** Milliseconds since the last byte was handed to a browser. */
  get quietFor() {
    return performance.now() - this.#changedAt;
  }

  /** Connections from now on go to this port. */
  aim(port) {
    this.#target = port;
  }

  /** The connections that are open. */
  open() {
    return new Set(this.#pairs);
  }

  /** Breaks every connection that is open, but for those spared, as a network does. */
  cut(spared = new Set()) {
    for (const pair of this.#pairs) {
      if (spared.has(pair)) continue;
      const [client, server] = pair;
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Every connection that is open now passes nothing on any more, and says nothing about it. */
  swallow() {
    for (const [client, server] of this.#pairs) {
      client.unpipe(server);
      client.pause();
      server.removeAllListeners('readable');
      server.pause();
    }
  }

  async stop() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(client) {
    const server = connect({ host: '127.0.0.1', port: this.#target, allowHalfOpen: true, noDelay: true });
    client.setNoDelay(true);
    const pair = [client, server];
    this.#pairs.add(pair);
    const part = () => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of pair) socket.on('error', part);
    client.on('close', part);
    client.pipe(server);
    this.#trickle(server, client);
  }

  /** Moves at most a turn's share each turn, and reads no more than what has gone out. */
  #trickle(from, to) {
    const share = Math.floor(this.#rate / TURNS_PER_SECOND);
    let allowance = share;
    const move = () => {
      while (allowance > 0 && !to.writableNeedDrain) {
        const chunk = from.read(Math.min(allowance, from.readableLength));
        if (chunk === null) return;
        allowance -= chunk.length;
        this.#delivered += chunk.length;
        this.#changedAt = performance.now();
        to.write(chunk);
      }
    };
    const turn = setInterval(() => {
      allowance = share;
      move();
    }, 1000 / TURNS_PER_SECOND);
    from.on('readable', move);
    from.on('end', () => to.end());
    from.on('close', () => clearInterval(turn));
    to.on('drain', move);
  }
}
