// Conditions that are waited for, with a deadline.

/** How long the page may take to say something, in milliseconds. */
const DEADLINE = 20_000;

/** Waits until the state line says something that matches, and returns what it says. */
export async function expectState(page, pattern) {
  const words = page.locator('#state-words');
  return eventually(
    () => words.textContent(),
    (text) => pattern.test(text),
    (text) => `the state line to match ${pattern}, but it says "${text}"`,
  );
}

/** Asks again until the answer is good enough; fails loudly at the deadline. */
export async function eventually(ask, good, complaint, deadline = DEADLINE) {
  const until = performance.now() + deadline;
  for (;;) {
    const answer = await ask();
    if (good(answer)) return answer;
    if (performance.now() > until) throw new Error(`waited ${deadline} ms for ${complaint(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
