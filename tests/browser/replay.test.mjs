// What a terminal has shown plays in asciinema's own player.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, listenToConsole } from './lib/browser.mjs';
import { openDemoPage, openTerminalAt } from './lib/demo-page.mjs';
import { PROVIDERS, startDemo } from './lib/demo.mjs';
import { eventually, expectState } from './lib/expect.mjs';
import { layOut } from './lib/programs.mjs';

let demo;
let browser;
let context;
let page;
let said;

before(async () => {
  demo = await startDemo();
  await layOut(demo.home);
  browser = await launch(demo);
  context = await browser.newContext({ viewport: { width: 900, height: 560 } });
  said = listenToConsole(context);
  page = await openDemoPage(context, demo.page);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

for (const provider of PROVIDERS) {
  test(`the player ends with what was seen at ${provider}, in both versions of the format`, async () => {
    await page.goto(demo.url);
    await expectState(page, /^Ready$/);
    const screen = await openTerminalAt(page, provider);
    await screen.command("printf '\\033[1;32mgr''üße\\033[0m 世界 %s\\n' a b c");
    await screen.shows(/^grüße 世界 c$/);
    await page.setViewportSize({ width: 800, height: 600 });
    await page.setViewportSize({ width: 900, height: 560 });
    await screen.command("echo al''l; exit");
    await expectState(page, /^Ended/);
    const seen = (await screen.lines()).filter((line) => line.trim() !== '').map((line) => line.trimEnd());
    assert.ok(seen.includes('all'));
    await page.getByRole('link', { name: 'Replay' }).click();
    await expectState(page, /^The recording has ended$/);
    await expectPlayed(page, seen);
    assert.match(await page.locator('#replay-facts').textContent(), /\d/);

    const [{ id }] = await demo.sessions();
    await page.evaluate(async (url) => {
      document.querySelector('#player').player.dispose();
      const player = window.AsciinemaPlayer.create({ url }, document.querySelector('#player'), { preload: true });
      document.querySelector('#player').player = player;
      await player.seek('100%');
    }, `/v1/sessions/${id}/recording?format=v2`);
    await expectPlayed(page, seen);
  });
}

test('a full-screen program plays, and what lay below it is there again', async () => {
  await page.goto(demo.url);
  await expectState(page, /^Ready$/);
  const screen = await openTerminalAt(page, 'local');
  await screen.command('less -R -N work/colours.txt');
  await screen.shows(/line 3/);
  await screen.type('G');
  await screen.shows(/line 399/);
  const during = (await screen.lines()).map((line) => line.trimEnd());
  const [{ id }] = await demo.sessions();
  const other = await context.newPage();
  await other.goto(`${demo.url}/replay?session=${id}`);
  await expectState(other, /^The recording has ended$/);
  assert.match(await other.locator('#replay-facts').textContent(), /as far as it has got$/);
  await expectPlayed(other, during);
  await other.close();
  await page.bringToFront();
  await screen.type('q');
  await screen.command("echo be''hind; exit");
  await expectState(page, /^Ended/);
  const seen = (await screen.lines()).filter((line) => line.trim() !== '').map((line) => line.trimEnd());
  await page.getByRole('link', { name: 'Replay' }).click();
  await expectState(page, /^The recording has ended$/);
  await expectPlayed(page, seen);
});

test('what was recorded is listed, found by its id, and can be downloaded', async () => {
  await page.goto(`${demo.url}/replay`);
  await expectState(page, /^Ready$/);
  assert.equal(await page.locator('#recorded li').count(), PROVIDERS.length + 1);
  const [{ id }] = await demo.sessions();
  await page.getByLabel('Session id').fill(id);
  await page.getByRole('button', { name: 'Replay' }).click();
  await page.locator('#player .ap-term').waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download' }).click()]);
  assert.equal(download.suggestedFilename(), `${id}.cast`);
  await page.getByRole('link', { name: 'All recordings' }).click();
  await expectState(page, /^Ready$/);

  await page.goto(demo.url);
  await expectState(page, /^Ready$/);
  await page.locator('#ended').getByRole('link', { name: /^Replay/ }).first().click();
  await page.locator('#player .ap-term').waitFor();
});

test('nothing was said on the console', () => {
  assert.deepEqual(said, []);
});

test('who is not signed in, or asks for what never was, is told so', async () => {
  const other = await browser.newContext();
  const stranger = await other.newPage();
  await stranger.goto(`${demo.url}/replay?session=${'0'.repeat(32)}`);
  await expectState(stranger, /^Not signed in$/);
  assert.equal(await stranger.locator('#by-id').isVisible(), false);
  await other.close();

  await page.goto(`${demo.url}/replay?session=${'0'.repeat(32)}`);
  await expectState(page, /^There is no such recording$/);
  await page.locator('#recorded li').first().waitFor();
  await page.goto(`${demo.url}/replay?session=nonsense`);
  await expectState(page, /^Refused: that is no id of a session$/);
});

test('WebAssembly may be compiled by the page that replays, and by no other', async () => {
  for (const [path, allowed] of [['/', false], ['/watch', false], ['/replay', true], ['/assets/replay.js', false]]) {
    const response = await page.request.get(demo.url + path, { ignoreHTTPSErrors: true });
    const policy = response.headers()['content-security-policy'];
    const scripts = /script-src ([^;]+)/.exec(policy)[1];
    assert.equal(scripts, allowed ? "'self' 'wasm-unsafe-eval'" : "'self'", path);
  }
});

/** The text of the player's terminal, once it is what was seen. Of what was seen, the player shows the end. */
async function expectPlayed(at, seen) {
  await eventually(
    () => at.evaluate(readPlayer),
    (lines) => lines.length > 0 && lines.join('\n') === seen.slice(-lines.length).join('\n'),
    (lines) => `the player to show\n${seen.join('\n')}\nbut it shows\n${lines.join('\n')}`,
  );
}

/** Runs in the page: the lines that the player shows, without empty ones. */
function readPlayer() {
  return [...document.querySelectorAll('#player .ap-term-text .ap-line')].map((line) => line.textContent.trimEnd()).filter((line) => line !== '');
}
