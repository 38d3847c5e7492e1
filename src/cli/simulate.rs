//! `polytty simulate`

use std::io::Write as _;
use std::net::SocketAddr;

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use polytty_simulator::{Kind, Start};

use super::signals::Signals;
use super::{Failed, runtime};

/// Run one simulated provider alone, with a real shell behind it and credentials made anew.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Which provider
    #[arg(value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)).try_map(|name| name.parse::<Kind>()))]
    kind: Kind,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Listen beyond loopback: whoever then gets hold of the credentials has a shell on this machine
    #[arg(long)]
    allow_remote: bool,
    /// Do this wrong, every time; --list-faults shows what there is. May be given once per stage
    #[arg(long, value_name = "NAME[=ARGUMENT]")]
    fault: Vec<String>,
    /// List the faults and end
    #[arg(long)]
    list_faults: bool,
    /// Be another version of it, or what no document rules out; --list-modes shows what there is. May be given several times
    #[arg(long, value_name = "NAME")]
    mode: Vec<String>,
    /// List the modes and end
    #[arg(long)]
    list_modes: bool,
}

impl Simulate {
    pub(super) fn run(self) -> Result<(), Failed> {
        if self.list_faults {
            for fault in self.kind.faults() {
                println!("{:<28} {:<24} {}", fault.name, fault.argument, fault.about);
            }
            return Ok(());
        }
        if self.list_modes {
            for (name, about) in self.kind.modes() {
                println!("{name:<28} {about}");
            }
            return Ok(());
        }
        if let Some(unknown) = self.mode.iter().find(|mode| self.kind.modes().iter().all(|(name, _)| name != mode)) {
            return Err(Failed::Usage(format!("--mode: {} has no mode {unknown:?}", self.kind)));
        }
        let faults = self.fault.iter().map(|fault| self.kind.fault(fault)).collect::<Result<Vec<_>, _>>();
        let faults = faults.map_err(|why| Failed::Usage(format!("--fault: {why:#}")))?;
        runtime()?.block_on(async {
            let mut signals = Signals::with_hangup()?;
            let start = Start { listen: self.listen, allow_remote: self.allow_remote, shell: None, modes: self.mode };
            let simulator = self.kind.start(start).await?;
            for fault in faults {
                simulator.faults().always(fault);
            }
            println!("{}", simulator.ready_line());
            std::io::stdout().flush()?;
            signals.recv().await;
            signals.force_on_next(|| {});
            simulator.shutdown().await;
            Ok(())
        })
    }
}
