//! Providers: who runs the terminals, and how one is opened there.
//!
//! A provider turns a target into an [`Upstream`]: a terminal that has been opened and verified. From then on the
//! session speaks to it in events only and never learns whose terminal it is.

mod alibaba;
mod decthings;
mod dial;
mod dockhand;
mod entry;
mod leftovers;
mod local;
mod oblien;
#[cfg(test)]
mod scripted;
mod shared;
mod websocket;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use polytty_dialect::{Code, Exit, Size};
use serde_json::Value;

pub use alibaba::{EciProvider, PaiDlcProvider};
pub use decthings::DecthingsProvider;
pub(crate) use dial::{DialError, Request, Stream, WebSocketRefusal, WebSocketRequest};
pub use dial::{Dialer, RootsError};
pub use dockhand::DockhandProvider;
pub use entry::{Entry, Health, Kind};
pub use local::LocalProvider;
pub(crate) use oblien::is_workspace as is_oblien_workspace;
pub use oblien::{OblienHubs, OblienProvider};

/// A future that a trait object hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A service that runs terminals, configured once and shared by all its sessions.
pub trait Provider: Send + Sync {
    /// Reads a target of the HTTP API into what [`Provider::open`] takes. No network is touched.
    ///
    /// # Errors
    ///
    /// A sentence that names the field and says what would be right; an unknown field is an error, too.
    fn target(&self, target: &Value) -> Result<Target, String>;

    /// The workspace that a target lies in, where the provider bounds the terminals of each.
    fn workspace(&self, target: &Target) -> Option<Workspace> {
        let _ = target;
        None
    }

    /// The terminals that are there, whoever made them, in the place that a target lies in. `None` where nothing but what a
    /// session has opened itself can be attached to.
    fn terminals<'a>(&'a self, target: &'a Target) -> Option<BoxFuture<'a, Result<Vec<ListedTerminal>, Failure>>> {
        let _ = target;
        None
    }

    /// Opens a terminal and verifies it. Cancelling the future must leave nothing behind at the provider that a
    /// further call could have ended.
    ///
    /// `size` is applied as early as the provider allows and once more when the terminal is there.
    ///
    /// # Errors
    ///
    /// [`Failure`], with a sentence for the person who waits.
    fn open<'a>(&'a self, target: &'a Target, size: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>>;
}

/// A terminal that is there, as its provider lists it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ListedTerminal {
    /// What a target calls it to attach to it.
    pub id: String,
    /// Whether its process runs.
    pub running: bool,
    /// The exit status, where it has one.
    pub exit_code: Option<i32>,
    /// When it was made, as the provider spells it.
    pub created_at: Option<String>,
}

/// A part of a provider's service that takes so many terminals at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its name. Whoever names another one so means the same one, whatever provider it is.
    pub name: String,
    /// How many sessions it takes.
    pub max_sessions: u32,
}

/// A target that its provider has read and found sound. Only that provider looks inside.
pub struct Target(Box<dyn std::any::Any + Send + Sync>);

impl Target {
    /// Wraps what the provider made of the JSON.
    pub(crate) fn new<T: Send + Sync + 'static>(inner: T) -> Self {
        Self(Box::new(inner))
    }

    /// What the provider put in; `None` in the hands of another provider.
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Target")
    }
}

/// An open terminal at a provider, driven by one session task.
///
/// The poll methods follow the rules of `std::future`: `Pending` means that the task is woken later.
pub trait Upstream: Send {
    /// Appends output that has arrived, up to about `budget` bytes, and says what happened.
    ///
    /// [`Happened::Exit`] and [`Happened::Failed`] are final and come only after every byte of output was appended.
    /// After them no method but [`Upstream::end`] is called. Timers of the upstream (pings, liveness) run in here, so
    /// a session polls it also while it has no room for output, with a budget of 0: nothing is read then.
    fn poll_output(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>, budget: usize) -> Poll<Happened>;

    /// Ready when everything given so far has gone out, so that more input may be given; drives the writing.
    /// What goes wrong in writing is told by [`Upstream::poll_output`], after the output that still comes.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes input. Called only after [`Upstream::poll_flushed`] was ready, with at most 64 KiB at once.
    fn input(&mut self, bytes: &[u8]);

    /// Takes a new size; the latest one wins.
    fn resize(&mut self, size: Size);

    /// Half-closes stdin. `false` where the provider has no way to.
    fn eof(&mut self) -> bool;

    /// Says whether a client is attached from now on, for upstreams that do some things only for somebody who waits.
    fn attended(&mut self, attended: bool) {
        let _ = attended;
    }

    /// Messages and fields of the provider so far that mean nothing here.
    fn ignored(&self) -> u64 {
        0
    }

    /// Ends the terminal at the provider, as far as it lets us, and gives up after a few seconds. Also called after
    /// exit or failure, to leave politely.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// What [`Upstream::poll_output`] found.
#[derive(Debug)]
pub enum Happened {
    /// Output was appended, or something was done that changed nothing for the session.
    Output,
    /// Something that the client is told, and that ends nothing. It stands behind the output so far.
    Notice(Failure),
    /// So much output waits that it has to be taken now: no client may be waited for. Said by upstreams that cannot
    /// make their provider wait, once each time that it comes to this.
    CannotWait,
    /// The remote process ended.
    Exit(Exit),
    /// The terminal is lost.
    Failed(Failure),
}

/// Why a terminal could not be opened, or was lost: split by blame through its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of the closed set; picks close code, metric label and log field.
    pub code: Code,
    /// A sentence in polytty's own words for the person at the terminal. Holds no URL, no secret, no provider text.
    pub message: String,
    /// What the log gets beside it, such as the provider's own error code. Never sent to a client.
    pub detail: String,
}

impl Failure {
    /// A failure with nothing more for the log.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: String::new() }
    }

    /// Adds what the log gets.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}
