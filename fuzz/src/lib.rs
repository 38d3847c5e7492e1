//! What all targets have: the bug that is planted to see whether they would find one.

use std::sync::OnceLock;

/// Set, it arms the planted bug.
const ARMED: &str = "POLYTTY_PLANTED";

/// A bug of two bytes, behind a variable: a target that does not come upon it would not come upon others.
///
/// The bytes are asked for one after the other, as a parser would. Asked for at once, they are one comparison to the
/// optimizer and a leap of sixteen bits to the fuzzer, which missed it in twenty million runs.
///
/// # Panics
///
/// When it is armed and met with.
pub fn planted(bytes: &[u8]) {
    if bytes.get(2) == Some(&0x5a) {
        second_byte(bytes);
    }
}

/// A function of its own, so that to have come here is coverage, and an input worth keeping.
#[inline(never)]
fn second_byte(bytes: &[u8]) {
    if bytes.get(4) == Some(&0xa7) && is_armed() {
        panic!("the planted bug was found");
    }
}

/// Whether the planted bug is what is looked for.
pub fn is_armed() -> bool {
    static IS_ARMED: OnceLock<bool> = OnceLock::new();
    *IS_ARMED.get_or_init(|| std::env::var_os(ARMED).is_some())
}
