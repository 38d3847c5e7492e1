// The page serves whoever comes: by keyboard alone, in a small window, in light and in dark.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, listenToConsole } from './lib/browser.mjs';
import { contrasts } from './lib/contrast.mjs';
import { openDemoPage } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { eventually, expectState } from './lib/expect.mjs';
import { Screen } from './lib/screen.mjs';

/** WCAG 2, success criterion 1.4.3. */
const LEAST_CONTRAST = 4.5;

let demo;
let browser;
let context;
let page;
let said;

/** The media that are emulated, for further tabs. */
let looks = {};

before(async () => {
  demo = await startDemo();
  browser = await launch(demo);
  context = await browser.newContext({ viewport: { width: 1100, height: 720 }, reducedMotion: 'reduce' });
  said = listenToConsole(context);
  page = await openDemoPage(context, demo.page);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test('the keyboard alone chooses, opens, leaves, ends and comes back', async () => {
  assert.deepEqual(await tabStops(page), ['theme', 'provider', 'Open terminal']);

  await page.locator('input:checked').focus();
  const chosen = await page.locator('input:checked').inputValue();
  await page.keyboard.press('ArrowDown');
  assert.notEqual(await page.locator('input:checked').inputValue(), chosen);
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await expectState(page, /^Connected to /);

  const screen = new Screen(page);
  await screen.command('echo ty""ped');
  await screen.shows(/^typed$/);

  await page.keyboard.press('Control+.');
  assert.equal(await focused(page), 'leave');
  assert.deepEqual(await tabStopsBackFrom(page), ['wire-toggle']);
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('#wire').isVisible(), true);
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('#wire').isVisible(), false);

  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expectState(page, /^Ended/);
  assert.equal(await focused(page), 'again');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'back');
  await page.keyboard.press('Enter');
  await expectState(page, /^Ready$/);
  assert.equal(await focused(page), 'provider');
});

test('the keyboard alone shares a terminal, opens the link, and leaves what is watched', async () => {
  await page.keyboard.press('Enter');
  await expectState(page, /^Connected to /);
  await page.keyboard.press('Control+.');
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await focused(page), 'share');
  await page.keyboard.press('Enter');
  await page.locator('#share-offer').waitFor();
  assert.equal(await focused(page), 'share-copy');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'share-open');
  const [watcher] = await Promise.all([context.waitForEvent('page'), page.keyboard.press('Enter')]);
  await expectState(watcher, /^Watching$/);
  assert.deepEqual(await tabStops(watcher), ['home', 'theme', 'Terminal input']);
  await watcher.close();
  await page.bringToFront();
  await page.locator('#share-new').focus();
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#sharing').isVisible(), false);
  assert.equal(await focused(page), 'share');
  await page.getByRole('button', { name: 'End session' }).press('Enter');
  await expectState(page, /^Ended/);
  await page.getByRole('button', { name: 'All providers' }).press('Enter');
  await expectState(page, /^Ready$/);
});

test('the keyboard alone finds a recording, plays it, and leads out of the player', async () => {
  const other = await context.newPage();
  await other.goto(`${demo.url}/replay`);
  await expectState(other, /^Ready$/);
  await other.getByRole('link', { name: /^Replay/ }).first().focus();
  await other.keyboard.press('Enter');
  await other.locator('#player .ap-term-text').waitFor();
  // Who wants less motion starts it by hand.
  await expectState(other, /^Ready to play$/);
  await other.locator('#theme').focus();
  await other.keyboard.press('Tab');
  assert.equal(await other.evaluate(() => document.activeElement.closest('#player') !== null), true);
  await other.keyboard.press('Space');
  await expectState(other, /^Playing$|^The recording has ended$/);
  const stops = [];
  while (!stops.includes('download')) {
    await other.keyboard.press('Tab');
    stops.push(await focused(other));
    assert.ok(stops.length < 10, `Tab leads out of the player: ${stops}`);
  }
  await other.close();
  await page.bringToFront();
});

test('what has the focus shows it', async () => {
  const stops = await tabStops(page);
  await toTheTop(page);
  for (const stop of stops) {
    await page.keyboard.press('Tab');
    const { outlineStyle, outlineWidth } = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement.closest('label') ?? document.activeElement);
      return { outlineStyle, outlineWidth: Number.parseFloat(outlineWidth) };
    });
    assert.equal(await focused(page), stop);
    assert.equal(outlineStyle, 'solid', stop);
    assert.ok(outlineWidth >= 2, stop);
  }
});

test('at 360 by 640 nothing is wider than the window', async () => {
  await page.setViewportSize({ width: 360, height: 640 });
  await eachView(page, async (view, at) => {
    // The player learns what room it has from an observer, a moment after it is shown.
    await eventually(
      () => outside(at),
      (elements) => elements.length === 0,
      (elements) => `${view} to fit into the window, but for ${elements}`,
    );
    const { scroll, window } = await at.evaluate(() => ({ scroll: document.documentElement.scrollWidth, window: innerWidth }));
    assert.ok(scroll <= window, `${view}: ${scroll} px in a window of ${window}`);
  });
  await page.setViewportSize({ width: 1100, height: 720 });
});

for (const colorScheme of ['light', 'dark']) {
  test(`in ${colorScheme} all text stands out from its ground`, async () => {
    await page.emulateMedia({ colorScheme });
    looks = { colorScheme };
    await eachView(page, async (view, at) => {
      const texts = await contrasts(at);
      assert.ok(texts.length > 3, `${view}: there is text to measure`);
      assert.deepEqual(texts.filter(({ ratio }) => ratio < LEAST_CONTRAST), [], view);
    });
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const [red] = ground.match(/\d+/g).map(Number);
    assert.ok(colorScheme === 'light' ? red > 200 : red < 60, `the ground is ${ground}`);
  });
}

test('the button for the colours overrides the system and is remembered', async () => {
  await page.emulateMedia({ colorScheme: 'light' });
  const theme = page.locator('#theme');
  const looks = () => page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
  await theme.click();
  assert.equal(await looks(), 'light');
  await theme.click();
  assert.equal(await looks(), 'dark');
  await page.reload();
  assert.equal(await looks(), 'dark');
  await theme.click();
  assert.equal(await looks(), 'light dark');
});

test('nothing was said on the console', () => {
  assert.deepEqual(said, []);
});

/** Walks through the page's views, beginning and ending with the list of providers. */
async function eachView(at, check) {
  await expectState(at, /^Ready$/);
  await check('providers', at);

  await at.locator('input[value="local"]').check();
  await at.getByRole('button', { name: 'Open terminal' }).click();
  await expectState(at, /^Connected to /);
  const screen = new Screen(at);
  await screen.command("for c in 0 1 2 3 4 5 6 7; do printf '\\033[3%dm text \\033[9%dm bright' $c $c; done; printf '\\033[0m co''lours\\n'");
  await screen.shows(/ colours$/);
  await check('terminal', at);

  await at.getByRole('button', { name: 'Wire' }).click();
  await check('wire', at);
  await at.getByRole('button', { name: 'Wire' }).click();

  await at.getByRole('button', { name: 'Share' }).click();
  await at.locator('#share-offer').waitFor();
  await check('sharing', at);
  const other = await context.newPage();
  await other.setViewportSize(at.viewportSize());
  await other.emulateMedia(looks);
  await other.goto(await at.locator('#share-link').inputValue());
  await expectState(other, /^Watching$/);
  await at.locator('#viewers').waitFor();
  await check('being watched', at);
  await at.getByRole('button', { name: 'Share' }).click();
  await check('watching', other);
  const third = await context.newPage();
  await third.setViewportSize(at.viewportSize());
  await third.emulateMedia(looks);
  await third.goto(demo.url);
  await expectState(third, /^Ready$/);
  await third.locator('#sessions').waitFor();
  await check('open sessions', third);
  await third.goto(`${demo.url}/watch`);
  await expectState(third, /^Nothing to watch$/);
  await check('nothing to watch', third);
  await third.close();
  await at.bringToFront();

  await at.getByRole('button', { name: 'End session' }).click();
  await expectState(at, /^Ended/);
  await check('ending', at);
  await expectState(other, /^Ended/);
  await check('end of watching', other);
  await at.getByRole('link', { name: 'Replay' }).waitFor();
  await check('ending with a recording', at);
  await other.goto(`${demo.url}/replay`);
  await expectState(other, /^Ready$/);
  await check('recordings', other);
  await other.getByRole('link', { name: /^Replay/ }).first().click();
  await other.locator('#player .ap-term').waitFor();
  await expectState(other, /^Ready to play$/);
  await check('recording', other);
  await other.close();
  await at.bringToFront();
  await at.getByRole('button', { name: 'All providers' }).click();
  await expectState(at, /^Ready$/);
}

/** Visible elements that reach over the left or right edge of the window. */
async function outside(at) {
  return at.evaluate(() =>
    [...document.querySelectorAll('body *')]
      .filter((element) => element.checkVisibility() && !element.closest('.xterm, .visually-hidden'))
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 0 && (box.left < -0.5 || box.right > innerWidth + 0.5))
      .map(({ element, box }) => `${element.tagName} ${element.id || element.className} ${box.left}–${box.right}`),
  );
}

/** Names what the Tab key reaches from the top of the page, in order. */
/** Has the next Tab begin before everything. */
async function toTheTop(at) {
  await at.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute('tabindex');
  });
}

async function tabStops(at) {
  await toTheTop(at);
  const stops = [];
  const places = new Set();
  for (;;) {
    await at.keyboard.press('Tab');
    const stop = await focused(at);
    // Two links may have one name; no two have one place.
    const place = await at.evaluate(() => [...document.querySelectorAll('*')].indexOf(document.activeElement));
    if (stop === 'body' || places.has(place)) return stops;
    stops.push(stop);
    places.add(place);
  }
}

async function tabStopsBackFrom(at) {
  await at.keyboard.press('Shift+Tab');
  return [await focused(at)];
}

async function focused(at) {
  return at.evaluate(() => {
    const { id, name, textContent, ariaLabel, localName } = document.activeElement;
    return localName === 'body' ? 'body' : id || name || ariaLabel || textContent.trim();
  });
}
