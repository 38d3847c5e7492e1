//! All kinds of simulators, told apart by name.

use std::{any::Any, fmt, net::SocketAddr, pin::Pin, str::FromStr};

use anyhow::Result;
use serde_json::Value;

use crate::{Description, Fault, FaultSwitch, Mode, decthings, dockhand, eci, mode, oblien, pai_dlc};

/// A kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Alibaba Cloud PAI-DLC.
    PaiDlc,
    /// Alibaba Cloud ECI.
    Eci,
    /// Dockhand.
    Dockhand,
    /// Oblien.
    Oblien,
    /// Decthings.
    Decthings,
}

/// What every kind takes; its own options are those of its module.
#[derive(Clone, Debug)]
pub struct Start {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback. Whoever then gets hold of the credentials has a shell on this machine.
    pub allow_remote: bool,
    /// The program behind a terminal and its arguments; `None` for the kind's default.
    pub shell: Option<Vec<String>>,
    /// Names of [`Kind::modes`].
    pub modes: Vec<String>,
}

/// A running simulator of some kind, which can be told by its type. Dropped, it stops.
pub trait Simulator: Any + fmt::Debug + Send + Sync {
    /// What a program that starts a simulator needs to know: `kind`, `url`, the `provider` entry of a configuration
    /// that reaches it, and a `target` whose terminal can be opened. It holds credentials.
    fn ready_line(&self) -> Value;

    /// Turns faults on and off.
    fn faults(&self) -> &FaultSwitch;

    /// Shells that live now, those being hung up included.
    fn sessions(&self) -> usize;

    /// Connections that are open now.
    fn connections(&self) -> usize;

    /// Stops listening, drops every connection, and waits until every shell is gone.
    fn shutdown(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

macro_rules! simulators {
    ($($module:ident::$simulator:ident),*) => {
        $(impl Simulator for $module::$simulator {
            fn ready_line(&self) -> Value {
                self.ready_line()
            }

            fn faults(&self) -> &FaultSwitch {
                self.faults()
            }

            fn sessions(&self) -> usize {
                self.sessions()
            }

            fn connections(&self) -> usize {
                self.connections()
            }

            fn shutdown(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin((*self).shutdown())
            }
        })*
    };
}

simulators!(pai_dlc::PaiDlc, eci::Eci, dockhand::Dockhand, oblien::Oblien, decthings::Decthings);

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::PaiDlc, Self::Eci, Self::Dockhand, Self::Oblien, Self::Decthings];

    /// As in `kind = "…"` of a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PaiDlc => "pai-dlc",
            Self::Eci => "eci",
            Self::Dockhand => "dockhand",
            Self::Oblien => "oblien",
            Self::Decthings => "decthings",
        }
    }

    /// What this kind can do wrong.
    #[must_use]
    pub fn faults(self) -> &'static [Description] {
        match self {
            Self::PaiDlc => pai_dlc::FAULTS,
            Self::Eci => eci::FAULTS,
            Self::Dockhand => dockhand::FAULTS,
            Self::Oblien => oblien::FAULTS,
            Self::Decthings => decthings::FAULTS,
        }
    }

    /// The names of the ways to run this kind besides its default, and what is different in each.
    #[must_use]
    pub fn modes(self) -> Vec<(&'static str, &'static str)> {
        fn names<O>(modes: &[Mode<O>]) -> Vec<(&'static str, &'static str)> {
            modes.iter().map(|mode| (mode.name, mode.about)).collect()
        }
        match self {
            Self::PaiDlc => names(pai_dlc::MODES),
            Self::Eci => names(eci::MODES),
            Self::Dockhand => names(dockhand::MODES),
            Self::Oblien => names(oblien::MODES),
            Self::Decthings => names(decthings::MODES),
        }
    }

    /// Reads a fault that this kind can commit.
    ///
    /// # Errors
    /// The name is none of [`Kind::faults`], or the argument is not what its line says.
    pub fn fault(self, text: &str) -> Result<Fault> {
        Fault::parse(text, self.faults())
    }

    /// Starts a simulator of this kind in the background of the current tokio runtime.
    ///
    /// # Errors
    /// As the `start` of its module, and a mode that is none.
    pub async fn start(self, start: Start) -> Result<Box<dyn Simulator>> {
        macro_rules! of {
            ($module:ident) => {{
                let mut options = $module::Options { listen: start.listen, ..$module::Options::default() };
                options.allow_remote = start.allow_remote;
                if let Some(shell) = start.shell {
                    options.shell = shell;
                }
                mode::set($module::MODES, &start.modes, &mut options)?;
                Box::new($module::start(options).await?)
            }};
        }
        Ok(match self {
            Self::PaiDlc => of!(pai_dlc),
            Self::Eci => of!(eci),
            Self::Dockhand => of!(dockhand),
            Self::Oblien => of!(oblien),
            Self::Decthings => of!(decthings),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    /// # Errors
    /// The name is none of [`Kind::as_str`].
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("there is no simulator of this kind; known are {names}")
        })
    }
}
