// TLS records, of which nothing but the lengths is read (RFC 8446, section 5.1). Either side puts one write into a
// record, so to break off inside of one is to break off inside of a WebSocket frame.

const HEADER = 5;

/** The type of records that hold encrypted data. */
const APPLICATION_DATA = 23;

/** One direction of a connection. */
export class Records {
  #header = [];
  #left = 0;
  #until = Infinity;
  #count = 0;

  /** Records of encrypted data that have begun. */
  get count() {
    return this.#count;
  }

  /** Whether a place to break off was reached. */
  get isBroken() {
    return this.#until === 0;
  }

  /**
   * Follows the next bytes.
   * @param {Buffer} bytes
   * @param {(length: number) => ?number} breakOff asked for each record of encrypted data: how many bytes of its body
   *   may pass, or `null` for all of it
   * @returns {number} how many of `bytes` may pass
   */
  follow(bytes, breakOff) {
    let at = 0;
    while (at < bytes.length && !this.isBroken) {
      if (this.#left === 0) {
        this.#header.push(bytes[at]);
        at += 1;
        if (this.#header.length === HEADER) this.#begin(breakOff);
      } else {
        const step = Math.min(this.#left, this.#until, bytes.length - at);
        this.#left -= step;
        this.#until -= step;
        at += step;
      }
    }
    return at;
  }

  #begin(breakOff) {
    const [type, , , high, low] = this.#header;
    this.#header = [];
    this.#left = high * 256 + low;
    if (type !== APPLICATION_DATA) return;
    this.#count += 1;
    this.#until = breakOff(this.#left) ?? Infinity;
  }
}
