// Whoever may not, or cannot, is told so in words.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, listenToConsole } from './lib/browser.mjs';
import { openDemoPage } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { expectState } from './lib/expect.mjs';

let demo;
let browser;
let context;
let page;

before(async () => {
  demo = await startDemo();
  browser = await launch(demo);
  context = await browser.newContext();
  page = await openDemoPage(context, demo.page);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test('a printed address that was used is told to be used, in every other browser', async () => {
  const other = await browser.newContext();
  const said = listenToConsole(other);
  const second = await other.newPage();
  await second.goto(demo.page);
  await expectState(second, /^Refused: this address was used already$/);
  assert.match(await second.locator('#locked').innerText(), /opens this page once/);
  assert.equal(await second.locator('#providers').isVisible(), false);
  assert.equal(new URL(second.url()).hash, '');
  assert.deepEqual(said.filter(notTheBrowsersOwn), []);
  await other.close();
});

test('the same address in the same browser still opens the page, by the cookie it was given', async () => {
  const again = await openDemoPage(context, demo.page);
  await expectState(again, /^Ready$/);
  await again.close();
});

test('without an address from the demo the page says what to do', async () => {
  const other = await browser.newContext();
  const stranger = await other.newPage();
  await stranger.goto(demo.url);
  await expectState(stranger, /^Not signed in$/);
  assert.match(await stranger.locator('#locked').innerText(), /polytty demo/);
  await other.close();
});

test('a provider that refuses is told in words, with a way on', async () => {
  // The target is changed on its way to the page; proxy and provider refuse it for real.
  const targets = await page.evaluate(() => fetch('/demo/targets').then((response) => response.json()));
  targets.providers.find(({ name }) => name === 'pai').target.job_id = 'dlc-that-never-was';
  await context.route('**/demo/targets', (route) => route.fulfill({ json: targets }));
  const refused = await openDemoPage(context, demo.url);
  await refused.locator('input[value="pai"]').check();
  await refused.keyboard.press('Enter');
  const words = await expectState(refused, /^Refused: \w+/);
  assert.equal(await refused.locator('#ending-title').textContent(), words);
  assert.equal(await refused.getByRole('button', { name: 'Try again' }).isVisible(), true);
  await refused.getByRole('button', { name: 'All providers' }).click();
  await expectState(refused, /^Ready$/);
  await context.unroute('**/demo/targets');
  await refused.close();
});

test('a link that is refused is told in words', async () => {
  await context.clearCookies();
  await page.getByRole('button', { name: 'Open terminal' }).click();
  await expectState(page, /^Refused: \w+/);
  assert.match(await page.locator('#ending-detail').textContent(), /No link was made/);
});

/** The browser itself notes every answer above 399 on the console. */
function notTheBrowsersOwn(line) {
  return !/^error: Failed to load resource: the server responded with a status of 4\d\d/.test(line);
}
