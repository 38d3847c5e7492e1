//! Text that is looked at 64 bytes at a time, to learn at once where in them is what has to become something else.
//!
//! The answer is a mask with one bit for each byte, so what is found costs a few instructions, and the bytes between cost
//! next to nothing: they are copied in pieces of a fixed length.

use wide::u8x16;

/// Bytes that are looked at together.
pub(crate) const BLOCK: usize = 64;

/// A block, and the bytes behind it that may be read, or written over, with it: a run is copied in pieces, wherever in the
/// block it begins.
pub(crate) const WINDOW: usize = BLOCK + MAX_PIECE;

/// The longest that is copied of a run at once, whether or not the run is that long: a fixed length needs no loop and no
/// call.
pub(crate) const MAX_PIECE: usize = 32;

/// The first [`WINDOW`] of `bytes`, or all of them at the beginning of `copy`.
#[inline(always)]
pub(crate) fn window<'a>(bytes: &'a [u8], copy: &'a mut [u8; WINDOW]) -> &'a [u8; WINDOW] {
    bytes.first_chunk().unwrap_or_else(|| {
        copy[..bytes.len()].copy_from_slice(bytes);
        copy
    })
}

/// Room for what a block becomes, behind what is `written`, of which `left` bytes and no more are still to come.
pub(crate) fn room<const N: usize>(out: &mut Vec<u8>, written: usize, left: usize) -> &mut [u8; N] {
    if out.len() - written < N {
        out.resize(written + left + left / 2 + N, 0);
    }
    let Some(room) = out[written..].first_chunk_mut() else { unreachable!("it was just made") };
    room
}

/// Copies the bytes of the block from `read` to `end`, to `written` in `room`. Returns where they end there.
///
/// Whatever is written in `room` is written at an offset below `MOST`, a power of two, behind which there is a whole piece:
/// so no offset needs to be checked.
#[inline(always)]
pub(crate) fn copy_run<const MOST: usize, const N: usize>(
    window: &[u8; WINDOW],
    read: usize,
    end: usize,
    room: &mut [u8; N],
    written: usize,
) -> usize {
    let mut piece = |at: usize, len: usize| {
        let (read, written) = ((read + at) & (BLOCK - 1), (written + at) & (MOST - 1));
        room[written..written + len].copy_from_slice(&window[read..read + len]);
    };
    let run = end - read;
    piece(0, 16);
    if run > 16 {
        piece(16, MAX_PIECE);
        if run > 48 {
            piece(48, 16);
        }
    }
    written + run
}

/// What the block that a window begins with is made of, as far as JSON strings are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The bytes that JSON escapes, and so those that end a clean run in a string body as well: below 0x20, a quote or a
    /// backslash. The bit at n stands for the byte at n.
    pub(crate) specials: u64,
    /// Whether all of it is ASCII.
    pub(crate) is_ascii: bool,
}

/// Looks at the block that a window begins with.
#[inline(always)]
pub(crate) fn marks(window: &[u8; WINDOW]) -> Marks {
    let (vectors, _) = window.as_chunks();
    let (mut specials, mut all) = (0, u8x16::splat(0));
    for (at, bytes) in vectors[..BLOCK / LANES].iter().enumerate() {
        let vector = u8x16::new(*bytes);
        let is_control = vector.min(u8x16::splat(0x1f)).simd_eq(vector);
        let is_quote = vector.simd_eq(u8x16::splat(b'"'));
        let is_backslash = vector.simd_eq(u8x16::splat(b'\\'));
        specials |= u64::from((is_control | is_quote | is_backslash).to_bitmask()) << (LANES * at);
        all |= vector;
    }
    // The mask is made of the uppermost bits.
    Marks { specials, is_ascii: all.to_bitmask() == 0 }
}

/// Where `byte` is in the block that a window begins with: the bit at n stands for the byte at n.
#[inline(always)]
pub(crate) fn equal(window: &[u8; WINDOW], byte: u8) -> u64 {
    let (vectors, _) = window.as_chunks();
    vectors[..BLOCK / LANES].iter().enumerate().fold(0, |mask, (at, bytes)| {
        mask | u64::from(u8x16::new(*bytes).simd_eq(u8x16::splat(byte)).to_bitmask()) << (LANES * at)
    })
}

/// Bytes in a vector that any processor of an architecture has.
const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_by_one(window: &[u8; WINDOW]) -> Marks {
        let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        let specials = (0..BLOCK).filter(|&at| is_special(window[at])).fold(0, |mask, at| mask | 1 << at);
        Marks { specials, is_ascii: window[..BLOCK].is_ascii() }
    }

    #[test]
    fn each_byte_is_told_at_each_place() {
        for (byte, at) in (0..=255).flat_map(|byte| (0..WINDOW).map(move |at| (byte, at))) {
            let mut window = [b'a'; WINDOW];
            window[at] = byte;
            assert_eq!(marks(&window), one_by_one(&window), "{byte:#x} at {at}");
        }
    }

    #[test]
    fn a_window_that_is_not_full_ends_in_what_was_there() {
        let bytes = [b'a'; WINDOW + 1];
        for len in 0..=bytes.len() {
            let mut copy = [b'b'; WINDOW];
            let window = window(&bytes[..len], &mut copy);
            let filled = len.min(WINDOW);
            assert!(window[..filled] == bytes[..filled] && window[filled..].iter().all(|&byte| byte == b'b'), "{len}");
        }
    }

    proptest! {
        #[test]
        fn marks_are_those_of_the_bytes_one_by_one(bytes in any::<[u8; WINDOW]>(), low in any::<bool>()) {
            let window = if low { bytes.map(|byte| byte & 0x3f) } else { bytes };
            prop_assert_eq!(marks(&window), one_by_one(&window));
            let quotes = (0..BLOCK).filter(|&at| window[at] == b'"').fold(0, |mask, at| mask | 1 << at);
            prop_assert_eq!(equal(&window, b'"'), quotes);
        }
    }
}
