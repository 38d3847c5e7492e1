// Whoever is the first to watch, under the default `sessions.screen`, joins a session of whose screen no model was kept
// until then: it is made from what is held of the output.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { expectChange, expectSame, pageTerminal } from './lib/buffer.mjs';
import { PROMPT, openDemoPage, openTerminalAt, setPrompt } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { eventually, expectState } from './lib/expect.mjs';
import { type } from './lib/keys.mjs';
import { PROGRAMS, layOut } from './lib/programs.mjs';
import { Screen } from './lib/screen.mjs';

/** More lines than `sessions.scrollback` holds. */
const FLOOD = 'seq 60000';

/** Has vim say more than is held, without ever erasing its screen: it scrolls up and down. */
const SCROLLING = ':for n in range(4000) | exe "normal! " .. (n % 60 < 30 ? "\\<C-e>" : "\\<C-y>") | redraw | endfor\r';

/** What `sessions.scrollback` holds, in bytes. */
const HELD = 256 * 1024;

let demo;
let browser;
let context;

before(async () => {
  demo = await startDemo();
  await layOut(demo.home);
  browser = await launch(demo);
  context = await browser.newContext({ viewport: { width: 1000, height: 640 } });
  const first = await openDemoPage(context, demo.page);
  await first.close();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

afterEach(async () => {
  for (const { id, state } of await demo.sessions()) if (state !== 'ended') await demo.api('DELETE', `/v1/sessions/${id}`);
  for (const page of context.pages()) await page.close();
});

for (const program of PROGRAMS) {
  test(`${program.name}: the first to join, behind a flood and a new size, sees what the writer sees`, async () => {
    const { writer, screen } = await open('local');
    await screen.command(`${FLOOD}; echo en''ough`);
    await screen.shows(/^enough$/);
    await screen.command(program.start);
    await screen.shows(program.shows);
    const shown = pageTerminal(writer);
    for (const keys of program.does.slice(0, 3)) await expectChange(shown, keys, () => type(writer, keys));
    await resize(writer, { width: 820, height: 520 });
    const viewer = await watch(writer);
    await expectSame(shown, pageTerminal(viewer), 'who joined');
    await writer.bringToFront();
    for (const keys of program.does.slice(3, 5)) {
      await expectChange(shown, keys, () => type(writer, keys));
      await expectSame(shown, pageTerminal(viewer), `after ${JSON.stringify(keys)}`);
    }
    // One that is killed leaves files behind.
    await type(writer, program.quit);
    await screen.endsWith(PROMPT);
  });
}

// Where lines wrap anew in another width is each terminal's own affair, hence the height alone.
test('a shell: the first to join after a new size sees what was written before it as the writer does', async () => {
  const { writer, screen } = await open('local');
  await screen.command("seq 100; printf '\\033[7;40Hhere\\033[20H'");
  await screen.shows(/here$/);
  await resize(writer, { width: 1000, height: 440 });
  const viewer = await watch(writer);
  await expectSame(pageTerminal(writer), pageTerminal(viewer), 'who joined');
});

test('vim at a remote provider: who joins is told of what is not known until vim has painted, and who comes then is not', async () => {
  const { writer, screen } = await open('pai');
  await screen.command(PROGRAMS[0].start);
  await screen.shows(PROGRAMS[0].shows);
  const before = await said();
  await type(writer, SCROLLING);
  await eventually(() => said(), (bytes) => bytes > before + HELD, (bytes) => `more output than is held, but there are ${bytes} bytes`);
  // It is still at it as long as this is not taken for a command.
  await type(writer, ':set nohlsearch | echo "do" .. "ne"\r');
  await screen.shows(/^done/);

  const first = await watch(writer, /^Only a part of the screen is known/);
  await expectSame(cells(writer), cells(first), 'who was told, once vim has painted');
  const second = await watch(writer);
  await expectSame(cells(writer), cells(second), 'who came then');
  await writer.bringToFront();
  await type(writer, PROGRAMS[0].quit);
  await screen.endsWith(PROMPT);
  // What is below vim is not known, so nothing of vim stays there.
  for (const viewer of [first, second]) {
    await expectState(viewer, /^Only a part of the screen is known/);
    await eventually(
      () => new Screen(viewer).lines(),
      (lines) => !lines.some((line) => /chapter|^~/.test(line)) && lines.some((line) => line.startsWith(PROMPT)),
      (lines) => `the prompt and nothing of vim, but there is\n${lines.join('\n')}`,
    );
  }
});

test('a shell that paints nothing anew: whoever joins is told of what is not known, however late', async () => {
  const { writer, screen } = await open('pai');
  // One place is painted over and over, so that nothing scrolls away.
  await screen.command("clear; for ((n = 0; n < 40000; n++)); do printf '\\033[5;5Hworking'; done; printf '\\033[8;1Hdo''ne\\n'");
  await screen.shows(/^done$/);
  for (const who of ['first', 'second']) {
    const viewer = await watch(writer, /^Only a part of the screen is known/);
    await eventually(() => viewer.locator('#state-words').textContent(), (words) => /^Only/.test(words), (words) => `${who}: ${words}`);
  }
  const third = await context.newPage();
  await writer.bringToFront();
  await screen.command('clear');
  await third.goto(await address());
  await expectState(third, /^Watching$/);
  await expectSame(pageTerminal(writer), pageTerminal(third), 'who came when all was erased');
});

async function open(provider) {
  const writer = await context.newPage();
  await writer.goto(demo.url);
  await expectState(writer, /^Ready$/);
  const screen = await openTerminalAt(writer, provider);
  await setPrompt(screen);
  return { writer, screen };
}

/** What can be seen of a page's terminal. Which modes were set before what is held is not known. */
function cells(page) {
  return async () => {
    const { size, cursor, rows } = await pageTerminal(page)();
    return { size, cursor, rows };
  };
}

/** Gives the page another size, and waits until what runs in it has taken notice. */
async function resize(writer, size) {
  await expectChange(pageTerminal(writer), 'a new size', () => writer.setViewportSize(size));
  const { cols, rows } = await writer.evaluate(() => {
    const { terminal } = document.querySelector('#terminal');
    return { cols: terminal.cols, rows: terminal.rows };
  });
  await eventually(() => session(), ({ size }) => size.cols === cols && size.rows === rows, ({ size }) => `${cols} by ${rows}, not ${JSON.stringify(size)}`);
}

/** The one session that is there. */
async function session() {
  const live = (await demo.sessions()).filter(({ state }) => state !== 'ended');
  assert.equal(live.length, 1);
  return live[0];
}

async function said() {
  return (await session()).bytes_out;
}

async function address() {
  return `${demo.url}/watch?session=${(await session()).id}`;
}

async function watch(writer, state = /^Watching$/) {
  const viewer = await context.newPage();
  await viewer.goto(await address());
  await expectState(viewer, state);
  await writer.bringToFront();
  return viewer;
}
