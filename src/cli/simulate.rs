//! `polytty simulate`

use std::io::Write as _;
use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use polytty_simulator::{Fault, pai_dlc};

use super::signals::Signals;
use super::{Failed, runtime};

/// Run one simulated provider alone, with a real shell behind it and credentials made anew.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Which provider
    #[arg(value_enum)]
    kind: Kind,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Listen beyond loopback: whoever then gets hold of the credentials has a shell on this machine
    #[arg(long)]
    allow_remote: bool,
    /// Do this wrong, every time; --list-faults shows what there is. May be given once per stage
    #[arg(long, value_name = "NAME[=ARGUMENT]")]
    fault: Vec<Fault>,
    /// List the faults and end
    #[arg(long)]
    list_faults: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    PaiDlc,
}

impl Simulate {
    pub(super) fn run(self) -> Result<(), Failed> {
        if self.list_faults {
            for fault in Fault::ALL {
                println!("{:<28} {:<24} {}", fault.name, fault.argument, fault.about);
            }
            return Ok(());
        }
        let Kind::PaiDlc = self.kind;
        runtime()?.block_on(async {
            let mut signals = Signals::with_hangup()?;
            let options = pai_dlc::Options {
                listen: self.listen,
                allow_remote: self.allow_remote,
                ..pai_dlc::Options::default()
            };
            let simulator = pai_dlc::start(options).await?;
            for fault in self.fault {
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
