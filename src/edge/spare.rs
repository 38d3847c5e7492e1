//! What to do with who comes when the process has no descriptor left.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// How many are turned away at once. Then others have their turn.
const AT_ONCE: usize = 64;

/// A descriptor that is held for the day on which there is no other: given up, it lets somebody be accepted and closed, who
/// would otherwise wait in the kernel's queue and never learn that nobody comes.
pub(super) struct Spare(Option<File>);

impl Spare {
    pub(super) fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Whether an accept has failed for want of a descriptor (accept(2), `EMFILE` and `ENFILE`).
    pub(super) fn is_wanted(error: &io::Error) -> bool {
        [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }

    /// Closes the connections of those who wait, as far as there are any and somebody else does not take the descriptor
    /// first. How many.
    pub(super) async fn turn_away(&mut self, listener: &TcpListener) -> usize {
        drop(self.0.take());
        let mut turned = 0;
        while turned < AT_ONCE && matches!(timeout(Duration::ZERO, listener.accept()).await, Ok(Ok(_))) {
            turned += 1;
        }
        *self = Self::new();
        turned
    }
}
