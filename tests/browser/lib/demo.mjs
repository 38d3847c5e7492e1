// The product under test: `polytty demo --json`, started, trusted, asked, and stopped.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';

/** The names of a demo's providers, in its order; `demo-page.test.mjs` compares. */
export const PROVIDERS = ['pai', 'eci', 'dockhand', 'oblien', 'decthings', 'local'];

/** How long the demo may take to be ready, and to go away, in milliseconds. */
const START_DEADLINE = 30_000;
const STOP_DEADLINE = 15_000;

/**
 * Starts a demo.
 * @param {object} options
 * @param {string} [options.publicUrl] where browsers reach it, if not where it listens
 * @param {string[]} [options.origins] further origins that are allowed
 * @param {string} [options.screen] when a model of the screen is kept, as `sessions.screen`
 * @returns {Promise<Demo>}
 */
export async function startDemo({ publicUrl, origins = [], screen } = {}) {
  // With a public address of its own the printed one need not tell where the demo listens.
  const port = publicUrl === undefined ? 0 : await freePort();
  const args = ['demo', '--json', '--listen', `127.0.0.1:${port}`];
  if (publicUrl !== undefined) args.push('--public-url', publicUrl);
  if (screen !== undefined) args.push('--screen', screen);
  for (const origin of origins) args.push('--origin', origin);

  // Nobody's profile: what the shells print is known.
  const home = await mkdtemp(join(tmpdir(), 'polytty-home-'));
  const env = { ...process.env, HOME: home, SHELL: '/bin/bash' };
  const child = spawn(process.env.POLYTTY_BIN, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const log = collect(child.stderr);
  const line = await firstLine(child, log);
  const demo = new Demo(child, JSON.parse(line), log, home);
  child.once('exit', () => rm(home, { recursive: true, force: true }).catch(() => {}));
  if (port !== 0) demo.port = port;
  return demo;
}

export class Demo {
  #child;
  #log;

  constructor(child, facts, log, home) {
    this.#child = child;
    this.#log = log;
    Object.assign(this, facts);
    this.home = home;
    this.port = Number(new URL(facts.url).port);
  }

  get pid() {
    return this.#child.pid;
  }

  /** The standard error of the demo so far, its end only. */
  get log() {
    return this.#log.text;
  }

  provider(name) {
    const found = this.providers.find((provider) => provider.name === name);
    if (!found) throw new Error(`the demo has no provider "${name}", only ${this.providers.map((provider) => provider.name)}`);
    return found;
  }

  /** Hash of the server's public key, by which a browser is told to trust it. The chain is checked against `ca`. */
  async publicKeyHash() {
    const socket = connect({ host: '127.0.0.1', port: this.port, ca: readFileSync(this.ca) });
    await once(socket, 'secureConnect');
    const key = socket.getPeerX509Certificate().publicKey.export({ type: 'spki', format: 'der' });
    socket.destroy();
    return createHash('sha256').update(key).digest('base64');
  }

  /** A call of the HTTP API with the demo's key. */
  async api(method, path, body) {
    const sent = body === undefined ? '' : JSON.stringify(body);
    const call = request({
      host: '127.0.0.1',
      port: this.port,
      ca: readFileSync(this.ca),
      method,
      path,
      agent: false,
      // It answers to its public name, by whatever port it is asked.
      headers: { host: new URL(this.url).host, authorization: `Bearer ${this.api_key}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) },
    });
    call.end(sent);
    const [response] = await once(call, 'response');
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    return { status: response.statusCode, body: text === '' ? null : JSON.parse(text) };
  }

  /** Mints a link to a new session at the provider of that name. */
  async mint(name, more = {}) {
    const { status, body } = await this.api('POST', '/v1/sessions', { provider: name, target: this.provider(name).target, ...more });
    if (status !== 201) throw new Error(`minting at ${name}: ${status} ${JSON.stringify(body)}`);
    return body;
  }

  async sessions() {
    const { body } = await this.api('GET', '/v1/sessions');
    return body.sessions ?? body;
  }

  /** Every TCP port that the demo's process listens on: the proxy, the admin listener, the simulators. */
  listeningPorts() {
    const inodes = new Set();
    for (const descriptor of readdirSync(`/proc/${this.pid}/fd`)) {
      const inode = socketInode(`/proc/${this.pid}/fd/${descriptor}`);
      if (inode) inodes.add(inode);
    }
    return ['tcp', 'tcp6'].flatMap((table) => listeners(`/proc/${this.pid}/net/${table}`, inodes));
  }

  /** Ends the demo by SIGTERM and waits until it is gone. */
  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const force = setTimeout(() => this.#child.kill('SIGKILL'), STOP_DEADLINE);
    await gone;
    clearTimeout(force);
  }
}

async function firstLine(child, log) {
  const lines = createInterface(child.stdout);
  const deadline = setTimeout(() => child.kill('SIGKILL'), START_DEADLINE);
  const outcome = await Promise.race([
    once(lines, 'line').then(([line]) => ({ line })),
    once(child, 'exit').then(([code, signal]) => ({ code, signal })),
    once(child, 'error').then(([error]) => ({ error })),
  ]);
  clearTimeout(deadline);
  if (outcome.line === undefined) {
    throw new Error(`the demo did not start: ${outcome.error ?? `exit ${outcome.code ?? outcome.signal}`}\n${log.text}`);
  }
  // Whatever it prints later must not fill the pipe.
  lines.on('line', () => {});
  return outcome.line;
}

/** Keeps the last 64 KiB of what a stream says. */
function collect(stream) {
  const log = { text: '' };
  stream.setEncoding('utf8').on('data', (chunk) => {
    log.text = (log.text + chunk).slice(-64 * 1024);
  });
  return log;
}

function socketInode(path) {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(path))?.[1];
  } catch {
    return undefined; // closed since it was listed
  }
}

function listeners(table, inodes) {
  const LISTEN = '0A';
  return readFileSync(table, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((row) => row.trim().split(/\s+/))
    .filter((fields) => fields[3] === LISTEN && inodes.has(fields[9]))
    .map((fields) => Number.parseInt(fields[1].split(':')[1], 16));
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
