//! The terminal that a person sits at: raw mode, and the way out of it whatever happens.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use polytty_dialect::Size;
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

/// The terminal as it was found. A process has one, and a panic on any thread has to find it.
static FOUND: OnceLock<(OwnedFd, Termios)> = OnceLock::new();

/// Whether it is in raw mode because of us.
static RAW: AtomicBool = AtomicBool::new(false);

/// A terminal on standard input, in raw mode until this is dropped.
pub(in crate::cli) struct Tty(());

impl Tty {
    /// Puts the terminal on standard input into raw mode; `None` where there is no terminal. From here on, also a
    /// panic leaves it as it was found.
    pub(in crate::cli) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        if FOUND.get().is_none() {
            let found = (stdin.as_fd().try_clone_to_owned()?, tcgetattr(&stdin)?);
            // Somebody else was first only if this is called twice at once; theirs is as good.
            let _ = FOUND.set(found);
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        }
        let tty = Self(());
        tty.raw()?;
        Ok(Some(tty))
    }

    /// Raw mode, once more: a shell has its own while we are stopped.
    pub(super) fn raw(&self) -> io::Result<()> {
        let Some((tty, found)) = FOUND.get() else { return Ok(()) };
        let mut raw = found.clone();
        raw.make_raw();
        RAW.store(true, Ordering::SeqCst);
        tcsetattr(tty, OptionalActions::Now, &raw)?;
        Ok(())
    }

    /// As it was found, until [`Tty::raw`].
    pub(super) fn restore(&self) {
        restore();
    }

    /// Whether its keys come to us, and not to another job of the same shell.
    pub(super) fn is_foreground(&self) -> bool {
        FOUND.get().is_none_or(|(tty, _)| is_foreground(tty.as_fd()))
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore();
    }
}

/// The size of the terminal that we are at, whichever of the three standard streams leads to it.
pub(in crate::cli) fn size() -> Option<Size> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].into_iter().find_map(|stream| {
        let size = tcgetwinsize(stream).ok()?;
        Size::new(size.ws_col.into(), size.ws_row.into())
    })
}

fn restore() {
    if RAW.swap(false, Ordering::SeqCst)
        && let Some((tty, found)) = FOUND.get()
        // Another job has it, and its own settings; ours are none of its business, and setting them would stop us.
        && is_foreground(tty.as_fd())
    {
        // There is nobody to be told, and nothing else to try.
        let _ = tcsetattr(tty, OptionalActions::Now, found);
    }
}

/// A terminal that controls no job of ours counts as ours.
fn is_foreground(tty: BorrowedFd<'_>) -> bool {
    tcgetpgrp(tty).map_or(true, |group| group == getpgrp())
}
