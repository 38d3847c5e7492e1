// Keys that a person presses.

/** Presses keys one after the other; in `keys`, `\x1b` is the Escape key and `\x1bOB` the arrow down. */
export async function type(page, keys) {
  for (const piece of keys.split(/(\x1bO.|\x1b|\r)/)) {
    if (piece === '\x1b') await page.keyboard.press('Escape');
    else if (piece === '\x1bOB') await page.keyboard.press('ArrowDown');
    else if (piece === '\r') await page.keyboard.press('Enter');
    else await page.keyboard.type(piece);
  }
}
