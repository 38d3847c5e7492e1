// Programs that paint the whole screen: how they are started, used and left.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** In `does`, each text is typed and then looked at; `\x1b` is the Escape key. */
export const PROGRAMS = [
  {
    name: 'vim',
    start: 'vim -u NONE -i NONE -N -c "syntax on" -c "set number hlsearch incsearch showcmd ruler mouse=a laststatus=2" work/story.c',
    shows: /#include/,
    does: ['10j', 'ccint grüße = 世界;\x1b', '/int\r', 'gg5jv3j$', '\x1b:split\r', ':set list cursorline\r', 'Goappended\x1b', ':help\r'],
    quit: '\x1b:qa!\r',
  },
  {
    name: 'less',
    start: 'less -R -N -j5 work/colours.txt',
    shows: /line 3/,
    does: ['d', 'd', '/line 9\r', 'u', 'G', '50g', '&7\r'],
    quit: 'q',
  },
  {
    name: 'top',
    start: 'top -d 0.7',
    shows: /PID +USER/,
    does: ['z', 'x', 'b', 'V', 'cH', 'E', '1'],
    quit: 'q',
  },
  {
    name: 'htop',
    start: 'htop -d 7',
    shows: /PID.*USER/,
    does: ['\x1bOB', 't', 'H', '\x1bOB\x1bOB ', 'I', '/a\x1b'],
    quit: 'q',
  },
];

/** Puts what the programs work on into the home of a demo. */
export async function layOut(home) {
  await mkdir(join(home, 'work'));
  const story = Array.from({ length: 120 }, (_, n) => `/* chapter ${n} */ static const char *word_${n} = "say \\t ${n}";\tif (${n} > 3) return int_${n};`);
  await writeFile(join(home, 'work/story.c'), ['#include <stdio.h>', 'int main(void) {', ...story, '}', ''].join('\n'));
  const colours = Array.from({ length: 400 }, (_, n) => {
    const look = [1, 2, 3, 4, 7, 9][n % 6];
    return `line ${n} \x1b[${look}mlook ${look}\x1b[0m \x1b[3${n % 8};4${(n + 3) % 8}mpair\x1b[0m \x1b[38;5;${n % 256}mindexed\x1b[0m \x1b[48;2;${n % 256};80;${255 - (n % 256)}mtrue\x1b[0m 世界`;
  });
  await writeFile(join(home, 'work/colours.txt'), `${colours.join('\n')}\n`);
}
