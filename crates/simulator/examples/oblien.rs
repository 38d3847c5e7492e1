//! Runs a simulated Oblien on a free port of loopback: prints its ready line and serves until standard input ends or
//! SIGINT or SIGTERM comes. `--scoped` or `--workspace` puts a token of that use into the line in place of the API key;
//! other arguments are faults that strike always, such as `close=1011@100`.

use polytty_simulator::{Fault, oblien};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (flags, faults): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let faults = faults.iter().map(|text| Fault::parse(text, oblien::FAULTS)).collect::<Result<Vec<_>, _>>()?;
    let simulator = oblien::start(oblien::Options::default()).await?;
    for fault in faults {
        simulator.faults().always(fault);
    }
    let line = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => simulator.ready_line(),
        ["--scoped"] => simulator.ready_line_scoped()?,
        ["--workspace"] => simulator.ready_line_workspace()?,
        _ => anyhow::bail!("one of --scoped and --workspace, or neither"),
    };
    println!("{line}");
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
