// The same programs in `polytty connect`: its terminal holds what a page holds that was there all along.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { expectChange, expectSame, pageTerminal } from './lib/buffer.mjs';
import { PROMPT, openDemoPage } from './lib/demo-page.mjs';
import { startDemo } from './lib/demo.mjs';
import { expectState } from './lib/expect.mjs';
import { Native } from './lib/native.mjs';
import { PROGRAMS, layOut } from './lib/programs.mjs';
import { Throttle } from './lib/throttle.mjs';

/** Bytes a second; the line is there to be cut. */
const RATE = 4_000_000;

const SIZE = { cols: 110, rows: 32 };

/** More lines than `sessions.scrollback` holds. */
const FLOOD = 'seq 60000';

/** An outage that the client tells of, in milliseconds: it does so after a second. */
const OUTAGE = 1_500;

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
  context = await browser.newContext({ viewport: { width: 1100, height: 700 } });
  const first = await openDemoPage(context, `${address}/${new URL(demo.page).hash}`);
  await first.close();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
  await throttle?.stop();
});

for (const program of PROGRAMS) {
  test(`${program.name}: over a line that breaks again and again, the native client shows what a page shows that stayed`, async () => {
    const { writer, witness, spared, session } = await begin(program);
    for (const keys of program.does) {
      await use(writer, keys, witness, () => throttle.cut(spared));
      await expectSame(witness, writer.read, `after ${JSON.stringify(keys)}`);
    }
    await end(program, witness, session, writer);
  });

  test(`${program.name}: after an outage that it tells of, the native client has it painted anew`, async () => {
    const { writer, witness, spared, session } = await begin(program);
    throttle.aim(1);
    throttle.cut(spared);
    await writer.shows(/the connection is lost/);
    await new Promise((resolve) => setTimeout(resolve, OUTAGE));
    throttle.aim(demo.port);
    await expectSame(witness, writer.read, 'after the outage');
    await end(program, witness, session, writer);
  });

  for (const [flood, what] of [['', 'all output is held'], [FLOOD, 'the beginning is not held any more']]) {
    test(`${program.name}: who joins or takes it up by the native client sees the same, where ${what}`, async () => {
      const { writer, witness, session } = await begin(program, flood);
      for (const keys of program.does.slice(0, 3)) {
        await use(writer, keys, witness);
        await expectSame(witness, writer.read, `the writer, after ${JSON.stringify(keys)}`);
      }
      const viewer = new Native(demo, await link(session, 'viewer'), SIZE);
      await expectSame(witness, viewer.read, 'who joined');
      const heir = new Native(demo, await link(session, 'writer'), SIZE);
      assert.equal(await writer.exit, 255, 'the one before is told, and goes');
      await expectSame(witness, heir.read, 'who took it up');
      for (const keys of program.does.slice(3)) {
        await use(heir, keys, witness);
        await expectSame(witness, heir.read, `who took it up, after ${JSON.stringify(keys)}`);
        await expectSame(witness, viewer.read, `who joined, after ${JSON.stringify(keys)}`);
      }
      await end(program, witness, session, heir, viewer);
    });
  }
}

/** A native client with a program in it, and a witness who has watched from before it was started, over a line that holds. */
async function begin(program, flood = '') {
  const { id: session, url } = await demo.mint('local', { size: SIZE });
  const writer = new Native(demo, url, SIZE);
  // Until then, this terminal echoes what is typed by itself.
  await writer.shows(/[#$] *$/);
  writer.type("PS1='rea''dy> '\r");
  await writer.prompts(PROMPT);
  const others = throttle.open();
  const page = await context.newPage();
  await page.goto(`${demo.url}/watch?session=${session}`);
  await expectState(page, /^Watching$/);
  const spared = new Set([...throttle.open()].filter((pair) => !others.has(pair)));
  if (flood) {
    writer.type(`${flood}; echo en''ough\r`);
    await writer.shows(/^enough$/);
  }
  writer.type(`${program.start}\r`);
  await writer.shows(program.shows);
  return { writer, spared, session, witness: pageTerminal(page) };
}

async function use(native, keys, witness, meanwhile = () => {}) {
  await expectChange(witness, keys, () => {
    native.type(keys);
    meanwhile();
  });
}

/** Leaves the program: what was below it is there again. Then ends everything. */
async function end(program, witness, session, writer, ...others) {
  writer.type(program.quit);
  // What is typed while a program leaves may be thrown away.
  await writer.prompts(PROMPT);
  writer.type("echo ba''ck\r");
  await writer.shows(/^back$/);
  await writer.prompts(PROMPT);
  for (const native of [writer, ...others]) await expectSame(witness, native.read, 'behind the program');
  for (const native of others) await native.leave();
  writer.type('exit 7\r');
  assert.equal(await writer.exit, 7);
  for (const page of context.pages()) await page.close();
}

/** Another link to a session. */
async function link(session, role) {
  const { status, body } = await demo.api('POST', `/v1/sessions/${session}/links`, { role });
  assert.equal(status, 201);
  return body.url;
}
