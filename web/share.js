// The panel that makes a viewer link, to be handed to one person within seconds.

import { Refusal, mintLink } from './api.js';
import { $ } from './frame.js';
import { viewersInWords } from './words.js';

/** Between two looks at what is left of the link's time, in milliseconds. */
const TICK = 500;

export class SharePanel {
  #panel = $('sharing');
  #toggle = $('share');
  #session;
  #opened;
  #until = 0;
  #timer = null;
  #visit = 0;

  /**
   * @param {() => ?string} session id of the session that is shown, or `null`
   * @param {() => void} opened called when the panel opens
   */
  constructor(session, opened) {
    this.#session = session;
    this.#opened = opened;
    this.#toggle.addEventListener('click', () => this.show(this.#panel.hidden));
    this.#panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      this.show(false);
      this.#toggle.focus();
    });
    $('share-copy').addEventListener('click', () => this.#copy());
    $('share-new').addEventListener('click', () => this.#mint());
    $('share-open').addEventListener('click', () => {
      // Only after the browser has followed it.
      setTimeout(() => this.#over('Opened in another tab, and so used up.'));
    });
  }

  show(visible) {
    if (visible === !this.#panel.hidden) return;
    this.#panel.hidden = !visible;
    this.#toggle.setAttribute('aria-expanded', String(visible));
    if (visible) {
      this.#opened();
      this.#mint();
    } else {
      this.#over('');
    }
  }

  /** Says how many watch. */
  viewers(count) {
    $('viewers').hidden = count === 0;
    $('viewers').textContent = viewersInWords(count);
    $('share-viewers').textContent = count === 0 ? 'Nobody is watching now.' : `${viewersInWords(count)} now.`;
  }

  async #mint() {
    const session = this.#session();
    if (session === null) return this.#over('There is nothing to watch until the terminal is connected.');
    this.#over('Asking for a link…');
    const visit = this.#visit;
    try {
      const { url, expires_in: seconds } = await mintLink(session, 'viewer');
      if (visit === this.#visit) this.#offer(url, seconds);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (visit === this.#visit) this.#over(`No link was made: ${error.message}`);
    }
  }

  #offer(url, seconds) {
    // In the fragment, which no browser sends and no server logs.
    const address = new URL(`/watch#${new URL(url).pathname.split('/').pop()}`, location.href).href;
    this.#until = performance.now() + seconds * 1000;
    $('share-link').value = address;
    $('share-open').href = address;
    $('share-offer').hidden = false;
    $('share-new').hidden = true;
    $('share-said').textContent = '';
    this.#tick();
    this.#timer = setInterval(() => this.#tick(), TICK);
    $('share-copy').focus();
  }

  #tick() {
    const left = Math.ceil((this.#until - performance.now()) / 1000);
    if (left <= 0) this.#over('The link has expired.');
    else $('share-left').textContent = `Good for another ${left} s`;
  }

  /** There is no link that could be handed on, and why. */
  #over(words) {
    this.#visit += 1;
    clearInterval(this.#timer);
    const hadFocus = $('share-offer').contains(document.activeElement);
    $('share-link').value = '';
    $('share-open').removeAttribute('href');
    $('share-offer').hidden = true;
    $('share-new').hidden = false;
    $('share-said').textContent = words;
    if (hadFocus && !this.#panel.hidden) $('share-new').focus();
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText($('share-link').value);
      $('share-said').textContent = 'Copied.';
    } catch {
      $('share-link').select();
      $('share-said').textContent = 'The browser does not let this page copy. The link is selected: copy it with the keyboard.';
    }
  }
}
