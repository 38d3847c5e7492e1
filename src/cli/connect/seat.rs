//! A person, or a program, at a terminal of polytty.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use polytty_dialect::Role;
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::keys::{Command, EscapeChar, Keys};
use super::screen::Screen;
use super::streams::{self, CHUNK};
use super::tty::{self, Tty};
use crate::client::{Client, Event, Outcome};

/// A lost connection that comes back within this time is not worth a word.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// How long a full-screen program has to notice one size before it gets the other one.
const REPAINT: Duration = Duration::from_millis(100);

/// How it ended.
pub(super) enum Done {
    Over(Outcome),
    /// The person left.
    Left,
    /// Somebody wants this process to end.
    Signalled(Signal),
    /// The output goes nowhere.
    Unheard(String),
}

pub(super) struct Seat {
    client: Client,
    /// `None` once there is no more.
    input: Option<mpsc::Receiver<io::Result<Vec<u8>>>>,
    screen: Screen,
    tty: Option<Tty>,
    keys: Keys,
    signals: Signals,
    viewer: bool,
    /// When to tell that the connection is lost.
    tell_at: Option<Instant>,
    /// When a full-screen program that was made to paint again gets its right size.
    repaint_at: Option<Instant>,
}

impl Seat {
    /// Takes the terminal on standard input, if there is one.
    pub(super) fn take(client: Client, escape: EscapeChar) -> io::Result<Self> {
        let signals = Signals::new()?;
        let tty = Tty::enter()?;
        let screen = Screen::new(tty.is_some())?;
        let escape = if tty.is_some() { escape } else { EscapeChar(None) };
        Ok(Self {
            client,
            input: Some(streams::read_stdin()?),
            screen,
            tty,
            keys: Keys::new(escape),
            signals,
            viewer: false,
            tell_at: None,
            repaint_at: None,
        })
    }

    /// Sits there to the end, and gives the terminal back as it was.
    pub(super) async fn sit(mut self) -> Done {
        let mut done = self.attend().await;
        if let Done::Over(_) = done {
            tokio::select! {
                () = self.screen.finish() => {}
                signal = self.signals.end() => done = Done::Signalled(signal),
            }
        } else {
            self.screen.hand_back().await;
        }
        // First the terminal, then the network, which may take its time.
        drop(self.tty);
        self.client.leave().await;
        done
    }

    async fn attend(&mut self) -> Done {
        loop {
            let alarm = [self.tell_at, self.repaint_at].into_iter().flatten().min();
            let may_type = self.client.room() >= 2 * CHUNK;
            tokio::select! {
                came = self.signals.next() => match came {
                    Came::End(signal) => return Done::Signalled(signal),
                    Came::Resized => self.resize(),
                    Came::Continued => self.continued(),
                },
                event = self.client.next() => {
                    if let Some(outcome) = self.happened(event) {
                        return Done::Over(outcome);
                    }
                }
                written = self.screen.progress() => match written {
                    Ok(counted) => self.client.consumed(counted),
                    Err(why) => return Done::Unheard(why),
                },
                typed = async { self.input.as_mut()?.recv().await }, if may_type && self.input.is_some() => {
                    if let Some(done) = self.typed(typed).await {
                        return done;
                    }
                }
                () = async { sleep_until(alarm.unwrap_or_else(Instant::now)).await }, if alarm.is_some() => self.tick(),
            }
        }
    }

    fn happened(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::Ready { role, again, missing, .. } => {
                self.viewer = role == Role::Viewer;
                self.tell_at = None;
                if self.screen.clear_below() {
                    self.repaint();
                }
                if again && missing > 0 && !self.viewer {
                    self.screen.say(&format!("{missing} bytes of output are missing here"));
                }
            }
            Event::Output(output) => {
                let left_out = self.screen.show(&output);
                self.client.consumed(left_out);
            }
            Event::Notice { code, message } => {
                let words = Outcome::Failed { code, message };
                self.screen.say(&words.to_string());
            }
            Event::Lost(_) => self.tell_at = Some(Instant::now() + TELL_AFTER),
            Event::Over(outcome) => return Some(outcome),
            Event::Size(_) | Event::Viewers(_) => {}
        }
        None
    }

    async fn typed(&mut self, typed: Option<io::Result<Vec<u8>>>) -> Option<Done> {
        let typed = match typed {
            Some(Ok(typed)) => typed,
            // A terminal ends when it is hung up; the signal may be on its way.
            _ if self.tty.is_some() => return Some(Done::Signalled(Signal::HUP)),
            _ => {
                self.input = None;
                self.client.end_input();
                return None;
            }
        };
        if self.tty.is_none() {
            self.client.type_bytes(&typed);
            return None;
        }
        self.pressed(&typed).await
    }

    async fn pressed(&mut self, mut keys: &[u8]) -> Option<Done> {
        while !keys.is_empty() {
            let mut out = Vec::new();
            let (taken, command) = self.keys.feed(keys, &mut out);
            self.client.type_bytes(&out);
            keys = &keys[taken..];
            match command {
                Some(Command::Leave) => return Some(Done::Left),
                Some(Command::Suspend) => self.suspend().await,
                Some(Command::Help) => self.help(),
                None => {}
            }
        }
        None
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.tell_at.take_if(|at| *at <= now).is_some() {
            self.screen.say_below("the connection is lost; trying to come back");
        }
        if self.repaint_at.take_if(|at| *at <= now).is_some() {
            self.resize();
        }
    }

    fn resize(&mut self) {
        if let Some(size) = tty::size() {
            self.client.resize(size);
        }
    }

    /// Makes a full-screen program paint again, by a size that is another one for a moment.
    fn repaint(&mut self) {
        let Some(size) = tty::size().filter(|_| !self.viewer) else { return };
        let rows = u64::from(size.rows());
        if let Some(other) = polytty_dialect::Size::new(size.cols().into(), if rows > 1 { rows - 1 } else { 2 }) {
            self.client.resize(other);
            self.repaint_at = Some(Instant::now() + REPAINT);
        }
    }

    /// Stops this process, as Ctrl-Z does with others, until it is continued.
    async fn suspend(&mut self) {
        let Some(tty) = &self.tty else { return };
        self.screen.hand_back().await;
        tty.restore();
        // From here the shell goes on; with nobody who could continue us, this does nothing.
        let _ = kill_process(getpid(), Signal::TSTP);
        self.continued();
        self.screen.take_back();
        if self.screen.is_full_screen() {
            self.repaint();
        }
    }

    /// The terminal is ours again. In the background it is not, and will be told once more.
    fn continued(&mut self) {
        if let Some(tty) = self.tty.as_ref().filter(|tty| tty.is_foreground()) {
            // It was raw before; if it is a terminal no longer, reading it will say so.
            let _ = tty.raw();
        }
        self.resize();
    }

    fn help(&mut self) {
        let escape = self.keys.escape();
        self.screen.say(&format!(
            "First in a line:\n\
             {escape}.   leave; the session goes on for a while\n\
             {escape}^Z  suspend\n\
             {escape}?   this\n\
             {escape}{escape}   type {escape}"
        ));
    }
}

/// The signals that mean something to us.
struct Signals {
    ends: [(Signal, unix::Signal); 4],
    resized: unix::Signal,
    continued: unix::Signal,
}

/// What a signal wants.
enum Came {
    End(Signal),
    Resized,
    Continued,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let end = |signal: Signal| io::Result::Ok((signal, unix::signal(SignalKind::from_raw(signal.as_raw()))?));
        Ok(Self {
            ends: [end(Signal::TERM)?, end(Signal::INT)?, end(Signal::HUP)?, end(Signal::QUIT)?],
            resized: unix::signal(SignalKind::window_change())?,
            continued: unix::signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Came {
        poll_fn(|cx| {
            if let Poll::Ready(signal) = self.poll_end(cx) {
                Poll::Ready(Came::End(signal))
            } else if self.resized.poll_recv(cx).is_ready() {
                Poll::Ready(Came::Resized)
            } else {
                self.continued.poll_recv(cx).map(|_| Came::Continued)
            }
        })
        .await
    }

    /// Waits for one that wants us to end.
    async fn end(&mut self) -> Signal {
        poll_fn(|cx| self.poll_end(cx)).await
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        for (signal, stream) in &mut self.ends {
            if stream.poll_recv(cx).is_ready() {
                return Poll::Ready(*signal);
            }
        }
        Poll::Pending
    }
}
