// xterm.js in its host element: looks, links, the way out by keyboard, and its size.

import { Terminal } from './vendor/xterm/xterm.mjs';
import { FitAddon } from './vendor/addon-fit/addon-fit.mjs';
import { WebLinksAddon } from './vendor/addon-web-links/addon-web-links.mjs';
import { TERMINAL_FONT, terminalPalette } from './theme.js';

/** Lines kept above the screen. */
const SCROLLBACK = 5000;

/** Least time between two sizes told while a window is being dragged, in milliseconds. */
const RESIZE_PACE = 100;

/** The smallest type that a terminal of somebody else's size is shown in, in pixels. */
const SMALLEST_TYPE = 7;

/** With Shift, these move through what has scrolled away. */
const SCROLL_KEYS = ['PageUp', 'PageDown', 'Home', 'End'];

/**
 * Opens a terminal in `host`. It is reachable as `host.terminal` for scripts of the
 * person at the page.
 * @param {HTMLElement} host
 * @param {object} handlers
 * @param {(text: string) => void} handlers.text typed, pasted, or answered by the terminal
 * @param {(bytes: Uint8Array) => void} handlers.bytes input that is no text
 * @param {(size: {cols: number, rows: number}) => void} handlers.size the newest size
 * @param {(title: string) => void} handlers.title set by the remote program
 * @param {() => void} handlers.leave the way out of the terminal was pressed
 */
export function openTerminal(host, handlers) {
  const { terminal, fit } = create(host);
  terminal.textarea.setAttribute('aria-describedby', 'escape-hint');

  terminal.onData(handlers.text);
  terminal.onBinary((data) => handlers.bytes(Uint8Array.from(data, (character) => character.charCodeAt(0))));
  terminal.onTitleChange(handlers.title);
  // Ctrl and the full stop have no encoding in a terminal, so taking the chord takes nothing from a program.
  terminal.attachCustomKeyEventHandler((event) => {
    if (!event.ctrlKey || event.altKey || event.metaKey || event.key !== '.') return true;
    if (event.type === 'keydown') {
      event.preventDefault();
      handlers.leave();
    }
    return false;
  });

  const stopFitting = keepFitted(host, terminal, fit, handlers.size);
  host.terminal = terminal;

  return {
    terminal,
    size: () => ({ cols: terminal.cols, rows: terminal.rows }),
    restyle: () => {
      terminal.options.theme = terminalPalette();
    },
    accept: (accepting) => {
      terminal.options.disableStdin = !accepting;
    },
    dispose: () => {
      stopFitting();
      delete host.terminal;
      terminal.dispose();
    },
  };
}

/**
 * Opens a terminal in `host` that shows somebody else's: it has that one's size, however much room there is, and takes
 * no keys. Type is made smaller to fit; below a readable size the host scrolls.
 * @param {HTMLElement} host
 * @param {(title: string) => void} titled the remote program has set a title
 */
export function openMirror(host, titled) {
  const { terminal, fit } = create(host);
  terminal.options.cursorBlink = false;
  terminal.onTitleChange(titled);
  // What is not handled here does what it does in any page, so Tab leads out.
  terminal.attachCustomKeyEventHandler(({ key, shiftKey }) => shiftKey && SCROLL_KEYS.includes(key));
  const scale = () => scaleToHost(host, terminal, fit);
  const observer = new ResizeObserver(scale);
  observer.observe(host);
  host.terminal = terminal;
  return {
    terminal,
    /** Takes a size in its place between what is written before and after. */
    resize: ({ cols, rows }) =>
      terminal.write('', () => {
        terminal.resize(cols, rows);
        scale();
      }),
    restyle: () => {
      terminal.options.theme = terminalPalette();
    },
    dispose: () => {
      observer.disconnect();
      delete host.terminal;
      terminal.dispose();
    },
  };
}

function create(host) {
  const terminal = new Terminal({
    allowProposedApi: false,
    cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
    disableStdin: true,
    fontFamily: TERMINAL_FONT,
    fontSize: fontSize(),
    lineHeight: 1.2,
    macOptionIsMeta: true,
    minimumContrastRatio: 4.5,
    scrollback: SCROLLBACK,
    theme: terminalPalette(),
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(new WebLinksAddon((event, uri) => window.open(uri, '_blank', 'noopener,noreferrer')));
  terminal.open(host);
  return { terminal, fit };
}

/** Picks the largest type, up to the usual one, that shows the whole terminal. Cells are rounded, hence the second look. */
function scaleToHost(host, terminal, fit) {
  if (host.clientWidth === 0 || host.clientHeight === 0) return;
  let size = fontSize();
  terminal.options.fontSize = size;
  for (let look = 0; look < 3 && size > SMALLEST_TYPE; look += 1) {
    const room = fit.proposeDimensions();
    const scale = Math.min(room.cols / terminal.cols, room.rows / terminal.rows);
    if (!(scale < 1)) break;
    size = Math.max(SMALLEST_TYPE, Math.floor(size * scale * 4) / 4);
    terminal.options.fontSize = size;
  }
}

/** Fits at once and whenever the host changes; tells the newest size, at most once a pace. */
function keepFitted(host, terminal, fit, told) {
  let pending = null;
  const tell = () => {
    pending = null;
    told({ cols: terminal.cols, rows: terminal.rows });
  };
  const refit = () => {
    // A hidden host has no size; fitting to it would shrink the remote terminal to nothing.
    if (host.clientWidth === 0 || host.clientHeight === 0) return;
    terminal.options.fontSize = fontSize();
    fit.fit();
  };
  const subscription = terminal.onResize(() => {
    pending ??= setTimeout(tell, RESIZE_PACE);
  });
  refit();
  const observer = new ResizeObserver(refit);
  observer.observe(host);
  return () => {
    observer.disconnect();
    subscription.dispose();
    clearTimeout(pending);
  };
}

/** Small windows get smaller type, so that a line still holds some fifty characters. */
function fontSize() {
  return window.innerWidth < 520 ? 11.5 : 14;
}
