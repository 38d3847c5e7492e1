// A connection that breaks, again and again: the page comes back by itself, and
// nothing is missing, shown twice, or typed in vain.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { openDemoPage, openTerminalAt } from './lib/demo-page.mjs';
import { PROVIDERS, startDemo } from './lib/demo.mjs';
import { eventually, expectState } from './lib/expect.mjs';
import { Throttle } from './lib/throttle.mjs';

/** Bytes a second that reach the browser: fast, but slow enough that a cut hits the middle of something. */
const RATE = 4_000_000;

/** At each provider. */
const CUTS = 10;

/** Between two cuts, in milliseconds. */
const SHORTEST = 20;
const LONGEST = 400;

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
  test(`cuts at random moments leave no hole and no repeat in what is shown of ${provider}`, async (t) => {
    const page = await openChooser();
    const screen = await openTerminalAt(page, provider);
    await collectOutput(page);
    await screen.command('stty -echo; n=0; while [ ! -e "$HOME/stop" ]; do echo "n=$n"; n=$((n+1)); sleep 0.005; done; rm "$HOME/stop"; echo fi""nished $n');
    const random = generator(20261122);
    for (let cut = 0; cut < CUTS; cut += 1) {
      await new Promise((resolve) => setTimeout(resolve, SHORTEST + random() * (LONGEST - SHORTEST)));
      throttle.cut();
    }
    await expectState(page, /^Connected to /);
    await stopCounting(provider);
    const output = await eventually(
      () => page.evaluate(() => window.collected),
      (text) => /finished \d+\r\n/.test(text),
      (text) => `the end of the count, but it ends in ${JSON.stringify(text.slice(-200))}`,
    );
    const numbers = [...output.matchAll(/n=(\d+)\r\n/g)].map(([, number]) => Number(number));
    const count = Number(/finished (\d+)\r\n/.exec(output)[1]);
    assert.ok(count > 100, `${count} lines`);
    assert.deepEqual(numbers, Array.from({ length: count }, (_, at) => at));
    t.diagnostic(`${CUTS} cuts, ${count} lines`);
    await page.getByRole('button', { name: 'End session' }).click();
    await expectState(page, /^Ended/);
    await page.close();
  });
}

test('what is typed while the line is down is there when it is up again', async () => {
  const { page, screen } = await terminal();
  await screen.command("mark=here; echo mar''ked");
  await screen.shows(/^marked$/);
  throttle.aim(1);
  throttle.cut();
  await expectState(page, /^Connection lost\./);
  await screen.command('echo "mark is <$mark>"');
  throttle.aim(demo.port);
  await expectState(page, /^Connected to /);
  await screen.shows(/^mark is <here>$/);
  await page.close();
});

test('a line that swallows everything is found out by who types, and left for another', async () => {
  const { page, screen } = await terminal();
  throttle.swallow();
  await screen.command("echo thr''ough");
  await expectState(page, /^Connection lost\.|^Connected/);
  await screen.shows(/^through$/, 40_000);
  await page.close();
  // The browser may hold on to others that were swallowed.
  throttle.cut();
});

test('what is typed while old output is shown again gets there, and the answers of the terminal to it do not', async () => {
  const page = await openChooser();
  const { id, url } = await demo.mint('local');
  const attached = await page.evaluate(async (link) => {
    const { Attachment, Ledger } = await import('/assets/session.js');
    const words = new TextDecoder();
    /** Attaches, and leaves output unconsumed from the first byte on, as a busy terminal does. */
    window.attach = (to) =>
      new Promise((resolve) => {
        const heard = { text: '', unconsumed: [], end: null };
        heard.attachment = new Attachment(
          to,
          {
            ready: () => resolve(heard),
            output: (bytes, done) => {
              heard.text += words.decode(bytes, { stream: true });
              heard.unconsumed.push(done);
            },
            notice: () => {},
            end: (ending) => {
              heard.end = ending;
              resolve(heard);
            },
          },
          new Ledger(),
        );
      });
    window.first = await window.attach(link);
    window.first.attachment.sendText("echo sho''wn\r");
    return window.first.attachment.live;
  }, url);
  assert.equal(attached, true);
  await page.waitForFunction(() => /shown\r\n/.test(window.first.text));

  const again = await demo.api('POST', `/v1/sessions/${id}/links`, { role: 'writer' });
  assert.equal(again.status, 201);
  await page.evaluate(async (link) => {
    window.second = await window.attach(link);
  }, again.body.url);
  await page.waitForFunction(() => /shown\r\n/.test(window.second.text));
  const sent = await page.evaluate(() => {
    const { attachment } = window.second;
    const before = attachment.facts.sent;
    for (const answer of ['\x1b[?1;2c', '\x1b[0n', '\x1b[24;80R', '\x1b[?25;1$y', '\x1b]10;rgb:0/0/0\x1b\\', '\x1bP1$r0m\x1b\\']) {
      attachment.sendText(answer);
    }
    const between = attachment.facts.sent;
    attachment.sendText("echo ty''ped\r");
    return { answers: between - before, typed: attachment.facts.sent - between };
  });
  assert.deepEqual(sent, { answers: 0, typed: "echo ty''ped\r".length });
  await page.waitForFunction(() => /typed\r\n/.test(window.second.text));
  await page.close();
});

test('a session that ended meanwhile is told as such', async () => {
  const { page } = await terminal();
  throttle.aim(1);
  throttle.cut();
  await expectState(page, /^Connection lost\./);
  for (const { id, state } of await demo.sessions()) {
    if (state !== 'ended') await demo.api('DELETE', `/v1/sessions/${id}`);
  }
  throttle.aim(demo.port);
  await expectState(page, /^Refused: this link was already used or has expired/);
  await page.close();
});

async function openChooser() {
  const page = await context.newPage();
  await page.goto(address);
  await page.locator('#providers').waitFor();
  return page;
}

async function terminal() {
  const page = await openChooser();
  return { page, screen: await openTerminalAt(page, 'local') };
}

/** Collects what the page writes to its terminal, since the terminal itself forgets. */
async function collectOutput(page) {
  await page.evaluate(() => {
    const { terminal } = document.querySelector('#terminal');
    const decoder = new TextDecoder();
    const write = terminal.write.bind(terminal);
    window.collected = '';
    terminal.write = (bytes, done) => {
      window.collected += typeof bytes === 'string' ? bytes : decoder.decode(bytes, { stream: true });
      write(bytes, done);
    };
  });
}

/** Ends the count from another terminal, so that no key goes into the one that is looked at. */
async function stopCounting(provider) {
  const other = await openChooser();
  const screen = await openTerminalAt(other, provider);
  await screen.command('touch "$HOME/stop"; echo sto""pped');
  await screen.shows(/^stopped$/);
  await other.close();
}

/** Random numbers from 0 to 1 that are the same each time (Mulberry32). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
  };
}
