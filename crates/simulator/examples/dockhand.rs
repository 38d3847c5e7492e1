//! Runs a simulated Dockhand on a free port of loopback: prints its ready line and serves until standard input ends or
//! SIGINT or SIGTERM comes. `--login` puts the account in place of the API token into the line, `--documented` runs the
//! documented flow; other arguments are faults that strike always, such as `close=1011@100`.

use polytty_simulator::{
    Fault,
    dockhand::{self, Flow, Options},
};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (flags, faults): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let faults = faults.iter().map(|text| Fault::parse(text, dockhand::FAULTS)).collect::<anyhow::Result<Vec<_>>>()?;
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let flow = if has("--documented") { Flow::Documented } else { Flow::WebSocket };
    let simulator = dockhand::start(Options { flow, ..Options::default() }).await?;
    for fault in faults {
        simulator.faults().always(fault);
    }
    println!("{}", if has("--login") { simulator.ready_line_with_login() } else { simulator.ready_line() });
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
