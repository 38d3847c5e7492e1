// The panel that shows what travels: figures of the attachment, refreshed while it is open.

import { bytesInWords } from './words.js';

/** Display refresh and ping, in milliseconds. Nothing but the panel depends on it. */
const REFRESH = 500;

export class WirePanel {
  #panel;
  #toggle;
  #source;
  #timer = null;
  #roundTrip = null;

  /** @param source returns `{attachment, size, provider}`; the attachment may be `null` */
  constructor(panel, toggle, source) {
    this.#panel = panel;
    this.#toggle = toggle;
    this.#source = source;
    toggle.addEventListener('click', () => this.show(panel.hidden));
  }

  show(visible) {
    this.#panel.hidden = !visible;
    this.#toggle.setAttribute('aria-expanded', String(visible));
    clearInterval(this.#timer);
    this.#timer = null;
    if (!visible) return;
    this.#refresh();
    this.#timer = setInterval(() => this.#refresh(), REFRESH);
  }

  /** Forgets the figures of the attachment before. */
  reset() {
    this.#roundTrip = null;
  }

  #refresh() {
    const { attachment, size, provider } = this.#source();
    attachment?.ping((milliseconds) => {
      this.#roundTrip = milliseconds;
    });
    const facts = attachment?.facts;
    document.querySelector('#wire-provider').textContent = provider?.kind ?? '';
    this.#set('session', facts?.session);
    this.#set('protocol', facts?.protocol);
    this.#set('link', facts?.session ? 'redeemed, spent' : null);
    this.#set('size', size && `${size.cols} × ${size.rows}`);
    this.#set('received', facts && bytesInWords(facts.received));
    this.#set('unacknowledged', facts && unacknowledged(facts));
    this.#set('sent', facts && bytesInWords(facts.sent));
    this.#set('roundtrip', this.#roundTrip === null ? null : `${this.#roundTrip.toFixed(1)} ms`);
  }

  #set(fact, value) {
    this.#panel.querySelector(`[data-fact="${fact}"]`).textContent = value || '–';
  }
}

function unacknowledged({ unacknowledged: bytes, window }) {
  return window === null ? bytesInWords(bytes) : `${bytesInWords(bytes)} of ${bytesInWords(window)}`;
}
