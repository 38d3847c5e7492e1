//! A command without a terminal: three pipes, and no line discipline.

use std::{
    future, io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, getsid, test_kill_process_group};
use tokio::{
    io::AsyncRead,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout_at},
};

use crate::pty::{HANG_UP_GRACE, MAX_AFTER_EXIT, QUIET, environment, home, read_available, signal};

/// A process that leads a group of its own. Dropped without [`hang_up`](Self::hang_up), it is killed.
pub(super) struct Pipes {
    child: Child,
    /// The process and its group have the same number.
    pid: Pid,
}

impl Pipes {
    /// Starts a program (the first of `command`) with its arguments. Without `stdin` its input has ended at once.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn spawn(command: &[String], stdin: bool) -> Result<(Self, Option<ChildStdin>, Output)> {
        let (program, arguments) = command.split_first().context("the command is empty")?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment(program).into_iter().filter(|(name, _)| *name != "TERM"))
            .current_dir(home())
            .process_group(0)
            .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .with_context(|| format!("{program} has no process id"))?;
        let output = Output { stdout: child.stdout.take(), stderr: child.stderr.take(), after_exit: None };
        let input = child.stdin.take();
        Ok((Self { child, pid }, input, output))
    }

    /// Waits until the process has ended, and returns how; `None` if that cannot be known.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// SIGHUP to the whole group, and SIGKILL to what still lives after two seconds. The process is reaped on return.
    pub(super) async fn hang_up(self) {
        let Self { mut child, pid } = self;
        let running = child.try_wait().is_ok_and(|status| status.is_none());
        if running || is_orphaned(pid) {
            signal(pid, Signal::HUP);
            signal(pid, Signal::CONT);
        }
        let deadline = Instant::now() + HANG_UP_GRACE;
        if timeout_at(deadline, child.wait()).await.is_err() {
            signal(pid, Signal::KILL);
            // A killed process is reaped at once; an error means that it was before.
            let _reaped = child.wait().await;
        }
        while is_orphaned(pid) {
            if Instant::now() >= deadline {
                return signal(pid, Signal::KILL);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether a group has members left though its leader has been reaped. Nobody else can get the number then; a process
/// that has it is the leader of another group.
fn is_orphaned(group: Pid) -> bool {
    test_kill_process_group(group).is_ok() && getsid(Some(group)).is_err()
}

/// What a process says, until it has ended and everything is there.
#[derive(Debug)]
pub(super) struct Output {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// Bytes taken since the process has ended.
    after_exit: Option<usize>,
}

/// Bytes that were read, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Into the first buffer.
    Stdout(usize),
    /// Into the second buffer.
    Stderr(usize),
}

impl Output {
    /// Reads what there is into one of the buffers, behind the given number of bytes; `None` at the end: the process has
    /// ended, and its pipes have too or are silent. Dropped before it returns, it has taken nothing.
    pub(super) async fn next(
        &mut self,
        process: &mut Pipes,
        stdout: (&mut [u8], usize),
        stderr: (&mut [u8], usize),
    ) -> Option<Piece> {
        loop {
            if self.stdout.is_none() && self.stderr.is_none() {
                process.ended().await;
                return None;
            }
            if self.after_exit.is_some_and(|taken| taken > MAX_AFTER_EXIT) {
                return None;
            }
            let (piece, read) = tokio::select! {
                read = read(&mut self.stdout, stdout.0, stdout.1) => {
                    let read = read.unwrap_or(0);
                    if read == 0 {
                        self.stdout = None;
                        continue;
                    }
                    (Piece::Stdout(read), read)
                }
                read = read(&mut self.stderr, stderr.0, stderr.1) => {
                    let read = read.unwrap_or(0);
                    if read == 0 {
                        self.stderr = None;
                        continue;
                    }
                    (Piece::Stderr(read), read)
                }
                _ = process.ended(), if self.after_exit.is_none() => {
                    self.after_exit = Some(0);
                    continue;
                }
                () = sleep(QUIET), if self.after_exit.is_some() => return None,
            };
            if let Some(taken) = &mut self.after_exit {
                *taken += read;
            }
            return Some(piece);
        }
    }
}

/// Reads a pipe that is open, and never returns for one that is not.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8], filled: usize) -> io::Result<usize> {
    match pipe {
        Some(pipe) => read_available(pipe, buffer, filled).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn read_to_end(process: &mut Pipes, output: &mut Output) -> (String, String) {
        let (mut out, mut err) = ([0; 1024], [0; 1024]);
        let (mut stdout, mut stderr) = (String::new(), String::new());
        while let Some(piece) = output.next(process, (&mut out, 0), (&mut err, 0)).await {
            match piece {
                Piece::Stdout(read) => stdout += std::str::from_utf8(&out[..read]).unwrap(),
                Piece::Stderr(read) => stderr += std::str::from_utf8(&err[..read]).unwrap(),
            }
        }
        (stdout, stderr)
    }

    fn lives(pid: Pid) -> bool {
        rustix::process::test_kill_process(pid).is_ok()
    }

    #[tokio::test]
    async fn a_command_has_two_outputs_no_terminal_and_an_exit_code() {
        let script = "echo out; echo err >&2; tty; echo ${TERM-none}; exit 7";
        let (mut process, input, mut output) = Pipes::spawn(&sh(script), false).unwrap();
        assert!(input.is_none());
        let (stdout, stderr) = read_to_end(&mut process, &mut output).await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("out\nnot a tty\nnone\n", "err\n"));
        assert_eq!(process.ended().await.unwrap().code(), Some(7));
        let pid = process.pid;
        process.hang_up().await;
        assert!(!lives(pid), "reaped");
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_the_background_but_hanging_up_ends_that_too() {
        let (mut process, _, mut output) = Pipes::spawn(&sh("sleep 1000 & echo $!"), false).unwrap();
        let (stdout, _) = read_to_end(&mut process, &mut output).await;
        let background = Pid::from_raw(stdout.trim().parse().unwrap()).unwrap();
        assert!(lives(background));
        process.hang_up().await;
        let deadline = Instant::now() + Duration::from_secs(5);
        // It is not our child: whoever adopted it may take a moment to reap it.
        while lives(background) && !is_zombie(background) {
            assert!(Instant::now() < deadline, "still there");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn what_ignores_the_hang_up_is_killed_after_two_seconds() {
        let script = "trap '' HUP; echo ready; while :; do sleep 1; done";
        let (mut process, _, mut output) = Pipes::spawn(&sh(script), false).unwrap();
        let (mut out, mut err) = ([0; 64], [0; 64]);
        assert_eq!(output.next(&mut process, (&mut out, 0), (&mut err, 0)).await, Some(Piece::Stdout(6)));
        let (pid, start) = (process.pid, Instant::now());
        process.hang_up().await;
        assert!(!lives(pid));
        assert!(start.elapsed() >= HANG_UP_GRACE);
    }
}
