// A line to a session: an attachment that is made anew, by its newest resume link, whenever its connection is lost.

import { comeBack } from './reconnect.js';
import { Attachment } from './session.js';

export class Line {
  #handlers;
  #ledger;
  #attachment = null;
  #returning = null;
  #left = false;
  /** Whether any attachment was ready, and whether one was before the newest. */
  #wasHere = false;
  #returned = false;

  /**
   * Redeems a link.
   * @param {string} url one-time link
   * @param {object} handlers those of an attachment, all of them; `notice` hears also whether this line had a terminal
   *   before; and
   * @param {() => void} handlers.connecting an attempt begins
   * @param {(seconds: number) => void} handlers.lost the connection is lost; the next attempt comes after so many
   *   seconds, or with 0 is being made
   * @param {import('./session.js').Ledger} ledger of the session
   */
  constructor(url, handlers, ledger) {
    this.#handlers = handlers;
    this.#ledger = ledger;
    this.#attach(url);
  }

  /** The newest attachment. */
  get attachment() {
    return this.#attachment;
  }

  /** Leaves it to itself: from here on nothing is told, and nothing is tried. */
  leave() {
    this.#left = true;
    this.#settle();
  }

  /** @param {(ending: object, attachment: Attachment) => boolean} ended true when it took care of the ending */
  #attach(url, ended = () => false) {
    const handlers = this.#handlers;
    const whileHere = (tell) => (what) => {
      if (this.#attachment === attachment && !this.#left) tell(what);
    };
    handlers.connecting();
    const attachment = new Attachment(
      url,
      {
        ready: whileHere((message) => {
          this.#settle();
          this.#returned = this.#wasHere;
          this.#wasHere = true;
          handlers.ready(message, attachment);
        }),
        output: (bytes, done) => {
          // What still arrives for a terminal that was left has nowhere to go.
          if (this.#attachment === attachment && !this.#left) handlers.output(bytes, done);
          else done();
        },
        notice: whileHere((message) => handlers.notice(message, this.#returned)),
        size: whileHere(handlers.size),
        viewers: whileHere(handlers.viewers),
        end: whileHere((ending) => {
          if (ended(ending, attachment)) return;
          if (isResumable(ending, attachment)) {
            this.#comeBack(attachment, ending);
          } else {
            this.#settle();
            handlers.end(ending);
          }
        }),
      },
      this.#ledger,
    );
    this.#attachment = attachment;
  }

  /** Comes back by the newest link of the last attachment, as often as it takes. */
  #comeBack(last, ending) {
    const { resumeLink, offset } = last;
    this.#settle();
    this.#returning = comeBack(resumeLink.expiresAt, {
      wait: (seconds) => this.#handlers.lost(seconds),
      tryOnce: (again) => {
        this.#attach(withOffset(resumeLink.url, offset), (failure, attachment) => {
          if (attachment.resumeLink !== null) return false;
          // It never got there. Whether the link was refused or nobody answered makes the difference.
          if (failure.closeCode !== 1006 && failure.closeCode !== 1005) return false;
          again();
          return true;
        });
        this.#handlers.lost(0);
      },
      giveUp: () => {
        this.#settle();
        this.#handlers.end(ending);
      },
    });
  }

  #settle() {
    this.#returning?.done();
    this.#returning = null;
  }
}

/** Whether the session is still there, and there is a link that leads back to it. */
function isResumable({ kind, code }, { resumeLink }) {
  return resumeLink !== null && (kind === 'lost' || code === 'fell_behind');
}

function withOffset(url, offset) {
  const resumed = new URL(url);
  resumed.searchParams.set('offset', offset);
  return resumed.href;
}
