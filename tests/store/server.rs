//! A Redis of a test's own, in a directory of its own, which can be killed, stopped and started again.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running `redis-server` of Debian's package. It ends with this value.
pub(crate) struct Server {
    home: TempDir,
    /// Kept over a restart.
    port: u16,
    arguments: Vec<String>,
    tls: bool,
    child: Option<Child>,
}

impl Server {
    /// Starts one that keeps nothing on the disk but what it is told to save.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, and waits until it answers.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::on_some_port(Self { home, port: 0, arguments, tls: false, child: None })
    }

    /// Starts one that speaks TLS only, with this chain and key in PEM.
    pub(crate) fn start_tls(chain: &str, key: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("chain.pem"), chain).unwrap();
        std::fs::write(home.path().join("key.pem"), key).unwrap();
        let arguments = "--tls-cert-file chain.pem --tls-key-file key.pem --tls-auth-clients no";
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        Self::on_some_port(Self { home, port: 0, arguments, tls: true, child: None })
    }

    /// A port that is free, and that the kernel gives to nobody else while the server is down: it is below those that
    /// outgoing connections are given.
    fn on_some_port(mut self) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..1000 {
            let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            self.port = 12_000 + (number % 20_000) as u16;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).is_ok() && self.launch() {
                return self;
            }
        }
        panic!("redis-server found no port: {}", self.log());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`, or `localhost:PORT` with TLS.
    pub(crate) fn url(&self) -> String {
        match self.tls {
            false => format!("redis://127.0.0.1:{}", self.port),
            true => format!("rediss://localhost:{}", self.port),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// Ends it with SIGKILL, as a machine that loses its power would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again, on the same port, from what is on its disk.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "redis-server does not start again: {}", self.log());
    }

    /// SIGSTOP: it is there and does nothing.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// What `redis-cli` prints.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        self.cli_as("", command)
    }

    /// The same with a password.
    pub(crate) fn cli_as(&self, password: &str, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        if !password.is_empty() {
            cli.args(["--no-auth-warning", "-a", password]);
        }
        cli.args(["-p", &self.port.to_string()]).args(command).stdin(Stdio::null());
        let output = cli.output().expect("redis-cli is there; scripts/test installs it");
        assert!(output.status.success(), "redis-cli {command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it is running");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Whether it came up on its port.
    fn launch(&mut self) -> bool {
        let (plain, tls) = if self.tls { (0, self.port) } else { (self.port, 0) };
        let log = std::fs::File::create(self.log_path()).unwrap();
        let child = Command::new("redis-server")
            .current_dir(self.home.path())
            .args(["--port", &plain.to_string(), "--tls-port", &tls.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .expect("redis-server is there; scripts/test installs it");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()) {
                self.child = None;
                return false;
            }
            if self.answers() {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer: {}", self.log());
    }

    /// Anything but that it is still loading will do: it may well want a password.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            if self.tls {
                return Ok(true);
            }
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 64];
            let length = stream.read(&mut answer)?;
            Ok(length > 0 && !answer.starts_with(b"-LOADING"))
        };
        ask().unwrap_or(false)
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("redis.log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
