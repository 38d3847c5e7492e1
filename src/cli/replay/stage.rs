//! The terminal that a recording is shown in, and the way out of it.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::Duration;

use crate::cli::connect::modes::Modes;
use crate::cli::connect::scanner::Scanner;

/// How long to wait before asking again a terminal that somebody else has made non-blocking.
const AGAIN: Duration = Duration::from_millis(10);

/// Ends an unfinished sequence.
const CAN: &[u8] = b"\x18";

/// Standard output. Dropping it takes back what the recording switched on.
pub(super) struct Stage {
    stdout: File,
    scanner: Scanner,
    modes: Modes,
}

impl Stage {
    pub(super) fn enter() -> io::Result<Self> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { stdout, scanner: Scanner::default(), modes: Modes::default() })
    }

    /// Shows output.
    pub(super) fn show(&mut self, output: &[u8]) -> io::Result<()> {
        self.scanner.feed(output, |sequence| self.modes.see(sequence));
        self.write(output)
    }

    fn write(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.stdout.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(AGAIN),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut last = if self.scanner.is_between() { Vec::new() } else { CAN.to_vec() };
        last.extend(self.modes.undo());
        last.extend_from_slice(b"\x1b[m\r\n");
        // There is nobody else to be told.
        let _ = self.write(&last);
    }
}
