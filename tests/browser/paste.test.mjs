// Long pastes arrive whole, whatever the terminal's mode: the far shell hashes what it got.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { launch, listenToConsole } from './lib/browser.mjs';
import { PROMPT, openDemoPage, openTerminalAt, setPrompt } from './lib/demo-page.mjs';
import { PROVIDERS, startDemo } from './lib/demo.mjs';

/** Bytes of a long paste. */
const LONG = 200_000;

/** A terminal in its line mode holds lines of up to 4095 bytes. */
const LINE = 4_000;

let demo;
let browser;
let page;
let said;

before(async () => {
  demo = await startDemo();
  browser = await launch(demo);
  const context = await browser.newContext();
  said = listenToConsole(context);
  page = await openDemoPage(context, demo.page);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

for (const provider of PROVIDERS) {
  test(`200 kB in lines arrive whole at ${provider}, while the terminal echoes them`, async () => {
    const text = letters(LONG).replace(new RegExp(`(.{${LINE - 1}}).`, 'g'), '$1\n').slice(0, -1) + '\n';
    const screen = await newTerminal(provider);
    await screen.command(`echo list""ening; head -c ${text.length} | sha256sum`);
    await screen.shows(/^listening$/);
    await screen.paste(text);
    // Anywhere in a line: what the terminal still echoes may stand before it.
    await screen.shows(new RegExp(sha256(text)), 60_000);
    await screen.endsWith(PROMPT);
  });

  test(`200 kB in one line arrive whole at ${provider} where the terminal takes bytes as they come`, async () => {
    const text = letters(LONG);
    const screen = await newTerminal(provider);
    await screen.command(`stty -icanon -echo; echo un""cooked; head -c ${text.length} | sha256sum; stty icanon echo`);
    await screen.shows(/^uncooked$/);
    await screen.paste(text);
    await screen.shows(new RegExp(sha256(text)), 60_000);
    await screen.endsWith(PROMPT);
  });
}

test('nothing was said on the console', () => {
  assert.deepEqual(said, []);
});

/** Leaves the terminal before, if there is one, for a new one. */
async function newTerminal(provider) {
  if (await page.locator('#leave').isVisible()) await page.getByRole('button', { name: 'End session' }).click();
  if (await page.locator('#session').isVisible()) await page.getByRole('button', { name: 'All providers' }).click();
  const screen = await openTerminalAt(page, provider);
  await setPrompt(screen);
  return screen;
}

/** Letters in an order that repeats only after long, so that a lost or doubled piece shows. */
function letters(count) {
  let state = 1;
  let text = '';
  while (text.length < count) {
    state = (state * 48_271) % 2_147_483_647;
    text += String.fromCharCode(97 + (state % 26));
  }
  return text;
}

function sha256(text) {
  return createHash('sha256').update(text).digest('hex');
}
