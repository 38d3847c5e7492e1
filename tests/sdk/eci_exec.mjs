/**
 * Plays one scene with a WebSocketUri of ExecContainerCommand, as a client that knows the channels and nothing else.
 *
 * Usage: node eci_exec.mjs terminal|gone|pipes|failure|echo|ping URI
 * The exit status is 0 if the scene went as it should; else what went wrong is on standard error.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import WebSocket from 'ws';

const PATIENCE = 30_000;
const STDIN = 0, STDOUT = 1, STDERR = 2, ERROR = 3, RESIZE = 4;

/** A session: binary messages, each with one leading byte that names its channel. */
class Session {
  constructor(uri) {
    // Neither a subprotocol nor an Origin is requested.
    this.socket = new WebSocket(uri, { perMessageDeflate: false, handshakeTimeout: PATIENCE });
    this.output = { [STDOUT]: Buffer.alloc(0), [STDERR]: Buffer.alloc(0), [ERROR]: Buffer.alloc(0) };
    this.messages = [];
    this.waiting = new Set();
    this.closed = null;
    this.socket.on('message', (data, isBinary) => {
      assert.ok(isBinary, `a text message: ${data}`);
      assert.ok(data.length > 0, 'a message without a channel');
      assert.ok(data[0] in this.output, `channel ${data[0]}`);
      this.messages.push(data);
      this.output[data[0]] = Buffer.concat([this.output[data[0]], data.subarray(1)]);
      for (const look of this.waiting) look();
    });
    this.socket.on('close', (code) => {
      this.closed = code;
      for (const look of this.waiting) look();
    });
  }

  opened() {
    return new Promise((resolve, reject) => this.socket.once('open', resolve).once('error', reject));
  }

  text(channel) {
    return this.output[channel].toString();
  }

  send(channel, payload) {
    this.socket.send(Buffer.concat([Buffer.from([channel]), Buffer.from(payload)]));
  }

  resize(cols, rows) {
    this.send(RESIZE, JSON.stringify({ Width: cols, Height: rows }));
  }

  /** Waits until something is so. */
  until(what, condition) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => finish(new Error(`still not: ${what}\n${this.text(STDOUT)}`)), PATIENCE);
      const finish = (error) => {
        clearTimeout(timer);
        this.waiting.delete(look);
        error ? reject(error) : resolve();
      };
      const look = () => {
        if (condition()) finish();
        else if (this.closed !== null) finish(new Error(`closed with ${this.closed} before: ${what}\n${this.text(STDOUT)}`));
      };
      this.waiting.add(look);
      look();
    });
  }

  says(text, channel = STDOUT) {
    return this.until(`channel ${channel} says ${text}`, () => this.text(channel).includes(text));
  }

  ended() {
    return this.until('the end', () => this.closed !== null);
  }
}

const scenes = {
  /** Types, reads output, changes the size, ends. */
  async terminal(session) {
    await session.opened();
    assert.equal(session.socket.protocol, '');
    session.resize(101, 37);
    session.send(STDIN, "echo answer=$((6*7)); stty size; tty; echo o''ops >&2\r");
    await session.says('answer=42');
    await session.says('37 101');
    await session.says('/dev/pts/');
    await session.says('oops');
    assert.deepEqual([...session.messages[0]], [STDOUT], 'the empty first message');
    session.resize(66, 55);
    session.send(STDIN, 'stty size\r');
    await session.says('55 66');
    session.send(STDIN, `sh -c 'trap "echo inter""rupted; exit" INT; echo be""gun; while :; do sleep 1; done'\r`);
    await session.says('begun');
    session.send(STDIN, Buffer.from([3]));
    await session.says('interrupted');
    session.send(STDIN, 'exit 0\r');
    await session.ended();
    assert.equal(session.closed, 1000);
    assert.equal(session.text(STDERR) + session.text(ERROR), '', 'a terminal has one output, and nothing has failed');
  },

  /** Is refused. */
  async gone(session) {
    await assert.rejects(session.opened(), /404/);
  },

  /** Reads both outputs of a command that reads a line. */
  async pipes(session) {
    await session.opened();
    await session.says('out\n');
    await session.says('err\n', STDERR);
    session.send(STDIN, 'a line\n');
    await session.ended();
    assert.equal(session.closed, 1000);
    assert.equal(session.text(STDOUT), 'out\ngot a line\nnot a tty\n', 'no echo and no carriage returns');
    assert.equal(session.text(STDERR), 'err\n');
  },

  /** Reads why a command has failed. */
  async failure(session) {
    await session.opened();
    await session.ended();
    assert.equal(session.closed, 1000);
    assert.match(session.text(ERROR), /exit status 7$/);
    assert.deepEqual([...session.messages.at(-1)].slice(0, 1), [ERROR], 'it is the last message');
  },

  /** Gets back a million bytes that are no text. */
  async echo(session) {
    const bytes = randomBytes(1_000_000);
    await session.opened();
    for (let at = 0; at < bytes.length; at += 50_000) session.send(STDIN, bytes.subarray(at, at + 50_000));
    await session.ended();
    assert.equal(session.closed, 1000);
    assert.ok(session.output[STDOUT].equals(bytes), `${session.output[STDOUT].length} bytes came back`);
  },

  /** Is answered by a pong, and closes. */
  async ping(session) {
    await session.opened();
    const pong = new Promise((resolve) => session.socket.once('pong', resolve));
    session.socket.ping('alive');
    assert.equal((await pong).toString(), 'alive');
    session.socket.close(1000);
    await session.ended();
    assert.equal(session.closed, 1000);
  },
};

const [scene, uri] = process.argv.slice(2);
assert.ok(Object.hasOwn(scenes, scene ?? ''), `no scene ${scene}`);
await scenes[scene](new Session(uri));
process.exit(0);
