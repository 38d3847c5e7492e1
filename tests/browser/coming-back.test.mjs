// A connection that breaks, again and again: the page comes back by itself, and
// nothing is missing, shown twice, or typed in vain.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.mjs';
import { openDemoPage, openTerminalAt } from './lib/demo-page.mjs';
import { PROVIDERS, startDemo } from './lib/demo.mjs';
import { eventually, expectState } from './lib/expect.mjs';
import { anySeed, generator } from './lib/random.mjs';
import { Throttle } from './lib/throttle.mjs';

/** Bytes a second that reach the browser: fast, but slow enough that a cut hits the middle of something. */
const RATE = 4_000_000;

/** Times that the page has to have come back from a cut inside of a frame, at each provider. */
const CUTS = { pai: 50, local: 50 };
const FEWER_CUTS = 10;

/** From one cut to the next one, in milliseconds. */
const SHORTEST = 20;
const LONGEST = 400;

/** One cut of so many is followed by another one so many milliseconds later, whatever is under way by then. */
const AGAIN = 4;
const SOON = 40;

/** Between two lines that are typed, in milliseconds. */
const TYPING_PACE = 15;

/** Prints a numbered line every 5 ms, and looks whether the numbered lines that are typed come each once and in order. */
const SCRIPT = `
stty -echo
exec 8<> <(:)
count() {
  n=0
  while [ ! -e "$0.stop" ]; do
    echo "n=$n"
    n=$((n + 1))
    read -rt 0.005 -u 8
  done
  rm "$0.stop"
  echo "printed $n"
}
count &
seen=0
while IFS= read -r line && [ "$line" != stop ]; do
  [ "$line" = "typed $seen" ] || echo "BAD: $line instead of $seen"
  seen=$((seen + 1))
done
: > "$0.stop"
wait $!
echo "finished $seen"
`;

let throttle;
let demo;
let browser;
let context;
let address;

before(async () => {
  throttle = await Throttle.start(RATE);
  address = `https://127.0.0.1:${throttle.port}`;
  demo = await startDemo({ publicUrl: address });
  await writeFile(join(demo.home, 'count'), SCRIPT);
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
  const cuts = CUTS[provider] ?? FEWER_CUTS;
  test(`${cuts} cuts inside of frames leave no hole and no repeat in what is shown of ${provider}, or typed there`, async (t) => {
    const seed = anySeed();
    t.diagnostic(`POLYTTY_SEED=${seed}`);
    const random = generator(seed);
    const page = await openChooser();
    const screen = await openTerminalAt(page, provider);
    await collect(page);
    await screen.command('exec bash "$HOME/count"');
    await screen.shows(/^n=1$/);
    await page.evaluate((pace) => window.beginTyping(pace), TYPING_PACE);

    const inside = { up: 0, down: 0 };
    while (Math.min(await returns(page), inside.up + inside.down) < cuts || inside.up === 0 || inside.down === 0) {
      await new Promise((resolve) => setTimeout(resolve, SHORTEST + random() * (LONGEST - SHORTEST)));
      const way = random() < 0.5 ? 'up' : 'down';
      await throttle.cutInside(way, random);
      inside[way] += 1;
      if (random() < 1 / AGAIN) {
        await new Promise((resolve) => setTimeout(resolve, random() * SOON));
        throttle.cut();
      }
    }
    await expectState(page, /^Connected to /);
    const typed = await page.evaluate(() => window.endTyping());
    const output = await eventually(
      () => page.evaluate(() => window.collected),
      (text) => /finished \d+\r\n/.test(text),
      (text) => `the end of the count, but it ends in ${JSON.stringify(text.slice(-200))}`,
    );
    const lines = output.slice(output.indexOf('n=0\r\n'));
    const count = Number(/printed (\d+)\r\n/.exec(lines)[1]);
    const expected = Array.from({ length: count }, (_, n) => `n=${n}`).concat(`printed ${count}`, `finished ${typed}`);
    assert.deepEqual(lines.split('\r\n').slice(0, expected.length), expected);
    const back = await returns(page);
    t.diagnostic(`${inside.down} cuts down and ${inside.up} up, back ${back} times; ${count} lines printed, ${typed} typed`);
    assert.ok(back >= cuts && inside.down > 0 && inside.up > 0, `${back} times back`);
    assert.ok(count > 100 && typed > 50, `${count} lines, ${typed} typed`);
    await expectState(page, /^Ended|^The process/);
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

test('a tab that was reloaded goes on with its session', async () => {
  const { page, screen } = await terminal();
  await screen.command("mark=here; echo mar''ked");
  await screen.shows(/^marked$/);
  await page.reload();
  await expectState(page, /^Ready$/);
  await page.getByRole('button', { name: /^Continue/ }).first().click();
  await expectState(page, /^Connected to /);
  await screen.shows(/^marked$/);
  await screen.command('echo "mark is <$mark>"');
  await screen.shows(/^mark is <here>$/);
  await page.getByRole('button', { name: 'End session' }).click();
  await expectState(page, /^Ended/);
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

/**
 * Collects what the page writes to its terminal, since the terminal itself forgets; counts how often the page was
 * connected; and gives it somebody who types.
 */
async function collect(page) {
  await page.evaluate(() => {
    const { terminal } = document.querySelector('#terminal');
    const decoder = new TextDecoder();
    const write = terminal.write.bind(terminal);
    window.collected = '';
    terminal.write = (bytes, done) => {
      window.collected += typeof bytes === 'string' ? bytes : decoder.decode(bytes, { stream: true });
      write(bytes, done);
    };
    window.returns = 0;
    new MutationObserver((changes) => {
      const said = changes.flatMap(({ addedNodes }) => [...addedNodes].map(({ data }) => data));
      window.returns += said.filter((words) => words.startsWith('Connected to ')).length;
    }).observe(document.querySelector('#state-words'), { childList: true });
    let typed = 0;
    let typing;
    window.beginTyping = (pace) => {
      typing = setInterval(() => terminal.input(`typed ${typed++}\r`), pace);
    };
    window.endTyping = () => {
      clearInterval(typing);
      terminal.input('stop\r');
      return typed;
    };
  });
}

/** How often the page was connected again. */
async function returns(page) {
  return page.evaluate(() => window.returns);
}
