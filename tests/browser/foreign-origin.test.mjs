// A page of somebody else's, in the browser of a person who is signed in, gets nowhere.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { openDemoPage } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { Site } from './lib/site.mjs';

let site;
let demo;
let browser;
let context;
let page;

before(async () => {
  site = await Site.start();
  demo = await startDemo();
  browser = await launch(demo);
  context = await browser.newContext();
  page = await context.newPage();
  await page.goto(site.publish('/', '<!doctype html><title>elsewhere</title>'));
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await site?.stop();
});

test('even the right secret signs nobody in from there, nor is it spent', async () => {
  const secret = new URL(demo.page).hash.slice(1);
  for (const answer of await request(page, `${demo.url}/demo/login`, 'POST', { secret })) {
    assert.match(answer, /^(failed|opaque)$/);
  }
  assert.deepEqual(await context.cookies(demo.url), []);
  const mine = await openDemoPage(context, demo.page);
  await mine.close();
});

test('the cookie of the person signed in mints nothing from there', async () => {
  assert.notDeepEqual(await context.cookies(demo.url), [], 'the person is signed in');
  for (const { name, target } of demo.providers) {
    for (const answer of await request(page, `${demo.url}/v1/sessions`, 'POST', { provider: name, target })) {
      assert.match(answer, /^(failed|opaque)$/);
    }
  }
  for (const path of ['/v1/sessions', '/v1/providers', '/demo/targets']) {
    for (const answer of await request(page, demo.url + path, 'GET')) assert.match(answer, /^(failed|opaque)$/);
  }
  assert.deepEqual(await demo.sessions(), []);
});

test('a link is refused there, and is still good for its owner', async () => {
  const { id, url } = await demo.mint('local');
  for (const protocols of [[], ['polytty.v1']]) {
    const { opened } = await knock(page, url, protocols);
    assert.equal(opened, false, `protocols ${JSON.stringify(protocols)}`);
  }
  assert.equal((await demo.api('GET', `/v1/sessions/${id}`)).body.state, 'pending');

  const mine = await openDemoPage(context, demo.url);
  const { opened, first } = await knock(mine, url, ['polytty.v1']);
  assert.equal(opened, true);
  assert.equal(JSON.parse(first).operation, 'ready');
  await mine.close();
});

test('no port that the demo listens on answers that page', async () => {
  const ports = demo.listeningPorts();
  assert.ok(ports.includes(demo.port), `the proxy's port ${demo.port} among ${ports}`);
  assert.ok(ports.includes(Number(new URL(demo.admin).port)), `the admin port of ${demo.admin} among ${ports}`);
  const sessions = (await demo.sessions()).map(({ id }) => id);

  // At once: a port that says nothing to such a request takes until the deadline.
  await Promise.all(ports.map(tryPort));
  assert.deepEqual((await demo.sessions()).map(({ id }) => id), sessions, 'no session came to be');
});

/** Tries requests and WebSockets, with TLS and without, at a port of loopback. */
async function tryPort(port) {
  for (const scheme of ['http', 'https']) {
    for (const path of ['/', '/metrics', '/v1/sessions', '/api/containers']) {
      for (const answer of await request(page, `${scheme}://127.0.0.1:${port}${path}`, 'GET')) {
        assert.match(answer, /^(failed|opaque)$/, `${scheme}://127.0.0.1:${port}${path}`);
      }
    }
  }
  for (const scheme of ['ws', 'wss']) {
    for (const path of ['/', '/ws', '/api/containers/1/exec']) {
      const { opened } = await knock(page, `${scheme}://127.0.0.1:${port}${path}`, []);
      assert.equal(opened, false, `${scheme}://127.0.0.1:${port}${path}`);
    }
  }
}

/**
 * Tries a request in the ways that a page has, with the cookies that the browser would
 * send. Each answer is `failed`, `opaque` (sent, but the page learns nothing), or what
 * the page could read.
 */
async function request(from, url, method, body) {
  return from.evaluate(
    async ([to, verb, sent]) => {
      const text = sent === undefined ? undefined : JSON.stringify(sent);
      const attempts = [
        { mode: 'no-cors', headers: text === undefined ? {} : { 'content-type': 'text/plain' } },
        { mode: 'cors', headers: text === undefined ? {} : { 'content-type': 'text/plain' } },
        { mode: 'cors', headers: { 'content-type': 'application/json' } },
      ];
      const answers = [];
      for (const attempt of attempts) {
        const answer = await fetch(to, { ...attempt, method: verb, body: text, credentials: 'include', signal: AbortSignal.timeout(10_000) }).then(
          (response) => (response.type === 'opaque' ? 'opaque' : `readable: ${response.status}`),
          () => 'failed',
        );
        answers.push(answer);
      }
      return answers;
    },
    [url, method, body],
  );
}

/** Tries a WebSocket; tells whether it opened and what came first. */
async function knock(from, url, protocols) {
  return from.evaluate(
    ([to, offered]) =>
      new Promise((resolve) => {
        const socket = new WebSocket(to, offered);
        const outcome = { opened: false, first: null };
        const settle = () => {
          socket.close();
          resolve(outcome);
        };
        socket.onopen = () => {
          outcome.opened = true;
        };
        socket.onmessage = ({ data }) => {
          outcome.first = data;
          settle();
        };
        socket.onclose = settle;
        // Servers that take the connection and say nothing have let the page in, or keep it waiting for good.
        setTimeout(settle, 10_000);
      }),
    [url, protocols],
  );
}
