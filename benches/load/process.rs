//! The processes of a run, and what the kernel says they used.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::generator::{Done, Order};

/// Takes as many descriptors as there may be, for this process and all that it starts: how many that are.
pub(crate) fn raise_descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised is what there is.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What a process has used of the processors so far, in seconds: the time its threads ran, in the kernel or out of it
/// (`/proc/PID/task/TID/schedstat`, first field, in nanoseconds).
pub(crate) fn cpu(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ran = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    ran.sum::<f64>() / 1e9
}

/// Resident memory, in KiB.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// The processor's time that somebody else had, of all so far, in ticks: a round in which much of it was stolen tells
/// nothing.
pub(crate) fn stolen() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    (fields.get(7).copied().unwrap_or_default(), fields.iter().take(8).sum())
}

/// A process that ends with this value.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts a program on one processor. It is killed when this process ends, however that does.
    pub(crate) fn start(processor: usize, program: &Path, arguments: &[&str], log: &Path) -> io::Result<Self> {
        let log = std::fs::File::create(log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", &processor.to_string()]).arg(program).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        command.spawn().map(Self)
    }

    /// Its id. Those that start it replace themselves by it.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The source, and where it is.
pub(crate) struct Source {
    pub(crate) process: Running,
    /// Without TLS.
    pub(crate) plain: String,
    /// With it.
    pub(crate) tls: String,
}

impl Source {
    pub(crate) fn start(me: &Path, home: &Path, processor: usize) -> io::Result<Self> {
        let mut process =
            Running::start(processor, me, &["source", &home.display().to_string()], &home.join("source.log"))?;
        let mut addresses = String::new();
        let stdout = process.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(stdout).read_line(&mut addresses)?;
        let (plain, tls) = addresses.trim().split_once(' ').ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Self { plain: plain.to_owned(), tls: tls.to_owned(), process })
    }
}

/// The generator, and the way to tell it something.
pub(crate) struct Generator {
    /// Ends with this value.
    _process: Running,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Generator {
    /// One that trusts the certificates in this file; the system's, where its name is empty.
    pub(crate) fn start(me: &Path, home: &Path, ca: &str, processor: usize) -> io::Result<Self> {
        let mut process = Running::start(processor, me, &["generator", ca], &home.join("generator.log"))?;
        let orders = process.0.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let answers = BufReader::new(process.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Self { _process: process, orders, answers })
    }

    /// Has something done.
    ///
    /// # Errors
    ///
    /// What went wrong there.
    pub(crate) fn order(&mut self, order: &Order) -> io::Result<Done> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        self.orders.write_all(line.as_bytes())?;
        self.orders.flush()?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the generator has ended"));
        }
        let done: Done = serde_json::from_str(&answer)?;
        match done.error {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(done),
        }
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until a process listens. What it has logged is told when it does not.
pub(crate) fn until_listening(process: &mut Running, port: u16, log: &Path) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until && process.0.try_wait()?.is_none() {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other(format!("it does not listen: {}", std::fs::read_to_string(log)?.trim())))
}
