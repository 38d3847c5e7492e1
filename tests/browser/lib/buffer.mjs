// All that a terminal holds, so that two of them can be compared: every cell with its looks, the cursor, the modes.

import assert from 'node:assert/strict';
import { eventually } from './expect.mjs';

/** How long two terminals may take to be the same, in milliseconds. */
const DEADLINE = 10_000;

/** The terminal of a page. */
export function pageTerminal(page) {
  return () => page.evaluate(`(${readBuffer})(document.querySelector('#terminal').terminal)`);
}

/** A terminal in this process. */
export function headlessTerminal(terminal) {
  return () => new Promise((resolve) => terminal.write('', () => resolve(readBuffer(terminal))));
}

/**
 * Waits until two terminals hold the same and go on doing so; tells the first differences if they do not.
 * @param {() => Promise<object>} one
 * @param {() => Promise<object>} other
 */
export async function expectSame(one, other, what) {
  let last = [];
  try {
    await eventually(
      async () => {
        last = differences(await one(), await other());
        return last.length;
      },
      (count) => count === 0,
      () => what,
      DEADLINE,
    );
  } catch {
    assert.fail(`${what}: ${last.length} differences\n${last.slice(0, 12).join('\n')}`);
  }
}

/**
 * Does something, and waits until a terminal shows that something has come of it: programs throw away what is typed while
 * they begin, paint or leave.
 */
export async function expectChange(read, what, act) {
  const before = JSON.stringify(await read());
  await act();
  await eventually(async () => JSON.stringify(await read()), (now) => now !== before, () => `something to come of ${JSON.stringify(what)}`);
}

/** Where two terminals differ, in words. */
export function differences(one, other) {
  const found = [];
  for (const key of Object.keys(one).filter((name) => name !== 'rows')) {
    const [a, b] = [JSON.stringify(one[key]), JSON.stringify(other[key])];
    if (a !== b) found.push(`${key}: ${a} and ${b}`);
  }
  for (let y = 0; y < Math.max(one.rows.length, other.rows.length); y += 1) {
    const [a, b] = [one.rows[y] ?? [], other.rows[y] ?? []];
    for (let x = 0; x < Math.max(a.length, b.length); x += 1) {
      if (a[x] !== b[x]) found.push(`row ${y}, column ${x}: ${a[x]} and ${b[x]}`);
    }
  }
  return found;
}

/**
 * What is on the screen, and what decides how the next byte is taken. Runs in the page, too. Colours are those that
 * were asked for, by their index or by their components, not those that the palette makes of them. Some of it is in no
 * API of xterm.js'.
 */
function readBuffer(terminal) {
  const buffer = terminal.buffer.active;
  const LINES = ['isUnderline', 'isStrikethrough', 'isOverline'];
  const LOOKS = [...LINES, 'isBold', 'isItalic', 'isDim', 'isBlink', 'isInverse', 'isInvisible'];
  const { coreService, coreMouseService, buffer: inside } = terminal._core;
  const rows = [];
  for (let y = 0; y < terminal.rows; y += 1) {
    const line = buffer.getLine(buffer.baseY + y);
    const row = [];
    for (let x = 0; x < terminal.cols; x += 1) {
      const cell = line.getCell(x);
      // A cell that was never written and one that holds a space look the same.
      const text = cell.getChars() || (cell.getWidth() === 0 ? '' : ' ');
      const set = LOOKS.filter((look) => cell[look]());
      const ground = cell.isBgDefault() ? '' : `on ${cell.isBgRGB() ? 'true ' : ''}${cell.getBgColor()}`;
      const colour = cell.isFgDefault() ? '' : `in ${cell.isFgRGB() ? 'true ' : ''}${cell.getFgColor()}`;
      // Of a blank, only what can be seen of it.
      const looks = text.trim() === '' && !set.includes('isInverse') ? set.filter((look) => LINES.includes(look)) : [colour, ...set];
      row.push([JSON.stringify(text), cell.getWidth(), ground, ...looks].filter((part) => part !== '').join(' '));
    }
    rows.push(row);
  }
  return {
    size: [terminal.cols, terminal.rows],
    buffer: buffer.type,
    cursor: [buffer.cursorX, buffer.cursorY],
    cursorIsHidden: coreService.isCursorHidden,
    modes: { ...terminal.modes, ...coreService.decPrivateModes },
    mouse: coreMouseService.activeEncoding,
    margins: [inside.scrollTop, inside.scrollBottom],
    rows,
  };
}
