// Programs that paint the whole screen look the same to whoever was there all along, to whom the line broke, to who
// joins in the middle, and to who takes the session up anew.

import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { expectChange, expectSame, pageTerminal } from './lib/buffer.mjs';
import { PROMPT, openDemoPage, openTerminalAt, setPrompt } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { expectState } from './lib/expect.mjs';
import { type } from './lib/keys.mjs';
import { PROGRAMS, layOut } from './lib/programs.mjs';
import { Throttle } from './lib/throttle.mjs';

/** Bytes a second; the line is there to be cut. */
const RATE = 4_000_000;

/** Sizes of the writer's window. */
const SIZE = { width: 1000, height: 640 };
const SMALLER = { width: 820, height: 520 };

/** More lines than `sessions.scrollback` holds. */
const FLOOD = 'seq 60000';

let throttle;
let demo;
let browser;
let context;

before(async () => {
  throttle = await Throttle.start(RATE);
  const address = `https://127.0.0.1:${throttle.port}`;
  demo = await startDemo({ publicUrl: address, screen: 'always' });
  await layOut(demo.home);
  throttle.aim(demo.port);
  browser = await launch(demo);
  context = await browser.newContext({ viewport: SIZE });
  const first = await openDemoPage(context, `${address}/${new URL(demo.page).hash}`);
  await first.close();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await throttle?.stop();
});

for (const program of PROGRAMS) {
  test(`${program.name}: a page whose line breaks again and again shows what a page shows that stayed`, async () => {
    const { writer, screen, witness, spared } = await begin(program);
    for (const keys of program.does) {
      await use(writer, keys, witness, () => throttle.cut(spared));
      await expectState(writer, /^Connected to /);
      await expectSame(witness.terminal, pageTerminal(writer), `after ${JSON.stringify(keys)}`);
    }
    await end({ program, writer, screen, witness, shown: [pageTerminal(writer)] });
  });

  test(`${program.name}: who joins in the middle sees what the writer sees, then and from there on`, async () => {
    const { writer, screen, witness } = await begin(program);
    const shown = [pageTerminal(writer)];
    for (const keys of program.does) {
      await writer.bringToFront();
      await use(writer, keys, witness);
      await expectSame(witness.terminal, pageTerminal(writer), `the writer, after ${JSON.stringify(keys)}`);
      const newcomer = await watch(witness.session);
      shown.push(pageTerminal(newcomer));
      await expectSame(witness.terminal, shown.at(-1), `who came after ${JSON.stringify(keys)}`);
      await expectSame(witness.terminal, shown[1], `who came first, after ${JSON.stringify(keys)}`);
    }
    await end({ program, writer, screen, witness, shown });
  });

  // Below the program, a terminal that was made taller shows what it has above its screen, which is its own affair.
  for (const [flood, what] of [['', 'all output is held'], [FLOOD, 'the beginning is not held any more']]) {
    test(`${program.name}: who joins, and who takes it up, after a new size, where ${what}, sees the same`, async () => {
      const { writer, screen, witness } = await begin(program, flood);
      for (const keys of program.does.slice(0, 2)) await use(writer, keys, witness);
      await resize(writer, witness, SMALLER);
      await expectSame(witness.terminal, pageTerminal(writer), 'the writer');
      await expectSame(witness.terminal, pageTerminal(await watch(witness.session)), 'who joined');
      const heir = await takeUp(writer, flood);
      await expectSame(witness.terminal, pageTerminal(heir), 'who took it up');
      for (const keys of program.does.slice(2)) {
        await use(heir, keys, witness);
        await expectSame(witness.terminal, pageTerminal(heir), `after ${JSON.stringify(keys)}`);
      }
      await writer.close();
      await end({ program, writer: heir, screen, witness, shown: [] });
    });
  }

  for (const [flood, what] of [['', 'all output is held'], [FLOOD, 'the beginning is not held any more']]) {
    test(`${program.name}: who takes the session up anew sees the same, where ${what}`, async () => {
      const { writer, screen, witness } = await begin(program, flood);
      for (const keys of program.does.slice(0, 4)) await use(writer, keys, witness);
      await expectSame(witness.terminal, pageTerminal(writer), 'the writer');
      const heir = await takeUp(writer, flood);
      await expectSame(witness.terminal, pageTerminal(heir), 'who took it up');
      for (const keys of program.does.slice(4)) {
        await use(heir, keys, witness);
        await expectSame(witness.terminal, pageTerminal(heir), `after ${JSON.stringify(keys)}`);
      }
      await writer.close();
      await end({ program, writer: heir, screen, witness, shown: [pageTerminal(heir)] });
    });
  }
}

/** A terminal with a program in it, and a witness who has watched from before it was started, over a line that holds. */
async function begin(program, flood = '') {
  const writer = await open(demo.url);
  const screen = await openTerminalAt(writer, 'local');
  await setPrompt(screen);
  const others = throttle.open();
  const [{ id: session }] = await demo.sessions();
  const witness = await watch(session);
  const spared = new Set([...throttle.open()].filter((pair) => !others.has(pair)));
  await writer.bringToFront();
  if (flood) {
    await screen.command(`${flood}; echo en''ough`);
    await screen.shows(/^enough$/);
  }
  await screen.command(program.start);
  await screen.shows(program.shows);
  return { writer, screen, spared, witness: { page: witness, session, terminal: pageTerminal(witness) } };
}

/** Continues the session in a tab of its own, in place of the writer. */
async function takeUp(writer, flood) {
  const heir = await open(demo.url);
  await heir.getByRole('button', { name: /^Continue/ }).first().click();
  await expectState(heir, flood ? /are not kept any more$/ : /^Connected to /);
  await expectState(writer, /^Taken over by another window$/);
  return heir;
}

/** Leaves the program: what was below it is there again. Then ends the session. */
async function end({ program, writer, witness, shown }) {
  await writer.bringToFront();
  await type(writer, program.quit);
  await prompts(witness.page);
  await type(writer, "echo ba''ck\r");
  await prompts(witness.page);
  for (const terminal of shown) await expectSame(witness.terminal, terminal, 'behind the program');
  await writer.getByRole('button', { name: 'End session' }).click();
  await expectState(writer, /^Ended/);
  for (const page of context.pages()) await page.close();
}

async function open(address) {
  const page = await context.newPage();
  await page.goto(address);
  await expectState(page, /^Ready$/);
  return page;
}

async function watch(session) {
  const page = await context.newPage();
  await page.goto(`${demo.url}/watch?session=${session}`);
  await expectState(page, /^Watching$/);
  return page;
}

/** Waits until the cursor stands behind the prompt, below no program. */
async function prompts(page) {
  await page.waitForFunction((prompt) => {
    const buffer = document.querySelector('#terminal').terminal.buffer.active;
    return buffer.type === 'normal' && buffer.getLine(buffer.baseY + buffer.cursorY)?.translateToString(true).trimEnd() === prompt;
  }, PROMPT);
}

/** Gives the writer's window another size, and waits until the witness has it, too. */
async function resize(writer, witness, size) {
  await expectChange(witness.terminal, 'a new size', () => writer.setViewportSize(size));
}

async function use(page, keys, witness, meanwhile = () => {}) {
  await expectChange(witness.terminal, keys, async () => {
    const typing = type(page, keys);
    meanwhile();
    await typing;
  });
}
