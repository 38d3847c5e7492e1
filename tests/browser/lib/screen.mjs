// The terminal of a page, read through xterm.js' buffer. `where` is an expression
// that yields the Terminal in the page.

/** How long something may take to appear, in milliseconds. */
const DEADLINE = 20_000;

export class Screen {
  #page;
  #where;

  constructor(page, where = "document.querySelector('#terminal').terminal") {
    this.#page = page;
    this.#where = where;
  }

  /** The last lines of the buffer, wrapped ones joined, without empty ones at the end. */
  async lines() {
    return this.#ask(readLines);
  }

  async size() {
    return this.#ask(({ cols, rows }) => ({ cols, rows }));
  }

  async type(text) {
    await this.#page.keyboard.type(text);
  }

  /** Types a command and Enter. */
  async command(text) {
    await this.type(text);
    await this.#page.keyboard.press('Enter');
  }

  /** Waits until one of the lines matches, and returns the match. */
  async shows(pattern, deadline = DEADLINE) {
    return this.#until((lines) => lines.map((line) => pattern.exec(line)).find(Boolean), `a line like ${pattern}`, deadline);
  }

  /** Waits until the last line is exactly this, but for spaces behind it. */
  async endsWith(text, deadline = DEADLINE) {
    return this.#until((lines) => lines.at(-1)?.trimEnd() === text, `the last line ${JSON.stringify(text)}`, deadline);
  }

  /** Pastes text as the clipboard does, through a paste event on the terminal's text area. */
  async paste(text) {
    await this.#page.evaluate((pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', pasted);
      const paste = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true });
      document.querySelector('.xterm-helper-textarea').dispatchEvent(paste);
    }, text);
  }

  /** Applies a function to the Terminal, in the page. */
  async #ask(question) {
    return this.#page.evaluate(`(${question})(${this.#where})`);
  }

  async #until(found, what, deadline) {
    const until = performance.now() + deadline;
    for (;;) {
      const lines = await this.lines();
      const result = found(lines);
      if (result) return result;
      if (performance.now() > until) {
        throw new Error(`not seen within ${deadline} ms: ${what}; the screen ends with\n${lines.slice(-12).join('\n')}`);
      }
      await this.#page.evaluate(() => new Promise(requestAnimationFrame));
    }
  }
}

/** Runs in the page. A few screens are enough, and reading more would slow the page under test down. */
function readLines(terminal) {
  const buffer = terminal.buffer.active;
  const lines = [];
  for (let y = Math.max(0, buffer.length - 300); y < buffer.length; y += 1) {
    const line = buffer.getLine(y);
    const text = line.translateToString(true);
    if (line.isWrapped && lines.length > 0) lines[lines.length - 1] += text;
    else lines.push(text);
  }
  while (lines.at(-1) === '') lines.pop();
  return lines;
}
