//! Runs a simulated Decthings on a free port of loopback: prints its ready line and serves until standard input ends or
//! SIGINT or SIGTERM comes. Arguments are faults that strike always, such as `rpc-error=quota_exceeded`.

use polytty_simulator::{
    Fault,
    decthings::{self, FAULTS},
};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let faults = std::env::args().skip(1).map(|text| Fault::parse(&text, FAULTS));
    let faults = faults.collect::<Result<Vec<_>, _>>()?;
    let simulator = decthings::start(decthings::Options::default()).await?;
    for fault in faults {
        simulator.faults().always(fault);
    }
    println!("{}", simulator.ready_line());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_ended() => {}
    }
    simulator.shutdown().await;
    // The thread that reads standard input cannot be stopped.
    std::process::exit(0);
}

async fn stdin_ended() {
    let mut stdin = tokio::io::stdin();
    let mut scratch = [0; 256];
    while let Ok(1..) = stdin.read(&mut scratch).await {}
}
