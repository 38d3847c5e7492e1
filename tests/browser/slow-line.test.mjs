// The page behind a line of 1 MB/s: a flood can be stopped.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { PROMPT, openDemoPage, openTerminalAt, setPrompt } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { eventually } from './lib/expect.mjs';
import { Throttle } from './lib/throttle.mjs';

/** Bytes a second that reach the browser. */
const RATE = 1_000_000;

/** After Ctrl-C: time until the prompt is back, in milliseconds, and bytes of output until then. */
const PROMPT_DEADLINE = 2_000;
const BACKLOG_LIMIT = 512 * 1024;

/** The flood is under way, all buffers full, once so many bytes have passed. */
const UNDER_WAY = 3 * RATE;

/** The line is at rest after so many milliseconds without a byte. */
const AT_REST = 300;

let throttle;
let demo;
let browser;
let page;
let screen;

before(async () => {
  throttle = await Throttle.start(RATE);
  const address = `https://127.0.0.1:${throttle.port}`;
  demo = await startDemo({ publicUrl: address });
  throttle.aim(demo.port);
  browser = await launch(demo);
  const context = await browser.newContext();
  page = await openDemoPage(context, `${address}/${new URL(demo.page).hash}`);
  screen = await openTerminalAt(page, 'pai');
  await setPrompt(screen);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await throttle?.stop();
});

test('Ctrl-C stops an endless flood within 2 s and 512 KiB', async (t) => {
  const before = throttle.delivered;
  const startedAt = performance.now();
  await screen.command('yes');
  await eventually(
    () => throttle.delivered - before,
    (bytes) => bytes > UNDER_WAY,
    (bytes) => `the flood, but only ${bytes} bytes came`,
  );

  const pressedAt = performance.now();
  const rate = (throttle.delivered - before) / (pressedAt - startedAt);
  const delivered = throttle.delivered;
  await page.keyboard.press('Control+c');
  await screen.endsWith(PROMPT);
  const waited = performance.now() - pressedAt;
  await eventually(() => throttle.quietFor, (quiet) => quiet > AT_REST, () => 'the line to come to rest');
  const backlog = throttle.delivered - delivered;

  t.diagnostic(`${rate.toFixed(0)} kB/s, prompt after ${waited.toFixed(0)} ms, ${(backlog / 1024).toFixed(0)} KiB after Ctrl-C`);
  assert.ok(waited < PROMPT_DEADLINE, `the prompt took ${waited} ms`);
  assert.ok(backlog < BACKLOG_LIMIT, `${backlog} bytes came after Ctrl-C`);
});
