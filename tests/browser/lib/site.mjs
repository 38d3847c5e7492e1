// A web site of somebody else's: pages made by the test, and files of npm packages.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = { '.html': 'text/html; charset=utf-8', '.mjs': 'text/javascript', '.css': 'text/css' };
const MODULES = fileURLToPath(new URL('../node_modules/', import.meta.url));

export class Site {
  #server;
  #pages = new Map();

  static async start() {
    const site = new Site();
    site.#server.listen(0, '127.0.0.1');
    await once(site.#server, 'listening');
    return site;
  }

  constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request.url, response).catch(() => response.writeHead(404).end());
    });
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Serves `html` from now on, and tells its address. */
  publish(path, html) {
    this.#pages.set(path, html);
    return this.origin + path;
  }

  async stop() {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #answer(path, response) {
    const page = this.#pages.get(path);
    if (page !== undefined) {
      response.writeHead(200, { 'content-type': TYPES['.html'] }).end(page);
    } else if (path.startsWith('/npm/') && !path.includes('..')) {
      const file = await readFile(MODULES + path.slice('/npm/'.length));
      response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/plain' }).end(file);
    } else {
      response.writeHead(path === '/favicon.ico' ? 204 : 404).end();
    }
  }
}
