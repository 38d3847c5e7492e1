//! A person's terminal: a PTY with a program on it.

use std::process::ExitStatus;

use pty_process::{Command, Pty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::{Instant, timeout};

use super::PATIENCE;

/// A terminal. What it shows is kept until it is looked for.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    pty: Pty,
    shown: Vec<u8>,
    /// All that was ever shown.
    pub(crate) all: Vec<u8>,
}

impl Terminal {
    /// Runs a program on a terminal of `cols` and `rows`.
    pub(crate) fn run(command: Command, cols: u16, rows: u16) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(Size::new(rows, cols)).unwrap();
        let child = command.kill_on_drop(true).spawn(pts).unwrap();
        Self { child, pty, shown: Vec::new(), all: Vec::new() }
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, cols: u16, rows: u16) {
        self.pty.resize(Size::new(rows, cols)).unwrap();
    }

    /// Presses keys.
    pub(crate) async fn press(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.unwrap();
    }

    /// Reads until `wanted` is shown behind what was looked for before; returns all up to its end.
    pub(crate) async fn see(&mut self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.windows(wanted.len()).position(|window| window == wanted.as_bytes()) {
                let rest = self.shown.split_off(at + wanted.len());
                let seen = std::mem::replace(&mut self.shown, rest);
                return String::from_utf8_lossy(&seen).into_owned();
            }
            assert!(Instant::now() < until, "no {wanted:?} in {:?}", String::from_utf8_lossy(&self.shown));
            assert!(self.read().await, "no {wanted:?} before the end: {:?}", String::from_utf8_lossy(&self.shown));
        }
    }

    /// Reads what is there next; `false` when the terminal was closed by its last user.
    pub(crate) async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match timeout(PATIENCE, self.pty.read(&mut buffer)).await.unwrap_or_else(|_| {
            panic!("nothing comes behind {:?}", String::from_utf8_lossy(&self.shown));
        }) {
            Ok(count) if count > 0 => {
                self.shown.extend_from_slice(&buffer[..count]);
                self.all.extend_from_slice(&buffer[..count]);
                true
            }
            _ => false,
        }
    }

    /// Reads to the end, and how the program ended.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        while self.read().await {}
        timeout(PATIENCE, self.child.wait()).await.expect("the program ends").unwrap()
    }
}
