// xterm.js in its host element: looks, links, the way out by keyboard, and its size.

import { Terminal } from './vendor/xterm/xterm.mjs';
import { FitAddon } from './vendor/addon-fit/addon-fit.mjs';
import { WebLinksAddon } from './vendor/addon-web-links/addon-web-links.mjs';
import { terminalPalette } from './theme.js';

/** Lines kept above the screen. */
const SCROLLBACK = 5000;

/** Least time between two sizes told while a window is being dragged, in milliseconds. */
const RESIZE_PACE = 100;

const FONT = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';

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
  const terminal = new Terminal({
    allowProposedApi: false,
    cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
    disableStdin: true,
    fontFamily: FONT,
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
