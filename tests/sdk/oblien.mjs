// Drives a running simulated Oblien with the official SDK.
//
// Usage: node oblien.mjs 'READY LINE', or the line on standard input. The line is the JSON object that the simulator
// prints once it is ready. Prints one line per test and at the end "N passed, M failed"; the exit status is 0 if none
// failed. The tests share the simulator and run one after the other; each deletes the terminals that it made.
//
// Install what it needs with: npm ci

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

// Node 20 has none of its own; one and the same for all versions.
globalThis.WebSocket = WebSocket;
const { default: Oblien, Runtime } = await import('oblien');

const PATIENCE = 20_000;
const SILENCE = 300;
const shell = ['/usr/bin/env', 'PS1=ready> ', '/bin/bash', '--norc', '--noprofile', '-i'];

const line = JSON.parse(process.argv[2] ?? (await once(createInterface(process.stdin), 'line'))[0]);
const { api_url: apiUrl, gateway_url: gatewayUrl, client_id: clientId, client_secret: clientSecret } = line.provider;
const workspace = line.provider.workspace;
const client = new Oblien({ clientId, clientSecret, baseUrl: apiUrl });

async function runtime() {
  const { token } = await client.workspaces.apiAccess.enable(workspace);
  return new Runtime({ token, baseUrl: gatewayUrl });
}

async function until(what, condition) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const result = await condition();
    if (result) return result;
    assert(Date.now() < deadline, `still not: ${what}`);
    await pause(10);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// The SDK's WebSocket and everything that it has told.
class Listener {
  constructor(rt, options = { reconnect: false }) {
    this.output = {};
    this.exits = [];
    this.opened = 0;
    this.closes = [];
    this.ws = rt.ws(options);
    this.ws
      .onTerminalOutput((id, data) => {
        this.output[id] = Buffer.concat([this.output[id] ?? Buffer.alloc(0), data]);
      })
      .onTerminalExit((id, code) => this.exits.push([id, code]))
      .onOpen(() => (this.opened += 1))
      .onClose((code, reason) => this.closes.push([code, String(reason)]));
    this.ws.connect();
  }

  static async open(rt, options) {
    const listener = new Listener(rt, options);
    await until('it is open', () => listener.opened === 1);
    return listener;
  }

  text(id) {
    return (this.output[id] ?? '').toString();
  }

  async expect(id, text) {
    await until(`${JSON.stringify(text)} after ${JSON.stringify(this.text(id))}`, () => this.text(id).includes(text));
  }

  async exit(id) {
    return (await until(`the exit of ${id}`, () => this.exits.find(([other]) => other === id)))[1];
  }

  async close() {
    this.ws.close();
    await until('it is closed', () => this.closes.length > 0);
  }
}

async function refused(promise, status, code) {
  await assert.rejects(promise, (error) => {
    assert.deepEqual([error.status, error.code], [status, code], error.stack);
    return true;
  });
}

const tests = {
  async 'the control plane tells its state and gives out tokens'() {
    const { apiAccess } = client.workspaces;
    const status = await apiAccess.status(workspace);
    assert.deepEqual([status.success, status.enabled], [true, true]);
    const first = await apiAccess.enable(workspace);
    const second = await apiAccess.enable(workspace);
    assert.equal(first.token.split('.').length, 3);
    assert.notEqual(first.token, second.token);
    const raw = await apiAccess.rawToken(workspace);
    assert.match(raw.token, /^[0-9a-f]{64}$/);
    for (const { token } of [first, second, raw, await apiAccess.getToken(workspace)]) {
      const rt = new Runtime({ token, baseUrl: gatewayUrl });
      assert.equal(await rt.health(), true);
      assert.deepEqual(await rt.terminal.list(), []);
    }
  },

  async 'the discovered runtime has a token that opens the gateway'() {
    // Its host is built into the SDK, so only its token is used.
    const { _options: options } = await client.workspaces.runtime(workspace);
    const rt = new Runtime({ token: options.token, baseUrl: gatewayUrl });
    assert.deepEqual(await rt.terminal.list(), []);
  },

  async 'a rotated token is refused'() {
    const old = await runtime();
    const { token } = await client.workspaces.apiAccess.rotateToken(workspace);
    await refused(old.terminal.list(), 401, 'unauthorized');
    assert.deepEqual(await new Runtime({ token, baseUrl: gatewayUrl }).terminal.list(), []);
    const socket = new Listener(old);
    await until('it is refused', () => socket.closes.length > 0);
    assert.deepEqual([socket.opened, socket.closes[0][0]], [0, 1006]);
  },

  async 'wrong keys and unknown workspaces are refused'() {
    const wrong = new Oblien({ clientId, clientSecret: 'wrong', baseUrl: apiUrl });
    await refused(wrong.workspaces.apiAccess.status(workspace), 401, 'unauthorized');
    await refused(client.workspaces.apiAccess.status('ws_none'), 404, 'not_found');
    const rt = new Runtime({ token: 'none', baseUrl: gatewayUrl });
    await refused(rt.terminal.list(), 401, 'unauthorized');
    await refused((await runtime()).terminal.close('1'), 404, 'not_found');
  },

  async 'a scoped token reaches the control plane'() {
    const scoped = await client.tokens.create({ scope: 'workspace', workspaceId: workspace, ttl: 60 });
    assert.deepEqual([scoped.scope, scoped.ttl], ['workspace', 60]);
    const narrow = new Oblien({ token: scoped.token, baseUrl: apiUrl });
    assert.equal((await narrow.workspaces.apiAccess.status(workspace)).enabled, true);
  },

  async 'a terminal is created, typed into, resized and ended'() {
    const rt = await runtime();
    const socket = await Listener.open(rt);
    const created = await rt.terminal.create({ cmd: shell, cols: 120, rows: 40 });
    assert.deepEqual(created, { success: true, id: created.id, cols: 120, rows: 40, command: shell });
    const { id } = created;
    await socket.expect(id, 'ready> ');
    socket.ws.writeTerminalInput(id, 'echo answer=$((6*7)); stty size; tty\r');
    await socket.expect(id, 'answer=42\r\n40 120\r\n/dev/pts/');
    socket.ws.resizeTerminal(id, 101, 37);
    socket.ws.writeTerminalInput(id, '');
    socket.ws.writeTerminalInput(Number(id), 'stty size\r');
    await socket.expect(id, '37 101\r\n');
    const [listed] = await rt.terminal.list();
    assert.deepEqual([listed.id, listed.alive, listed.exit_code, listed.cols, listed.rows], [id, true, 0, 101, 37]);
    assert(Math.abs(Date.parse(listed.created_at) - Date.now()) < 60_000, listed.created_at);
    socket.ws.writeTerminalInput(id, 'exit 7\r');
    assert.equal(await socket.exit(id), 7);
    const [ended] = await rt.terminal.list();
    assert.deepEqual([ended.alive, ended.exit_code], [false, 7]);
    const scrollback = await rt.terminal.scrollback(id);
    const text = Buffer.from(scrollback.scrollback, 'base64');
    assert.deepEqual([text.length, scrollback.alive, scrollback.exit_code], [scrollback.size, false, 7]);
    assert.equal(text.toString(), socket.text(id));
    assert.equal((await rt.terminal.scrollback(id, { bytes: 5 })).size, 5);
    assert.deepEqual(await rt.terminal.close(id), { success: true, terminal_id: id });
    await socket.close();
  },

  async 'a shell by name is a command of one word'() {
    const rt = await runtime();
    const { id, command } = await rt.terminal.create({ shell: '/bin/sh' });
    assert.deepEqual(command, ['/bin/sh']);
    await rt.terminal.close(id);
    await refused(rt.terminal.create({ shell: '/no/such/shell' }), 500, 'pty_failed');
  },

  async 'every byte passes both ways, split wherever it may be'() {
    const rt = await runtime();
    const socket = await Listener.open(rt);
    const { id } = await rt.terminal.create({ cmd: ['/bin/sh', '-c', 'stty raw -echo; echo on; exec head -c 65536'] });
    await socket.expect(id, 'on');
    const before = socket.output[id].length;
    const bytes = Buffer.from(Uint8Array.from({ length: 65_536 }, (_, at) => (Math.imul(at, 2_654_435_761) >>> 24)));
    for (let at = 0; at < bytes.length; at += 5_000) {
      socket.ws.writeTerminalInput(id, bytes.subarray(at, at + 5_000));
    }
    assert.equal(await socket.exit(id), 0);
    assert(socket.output[id].subarray(before).equals(bytes), `${socket.output[id].length - before} bytes`);
    await rt.terminal.close(id);
    await socket.close();
  },

  async 'a deleted terminal is gone'() {
    const rt = await runtime();
    const socket = await Listener.open(rt);
    const { id } = await rt.terminal.create({ cmd: ['/bin/sleep', '1000'] });
    await rt.terminal.close(id);
    assert.equal(await socket.exit(id), -1);
    assert.deepEqual(await rt.terminal.list(), []);
    await refused(rt.terminal.scrollback(id), 404, 'not_found');
    await socket.close();
  },

  async 'ten terminals share one socket and the eleventh is refused'() {
    const rt = await runtime();
    const socket = await Listener.open(rt);
    const ids = [];
    for (let number = 0; number < 10; number += 1) {
      ids.push((await rt.terminal.create({ cmd: ['/bin/cat'] })).id);
    }
    await refused(rt.terminal.create({ cmd: ['/bin/cat'] }), 429, 'terminal_limit');
    for (const id of ids) socket.ws.writeTerminalInput(id, `this is ${id}\n`);
    // Once as an echo, and once by cat.
    for (const id of ids) await socket.expect(id, `this is ${id}\r\nthis is ${id}\r\n`);
    for (const id of ids) await rt.terminal.close(id);
    await socket.close();
  },

  async 'a second client evicts the first'() {
    const rt = await runtime();
    const first = await Listener.open(rt);
    const second = await Listener.open(await runtime());
    await until('the first is closed', () => first.closes.length > 0);
    assert.deepEqual(first.closes, [[1000, '']]);
    await pause(SILENCE);
    assert.deepEqual([second.closes, second.ws.connected], [[], true]);
    await second.close();
  },

  async 'two clients that reconnect evict each other until one gives up'() {
    const rt = await runtime();
    const options = { reconnect: true, reconnectDelay: 50 };
    const first = await Listener.open(rt, options);
    const second = await Listener.open(rt, options);
    await until('both have come back', () => first.opened > 2 && second.opened > 2);
    await second.close();
    const opened = first.opened;
    await until('the first is back for good', () => first.ws.connected);
    await pause(SILENCE);
    assert(first.ws.connected && first.opened <= opened + 1);
    await first.close();
  },

  async 'whoever comes back gets the scrollback and the ends'() {
    const rt = await runtime();
    const { id: ended } = await rt.terminal.create({ cmd: ['/bin/sh', '-c', 'echo gone; exit 3'] });
    const { id: living } = await rt.terminal.create({ cmd: ['/bin/sh', '-c', 'seq 1 20000; exec cat'] });
    await until('one has ended', async () => (await rt.terminal.list()).some((terminal) => !terminal.alive));
    await until('the other has spoken', async () => {
      const { scrollback } = await rt.terminal.scrollback(living, { bytes: 7 });
      return Buffer.from(scrollback, 'base64').toString() === '20000\r\n';
    });
    const all = Array.from({ length: 20_000 }, (_, at) => `${at + 1}\r\n`).join('');
    for (let round = 0; round < 2; round += 1) {
      const socket = await Listener.open(rt);
      assert.equal(await socket.exit(ended), 3);
      await socket.expect(living, '\r\n20000\r\n');
      assert.equal(socket.text(living), all.slice(-65_536));
      assert.equal(socket.text(ended), '');
      await socket.close();
    }
    const socket = await Listener.open(rt);
    socket.ws.writeTerminalInput(living, 'still here\n');
    await socket.expect(living, 'still here\r\nstill here\r\n');
    await rt.terminal.close(ended);
    await rt.terminal.close(living);
    await socket.close();
  },

  async 'another runtime has terminals and a socket of its own'() {
    const rt = await runtime();
    const mac = rt.forTarget('macos');
    const [socket, other] = [await Listener.open(rt), await Listener.open(mac)];
    const { id } = await mac.terminal.create({ cmd: ['/bin/cat'] });
    other.ws.writeTerminalInput(id, 'over there\n');
    await other.expect(id, 'over there\r\n');
    assert.deepEqual([await rt.terminal.list(), socket.closes], [[], []]);
    await mac.terminal.close(id);
    await socket.close();
    await other.close();
  },

  async 'a workspace that is switched off ends everything, and can be enabled again'() {
    const rt = await runtime();
    const socket = await Listener.open(rt);
    await rt.terminal.create({ cmd: ['/bin/sleep', '1000'] });
    await client.workspaces.apiAccess.disable(workspace);
    await until('it is closed', () => socket.closes.length > 0);
    assert.equal(socket.closes[0][0], 1006);
    assert.equal((await client.workspaces.apiAccess.status(workspace)).enabled, false);
    await refused(rt.terminal.list(), 502, 'workspace_unreachable');
    assert.deepEqual(await (await runtime()).terminal.list(), []);
  },
};

let [passed, failed] = [0, 0];
for (const [title, test] of Object.entries(tests)) {
  try {
    await test();
    passed += 1;
    console.log(`passed  ${title}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${title}`);
    console.log(error.stack);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
