//! Runs a simulated ECI on a free port of loopback: prints its ready line and serves until standard input ends or SIGINT
//! or SIGTERM comes. `--sts` puts the temporary access key into the line; other arguments are faults that strike always,
//! such as `close=1011@100`.

use polytty_simulator::{Fault, eci};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (sts, faults): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument == "--sts");
    let faults = faults.iter().map(|text| Fault::parse(text, eci::FAULTS)).collect::<Result<Vec<_>, _>>()?;
    let simulator = eci::start(eci::Options::default()).await?;
    for fault in faults {
        simulator.faults().always(fault);
    }
    let credential = if sts.is_empty() { simulator.credential() } else { simulator.sts_credential() };
    println!("{}", simulator.ready_line_with(credential));
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
