// The waits of a page that comes back by itself, with a clock that the test sets.

import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';

let comeBack;

beforeEach(async () => {
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.method(Math, 'random', () => 0.5);
  globalThis.window = new EventTarget();
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  ({ comeBack } = await import('../../web/reconnect.js'));
});

/** A way back that no try succeeds on, and what was done. */
function begin(seconds = 3600) {
  const done = { tries: 0, waits: [], gaveUp: 0 };
  let failed;
  const returning = comeBack(new Date(Date.now() + 1000 * seconds).toISOString(), {
    wait: (pause) => done.waits.push(pause),
    tryOnce: (again) => {
      done.tries += 1;
      failed = again;
    },
    giveUp: () => {
      done.gaveUp += 1;
    },
  });
  return { done, returning, fail: () => failed() };
}

/** Lets time pass, and holds that a try comes at its end and not before. */
function triesAfter(way, pause) {
  const before = way.done.tries;
  if (pause > 0) {
    mock.timers.tick(pause - 1);
    assert.equal(way.done.tries, before, `not before ${pause} ms`);
  }
  mock.timers.tick(1);
  assert.equal(way.done.tries, before + 1, `after ${pause} ms`);
}

test('the first try comes at once, then the waits grow to five seconds, spread by up to three tenths, and stay there', () => {
  const way = begin();
  // Half of the spread: each is longer by 15 in a hundred.
  for (const pause of [0, 250, 500, 1000, 2000, 5000, 5000, 5000]) {
    triesAfter(way, Math.ceil(pause * 1.15));
    way.fail();
  }
  assert.deepEqual(way.done.waits, [1, 2, 5, 5, 5, 5], 'whoever waits a second or more is told so');
});

test('a network that is there again, and a tab that is looked at again, are not waited for', () => {
  const way = begin();
  for (let n = 0; n < 6; n += 1) {
    mock.timers.tick(10_000);
    way.fail();
  }
  window.dispatchEvent(new Event('online'));
  assert.equal(way.done.tries, 7);
  window.dispatchEvent(new Event('online'));
  assert.equal(way.done.tries, 7, 'one try at a time');
  way.fail();
  document.visibilityState = 'hidden';
  document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(way.done.tries, 7, 'a tab that is being hidden is in no hurry');
  document.visibilityState = 'visible';
  document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(way.done.tries, 8);
});

test('it gives up once, when the link has run out, and does nothing after that or when it is back', () => {
  const late = begin(3);
  for (let n = 0; n < 10; n += 1) {
    mock.timers.tick(1000);
    if (late.done.tries > 0 && late.done.gaveUp === 0) late.fail();
  }
  assert.equal(late.done.gaveUp, 1);
  const tries = late.done.tries;
  late.fail();
  window.dispatchEvent(new Event('online'));
  mock.timers.tick(60_000);
  assert.deepEqual([late.done.tries, late.done.gaveUp], [tries, 1]);

  const back = begin();
  mock.timers.tick(1);
  back.returning.done();
  back.fail();
  window.dispatchEvent(new Event('online'));
  mock.timers.tick(60_000);
  assert.equal(back.done.tries, 1);
});
