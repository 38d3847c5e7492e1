//! What both directions do first: look at 64 bytes at once and learn which of them are special.
//!
//! A special byte is one that JSON escapes, and so one that ends a clean run in a string body as well: below 0x20, a
//! quote or a backslash. The answer is a mask with one bit for each byte, so what is found costs a few instructions a
//! special byte, and nothing for the others.

use wide::u8x16;

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// A block, and the bytes behind it that may be read, or written over, with it: a run is copied in pieces of [`PIECE`],
/// wherever in the block it begins.
pub(super) const WINDOW: usize = BLOCK + PIECE;

/// What is copied of a run at once, whether or not the run is that long: a fixed length needs no loop and no call.
pub(super) const PIECE: usize = 32;

/// The first [`WINDOW`] of `bytes`, or all of them and zeros behind them, for which `copy` lends the memory.
pub(super) fn window<'a>(bytes: &'a [u8], copy: &'a mut [u8; WINDOW]) -> &'a [u8; WINDOW] {
    if let Some(window) = bytes.first_chunk() {
        return window;
    }
    copy[..bytes.len()].copy_from_slice(bytes);
    copy[bytes.len()..].fill(0);
    copy
}

/// Copies the [`PIECE`] of `from` that begins at `read` to `written` in `to`; it must be in both.
pub(super) fn copy_piece<const N: usize>(from: &[u8; WINDOW], read: usize, to: &mut [u8; N], written: usize) {
    to[written..written + PIECE].copy_from_slice(&from[read..read + PIECE]);
}

/// The special bytes of the block that `window` begins with: the bit at n stands for the byte at n.
#[inline(always)]
pub(super) fn specials(window: &[u8; WINDOW]) -> u64 {
    let (vectors, _) = window.as_chunks();
    let mut mask = 0;
    for (at, bytes) in vectors[..BLOCK / LANES].iter().enumerate() {
        let vector = u8x16::new(*bytes);
        let is_control = vector.min(u8x16::splat(0x1f)).simd_eq(vector);
        let is_quote = vector.simd_eq(u8x16::splat(b'"'));
        let is_backslash = vector.simd_eq(u8x16::splat(b'\\'));
        mask |= u64::from((is_control | is_quote | is_backslash).to_bitmask()) << (LANES * at);
    }
    mask
}

/// Bytes in a vector that any processor of an architecture has.
const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_by_one(window: &[u8; WINDOW]) -> u64 {
        let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        (0..BLOCK).filter(|&at| is_special(window[at])).fold(0, |mask, at| mask | 1 << at)
    }

    #[test]
    fn each_byte_is_told_at_each_place() {
        for (byte, at) in (0..=255).flat_map(|byte| (0..WINDOW).map(move |at| (byte, at))) {
            let mut window = [b'a'; WINDOW];
            window[at] = byte;
            assert_eq!(specials(&window), one_by_one(&window), "{byte:#x} at {at}");
        }
    }

    #[test]
    fn a_window_that_is_not_full_ends_in_zeros() {
        let bytes = [b'a'; WINDOW + 1];
        for len in 0..=bytes.len() {
            let mut copy = [b'b'; WINDOW];
            let window = window(&bytes[..len], &mut copy);
            let filled = len.min(WINDOW);
            assert!(window[..filled] == bytes[..filled] && window[filled..].iter().all(|&byte| byte == 0), "{len}");
        }
    }

    proptest! {
        #[test]
        fn the_mask_has_a_bit_for_each_special_byte(bytes in any::<[u8; WINDOW]>(), low in any::<bool>()) {
            let window = if low { bytes.map(|byte| byte & 0x3f) } else { bytes };
            prop_assert_eq!(specials(&window), one_by_one(&window));
        }
    }
}
