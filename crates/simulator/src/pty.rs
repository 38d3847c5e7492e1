//! A shell on a pseudo-terminal of its own.

use std::{
    env, io,
    path::Path,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use pty_process::{Command, Pty, ReadPty, Size, WritePty};
use rustix::{
    io::Errno,
    process::{Pid, Signal, getsid, kill_process_group},
    termios::tcgetpgrp,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    process::Child,
    time::{Instant, sleep, timeout, timeout_at},
};

/// The size that a terminal has until somebody says otherwise, in columns and rows.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// How long processes have between SIGHUP and SIGKILL.
pub(crate) const HANG_UP_GRACE: Duration = Duration::from_secs(2);

/// The most that one read of a terminal returns on Linux, in bytes.
pub(crate) const MAX_READ: usize = 4_095;
/// After a read of fewer bytes nothing more is to be expected at once: this is no bulk, but a line or an echo. A read that
/// finds nothing is dear, since the kernel waits for its own workers before it says so.
const BULK: usize = 512;

/// Once the shell has ended, how long its terminal has to be silent for its output to count as complete. It matters only
/// if a program in the background still holds the terminal, which otherwise tells its end itself.
pub(crate) const QUIET: Duration = Duration::from_millis(200);
/// And how many bytes are taken at most from such a program. The kernel holds less than this for the shell.
pub(crate) const MAX_AFTER_EXIT: usize = 256 * 1024;

/// Held from opening a terminal to the end of the spawn. `pty_process` opens the controlling side without close-on-exec
/// and sets the flag a moment later: a shell that is spawned in between would inherit it, and then the hang-up of that
/// terminal would never come.
static SPAWN: Mutex<()> = Mutex::new(());

/// A process and its terminal. Dropped without [`hang_up`](Self::hang_up), the process is killed.
pub(crate) struct Shell {
    pty: Pty,
    child: Child,
    /// The process, its process group and its session have the same number.
    pid: Pid,
}

impl Shell {
    /// Starts a program (the first of `command`) with its arguments as the leader of a new session, with a new
    /// terminal of 80 columns and 24 rows as its controlling terminal and as its standard input, output and error.
    ///
    /// # Errors
    /// There is no terminal to be had, or the program cannot be started.
    pub(crate) fn spawn(command: &[String]) -> Result<Self> {
        Self::spawn_sized(command, DEFAULT_SIZE)
    }

    /// The same with a terminal of so many columns and rows.
    ///
    /// # Errors
    /// As for [`spawn`](Self::spawn).
    pub(crate) fn spawn_sized(command: &[String], (cols, rows): (u16, u16)) -> Result<Self> {
        let (program, arguments) = command.split_first().context("the command is empty")?;
        let command = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment(program))
            .current_dir(home())
            .kill_on_drop(true);
        let _spawning = SPAWN.lock().unwrap_or_else(PoisonError::into_inner);
        let (pty, pts) = pty_process::open().context("cannot open a terminal")?;
        pty.resize(Size::new(rows, cols))?;
        let child = command.spawn(pts).with_context(|| format!("cannot start {program}"))?;
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .ok_or_else(|| anyhow!("{program} has no process id"))?;
        Ok(Self { pty, child, pid })
    }

    /// The terminal's output, its input, and the process to wait for.
    pub(crate) fn parts(&mut self) -> (ReadPty<'_>, WritePty<'_>, &mut Child) {
        let (output, input) = self.pty.split();
        (output, input, &mut self.child)
    }

    /// Hangs the terminal up as a lost line would: SIGHUP to the shell and to the job in the foreground, the terminal is
    /// closed, and what still lives after two seconds gets SIGKILL. The shell is reaped on return.
    pub(crate) async fn hang_up(self) {
        let Self { pty, mut child, pid } = self;
        let foreground = tcgetpgrp(&pty).ok().filter(|group| *group != pid);
        let running = child.try_wait().is_ok_and(|status| status.is_none());
        for group in foreground.into_iter().chain(running.then_some(pid)) {
            signal(group, Signal::HUP);
            // A stopped job takes no signal before it is continued.
            signal(group, Signal::CONT);
        }
        drop(pty);
        let deadline = Instant::now() + HANG_UP_GRACE;
        if timeout_at(deadline, child.wait()).await.is_err() {
            signal(pid, Signal::KILL);
            // A killed process is reaped at once; an error means that it was before.
            let _reaped = child.wait().await;
        }
        let Some(group) = foreground else { return };
        while is_of_session(group, pid) {
            if Instant::now() >= deadline {
                signal(group, Signal::KILL);
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Reads what the terminal has into `buffer[filled..]`: waits for the first bytes, and takes more without waiting while
/// there seems to be more. Returns the bytes read; 0 when the terminal has been closed by its last user. Dropped before it returns, it
/// has taken nothing.
pub(crate) async fn read_available(
    pty: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    filled: usize,
) -> io::Result<usize> {
    let mut total = 0;
    std::future::poll_fn(|cx| {
        loop {
            let mut rest = ReadBuf::new(&mut buffer[filled + total..]);
            if rest.remaining() == 0 {
                return Poll::Ready(Ok(total));
            }
            match Pin::new(&mut *pty).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {
                    let read = rest.filled().len();
                    total += read;
                    if read < BULK {
                        return Poll::Ready(Ok(total));
                    }
                }
                // The end and any error come again at the next read.
                Poll::Pending | Poll::Ready(_) if total > 0 => return Poll::Ready(Ok(total)),
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(0)),
                // Linux tells the end of a terminal by EIO.
                Poll::Ready(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(0));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Reads a terminal until its shell has ended and everything that it said is there.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// Bytes taken since the shell has ended.
    after_exit: Option<usize>,
}

impl Drain {
    /// Reads as [`read_available`] does. Returns 0 at the end: the terminal has been closed by its last user, or the shell
    /// has ended and what other programs still say is not waited for. Dropped before it returns, it has taken nothing.
    pub(crate) async fn read(
        &mut self,
        pty: &mut (impl AsyncRead + Unpin),
        shell: &mut Child,
        buffer: &mut [u8],
        filled: usize,
    ) -> usize {
        loop {
            let read = match self.after_exit {
                None => tokio::select! {
                    read = read_available(pty, buffer, filled) => read.unwrap_or(0),
                    _ = shell.wait() => {
                        self.after_exit = Some(0);
                        continue;
                    }
                },
                Some(taken) if taken > MAX_AFTER_EXIT => 0,
                Some(_) => {
                    timeout(QUIET, read_available(pty, buffer, filled)).await.map_or(0, |read| read.unwrap_or(0))
                }
            };
            if let Some(taken) = &mut self.after_exit {
                *taken += read;
            }
            return read;
        }
    }
}

/// The shell to start where nobody names one: an interactive `bash`, else `sh`. It reads nobody's start-up files, which
/// may be slow, or leave a lock behind when their shell is hung up in the midst of them.
pub(crate) fn default_shell() -> Vec<String> {
    let command: &[&str] = match ["/bin/bash", "/usr/bin/bash"].into_iter().find(|path| Path::new(path).exists()) {
        Some(bash) => &[bash, "--noprofile", "--norc", "-i"],
        None => &["/bin/sh", "-i"],
    };
    command.iter().map(|word| (*word).to_owned()).collect()
}

/// Signals every process of a group.
pub(crate) fn signal(group: Pid, signal: Signal) {
    // Nobody left to signal is what is wanted.
    let _gone = kill_process_group(group, signal);
}

/// Whether the leader of a process group still lives and belongs to the session: its number may have found a new owner.
fn is_of_session(group: Pid, session: Pid) -> bool {
    getsid(Some(group)) == Ok(session)
}

/// Nothing of this process's environment but what tells where programs and the user's home are.
pub(crate) fn environment(program: &str) -> Vec<(&'static str, String)> {
    let or = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let mut environment = vec![
        ("PATH", or("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ("HOME", home()),
        ("USER", or("USER", "root")),
        ("LOGNAME", or("USER", "root")),
        ("SHELL", program.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TERM", "xterm-256color".to_owned()),
        // The commands of a simulated terminal have no place in the user's own history.
        ("HISTFILE", "/dev/null".to_owned()),
    ];
    if program.ends_with("bash") {
        environment.push(("PS1", r"\u@\h:\w\$ ".to_owned()));
    }
    environment
}

/// Where a program starts.
pub(crate) fn home() -> String {
    env::var("HOME").ok().filter(|home| Path::new(home).is_dir()).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn read_to_end(shell: &mut Shell) -> String {
        let (mut output, _input, _child) = shell.parts();
        let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
        loop {
            match read_available(&mut output, &mut buffer, 0).await.unwrap() {
                0 => return String::from_utf8(all).unwrap(),
                read => all.extend_from_slice(&buffer[..read]),
            }
        }
    }

    fn lives(pid: Pid) -> bool {
        rustix::process::test_kill_process(pid).is_ok()
    }

    #[tokio::test]
    async fn a_shell_has_a_controlling_terminal_of_80_by_24_and_a_clean_environment() {
        let mut shell = Shell::spawn(&sh("tty; stty size; ps -o tty= -p $$; echo $TERM; env | wc -l")).unwrap();
        let text = read_to_end(&mut shell).await;
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("/dev/pts/"), "{text}");
        assert_eq!(lines[1], "24 80");
        assert_eq!(format!("/dev/{}", lines[2].trim()), lines[0]);
        assert_eq!(lines[3], "xterm-256color");
        assert!(lines[4].trim().parse::<usize>().unwrap() <= 11, "{text}");
        shell.hang_up().await;
    }

    #[tokio::test]
    async fn hanging_up_ends_the_shell_and_leaves_no_zombie() {
        let shell = Shell::spawn(&sh("sleep 1000")).unwrap();
        let pid = shell.pid;
        assert!(lives(pid));
        let start = Instant::now();
        shell.hang_up().await;
        // A zombie still takes signals: this also says that the shell was reaped.
        assert!(!lives(pid));
        assert!(start.elapsed() < HANG_UP_GRACE, "SIGHUP alone should have done");
    }

    #[tokio::test]
    async fn a_shell_that_ignores_the_hang_up_is_killed_after_two_seconds() {
        let mut shell = Shell::spawn(&sh("trap '' HUP; echo ready; while :; do sleep 1; done")).unwrap();
        let (mut output, _, _) = shell.parts();
        let mut buffer = [0; 64];
        assert!(read_available(&mut output, &mut buffer, 0).await.unwrap() > 0);
        let pid = shell.pid;
        let start = Instant::now();
        shell.hang_up().await;
        assert!(!lives(pid));
        assert!(start.elapsed() >= HANG_UP_GRACE);
    }

    #[tokio::test]
    async fn a_foreground_job_that_ignores_the_hang_up_is_killed_too() {
        let script = "set -m; sh -c \"trap '' HUP; echo job \\$\\$; while :; do sleep 1; done\"; :";
        let mut shell = Shell::spawn(&["/bin/bash", "-c", script].map(str::to_owned)).unwrap();
        let (mut output, _, _) = shell.parts();
        let mut buffer = [0; 256];
        let mut filled = 0;
        while !buffer[..filled].contains(&b'\n') {
            filled += read_available(&mut output, &mut buffer, filled).await.unwrap();
        }
        let line = String::from_utf8_lossy(&buffer[..filled]).into_owned();
        let job = line.trim().strip_prefix("job ").and_then(|pid| Pid::from_raw(pid.parse().ok()?)).unwrap();
        assert!(is_of_session(job, shell.pid) && job != shell.pid, "{line}");
        let session = shell.pid;
        shell.hang_up().await;
        // It is not our child: whoever adopted it may take a moment to reap it.
        let deadline = Instant::now() + Duration::from_secs(5);
        while is_of_session(job, session) && !is_zombie(job) {
            assert!(Instant::now() < deadline, "the job is still there");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_an_error() {
        let error = Shell::spawn(&["/no/such/shell".to_owned()]).err().unwrap();
        assert!(format!("{error:#}").contains("/no/such/shell"), "{error:#}");
        assert!(Shell::spawn(&[]).is_err());
    }
}
