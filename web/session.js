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

/** How long an answer to a ping may take before the connection counts as lost, in milliseconds. */
const PONG_DEADLINE = 10_000;

/**
 * What a terminal says when it is asked: attributes, status, cursor, modes, size, colours, settings. Questions in
 * output that is shown again were answered before. Of all keys only F3 with Shift, Ctrl or Alt looks like that.
 */
const ANSWER = /^\x1b(?:\[[?>=]?[\d;]*(?:\$y|[cnRt])|[\]P].)/s;

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

/**
 * What was typed into a session and is not known to have been taken, over all its
 * attachments: whoever comes back sends again what the session has not got.
 */
export class Ledger {
  #end = 0;
  #waiting = [];
  #waitingBytes = 0;

  /** Input bytes so far: the offset behind the last one. */
  get end() {
    return this.#end;
  }

  /** Bytes that are not known to have been taken. */
  get size() {
    return this.#waitingBytes;
  }

  add(bytes) {
    this.#end += bytes.length;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
  }

  /** Forgets what lies before `offset`: it was taken. */
  taken(offset) {
    while (this.#waiting.length > 0) {
      const start = this.#end - this.#waitingBytes;
      const first = this.#waiting[0];
      if (offset <= start) return;
      if (offset < start + first.length) {
        this.#waiting[0] = first.subarray(offset - start);
        this.#waitingBytes -= offset - start;
        return;
      }
      this.#waiting.shift();
      this.#waitingBytes -= first.length;
    }
  }

  /** Goes on from a session that has taken `offset` bytes, from others perhaps, and returns what it has not got. */
  resume(offset) {
    this.taken(offset);
    // Somebody else has typed meanwhile: the count is theirs, and what waits comes behind it.
    if (offset > this.#end) this.#end = offset + this.#waitingBytes;
    return this.#waiting.slice();
  }
}

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
  #beginning = 0;
  #resumeLink = null;
  #pings = new Map();
  #nextPing = 1;
  #ledger;
  #trimming = false;
  #deadline = null;

  /**
   * Redeems a link.
   * @param {string} url one-time link
   * @param {object} handlers
   * @param {(ready: object) => void} handlers.ready the terminal is there; a viewer hears it
   *   again when it has not kept up and begins anew
   * @param {(bytes: Uint8Array, done: () => void) => void} handlers.output
   *   terminal bytes; `done` is to be called once they are consumed, in order
   * @param {(message: object) => void} handlers.notice output is missing (`replay`), or
   *   something went wrong that ends nothing (`error`)
   * @param {(size: {cols, rows}) => void} [handlers.size] the terminal has this size now
   * @param {(count: number) => void} [handlers.viewers] so many watch
   * @param {(ending: Ending) => void} handlers.end called once, last of all
   * @param {Ledger} ledger of the session
   */
  constructor(url, handlers, ledger) {
    this.#handlers = handlers;
    this.#ledger = ledger;
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
    if (this.#replaying > 0 && ANSWER.test(text)) return true;
    if (this.#ledger.size + text.length > INPUT_BOUND) return false;
    const whole = text.isWellFormed?.() === false ? text.toWellFormed() : text;
    for (const piece of pieces(whole, INPUT_UNITS)) {
      this.#ledger.add(ENCODER.encode(piece));
      if (this.live) this.#operation({ operation: 'stdin', data: piece });
    }
    this.#typed();
    return true;
  }

  /** Sends bytes that are no text, such as old-style mouse reports. */
  sendBytes(bytes) {
    this.#ledger.add(bytes);
    if (this.live) this.#socket.send(bytes);
    this.#typed();
  }

  /** Tells the terminal's size. A size of zero, as a hidden page has it, is never sent. */
  resize({ cols, rows }) {
    if (!this.live || cols < 1 || rows < 1) return;
    this.#operation({ operation: 'resize', cols: Math.min(cols, SIDE_LIMIT), rows: Math.min(rows, SIDE_LIMIT) });
  }

  /**
   * Measures a round trip. At most two are under way.
   * @returns {boolean} whether a ping went out
   */
  ping(answered) {
    if (!this.live || this.#pings.size > 1) return false;
    const id = this.#nextPing++;
    this.#pings.set(id, { at: performance.now(), answered });
    this.#operation({ operation: 'ping', id });
    // The only clock here. Late, as in a hidden tab, it does no harm.
    this.#deadline ??= setTimeout(() => this.abandon(), PONG_DEADLINE);
    return true;
  }

  /** Gives the connection up; the session is still there. */
  abandon() {
    if (this.#ended) return;
    this.#socket.onclose = null;
    this.#socket.onmessage = null;
    this.#socket.close();
    this.#closed({ code: 1006, reason: '' });
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
        if (message.missing > 0) this.#handlers.notice(message);
        break;
      case 'resume':
        this.#resumeLink = { url: message.url, expiresAt: message.expires_at };
        break;
      case 'size':
        this.#handlers.size?.(message);
        break;
      case 'viewers':
        this.#handlers.viewers?.(message.count);
        break;
      case 'exit':
        this.#exit = message;
        break;
      case 'error':
        if (message.final) this.#error = message;
        else this.#handlers.notice(message);
        break;
      case 'pong':
        this.#answered(message.id);
        break;
    }
  }

  #becomeReady(message) {
    this.#ready = message;
    this.#beginning += 1;
    this.#foreign = this.#replayed = 0;
    this.#received = this.#consumed = this.#acknowledged = message.offset;
    if (message.resume) this.#resumeLink = { url: message.resume.url, expiresAt: message.resume.expires_at };
    const untaken = this.#ledger.resume(message.input);
    // The first acknowledgement turns flow control on, so it goes out before any output.
    this.#operation({ operation: 'ack', bytes: message.offset });
    // Before anything new: what was typed and never got there.
    for (const bytes of untaken) this.#socket.send(bytes);
    this.#typed();
    this.#handlers.ready(message);
  }

  /** Finds out in time what has been taken: a pong shows that all before its ping was. */
  #typed() {
    this.#sent = this.#ledger.end;
    if (this.#trimming || this.#ledger.size === 0 || !this.live) return;
    const sent = this.#ledger.end;
    this.#trimming = this.ping(() => {
      this.#trimming = false;
      this.#ledger.taken(sent);
      this.#typed();
    });
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

    const beginning = this.#beginning;
    this.#handlers.output(bytes, () => {
      if (answersAreStale) this.#replaying -= 1;
      // Offsets from before a new beginning mean nothing any more.
      if (beginning !== this.#beginning) return;
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
    clearTimeout(this.#deadline);
    this.#deadline = null;
    ping.answered(performance.now() - ping.at);
  }

  #operation(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #closed({ code, reason }) {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
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

const ENCODER = new TextEncoder();
