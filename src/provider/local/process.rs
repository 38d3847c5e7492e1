//! A command as the leader of a session of its own, on a PTY.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use polytty_dialect::{Exit, Size};
use pty_process::{Command, Pty};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::time::timeout;

/// How long a command may take to end after a hang-up, and how long the kernel may take to end a killed one.
const GRACE: Duration = Duration::from_secs(2);

/// Keeps two commands from being started at the same time. The PTY of one is open for a moment before it is marked as
/// not to be inherited; a command started in that moment would keep it from ever hanging up.
static STARTING: Mutex<()> = Mutex::new(());

/// All of the environment that commands get.
#[derive(Clone, Debug)]
pub(super) struct Environment(Vec<(&'static str, OsString)>);

impl Environment {
    /// What polytty's own environment says about user and language, with a fallback for each but USER.
    pub(super) fn inherited() -> Self {
        let variables = [
            ("PATH", Some("/usr/local/bin:/usr/bin:/bin")),
            ("HOME", Some("/")),
            ("LANG", Some("C.UTF-8")),
            ("USER", None),
            ("SHELL", Some("/bin/sh")),
        ];
        let value = |name, fallback: Option<&str>| std::env::var_os(name).or(fallback.map(OsString::from));
        let inherited = variables.into_iter().filter_map(|(name, fallback)| Some((name, value(name, fallback)?)));
        Self(inherited.chain([("TERM", "xterm-256color".into())]).collect())
    }

    fn home(&self) -> Option<&Path> {
        self.0.iter().find(|(name, _)| *name == "HOME").map(|(_, home)| Path::new(home)).filter(|home| home.is_dir())
    }
}

/// Starts `command`, a program and its arguments, on a new PTY of this size.
///
/// # Errors
///
/// There is no PTY or no process to be had, or the program cannot be run.
pub(super) fn spawn(command: &[String], environment: &Environment, size: Size) -> io::Result<(Pty, Process)> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut starting =
        Command::new(program).args(arguments).env_clear().envs(environment.0.iter().cloned()).kill_on_drop(true);
    if let Some(home) = environment.home() {
        starting = starting.current_dir(home);
    }
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let (pty, terminal) = pty_process::open().map_err(io_error)?;
    pty.resize(winsize(size)).map_err(io_error)?;
    let child = starting.spawn(terminal).map_err(io_error)?;
    Ok((pty, Process::new(child)?))
}

/// A size as PTYs have it.
pub(super) fn winsize(size: Size) -> pty_process::Size {
    pty_process::Size::new(size.rows(), size.cols())
}

/// A running command, which also leads a process group. Dropped, it is killed with its group, and reaped by the
/// runtime.
pub(super) struct Process {
    group: Pid,
    waiting: Pin<Box<dyn Future<Output = io::Result<ExitStatus>> + Send>>,
    /// From then on the group's number may be somebody else's.
    reaped: bool,
}

impl Process {
    fn new(mut child: Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = id.ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(Self { group, waiting: Box::pin(async move { child.wait().await }), reaped: false })
    }

    /// Ready once, when the command has ended and has been reaped.
    pub(super) fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        if self.reaped {
            return Poll::Pending;
        }
        let status = std::task::ready!(self.waiting.as_mut().poll(cx));
        self.reaped = true;
        Poll::Ready(status.map(exit).unwrap_or_default())
    }

    /// Hangs up (SIGHUP to the group, SIGCONT for who is stopped), kills after 2 s, and reaps. What the command
    /// started to outlive a hang-up, as `nohup` does, is left alone once the command itself has ended.
    pub(super) async fn end(mut self) {
        if self.reaped {
            return;
        }
        self.signal(Signal::HUP);
        self.signal(Signal::CONT);
        let exited = std::future::poll_fn(|cx| self.poll_exit(cx));
        if timeout(GRACE, exited).await.is_ok() {
            return;
        }
        self.signal(Signal::KILL);
        let killed = std::future::poll_fn(|cx| self.poll_exit(cx));
        if timeout(GRACE, killed).await.is_err() {
            tracing::warn!(pid = self.group.as_raw_nonzero().get(), "a killed process has not ended yet");
        }
    }

    fn signal(&self, signal: Signal) {
        if !self.reaped {
            // It fails where the whole group has ended, which is what is wanted.
            let _ = kill_process_group(self.group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn exit(status: ExitStatus) -> Exit {
    Exit { code: status.code(), signal: status.signal().map(signal_name), reason: None }
}

fn signal_name(number: i32) -> String {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::SYS, "SIGSYS"),
    ];
    let name = names.iter().find(|(signal, _)| signal.as_raw() == number).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| format!("signal {number}"))
}

fn io_error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        other => io::Error::other(other.to_string()),
    }
}
