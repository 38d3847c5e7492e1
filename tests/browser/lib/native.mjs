// `polytty connect` in a terminal of its own, read through a headless xterm.js.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import headless from '@xterm/headless';
import { headlessTerminal } from './buffer.mjs';
import { eventually } from './expect.mjs';

export class Native {
  #child;

  /**
   * Attaches by a link.
   * @param {import('./demo.mjs').Demo} demo whose certificate is trusted
   * @param {string} link
   * @param {{cols: number, rows: number}} size of its terminal
   */
  constructor(demo, link, { cols, rows }) {
    this.terminal = new headless.Terminal({ cols, rows, scrollback: 5000, allowProposedApi: true });
    this.read = headlessTerminal(this.terminal);
    // `script` makes the PTY; the shell gives it its size before anybody asks.
    const command = `stty cols ${cols} rows ${rows}; exec "$POLYTTY_BIN" connect`;
    this.#child = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
      env: { ...process.env, SHELL: '/bin/sh', POLYTTY_LINK: link, POLYTTY_CA: demo.ca },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.exit = once(this.#child, 'exit').then(([status]) => status);
    this.#child.stdout.on('data', (bytes) => this.terminal.write(bytes));
    this.#child.stdin.on('error', () => {});
    this.terminal.onData((data) => this.type(data));
  }

  type(text) {
    this.#child.stdin.write(text);
  }

  /** Waits until a line of the screen matches. */
  async shows(pattern) {
    await eventually(
      async () => {
        await this.read();
        const { active } = this.terminal.buffer;
        return Array.from({ length: this.terminal.rows }, (_, y) => active.getLine(active.baseY + y).translateToString(true));
      },
      (lines) => lines.some((line) => pattern.test(line)),
      (lines) => `a line like ${pattern} in\n${lines.join('\n')}`,
    );
  }

  /** Waits until the cursor stands behind the prompt, below no full-screen program. */
  async prompts(prompt) {
    await eventually(
      async () => {
        await this.read();
        const { active } = this.terminal.buffer;
        return active.type === 'normal' ? active.getLine(active.baseY + active.cursorY).translateToString(true).trimEnd() : active.type;
      },
      (line) => line === prompt,
      (line) => `the prompt, but there is ${JSON.stringify(line)}`,
    );
  }

  /** Leaves the session to itself, and waits for the end. */
  async leave() {
    this.type('\r~.');
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await this.exit;
    clearTimeout(force);
  }
}
