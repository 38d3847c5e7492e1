// The way back after a lost connection: at once, then after longer and longer waits,
// and at once again whenever the network or the person comes back.

/** Waits between tries, in milliseconds; the last one repeats. */
const WAITS = [0, 250, 500, 1000, 2000, 5000];

/** Random share of a wait, so that many pages that were cut together do not come together. */
const JITTER = 0.3;

/**
 * @param {string} expiresAt until when it makes sense to try (RFC 3339)
 * @param {object} steps
 * @param {(seconds: number) => void} steps.wait says that a wait begins
 * @param {(again: () => void) => void} steps.tryOnce makes a try, and calls `again` when nothing came of it
 * @param {() => void} steps.giveUp it is too late
 * @returns {{done: () => void}} to be called when it worked, or is not wanted any more
 */
export function comeBack(expiresAt, { wait, tryOnce, giveUp }) {
  const deadline = Date.parse(expiresAt);
  let tries = 0;
  let timer = null;
  let over = false;

  const go = () => {
    if (over) return;
    timer = null;
    tryOnce(again);
  };
  const again = () => {
    if (over) return;
    if (Date.now() >= deadline) {
      done();
      giveUp();
      return;
    }
    const pace = WAITS[Math.min(tries, WAITS.length - 1)];
    tries += 1;
    if (pace >= 1000) wait(Math.round(pace / 1000));
    timer = setTimeout(go, pace * (1 + JITTER * Math.random()));
  };
  /** A hidden tab has slow timers: what wakes it goes at once. */
  const hurry = () => {
    if (timer === null || document.visibilityState === 'hidden') return;
    clearTimeout(timer);
    go();
  };
  const done = () => {
    over = true;
    clearTimeout(timer);
    window.removeEventListener('online', hurry);
    document.removeEventListener('visibilitychange', hurry);
  };
  window.addEventListener('online', hurry);
  document.addEventListener('visibilitychange', hurry);
  again();
  return { done };
}
