// The client side of the `polytty.v1` subprotocol: one WebSocket, one attachment.
//
// Binary messages are terminal bytes, text messages are JSON objects with an
// `operation`. Nothing here waits for a timer, because browsers slow the timers of
// a hidden tab down to one a minute: everything follows from a message or a call.

export const SUBPROTOCOL = 'polytty.v1';

/** UTF-16 units in one `stdin` message: at most 48 KiB of JSON, however much of it must be escaped. */
const INPUT_UNITS = 8 * 1024;

/** Input bytes that may wait in the socket. A paste that would pass this is refused whole. */
export const INPUT_BOUND = 8 * 1024 * 1024;

/** Output bytes between two acknowledgements, unless the window is too small for that. */
const ACK_STEP = 16 * 1024;

/** Largest number of columns and rows that the protocol carries. */
const SIDE_LIMIT = 1000;

/**
 * How an attachment ended.
 * @typedef {object} Ending
 * @property {'exited'|'closed'|'refused'|'failed'|'lost'} kind
 *   `exited`: the remote process ended; `closed`: the session was ended cleanly
 *   without an exit being told; `refused`: no terminal was ever there; `failed`: the
 *   proxy gave up and said why; `lost`: the connection broke.
 * @property {?number} exitCode of the process, `null` where the provider does not tell
 * @property {?string} signal that ended the process
 * @property {string} code slug of the failure, or ''
 * @property {string} message words of the failure for a person, or ''
 * @property {number} closeCode of the WebSocket
 */

export class Attachment {
  #socket;
  #handlers;
  #ready = null;
  #exit = null;
  #error = null;
  #ended = false;
  #leaving = false;
  #received = 0;
  #consumed = 0;
  #acknowledged = 0;
  #sent = 0;
  #foreign = 0;
  #replayed = 0;
  #replaying = 0;
  #resumeLink = null;
  #pings = new Map();
  #nextPing = 1;

  /**
   * Redeems a link.
   * @param {string} url one-time link
   * @param {object} handlers
   * @param {(ready: object) => void} handlers.ready the terminal is there
   * @param {(bytes: Uint8Array, done: () => void) => void} handlers.output
   *   terminal bytes; `done` is to be called once they are consumed, in order
   * @param {(ending: Ending) => void} handlers.end called once, last of all
   */
  constructor(url, handlers) {
    this.#handlers = handlers;
    this.#socket = new WebSocket(url, SUBPROTOCOL);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onmessage = ({ data }) => {
      if (typeof data === 'string') this.#control(data);
      else this.#output(new Uint8Array(data));
    };
    this.#socket.onclose = (event) => this.#closed(event);
  }

  /** Whether input and sizes can be sent now. */
  get live() {
    return this.#ready !== null && !this.#ended && this.#socket.readyState === WebSocket.OPEN;
  }

  /** The session's output bytes that have reached this page: where a resuming client goes on. */
  get offset() {
    return this.#received;
  }

  /** The newest resume link and when it runs out, or `null`. */
  get resumeLink() {
    return this.#resumeLink;
  }

  /** Figures for display. */
  get facts() {
    return {
      session: this.#ready?.session ?? null,
      protocol: this.#socket.protocol,
      role: this.#ready?.role ?? null,
      received: this.#received,
      unacknowledged: this.#received - this.#acknowledged,
      window: this.#ready?.window ?? null,
      sent: this.#sent,
    };
  }

  /**
   * Sends typed or pasted text.
   * @returns {boolean} false if it was refused because too much input waits already
   */
  sendText(text) {
    if (!this.live || this.#replaying > 0) return true;
    if (this.#socket.bufferedAmount + text.length > INPUT_BOUND) return false;
    const whole = text.isWellFormed?.() === false ? text.toWellFormed() : text;
    for (const piece of pieces(whole, INPUT_UNITS)) {
      this.#operation({ operation: 'stdin', data: piece });
    }
    this.#sent += utf8Length(whole);
    return true;
  }

  /** Sends bytes that are no text, such as old-style mouse reports. */
  sendBytes(bytes) {
    if (!this.live || this.#replaying > 0) return;
    this.#socket.send(bytes);
    this.#sent += bytes.length;
  }

  /** Tells the terminal's size. A size of zero, as a hidden page has it, is never sent. */
  resize({ cols, rows }) {
    if (!this.live || cols < 1 || rows < 1) return;
    this.#operation({ operation: 'resize', cols: Math.min(cols, SIDE_LIMIT), rows: Math.min(rows, SIDE_LIMIT) });
  }

  /** Measures a round trip. At most one is under way. */
  ping(answered) {
    if (!this.live || this.#pings.size > 0) return;
    const id = this.#nextPing++;
    this.#pings.set(id, { at: performance.now(), answered });
    this.#operation({ operation: 'ping', id });
  }

  /**
   * Ends the session itself. Before it is ready, and when asked a second time, there
   * is only the connection to give up.
   */
  end() {
    if (this.live && !this.#leaving) this.#operation({ operation: 'close' });
    else this.#socket.close(1000);
    this.#leaving = true;
  }

  #control(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    switch (message?.operation) {
      case 'ready':
        this.#becomeReady(message);
        break;
      case 'synthetic':
        this.#foreign += message.bytes;
        break;
      case 'replay':
        this.#replayed += message.bytes;
        break;
      case 'resume':
        this.#resumeLink = { url: message.url, expiresAt: message.expires_at };
        break;
      case 'exit':
        this.#exit = message;
        break;
      case 'error':
        if (message.final) this.#error = message;
        break;
      case 'pong':
        this.#answered(message.id);
        break;
    }
  }

  #becomeReady(message) {
    this.#ready = message;
    this.#received = this.#consumed = this.#acknowledged = message.offset;
    if (message.resume) this.#resumeLink = { url: message.resume.url, expiresAt: message.resume.expires_at };
    // The first acknowledgement turns flow control on, so it goes out before any output.
    this.#operation({ operation: 'ack', bytes: message.offset });
    this.#handlers.ready(message);
  }

  #output(bytes) {
    const foreign = Math.min(this.#foreign, bytes.length);
    this.#foreign -= foreign;
    const counted = bytes.length - foreign;
    this.#received += counted;

    const replayed = Math.min(this.#replayed, counted);
    this.#replayed -= replayed;
    const answersAreStale = replayed > 0 || foreign > 0;
    if (answersAreStale) this.#replaying += 1;

    this.#handlers.output(bytes, () => {
      if (answersAreStale) this.#replaying -= 1;
      this.#consumed += counted;
      this.#acknowledge();
    });
  }

  #acknowledge() {
    const step = Math.min(ACK_STEP, (this.#ready.window ?? Infinity) / 4);
    if (!this.live || this.#consumed - this.#acknowledged < step) return;
    this.#acknowledged = this.#consumed;
    this.#operation({ operation: 'ack', bytes: this.#consumed });
  }

  #answered(id) {
    const ping = this.#pings.get(id);
    if (!ping) return;
    this.#pings.delete(id);
    ping.answered(performance.now() - ping.at);
  }

  #operation(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #closed({ code, reason }) {
    if (this.#ended) return;
    this.#ended = true;
    this.#handlers.end(this.#ending(code, reason));
  }

  #ending(closeCode, closeReason) {
    const { slug, words } = splitReason(closeReason);
    return {
      kind: this.#endingKind(closeCode),
      exitCode: this.#exit?.code ?? null,
      signal: this.#exit?.signal ?? null,
      code: this.#error?.code ?? slug,
      message: this.#error?.message ?? words,
      closeCode,
    };
  }

  #endingKind(closeCode) {
    if (this.#exit) return 'exited';
    if (!this.#ready) return closeCode === 1000 ? 'closed' : 'refused';
    if (this.#error) return 'failed';
    if (closeCode === 1000) return 'closed';
    return closeCode === 1006 || closeCode === 1005 ? 'lost' : 'failed';
  }
}

/** A Close reason reads `code: words`. */
function splitReason(reason) {
  const at = reason.indexOf(': ');
  if (at > 0 && /^[a-z_]+$/.test(reason.slice(0, at))) return { slug: reason.slice(0, at), words: reason.slice(at + 2) };
  return { slug: '', words: reason };
}

/** Cuts a string into pieces of at most `units` UTF-16 units, never inside a surrogate pair. */
function* pieces(text, units) {
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + units, text.length);
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    yield text.slice(start, end);
    start = end;
  }
}

function isHighSurrogate(unit) {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function utf8Length(text) {
  return new TextEncoder().encode(text).length;
}
