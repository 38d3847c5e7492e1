// One types, others watch: by a link that works once, from what is on the screen, without a way to change it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, listenToConsole } from './lib/browser.mjs';
import { expectSame, pageTerminal } from './lib/buffer.mjs';
import { openDemoPage, openTerminalAt } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { eventually, expectState } from './lib/expect.mjs';
import { Screen } from './lib/screen.mjs';
import { Throttle } from './lib/throttle.mjs';

/** Bytes a second; the line is there to be cut. */
const RATE = 4_000_000;

let throttle;
let demo;
let browser;
let context;
let said;
let writer;
let screen;

before(async () => {
  throttle = await Throttle.start(RATE);
  const address = `https://127.0.0.1:${throttle.port}`;
  demo = await startDemo({ publicUrl: address });
  throttle.aim(demo.port);
  browser = await launch(demo);
  context = await browser.newContext({ viewport: { width: 1000, height: 640 } });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  said = listenToConsole(context);
  writer = await openDemoPage(context, `${address}/${new URL(demo.page).hash}`);
  screen = await openTerminalAt(writer, 'local');
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await throttle?.stop();
});

test('a button makes a viewer link, tells how long it is good, copies it, and opens it in a tab that watches', async () => {
  await screen.command("printf 'be\\033[1;35mfo\\033[0mre\\n'");
  await screen.shows(/^before$/);
  await share();
  const link = await writer.locator('#share-link').inputValue();
  assert.match(link, new RegExp(`^${demo.url}/watch#[\\w-]{43}$`));
  assert.match(await writer.locator('#share-left').textContent(), /^Good for another \d+ s$/);
  await writer.getByRole('button', { name: 'Copy' }).click();
  await writer.getByText('Copied.').waitFor();
  assert.equal(await writer.evaluate(() => navigator.clipboard.readText()), link);

  const [watcher] = await Promise.all([context.waitForEvent('page'), writer.getByRole('link', { name: 'Open in a new tab' }).click()]);
  await expectState(watcher, /^Watching$/);
  assert.equal(new URL(watcher.url()).hash, '', 'the link is off the address bar');
  await writer.getByText('and so used up').waitFor();
  await until(writer, '#viewers', '1 watching');
  await expectSame(pageTerminal(writer), pageTerminal(watcher), 'the watcher begins with what is on the screen');

  await writer.getByRole('button', { name: 'Share' }).click();
  await command("printf 'af\\033[7mter\\033[0m gr''üße 世界\\n'");
  await screen.shows(/^after grüße 世界$/);
  await expectSame(pageTerminal(writer), pageTerminal(watcher), 'and sees what is typed');
  await watcher.close();
  await writer.locator('#viewers').waitFor({ state: 'hidden' });
});

test('a link that was opened, or whose time is over, opens nothing, and is told so in words', async () => {
  await share();
  const link = await writer.locator('#share-link').inputValue();
  const stranger = await browser.newContext();
  const first = await stranger.newPage();
  await first.goto(link);
  await expectState(first, /^Watching$/);
  const second = await stranger.newPage();
  await second.goto(link);
  await expectState(second, /^This link was used already, or has expired$/);
  assert.match(await second.locator('#ending-detail').textContent(), /Ask whoever shares it for a new link/);
  assert.equal(await second.locator('#again').isVisible(), false, 'a stranger has nothing to press');
  await first.close();
  await second.goto('about:blank');
  await second.goto(`${demo.url}/watch`);
  await expectState(second, /^Nothing to watch$/);
  assert.deepEqual(await stranger.cookies(), []);
  await stranger.close();

  // The clock of the page is put forward; that the server keeps to it is told elsewhere.
  await share();
  await share();
  await writer.evaluate(() => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + 3_600_000;
  });
  await writer.getByText('The link has expired.').waitFor();
  assert.equal(await writer.locator('#share-link').inputValue(), '');
  await writer.getByRole('button', { name: 'New link' }).click();
  await writer.locator('#share-link').waitFor();
  await share();
});

test('what is typed by who watches goes nowhere, and Tab leads out of the terminal', async () => {
  const watcher = await watch();
  const before = await watcher.evaluate(() => document.querySelector('#terminal').terminal.buffer.active.cursorX);
  await watcher.locator('.xterm-helper-textarea').focus();
  await watcher.keyboard.type('typed by a watcher');
  await watcher.keyboard.press('Enter');
  await new Screen(watcher).paste('pasted by a watcher\r');
  await watcher.keyboard.press('Tab');
  assert.notEqual(await watcher.evaluate(() => document.activeElement.className), 'xterm-helper-textarea');
  assert.match(await watcher.locator('#watch-hint').textContent(), /goes nowhere/);
  await command("echo on''ly");
  await screen.shows(/^only$/);
  await expectSame(pageTerminal(writer), pageTerminal(watcher), 'the two show the same');
  assert.equal((await screen.lines()).some((line) => line.includes('by a watcher')), false);
  assert.ok(before > 0);
  await watcher.close();
});

test('a watcher has the size of the writer, and type small enough to show all of it', async () => {
  const watcher = await watch();
  await watcher.setViewportSize({ width: 800, height: 520 });
  for (const viewport of [{ width: 1300, height: 800 }, { width: 800, height: 500 }, { width: 1000, height: 640 }]) {
    const was = await screen.size();
    await writer.setViewportSize(viewport);
    await writer.waitForFunction((cols) => document.querySelector('#terminal').terminal.cols !== cols, was.cols);
    const size = await screen.size();
    await until(watcher, '#watch-size', `${size.cols} × ${size.rows}`);
    assert.deepEqual(await new Screen(watcher).size(), await screen.size());
    const overflow = await watcher.evaluate(() => {
      const { scrollWidth, clientWidth, scrollHeight, clientHeight } = document.querySelector('#terminal');
      return [scrollWidth - clientWidth, scrollHeight - clientHeight];
    });
    assert.deepEqual(overflow, [0, 0], `${size.cols} × ${size.rows} fit into 800 by 520`);
  }
  await expectSame(pageTerminal(writer), pageTerminal(watcher), 'the two show the same');
  await watcher.close();
});

test('a watcher whose connection was lost comes back by itself to what is on the screen by then', async () => {
  const watcher = await watch();
  throttle.aim(1);
  throttle.cut();
  await expectState(watcher, /^Connection lost\./);
  await command("echo mean''while");
  throttle.aim(demo.port);
  await expectState(watcher, /^Watching$/);
  await screen.shows(/^meanwhile$/);
  await expectSame(pageTerminal(writer), pageTerminal(watcher), 'the two show the same');
  await until(writer, '#viewers', '1 watching');
  await watcher.close();
});

test('who is signed in watches again after a reload, and finds the session in the list', async () => {
  const watcher = await watch();
  await watcher.reload();
  await expectState(watcher, /^Watching$/);
  await expectSame(pageTerminal(writer), pageTerminal(watcher), 'the two show the same');
  await watcher.getByRole('link', { name: 'All sessions' }).click();
  await expectState(watcher, /^Ready$/);
  await watcher.locator('#sessions').getByText('This machine').waitFor();
  const [other] = await Promise.all([context.waitForEvent('page'), watcher.getByRole('link', { name: /^Watch in a new tab/ }).click()]);
  await expectState(other, /^Watching$/);
  await other.close();
  await watcher.close();
});

test('a flood is skipped, not replayed, for a watcher that does not keep up, and nobody is let go', async () => {
  const watcher = await watch();
  await command("seq 300000; echo flood''ed");
  await screen.shows(/^flooded$/, 60_000);
  await expectSame(pageTerminal(writer), pageTerminal(watcher), 'the two show the same in the end');
  await expectState(watcher, /^Watching$/);
  await watcher.close();
});

test('a watcher hears how it ended, and what was shown stays', async () => {
  const watcher = await watch();
  await command("echo last''word; exit 3");
  await expectState(writer, /^Ended with exit code 3$/);
  await expectState(watcher, /^Ended with exit code 3$/);
  await new Screen(watcher).shows(/^lastword$/);
  assert.equal(await watcher.locator('#again').isVisible(), false);
  await watcher.reload();
  await expectState(watcher, /^The session has ended$/);
  await watcher.close();
});

test('nothing was said on the console', () => {
  // What the browser says of lines that the test has cut.
  assert.deepEqual(said.filter((line) => !/ERR_CONNECTION_|ERR_SOCKET_|WebSocket connection to/.test(line)), []);
});

/** Types a command into the writer's terminal. */
async function command(text) {
  await writer.bringToFront();
  await writer.locator('.xterm-helper-textarea').focus();
  await screen.command(text);
}

/** Opens the panel, or closes it. */
async function share() {
  await writer.bringToFront();
  await writer.getByRole('button', { name: 'Share' }).click();
  if (await writer.locator('#sharing').isVisible()) await writer.locator('#share-offer').waitFor();
}

/** A tab that watches, by a link from the panel. */
async function watch() {
  await share();
  const link = await writer.locator('#share-link').inputValue();
  await share();
  const watcher = await context.newPage();
  await watcher.goto(link);
  // Behind a flood only the end of the output is known, which is told for a while.
  await expectState(watcher, /^Watching$|^Only a part of the screen is known/);
  return watcher;
}

async function until(page, selector, words) {
  const place = page.locator(selector);
  await eventually(() => place.textContent(), (text) => text === words, (text) => `${selector} to say "${words}", but it says "${text}"`);
}
