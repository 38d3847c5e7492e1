// Frontends that know nothing of polytty, unchanged: the sample of a provider's
// documentation, and xterm.js' own attach add-on.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { PROVIDERS, startDemo } from './lib/demo.mjs';
import { eventually } from './lib/expect.mjs';
import { Screen } from './lib/screen.mjs';
import { Site } from './lib/site.mjs';

/** The address that stands in the sample for the one that the provider returns. */
const SAMPLE_URL = 'wss://xxxxx';

let site;
let demo;
let browser;
let context;

before(async () => {
  site = await Site.start();
  demo = await startDemo({ origins: [site.origin] });
  browser = await launch(demo);
  context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await site?.stop();
});

for (const provider of PROVIDERS) {
  test(`the documented sample types, resizes and exits at ${provider}`, async () => {
    const { url } = await demo.mint(provider);
    const page = await context.newPage();
    const warnings = [];
    page.on('console', (message) => message.type() === 'warning' && warnings.push(message.text()));
    await page.goto(site.publish('/sample', await samplePage(url)));
    const screen = new Screen(page, 'window.term');
    await eventually(() => warnings, (all) => all.includes('connected'), (all) => `a connection, but heard ${all}`);

    await page.locator('.xterm-helper-textarea').focus();
    await screen.command('echo sam""ple-世界');
    await screen.shows(/^sample-世界$/);

    const { cols } = await screen.size();
    await page.setViewportSize({ width: 800, height: 500 });
    await page.waitForFunction((was) => window.term.cols !== was, cols);
    const size = await screen.size();
    await screen.command(`until [ "$(stty size)" = "${size.rows} ${size.cols}" ]; do sleep 0.05; done; stty size`);
    await screen.shows(new RegExp(`^${size.rows} ${size.cols}$`));

    await screen.command('exit');
    await screen.shows(/Connection closed$/);
    assert.ok(warnings.includes('disconnected'));
    assert.deepEqual(warnings.filter((text) => text.startsWith('invalid msg')), []);
    await page.close();
  });

  test(`the attach add-on types and exits at ${provider}, without ever telling a size`, async () => {
    const { url } = await demo.mint(provider, { dialect: 'raw' });
    const page = await context.newPage();
    await page.goto(site.publish('/attach', attachPage(url)));
    const screen = new Screen(page, 'window.term');
    await page.waitForFunction(() => window.socket?.readyState === WebSocket.OPEN);

    await page.locator('.xterm-helper-textarea').focus();
    await screen.command('echo att""ached-世界');
    await screen.shows(/^attached-世界$/);

    await screen.command('exit');
    await page.waitForFunction(() => window.ending !== undefined);
    assert.equal(await page.evaluate(() => window.ending.code), 1000);
    await page.close();
  });
}

/**
 * The sample as it stands, but for its address. It ends with the closing brace of a
 * function whose beginning the document leaves out, so here is one.
 */
async function samplePage(url) {
  const sample = await readFile(new URL('./fixtures/pai-dlc-sample.js.txt', import.meta.url), 'utf8');
  assert.equal(sample.split(SAMPLE_URL).length, 2, 'the sample names its address once');
  return page(`
    let ws;
    window.term = term;
    const fitAddon = new FitAddon();
    term.loadAddon(fitAddon);
    // The sample sends a size as soon as it fits; fitted beforehand, it has nothing to send before it is connected.
    fitAddon.fit();
    const attach = function () {
    ${sample.replace(SAMPLE_URL, url)}
    attach();
    addEventListener('resize', () => fitAddon.fit());
  `);
}

function attachPage(url) {
  return page(`
    window.term = term;
    window.socket = new WebSocket(${JSON.stringify(url)});
    window.socket.addEventListener('close', (event) => { window.ending = { code: event.code, reason: event.reason }; });
    term.loadAddon(new AttachAddon(window.socket));
  `);
}

function page(script) {
  return `<!doctype html>
<link rel="stylesheet" href="/npm/@xterm/xterm/css/xterm.css">
<style>html, body { margin: 0; height: 100%; } #host { height: 100%; }</style>
<div id="host"></div>
<script type="module">
  import { Terminal } from '/npm/@xterm/xterm/lib/xterm.mjs';
  import { FitAddon } from '/npm/@xterm/addon-fit/lib/addon-fit.mjs';
  import { AttachAddon } from '/npm/@xterm/addon-attach/lib/addon-attach.mjs';
  const term = new Terminal();
  term.open(document.querySelector('#host'));
  ${script}
</script>`;
}
