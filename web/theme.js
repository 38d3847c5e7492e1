// Light and dark: the page's scheme, its switch, and the terminal's palette for each.
//
// The colours of the page are in style.css; the terminal paints itself and needs
// its palette as values. Its background is repeated there as --terminal.

/** The type of terminals. */
export const TERMINAL_FONT = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';

const KEY = 'polytty.theme';
const CHOICES = ['system', 'light', 'dark'];
const prefersDark = matchMedia('(prefers-color-scheme: dark)');

const PALETTES = {
  light: {
    background: '#fcfdfc',
    foreground: '#1a2320',
    cursor: '#0c6a50',
    cursorAccent: '#fcfdfc',
    selectionBackground: '#bfe0d4',
    selectionInactiveBackground: '#dde8e3',
    scrollbarSliderBackground: '#1a232026',
    scrollbarSliderHoverBackground: '#1a232040',
    scrollbarSliderActiveBackground: '#1a232059',
    black: '#1a2320',
    red: '#b3261e',
    green: '#1c7031',
    yellow: '#7d5a00',
    blue: '#1d56b0',
    magenta: '#8a2c9a',
    cyan: '#0a6a78',
    white: '#5e6a65',
    brightBlack: '#5e6a65',
    brightRed: '#c4352b',
    brightGreen: '#237a39',
    brightYellow: '#8a6400',
    brightBlue: '#2a66c6',
    brightMagenta: '#9c3dac',
    brightCyan: '#107786',
    brightWhite: '#1a2320',
  },
  dark: {
    background: '#0d1211',
    foreground: '#dce5e1',
    cursor: '#63d6ac',
    cursorAccent: '#0d1211',
    selectionBackground: '#24483d',
    selectionInactiveBackground: '#1d2a26',
    scrollbarSliderBackground: '#dce5e126',
    scrollbarSliderHoverBackground: '#dce5e140',
    scrollbarSliderActiveBackground: '#dce5e159',
    black: '#26302d',
    red: '#ff8577',
    green: '#7fd08a',
    yellow: '#e3be6a',
    blue: '#82b4ff',
    magenta: '#dc9df0',
    cyan: '#6fd0dc',
    white: '#cbd5d1',
    brightBlack: '#87938e',
    brightRed: '#ffa498',
    brightGreen: '#9fe2a8',
    brightYellow: '#f2d48e',
    brightBlue: '#a6cbff',
    brightMagenta: '#e9bdf8',
    brightCyan: '#97e2eb',
    brightWhite: '#f6faf8',
  },
};

/** The terminal palette that goes with the page as it looks now. */
export function terminalPalette() {
  return PALETTES[scheme()];
}

/** Wires the button that walks through system, light and dark. `changed` is called after every change of looks. */
export function themeSwitch(button, changed) {
  apply(button, remembered());
  button.addEventListener('click', () => {
    const next = CHOICES[(CHOICES.indexOf(remembered()) + 1) % CHOICES.length];
    remember(next);
    apply(button, next);
    changed();
  });
  prefersDark.addEventListener('change', changed);
}

function scheme() {
  const choice = remembered();
  if (choice !== 'system') return choice;
  return prefersDark.matches ? 'dark' : 'light';
}

function apply(button, choice) {
  document.documentElement.dataset.theme = choice;
  button.dataset.theme = choice;
  const label = { system: 'Colours: as the system', light: 'Colours: light', dark: 'Colours: dark' }[choice];
  button.setAttribute('aria-label', label);
  button.title = label;
}

function remembered() {
  try {
    const choice = localStorage.getItem(KEY);
    return CHOICES.includes(choice) ? choice : 'system';
  } catch {
    return chosen;
  }
}

/** Storage may be forbidden; the choice then lasts as long as the page. */
let chosen = 'system';

function remember(choice) {
  chosen = choice;
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // Kept in `chosen`.
  }
}
