//! Line ends between a command without a TTY and a terminal.

use crate::block::{BLOCK, WINDOW, copy_run, equal, room, window};

/// Appends `bytes` with a carriage return before each line feed that has none. `returned` says whether the byte before
/// them was a carriage return; returned is whether their last one is.
pub(super) fn show(bytes: &[u8], mut returned: bool, out: &mut Vec<u8>) -> bool {
    let (mut rest, mut written) = (bytes, out.len());
    let mut copy = [0; WINDOW];
    while !rest.is_empty() {
        let window = window(rest, &mut copy);
        let len = rest.len().min(BLOCK);
        let returns = equal(window, b'\r');
        let bare = equal(window, b'\n') & !(returns << 1 | u64::from(returned)) & (u64::MAX >> (BLOCK - len));
        written += show_block(window, len, bare, room(out, written, rest.len()));
        returned = window[len - 1] == b'\r';
        rest = &rest[len..];
    }
    out.truncate(written);
    returned
}

/// What a block becomes at most, if all of it are line feeds, and a whole window behind its end.
const MOST: usize = 2 * BLOCK;
const ROOM: usize = MOST + WINDOW;

/// Copies the first `len` bytes of a block, with a carriage return before each that is in `bare`.
fn show_block(window: &[u8; WINDOW], len: usize, mut bare: u64, room: &mut [u8; ROOM]) -> usize {
    let (mut read, mut written) = (0, 0);
    while bare != 0 {
        let line_feed = bare.trailing_zeros() as usize;
        bare &= bare - 1;
        written = copy_run::<MOST, _>(window, read, line_feed, room, written);
        room[written & (MOST - 1)] = b'\r';
        written += 1;
        read = line_feed;
    }
    copy_run::<MOST, _>(window, read, len, room, written)
}

/// Makes a line feed of each carriage return.
pub(super) fn enter(bytes: &mut [u8]) {
    // Without a branch, so that the compiler can make vectors of it.
    for byte in bytes {
        *byte = if *byte == b'\r' { b'\n' } else { *byte };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, a byte at a time.
    fn one_by_one(bytes: &[u8], mut returned: bool, out: &mut Vec<u8>) -> bool {
        for &byte in bytes {
            if byte == b'\n' && !returned {
                out.push(b'\r');
            }
            out.push(byte);
            returned = byte == b'\r';
        }
        returned
    }

    proptest! {
        #[test]
        fn bytes_are_shown_as_one_by_one(
            pieces in prop::collection::vec(
                prop_oneof!["[a-z]{0,70}", "[a\r\n]{0,70}", "\n{0,140}", "\r{0,70}"].prop_map(String::into_bytes), 0..5,
            ),
            returned in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = pieces.concat();
            let (mut shown, mut expected) = (b"kept".to_vec(), b"kept".to_vec());
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let between = show(head, returned, &mut shown);
            let ended = show(tail, between, &mut shown);
            prop_assert_eq!(ended, one_by_one(&bytes, returned, &mut expected));
            prop_assert_eq!(shown, expected);
        }
    }

    #[test]
    fn a_line_feed_is_shown_at_any_place_of_a_block() {
        for (before, behind) in (0..130).flat_map(|before| [0, 1, 15, 16, 63, 64, 97].map(|behind| (before, behind))) {
            for end in ["\n", "\r\n", "\n\n", "\r\r\n", "\r"] {
                let bytes = format!("{}{end}{}", "a".repeat(before), "b".repeat(behind));
                let (mut shown, mut expected) = (Vec::new(), Vec::new());
                let returned = show(bytes.as_bytes(), false, &mut shown);
                assert_eq!(returned, one_by_one(bytes.as_bytes(), false, &mut expected), "{before} {end:?} {behind}");
                assert_eq!(shown, expected, "{before} {end:?} {behind}");
            }
        }
    }
}
