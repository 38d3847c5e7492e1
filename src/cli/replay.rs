//! `polytty replay`

mod keys;
mod stage;

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use self::keys::{Key, Keys};
use self::stage::Stage;
use super::Failed;
use super::connect::duration;
use super::connect::streams::read_stdin;
use super::connect::tty::{self, Tty};
use crate::recording::cast::Code;
use crate::recording::{Joined, parts_of};

/// How long the terminal is given to answer what the recording has asked it, so that no shell takes the answers for
/// commands.
const ANSWERS: Duration = Duration::from_millis(100);

/// Play a recorded session in this terminal.
///
/// Space pauses and goes on, q and Ctrl-C leave. The terminal is left as it was found. Where standard output is no
/// terminal, all of the output is written at once.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// asciicast files, version 2 or 3, or the directory of a recording; several are played as one
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many times faster, from 0.01 to 1000
    #[arg(long, default_value = "1", value_name = "FACTOR")]
    speed: Speed,
    /// Make longer pauses so long, such as 2s [default: what the recording says]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    idle_limit: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Speed(f64);

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let factor: Option<f64> = text.parse().ok().filter(|factor| (0.01..=1000.0).contains(factor));
        factor.map(Self).ok_or("expected a number from 0.01 to 1000, such as 2 or 0.5")
    }
}

impl Replay {
    pub(super) fn run(self) -> Result<(), Failed> {
        let mut files = Vec::new();
        for file in &self.files {
            if file.is_dir() {
                let parts = parts_of(file).with_context(|| file.display().to_string())?;
                if parts.is_empty() {
                    return Err(anyhow::anyhow!("{}: no parts of a recording are in it", file.display()).into());
                }
                files.extend(parts);
            } else {
                files.push(file.clone());
            }
        }
        let Some(cast) = Joined::open(files)? else {
            return Err(anyhow::anyhow!("{}: nothing was recorded", self.files[0].display()).into());
        };
        if !io::stdout().is_terminal() {
            return Ok(pour(cast)?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let played = runtime.block_on(self.play(cast));
        // A read of standard input cannot be called off, and need not be.
        runtime.shutdown_background();
        Ok(played?)
    }

    async fn play(&self, cast: Joined) -> anyhow::Result<()> {
        let idle_limit = self.idle_limit.or(cast.header().idle_limit);
        let (cols, rows) = (cast.header().cols, cast.header().rows);
        if let Some(size) = tty::size().filter(|size| size.cols() < cols || size.rows() < rows) {
            let _ = writeln!(
                io::stderr(),
                "polytty: recorded in {cols} x {rows}; this terminal has {} x {} and may not show all of it",
                size.cols(),
                size.rows()
            );
        }
        let mut ends = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
            .map(signal)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let tty = Tty::enter()?;
        let mut typed = tty.as_ref().map(|_| read_stdin()).transpose()?;
        let mut stage = Stage::enter()?;
        let pace = Pace { speed: self.speed.0, idle_limit };
        let result = tokio::select! {
            result = perform(cast, pace, &mut stage, typed.as_mut()) => result,
            () = any(&mut ends) => Err(anyhow::anyhow!("ended by a signal")),
        };
        // Also what went wrong is told to a terminal that is fit for it.
        drop(stage);
        if let Some(typed) = &mut typed {
            let _ = timeout(ANSWERS, async { while typed.recv().await.is_some() {} }).await;
        }
        drop(tty);
        result
    }
}

/// How time passes.
#[derive(Clone, Copy)]
struct Pace {
    speed: f64,
    idle_limit: Option<Duration>,
}

impl Pace {
    /// How long to wait where so many microseconds passed.
    fn wait(self, micros: u64) -> Duration {
        let passed = Duration::from_micros(micros);
        let passed = self.idle_limit.map_or(passed, |limit| passed.min(limit));
        // A century at the slowest speed.
        passed.div_f64(self.speed).min(Duration::from_secs(1 << 38))
    }
}

/// Shows one event after the other, each at its time.
async fn perform(
    mut cast: Joined,
    pace: Pace,
    stage: &mut Stage,
    mut typed: Option<&mut mpsc::Receiver<io::Result<Vec<u8>>>>,
) -> anyhow::Result<()> {
    let mut keys = Keys::default();
    let (mut due, mut last) = (Instant::now(), 0);
    let mut paused: Option<Instant> = None;
    while let Some(event) = cast.next_event()? {
        due += pace.wait(event.at - last);
        last = event.at;
        loop {
            tokio::select! {
                biased;
                read = next(&mut typed) => match read {
                    None => typed = None,
                    Some(bytes) => for key in keys.read(&bytes?) {
                        match key {
                            Key::Leave => return Ok(()),
                            Key::Pause => match paused.take() {
                                None => paused = Some(Instant::now()),
                                Some(since) => due += since.elapsed(),
                            },
                        }
                    },
                },
                () = sleep_until(due), if paused.is_none() => break,
            }
        }
        if event.code == Code::Output {
            stage.show(event.data.as_bytes())?;
        }
    }
    Ok(())
}

/// What is typed next; never anything where nobody types.
async fn next(typed: &mut Option<&mut mpsc::Receiver<io::Result<Vec<u8>>>>) -> Option<io::Result<Vec<u8>>> {
    match typed {
        Some(typed) => typed.recv().await,
        None => std::future::pending().await,
    }
}

async fn any(signals: &mut [Signal]) {
    std::future::poll_fn(|cx| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
        if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Writes all of the output, for a file or another program.
fn pour(mut cast: Joined) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    loop {
        let event = cast.next_event();
        let written = match &event {
            Ok(Some(event)) if event.code == Code::Output => stdout.write_all(event.data.as_bytes()),
            Ok(Some(_)) => Ok(()),
            // What stands before a mistake is shown.
            Ok(None) | Err(_) => stdout.flush(),
        };
        match written {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => bail!("standard output: {error}"),
            Ok(()) => {}
        }
        if event?.is_none() {
            return Ok(());
        }
    }
}
