//! Terminals on this machine: a command of a configured list, in a PTY of its own.

mod process;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use polytty_dialect::{Code, Exit, Size};
use pty_process::Pty;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::{BoxFuture, Failure, Happened, Provider, Target, Upstream};
use crate::config::Local;
use process::{Environment, Process};

/// How long a process that was left behind may keep the terminal open after its command has ended.
const LINGER: Duration = Duration::from_secs(1);

/// How much output is still taken when [`LINGER`] is over, in bytes: more than the kernel holds for a PTY, so all
/// that the command itself wrote is in it.
const LINGER_DRAIN: usize = 128 << 10;

/// How much is read from the PTY at once, in bytes; the kernel gives no more at a time.
const READ: usize = 4 << 10;

/// What an upstream keeps allocated while no input waits, in bytes.
const KEEP: usize = 4 << 10;

/// The provider `kind = "local"`.
#[derive(Debug)]
pub struct LocalProvider {
    name: String,
    commands: Vec<Vec<String>>,
    environment: Environment,
}

impl LocalProvider {
    /// A provider of the configured commands. Of polytty's own environment they get PATH, HOME, LANG, USER and SHELL
    /// as they are now, with `TERM=xterm-256color`, and nothing else: there may be credentials in the rest.
    #[must_use]
    pub fn new(name: String, settings: Local) -> Self {
        Self { name, commands: settings.commands, environment: Environment::inherited() }
    }
}

/// Which of the configured commands.
struct Choice(usize);

impl Provider for LocalProvider {
    fn target(&self, target: &Value) -> Result<Target, String> {
        choose(&self.commands, target).map(|at| Target::new(Choice(at)))
    }

    fn open<'a>(&'a self, target: &'a Target, size: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        Box::pin(async move {
            let command = target
                .get()
                .and_then(|&Choice(at)| self.commands.get(at))
                .ok_or_else(|| Failure::new(Code::Internal, "The terminal's target belongs to another provider."))?;
            let (pty, process) = process::spawn(command, &self.environment, size).map_err(|error| {
                tracing::warn!(provider = ?self.name, error = ?error.to_string(), "a local command cannot be started");
                Failure::new(Code::ProviderUnavailable, "The command cannot be started on this server.")
                    .detail(error.to_string())
            })?;
            Ok(Box::new(LocalUpstream::new(pty, process)) as Box<dyn Upstream>)
        })
    }
}

/// Reads `{"command"?}`: which of the configured commands, the first one without.
fn choose(commands: &[Vec<String>], target: &Value) -> Result<usize, String> {
    const WHAT: &str = "a local target is an object with at most a command";
    let fields = target.as_object().ok_or_else(|| format!("the target is not an object: {WHAT}"))?;
    if let Some(unknown) = fields.keys().find(|name| *name != "command") {
        let unknown: String = unknown.chars().take(40).collect();
        return Err(format!("unknown field {unknown:?} in the target: {WHAT}"));
    }
    let Some(command) = fields.get("command").filter(|command| !command.is_null()) else { return Ok(0) };
    let words: Option<Vec<&str>> = command.as_array().and_then(|words| words.iter().map(Value::as_str).collect());
    let words = words.ok_or("command is not an array of strings, a program and its arguments")?;
    commands
        .iter()
        .position(|allowed| *allowed == words)
        .ok_or_else(|| "command is none of those that are configured for this provider, word for word".to_owned())
}

/// A PTY and the command in it. Dropped, it kills the command.
struct LocalUpstream {
    pty: Pty,
    process: Process,
    /// Input that the PTY has not taken yet: at most the 64 KiB that are given at once, and the two bytes of
    /// [`Upstream::eof`]. The first `written` of them are gone.
    pending: Vec<u8>,
    written: usize,
    /// Whether the input so far ended a line.
    at_line_start: bool,
    /// No process has the terminal open any more, and all output has been read.
    hung_up: bool,
    ended: Option<Ended>,
}

/// The command has ended. Others may still have its terminal open.
struct Ended {
    exit: Exit,
    /// Until when others are listened to.
    linger: Pin<Box<Sleep>>,
    /// How much is taken after that.
    drain: usize,
}

impl LocalUpstream {
    fn new(pty: Pty, process: Process) -> Self {
        Self { pty, process, pending: Vec::new(), written: 0, at_line_start: true, hung_up: false, ended: None }
    }

    /// Reads what is there, up to `budget` bytes.
    fn read(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) {
        let start = output.len();
        while !self.hung_up && output.len() - start < budget {
            let room = budget - (output.len() - start);
            output.reserve(room.min(READ));
            let mut limited = (&mut *output).limit(room);
            match pin!(self.pty.read_buf(&mut limited)).poll(cx) {
                Poll::Ready(Ok(1..)) => {}
                // EIO: no process has the terminal open.
                Poll::Ready(Ok(0) | Err(_)) => self.hung_up = true,
                Poll::Pending => return,
            }
        }
    }
}

impl Ended {
    /// Whether the others have been listened to for long enough; wakes the task when they have.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.linger.as_mut().poll(cx).is_ready()
    }

    /// Takes what is left in the PTY, without waiting and up to `budget` bytes; true when nothing is.
    ///
    /// Straight from the kernel: the runtime's reader is also pending when the task has used up its turn.
    fn drain(&mut self, pty: &Pty, output: &mut Vec<u8>, budget: usize) -> bool {
        let start = output.len();
        while self.drain > 0 {
            if output.len() - start >= budget {
                return false;
            }
            output.reserve(READ);
            match rustix::io::read(pty, spare_capacity(output)) {
                Ok(read @ 1..) => self.drain = self.drain.saturating_sub(read),
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => self.drain = 0,
            }
        }
        true
    }
}

impl Upstream for LocalUpstream {
    fn poll_output(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) -> Poll<Happened> {
        let start = output.len();
        // The end first, then the output: what the command wrote before its end is then there to be read.
        if self.ended.is_none()
            && let Poll::Ready(exit) = self.process.poll_exit(cx)
        {
            let linger = Box::pin(tokio::time::sleep_until(Instant::now() + LINGER));
            self.ended = Some(Ended { exit, linger, drain: LINGER_DRAIN });
            self.hung_up = false;
        }
        let over = if let Some(ended) = &mut self.ended
            && ended.is_over(cx)
        {
            ended.drain(&self.pty, output, budget)
        } else {
            self.read(cx, output, budget);
            self.hung_up
        };
        match &mut self.ended {
            _ if output.len() > start => Poll::Ready(Happened::Output),
            Some(ended) if over => Poll::Ready(Happened::Exit(std::mem::take(&mut ended.exit))),
            Some(_) | None => Poll::Pending,
        }
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.written < self.pending.len() {
            match Pin::new(&mut self.pty).poll_write(cx, &self.pending[self.written..]) {
                Poll::Ready(Ok(written @ 1..)) => self.written += written,
                // Nobody is left to read it; the end that comes of it is told with the output.
                Poll::Ready(Ok(0) | Err(_)) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        self.pending.clear();
        self.pending.shrink_to(KEEP);
        self.written = 0;
        Poll::Ready(())
    }

    fn input(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if let Some(last) = bytes.last() {
            self.at_line_start = matches!(last, b'\r' | b'\n');
        }
    }

    fn resize(&mut self, size: Size) {
        if let Err(error) = self.pty.resize(process::winsize(size)) {
            // A terminal without a process has no size; its end is told with the output.
            tracing::debug!(error = ?error.to_string(), "a local terminal was not resized");
        }
    }

    /// A terminal has no half-close: its end of file is a character typed (VEOF, usually Ctrl-D), which the program
    /// sees as such where the terminal works line by line, and as the bare character where the program reads keys.
    /// Behind an unfinished line the first VEOF only hands over the line, so it is typed twice. `false` where the
    /// terminal's settings have no such character.
    fn eof(&mut self) -> bool {
        let Ok(settings) = tcgetattr(&self.pty) else { return false };
        let veof = settings.special_codes[SpecialCodeIndex::VEOF];
        // _POSIX_VDISABLE of Linux.
        if veof == 0 {
            return false;
        }
        self.pending.push(veof);
        if settings.local_modes.contains(LocalModes::ICANON) && !self.at_line_start {
            self.pending.push(veof);
        }
        self.at_line_start = true;
        true
    }

    /// Closes the terminal, which the command takes as a hang-up, and gives it 2 s before it is killed.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        let Self { pty, process, .. } = *self;
        Box::pin(async move {
            drop(pty);
            process.end().await;
        })
    }
}

#[cfg(test)]
mod tests;
