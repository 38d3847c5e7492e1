// The page behind a line of 1 MB/s: a flood can be stopped.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { PROMPT, openDemoPage, openTerminalAt, setPrompt } from './lib/demo-page.mjs';
import { PROVIDERS, startDemo } from './lib/demo.mjs';
import { eventually, expectState } from './lib/expect.mjs';
import { Throttle } from './lib/throttle.mjs';

/** Bytes a second that reach the browser. */
const RATE = 1_000_000;

/** After Ctrl-C: time until the prompt is back, in milliseconds, and KiB of output until then. */
const LIMITS = { prompt: 2_000, backlog: 512 };

/** Between these and the page lies one buffer more: what their one connection has brought for one terminal. */
const SHARED = ['oblien', 'decthings'];
const SHARED_LIMITS = { prompt: 2_000, backlog: 1024 };

/** The flood is under way, all buffers full, once so many bytes have passed. */
const UNDER_WAY = 3 * RATE;

/** The line is at rest after so many milliseconds without a byte. */
const AT_REST = 300;

let throttle;
let demo;
let browser;
let context;
let address;

before(async () => {
  throttle = await Throttle.start(RATE);
  address = `https://127.0.0.1:${throttle.port}`;
  demo = await startDemo({ publicUrl: address });
  throttle.aim(demo.port);
  browser = await launch(demo);
  context = await browser.newContext();
  const first = await openDemoPage(context, `${address}/${new URL(demo.page).hash}`);
  await first.close();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await throttle?.stop();
});

for (const provider of PROVIDERS) {
  const limits = SHARED.includes(provider) ? SHARED_LIMITS : LIMITS;
  test(`Ctrl-C stops an endless flood at ${provider} within ${limits.prompt} ms and ${limits.backlog} KiB`, async (t) => {
    const page = await openDemoPage(context, address);
    t.after(() => page.close());
    const screen = await openTerminalAt(page, provider);
    await setPrompt(screen);
    const before = throttle.delivered;
    const startedAt = performance.now();
    await screen.command('yes');
    await eventually(
      () => throttle.delivered - before,
      (bytes) => bytes > UNDER_WAY,
      (bytes) => `the flood, but only ${bytes} bytes came`,
    );
    await expectState(page, /^Connected to /);

    const pressedAt = performance.now();
    const rate = (throttle.delivered - before) / (pressedAt - startedAt);
    const delivered = throttle.delivered;
    await page.keyboard.press('Control+c');
    await screen.endsWith(PROMPT);
    const waited = performance.now() - pressedAt;
    await eventually(() => throttle.quietFor, (quiet) => quiet > AT_REST, () => 'the line to come to rest');
    const backlog = (throttle.delivered - delivered) / 1024;

    t.diagnostic(`${rate.toFixed(0)} kB/s, prompt after ${waited.toFixed(0)} ms, ${backlog.toFixed(0)} KiB after Ctrl-C`);
    assert.ok(waited < limits.prompt, `the prompt took ${waited} ms`);
    assert.ok(backlog < limits.backlog, `${backlog} KiB came after Ctrl-C`);
  });
}
