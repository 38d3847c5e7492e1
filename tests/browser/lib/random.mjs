// Random numbers that can be had again.

/**
 * Where random choices begin: what `POLYTTY_SEED` says, or anywhere. A test prints it, so that its choices can be had
 * again; the timing of a machine cannot.
 */
export function anySeed() {
  return Number(process.env.POLYTTY_SEED ?? Math.floor(Math.random() * 2 ** 31));
}

/** Random numbers from 0 to 1, the same for the same seed (Mulberry32). */
export function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
  };
}
