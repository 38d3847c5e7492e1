// The demo page, used as a person uses it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, listenToConsole } from './lib/browser.mjs';
import { openDemoPage, openTerminalAt, setPrompt } from './lib/demo-page.mjs';
import { PROVIDERS, startDemo } from './lib/demo.mjs';
import { expectState } from './lib/expect.mjs';
import { Screen } from './lib/screen.mjs';

/** What these services say when a process has ended does not include its status. */
const TELL_NO_EXIT_CODE = ['pai', 'dockhand'];

let demo;
let browser;
let context;
let page;
let said;

before(async () => {
  demo = await startDemo();
  browser = await launch(demo);
  context = await browser.newContext({ viewport: { width: 1100, height: 720 } });
  said = listenToConsole(context);
  page = await openDemoPage(context, demo.page);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test('the printed address lists every provider and leaves no secret in the address bar', async () => {
  assert.equal(new URL(page.url()).hash, '');
  assert.deepEqual(demo.providers.map(({ name }) => name), PROVIDERS);
  for (const { name } of demo.providers) {
    assert.equal(await page.locator(`input[value="${name}"]`).count(), 1, name);
  }
});

test('a terminal opens at one press, takes what is typed and shows the answer', async () => {
  const screen = await openTerminalAt(page, 'pai');
  await screen.command('echo $((6 * 7))-answers');
  await screen.shows(/^42-answers$/);
});

test('the remote terminal has the size of the one on the page, also after the window changed', async () => {
  const screen = new Screen(page);
  const first = await screen.size();
  for (const viewport of [{ width: 760, height: 480 }, { width: 1300, height: 860 }]) {
    await page.setViewportSize(viewport);
    await page.waitForFunction((cols) => document.querySelector('#terminal').terminal.cols !== cols, first.cols);
    const { cols, rows } = await screen.size();
    await screen.command(`until [ "$(stty size)" = "${rows} ${cols}" ]; do sleep 0.05; done; stty size`);
    await screen.shows(new RegExp(`^${rows} ${cols}$`));
  }
});

test('an exit is told in words, and a new terminal is one key away', async () => {
  const screen = new Screen(page);
  await screen.command('exit');
  await expectState(page, /^Ended/);
  assert.equal(await page.locator('#ending-title').textContent(), 'Ended');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'again');
  await page.keyboard.press('Enter');
  await expectState(page, /^Connected to /);
  await screen.command('echo bo""rn-again');
  await screen.shows(/^born-again$/);
});

test('every provider opens, answers, follows the size, and ends with the exit code if it tells one', async () => {
  await endSession(page);
  for (const { name } of demo.providers) {
    await page.setViewportSize({ width: 1100, height: 720 });
    await page.getByRole('button', { name: 'All providers' }).click();
    const screen = await openTerminalAt(page, name);
    await setPrompt(screen);
    await screen.command('printf "%s\\n" gr""üße-世界');
    await screen.shows(/^grüße-世界$/);

    const { cols } = await screen.size();
    await page.setViewportSize({ width: 900, height: 600 });
    await page.waitForFunction((was) => document.querySelector('#terminal').terminal.cols !== was, cols);
    const size = await screen.size();
    await screen.command(`until [ "$(stty size)" = "${size.rows} ${size.cols}" ]; do sleep 0.05; done; stty size`);
    await screen.shows(new RegExp(`^${size.rows} ${size.cols}$`));

    await screen.command('exit 3');
    await expectState(page, TELL_NO_EXIT_CODE.includes(name) ? /^Ended$/ : /^Ended with exit code 3$/);
  }
});

test('ending the session from the page ends it at the proxy too', async () => {
  await page.getByRole('button', { name: 'New terminal' }).click();
  await expectState(page, /^Connected to /);
  await endSession(page);
  const live = (await demo.sessions()).filter(({ state }) => state !== 'ended');
  assert.deepEqual(live, []);
});

test('nothing was ever said on the console', () => {
  assert.deepEqual(said, []);
});

async function endSession(at) {
  await at.getByRole('button', { name: 'End session' }).click();
  await expectState(at, /^Ended/);
}
