//! What all targets have: the bug that is planted to see whether they would find one.

use std::sync::OnceLock;

/// Set, it arms the planted bug.
const ARMED: &str = "POLYTTY_PLANTED";

/// A bug of two bytes, behind a variable: a target that does not come upon it would not come upon others.
///
/// # Panics
///
/// When it is armed and met with.
pub fn planted(bytes: &[u8]) {
    static IS_ARMED: OnceLock<bool> = OnceLock::new();
    if let [_, _, 0x5a, _, 0xa7, ..] = bytes
        && *IS_ARMED.get_or_init(|| std::env::var_os(ARMED).is_some())
    {
        panic!("the planted bug was found");
    }
}
