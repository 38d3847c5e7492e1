// A TCP proxy on loopback that lets only so many bytes a second down to the browser, and that breaks connections.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { Records } from './records.mjs';

/** Share of a second that may pass at once: 20 ms worth of bytes. */
const TURNS_PER_SECOND = 50;

/**
 * Records that a client has sent on a connection of polytty.v1 once it has heard `ready`: the end of the handshake, its
 * request, and its first acknowledgement. What follows either way are frames. An HTTP connection at rest sends none.
 */
const READY = 3;

export class Throttle {
  #server;
  #rate;
  #pairs = new Set();
  #aimed = null;
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
    for (const pair of this.#pairs) if (!spared.has(pair)) pair.reset();
  }

  /**
   * Breaks the next connection of a session on which something goes that way, in the middle of a frame: a part of it
   * passes, then both ends hear of a reset or of an end.
   * @param {'up'|'down'} way from the browser or to it
   * @param {() => number} random a number from 0 to 1 for each choice
   * @returns {Promise<void>} resolves when it is broken
   */
  cutInside(way, random) {
    return new Promise((done) => {
      this.#aimed = { way, part: random(), isReset: random() < 0.5, done };
    });
  }

  /** Every connection that is open now passes nothing on any more, and says nothing about it. */
  swallow() {
    for (const pair of this.#pairs) pair.swallow();
  }

  async stop() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(client) {
    const server = connect({ host: '127.0.0.1', port: this.#target, allowHalfOpen: true, noDelay: true });
    client.setNoDelay(true);
    const pair = new Pair(client, server);
    this.#pairs.add(pair);
    pair.onEnd(() => this.#pairs.delete(pair));
    pair.up.carry(Infinity, (bytes) => this.#inspect(pair, 'up', bytes));
    pair.down.carry(this.#rate / TURNS_PER_SECOND, (bytes) => {
      const passing = this.#inspect(pair, 'down', bytes);
      this.#delivered += passing;
      this.#changedAt = performance.now();
      return passing;
    });
  }

  /** How many of these bytes may pass. */
  #inspect(pair, way, bytes) {
    return pair[way].records.follow(bytes, (length) => {
      const aimed = this.#aimed;
      if (aimed?.way !== way || pair.up.records.count < READY) return null;
      this.#aimed = null;
      pair.fate = aimed;
      return 1 + Math.floor(aimed.part * (length - 1));
    });
  }
}

/** A connection of a browser, and the one that it leads to. */
class Pair {
  /** What becomes of it when a record breaks off. */
  fate = null;

  constructor(client, server) {
    this.sockets = [client, server];
    this.up = new Way(this, client, server);
    this.down = new Way(this, server, client);
  }

  onEnd(told) {
    const [client, server] = this.sockets;
    const part = () => {
      told();
      client.destroy();
      server.destroy();
    };
    for (const socket of this.sockets) socket.on('error', part);
    client.on('close', part);
  }

  reset() {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  /** Breaks it as was chosen. */
  breakOff() {
    if (this.fate.isReset) this.reset();
    else for (const socket of this.sockets) socket.destroy();
    this.fate.done();
  }

  swallow() {
    this.up.swallow();
    this.down.swallow();
  }
}

/** One direction of a pair. */
class Way {
  records = new Records();
  #pair;
  #from;
  #to;
  #isSwallowed = false;

  constructor(pair, from, to) {
    this.#pair = pair;
    this.#from = from;
    this.#to = to;
  }

  /**
   * Moves at most a share each turn, and reads no more than what has gone out.
   * @param {number} share bytes
   * @param {(bytes: Buffer) => number} inspect how many of these may pass
   */
  carry(share, inspect) {
    const [from, to] = [this.#from, this.#to];
    let allowance = Math.floor(share);
    const move = () => {
      while (allowance > 0 && !to.writableNeedDrain && !this.#isStopped) {
        const chunk = from.read(Math.min(allowance, from.readableLength));
        if (chunk === null) return;
        const passing = inspect(chunk);
        allowance -= passing;
        const isEnd = this.records.isBroken;
        to.write(chunk.subarray(0, passing), () => isEnd && this.#pair.breakOff());
      }
    };
    const turn = setInterval(() => {
      allowance = Math.floor(share);
      move();
    }, 1000 / TURNS_PER_SECOND);
    from.on('readable', move);
    from.on('end', () => to.end());
    from.on('close', () => clearInterval(turn));
    to.on('drain', move);
  }

  swallow() {
    this.#isSwallowed = true;
  }

  get #isStopped() {
    return this.#isSwallowed || this.records.isBroken;
  }
}
