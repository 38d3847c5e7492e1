//! The Docker behind the simulated server: it starts shells, keeps those that their clients have left, and knows the
//! execs that were created by a call.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Clock,
    pty::{MAX_READ, Shell, read_available},
    random,
    web::{Permit, Site},
};

/// How long a created exec waits for its WebSocket: the documentation's "promptly".
pub(super) const EXEC_LIFE: Duration = Duration::from_secs(60);
/// Execs that were created and not started. At the bound the oldest is forgotten.
const MAX_EXECS: usize = 10_000;

/// Columns and rows.
pub(super) type Size = (u16, u16);

/// What a process is to be started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) environment: u32,
    pub(super) container: String,
    pub(super) shell: String,
    pub(super) user: String,
}

/// What a call for an exec comes to that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoSuchExec;

#[derive(Debug)]
pub(super) struct Docker {
    clock: Clock,
    max_orphans: usize,
    /// The hang-up of each, the oldest first.
    orphans: Mutex<VecDeque<(u64, CancellationToken)>>,
    orphaned: AtomicU64,
    execs: Arc<Mutex<Execs>>,
}

#[derive(Debug, Default)]
struct Execs {
    created: HashMap<String, Exec>,
    /// In the order in which they were created. Those that have been started may still be here.
    order: VecDeque<(SystemTime, String)>,
    running: HashMap<String, Running>,
}

#[derive(Debug)]
struct Exec {
    process: Process,
    size: Option<Size>,
}

#[derive(Debug)]
struct Running {
    environment: u32,
    sizes: watch::Sender<Option<Size>>,
}

impl Docker {
    pub(super) fn new(clock: Clock, max_orphans: usize) -> Self {
        Self { clock, max_orphans, orphans: Mutex::default(), orphaned: AtomicU64::new(0), execs: Arc::default() }
    }

    /// Keeps a shell that nobody is attached to: it goes on, its output is thrown away, and it is hung up at the end of
    /// the simulator, or when it is the oldest of too many.
    pub(super) fn keep(self: &Arc<Self>, site: &Arc<Site>, mut shell: Shell, permit: Permit) {
        let number = self.orphaned.fetch_add(1, Ordering::SeqCst);
        let hang_up = CancellationToken::new();
        {
            let mut orphans = self.lock_orphans();
            orphans.push_back((number, hang_up.clone()));
            if orphans.len() > self.max_orphans
                && let Some((_, oldest)) = orphans.pop_front()
            {
                oldest.cancel();
            }
        }
        let (docker, cancel) = (Arc::clone(self), site.cancel.clone());
        site.tracker.spawn(async move {
            tokio::select! {
                () = outlive(&mut shell) => {}
                () = hang_up.cancelled() => {}
                () = cancel.cancelled() => {}
            }
            shell.hang_up().await;
            docker.lock_orphans().retain(|(other, _)| *other != number);
            drop(permit);
        });
    }

    /// Shells that nobody is attached to now.
    pub(super) fn orphans(&self) -> usize {
        self.lock_orphans().len()
    }

    /// Shells that have been left so far.
    pub(super) fn orphaned(&self) -> u64 {
        self.orphaned.load(Ordering::SeqCst)
    }

    /// Creates an exec and returns its id.
    pub(super) fn create(&self, process: Process) -> Result<String> {
        let id = random::hex(&random::bytes::<32>()?);
        let now = self.clock.now();
        let mut execs = self.lock_execs();
        execs.expire(now);
        if execs.order.len() >= MAX_EXECS
            && let Some((_, oldest)) = execs.order.pop_front()
        {
            execs.created.remove(&oldest);
        }
        execs.created.insert(id.clone(), Exec { process, size: None });
        execs.order.push_back((now, id.clone()));
        Ok(id)
    }

    /// Takes a created exec to start it, once.
    pub(super) fn start(&self, id: &str) -> Result<Started, NoSuchExec> {
        let mut execs = self.lock_execs();
        execs.expire(self.clock.now());
        let Exec { process, size } = execs.created.remove(id).ok_or(NoSuchExec)?;
        let (sender, sizes) = watch::channel(size);
        execs.running.insert(id.to_owned(), Running { environment: process.environment, sizes: sender });
        Ok(Started { process, sizes, id: id.to_owned(), execs: Arc::clone(&self.execs) })
    }

    /// Gives an exec a new size. One that has not been started has it from its start.
    pub(super) fn resize(&self, id: &str, environment: u32, size: Size) -> Result<(), NoSuchExec> {
        let mut execs = self.lock_execs();
        execs.expire(self.clock.now());
        if let Some(running) = execs.running.get(id).filter(|running| running.environment == environment) {
            running.sizes.send_replace(Some(size));
            return Ok(());
        }
        let exec =
            execs.created.get_mut(id).filter(|exec| exec.process.environment == environment).ok_or(NoSuchExec)?;
        exec.size = Some(size);
        Ok(())
    }

    fn lock_orphans(&self) -> MutexGuard<'_, VecDeque<(u64, CancellationToken)>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_execs(&self) -> MutexGuard<'_, Execs> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Execs {
    fn expire(&mut self, now: SystemTime) {
        while self.order.front().is_some_and(|(at, _)| *at + EXEC_LIFE <= now) {
            if let Some((_, id)) = self.order.pop_front() {
                self.created.remove(&id);
            }
        }
    }
}

/// An exec that runs, until this is dropped.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) process: Process,
    /// The size that it was last given, if it was given one.
    pub(super) sizes: watch::Receiver<Option<Size>>,
    id: String,
    execs: Arc<Mutex<Execs>>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner).running.remove(&self.id);
    }
}

/// Reads a terminal that nobody watches, until its shell has ended.
async fn outlive(shell: &mut Shell) {
    let (mut output, _input, child) = shell.parts();
    let drain = async {
        let mut scratch = [0; MAX_READ];
        while let Ok(1..) = read_available(&mut output, &mut scratch, 0).await {}
    };
    tokio::select! {
        () = drain => {}
        _ = child.wait() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    fn docker() -> (Docker, ManualClock) {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        (Docker::new(clock.clock(), 4), clock)
    }

    fn process() -> Process {
        let text = str::to_owned;
        Process { environment: 1, container: text("box"), shell: text("/bin/sh"), user: text("root") }
    }

    #[test]
    fn an_exec_is_good_once_and_for_a_minute() {
        let (docker, clock) = docker();
        let [first, second] = [0, 1].map(|_| docker.create(process()).unwrap());
        clock.advance(EXEC_LIFE - Duration::from_millis(1));
        let started = docker.start(&first).unwrap();
        assert_eq!(started.process, process());
        assert_eq!(docker.start(&first).unwrap_err(), NoSuchExec);
        clock.advance(Duration::from_millis(1));
        assert_eq!(docker.start(&second).unwrap_err(), NoSuchExec);
        assert!(docker.lock_execs().order.is_empty());
    }

    #[test]
    fn sizes_reach_an_exec_before_and_after_its_start_and_never_after_its_end() {
        let (docker, _) = docker();
        let id = docker.create(process()).unwrap();
        docker.resize(&id, 1, (100, 30)).unwrap();
        assert_eq!(docker.resize(&id, 2, (1, 1)).unwrap_err(), NoSuchExec);
        let started = docker.start(&id).unwrap();
        assert_eq!(*started.sizes.borrow(), Some((100, 30)));
        docker.resize(&id, 1, (90, 20)).unwrap();
        assert_eq!(*started.sizes.borrow(), Some((90, 20)));
        drop(started);
        assert_eq!(docker.resize(&id, 1, (90, 20)).unwrap_err(), NoSuchExec);
    }

    #[test]
    fn execs_are_bounded() {
        let (docker, _) = docker();
        let first = docker.create(process()).unwrap();
        for _ in 0..MAX_EXECS {
            docker.create(process()).unwrap();
        }
        assert_eq!(docker.start(&first).unwrap_err(), NoSuchExec);
        assert_eq!(docker.lock_execs().created.len(), MAX_EXECS);
    }
}
