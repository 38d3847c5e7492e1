//! Drives a running simulated Decthings with the official Rust client.
//!
//! Usage: `decthings-sdk-test 'READY LINE'`, or the line on standard input. The line is the JSON object that the
//! simulator prints once it is ready. Prints one line per test and at the end `N passed, M failed`; the exit status is
//! 0 if none failed.
//!
//! Each test has a client of its own, and none makes a call over the WebSocket that leaves nothing subscribed: this
//! version of the client does not get over it. Such calls go over HTTP here.

use std::{collections::HashMap, future::Future, pin::Pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use decthings_api::client::{
    DecthingsClient, DecthingsClientOptions, DecthingsRpcError,
    event::DecthingsEvent,
    rpc::{
        ExecutionLocation, ExecutionLocationProvider, LauncherSpec,
        terminal::{
            FilesystemAccess, GetTerminalSessionsParams, LaunchTerminalSessionError, LaunchTerminalSessionParams,
            ResizeTerminalSessionParams, TerminalEvent, TerminalOptions, TerminalSession, TerminalSessionSize,
            TerminalSessionTerminatedReason, TerminalSubscribeToEventsParams, TerminateTerminalSessionError,
            TerminateTerminalSessionParams, WriteToTerminalSessionParams,
        },
    },
};
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

const PATIENCE: Duration = Duration::from_secs(20);

type Test = for<'a> fn(&'a Simulator) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

const TESTS: &[(&str, Test)] = &[
    ("a launch opens a real terminal", |simulator| Box::pin(real_terminal(simulator))),
    ("a resize reaches the terminal", |simulator| Box::pin(resize(simulator))),
    ("sessions share one connection", |simulator| Box::pin(shared_connection(simulator))),
    ("bulk output is complete and in order", |simulator| Box::pin(bulk(simulator))),
    ("a large write arrives whole", |simulator| Box::pin(large_write(simulator))),
    ("sessions are listed and terminated", |simulator| Box::pin(listed_and_terminated(simulator))),
    ("a temporary launcher runs with options", |simulator| Box::pin(temporary_launcher(simulator))),
    ("another client can subscribe", |simulator| Box::pin(another_client(simulator))),
    ("a shell that is killed tells the signal", |simulator| Box::pin(killed(simulator))),
    ("mistakes come back as the client's own errors", |simulator| Box::pin(mistakes(simulator))),
    ("a wrong key is refused", |simulator| Box::pin(wrong_key(simulator))),
];

#[tokio::main]
async fn main() -> ExitCode {
    let simulator = match Simulator::from_arguments() {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("no ready line: {error:#}");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    for (title, test) in TESTS {
        let outcome = match timeout(3 * PATIENCE, test(&simulator)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow!("it hangs")),
        };
        match outcome {
            Ok(()) => println!("passed  {title}"),
            Err(error) => {
                failed += 1;
                println!("FAILED  {title}: {error:#}");
            }
        }
    }
    println!("{} passed, {failed} failed", TESTS.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

/// What the ready line says.
struct Simulator {
    http_url: String,
    ws_url: String,
    api_key: String,
    model: String,
    launcher: String,
}

impl Simulator {
    fn from_arguments() -> Result<Self> {
        let line = match std::env::args().nth(1) {
            Some(line) => line,
            None => std::io::stdin().lines().next().context("standard input is empty")??,
        };
        let line: Value = serde_json::from_str(&line)?;
        let text = |pointer: &str| {
            line.pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("{pointer} is missing"))
        };
        Ok(Self {
            http_url: text("/provider/http_url")?,
            ws_url: text("/provider/ws_url")?,
            api_key: text("/provider/api_key")?,
            model: text("/target/model_id")?,
            launcher: text("/target/execution_location/persistentLauncherId")?,
        })
    }

    fn location(&self) -> ExecutionLocationProvider<'_> {
        ExecutionLocationProvider::PersistentLauncher { persistent_launcher_id: &self.launcher }
    }

    fn params(&self) -> LaunchTerminalSessionParams<'_> {
        LaunchTerminalSessionParams {
            model_id: &self.model,
            execution_location: self.location(),
            options: None,
            subscribe_to_events: None,
        }
    }
}

/// A client and what its events have said.
struct Client {
    client: DecthingsClient,
    events: mpsc::UnboundedReceiver<TerminalEvent>,
    output: HashMap<String, Vec<u8>>,
    exits: HashMap<String, TerminalSessionTerminatedReason>,
}

impl Client {
    async fn new(simulator: &Simulator) -> Self {
        Self::with_key(simulator, &simulator.api_key).await
    }

    async fn with_key(simulator: &Simulator, api_key: &str) -> Self {
        let client = DecthingsClient::new(DecthingsClientOptions {
            ws_server_address: simulator.ws_url.clone(),
            http_server_address: simulator.http_url.clone(),
            api_key: Some(api_key.to_owned()),
            ..Default::default()
        });
        let (sender, events) = mpsc::unbounded_channel();
        // The listener stays for as long as the client does.
        let _listener = client
            .on_event(move |event| {
                if let DecthingsEvent::Terminal(event) = event {
                    // At the end of a test nobody listens any more.
                    let _gone = sender.send(event.clone());
                }
            })
            .await;
        Self { client, events, output: HashMap::new(), exits: HashMap::new() }
    }

    async fn launch(&self, params: LaunchTerminalSessionParams<'_>) -> Result<String> {
        Ok(within(self.client.terminal.launch_terminal_session(params)).await??.terminal_session_id)
    }

    async fn write(&self, id: &str, data: impl AsRef<[u8]>) -> Result<()> {
        let params = WriteToTerminalSessionParams { terminal_session_id: id, data };
        within(self.client.terminal.write_to_terminal_session(params)).await??;
        Ok(())
    }

    async fn list(&self, ids: Option<&[&str]>) -> Result<Vec<TerminalSession>> {
        let params = GetTerminalSessionsParams { terminal_session_ids: ids };
        Ok(within(self.client.terminal.get_terminal_sessions(params)).await??.terminal_sessions)
    }

    fn text(&self, id: &str) -> String {
        String::from_utf8_lossy(self.output.get(id).map_or(&[], Vec::as_slice)).into_owned()
    }

    /// Takes one event into account.
    async fn pass(&mut self) -> Result<()> {
        match within(self.events.recv()).await?.context("no more events")? {
            TerminalEvent::Data { terminal_session_id, data } => {
                self.output.entry(terminal_session_id).or_default().extend_from_slice(&data);
            }
            TerminalEvent::Exit { terminal_session_id, reason } => {
                ensure!(self.exits.insert(terminal_session_id, reason).is_none(), "a second end");
            }
        }
        Ok(())
    }

    async fn expect(&mut self, id: &str, text: &str) -> Result<()> {
        while !self.text(id).contains(text) {
            self.pass().await.with_context(|| format!("{text:?} after {:?}", self.text(id)))?;
        }
        Ok(())
    }

    async fn exit(&mut self, id: &str) -> Result<TerminalSessionTerminatedReason> {
        while !self.exits.contains_key(id) {
            self.pass().await?;
        }
        Ok(self.exits[id].clone())
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, work).await.map_err(|_| anyhow!("nothing happens"))
}

fn is_exit(reason: &TerminalSessionTerminatedReason, code: i32) -> bool {
    matches!(reason, TerminalSessionTerminatedReason::ProcessExit { exit_code: Some(got), signal: None, oom: false } if *got == code)
}

async fn real_terminal(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let id = client.launch(simulator.params()).await?;
    client.write(&id, "echo answer=$((6*7)); tty\r").await?;
    client.expect(&id, "answer=42").await?;
    client.expect(&id, "/dev/pts/").await?;
    client.write(&id, b"exit 3\r").await?;
    let reason = client.exit(&id).await?;
    ensure!(is_exit(&reason, 3), "{reason:?}");
    Ok(())
}

async fn resize(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let id = client.launch(simulator.params()).await?;
    let size = TerminalSessionSize { cols: 101, rows: 37 };
    let params = ResizeTerminalSessionParams { terminal_session_id: &id, size };
    within(client.client.terminal.resize_terminal_session(params)).await??;
    client.write(&id, "stty size\r").await?;
    client.expect(&id, "37 101").await?;
    client.write(&id, "exit\r").await?;
    client.exit(&id).await?;
    Ok(())
}

async fn shared_connection(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.launch(simulator.params()).await?);
    }
    for (number, id) in ids.iter().enumerate() {
        client.write(id, format!("echo th''is is {number}; exit {number}\r")).await?;
    }
    for (number, id) in ids.iter().enumerate() {
        let reason = client.exit(id).await?;
        ensure!(is_exit(&reason, i32::try_from(number)?), "{reason:?}");
        ensure!(client.text(id).contains(&format!("this is {number}")), "{:?}", client.text(id));
        ensure!(client.text(id).matches("this is").count() == 1, "another's output: {:?}", client.text(id));
    }
    Ok(())
}

async fn bulk(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let id = client.launch(simulator.params()).await?;
    client.write(&id, "PS1=; seq 1 50000; exit\r").await?;
    client.exit(&id).await?;
    let expected: String = (1..=50_000).map(|number| format!("{number}\r\n")).collect();
    ensure!(client.text(&id).contains(&expected), "{} bytes", client.text(&id).len());
    Ok(())
}

async fn large_write(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let id = client.launch(simulator.params()).await?;
    client.write(&id, "stty raw -echo; echo rea''dy; head -c 200000 | wc -c; exit\r").await?;
    client.expect(&id, "ready").await?;
    client.write(&id, vec![b'x'; 200_000]).await?;
    client.expect(&id, "200000").await?;
    client.exit(&id).await?;
    Ok(())
}

async fn listed_and_terminated(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let id = client.launch(simulator.params()).await?;
    let other = client.launch(simulator.params()).await?;
    let all = client.list(None).await?;
    ensure!([&id, &other].iter().all(|id| all.iter().any(|session| session.id == **id)), "{all:?}");
    let some = client.list(Some(&[&id, "nobody"])).await?;
    ensure!(some.len() == 1 && some[0].id == id && some[0].model_id == simulator.model, "{some:?}");
    ensure!(some[0].started_at > 1_700_000_000_000, "milliseconds: {}", some[0].started_at);
    let ExecutionLocation::PersistentLauncher { persistent_launcher_id, spec } = &some[0].execution_location else {
        bail!("{some:?}");
    };
    ensure!(*persistent_launcher_id == simulator.launcher && spec.cpus > 0.0, "{some:?}");
    for id in [&id, &other] {
        let params = TerminateTerminalSessionParams { terminal_session_id: id };
        within(client.client.terminal.terminate_terminal_session(params)).await??;
        let reason = client.exit(id).await?;
        ensure!(matches!(reason, TerminalSessionTerminatedReason::TerminatedOnRequest), "{reason:?}");
    }
    let params = TerminateTerminalSessionParams { terminal_session_id: &id };
    let error = within(client.client.terminal.terminate_terminal_session(params)).await?.err();
    let gone = DecthingsRpcError::Rpc(TerminateTerminalSessionError::TerminalSessionNotFound);
    ensure!(format!("{error:?}") == format!("{:?}", Some(gone)), "{error:?}");
    Ok(())
}

async fn temporary_launcher(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let spec =
        LauncherSpec { cpus: 0.5, memory_mebibytes: 512, disk_mebibytes: None, swap_mebibytes: Some(64), gpus: None };
    let access = [FilesystemAccess { model_id: &simulator.model }];
    let id = client
        .launch(LaunchTerminalSessionParams {
            model_id: &simulator.model,
            execution_location: ExecutionLocationProvider::TemporaryLauncher { spec: &spec },
            options: Some(TerminalOptions {
                add_filesystem_access: Some(&access),
                terminate_after_inactive_seconds: Some(600),
                cols: Some(99),
                rows: Some(33),
            }),
            subscribe_to_events: Some(true),
        })
        .await?;
    client.write(&id, "stty size\r").await?;
    client.expect(&id, "33 99").await?;
    let sessions = client.list(Some(&[&id])).await?;
    let expected = ExecutionLocation::TemporaryLauncher { spec };
    ensure!(sessions.len() == 1 && sessions[0].execution_location == expected, "{sessions:?}");
    client.write(&id, "exit\r").await?;
    client.exit(&id).await?;
    Ok(())
}

async fn another_client(simulator: &Simulator) -> Result<()> {
    let (mut one, mut other) = (Client::new(simulator).await, Client::new(simulator).await);
    let id = one.launch(simulator.params()).await?;
    one.write(&id, "echo be''fore\r").await?;
    one.expect(&id, "before").await?;
    let params = TerminalSubscribeToEventsParams { terminal_session_id: &id };
    within(other.client.terminal.subscribe_to_events(params)).await??;
    other.write(&id, "echo af''ter; exit\r").await?;
    for client in [&mut one, &mut other] {
        client.exit(&id).await?;
        ensure!(client.text(&id).contains("after"), "{:?}", client.text(&id));
    }
    ensure!(!other.text(&id).contains("before"), "there is no replay: {:?}", other.text(&id));
    Ok(())
}

async fn killed(simulator: &Simulator) -> Result<()> {
    let mut client = Client::new(simulator).await;
    let id = client.launch(simulator.params()).await?;
    client.write(&id, "kill -9 $$\r").await?;
    let reason = client.exit(&id).await?;
    let TerminalSessionTerminatedReason::ProcessExit { exit_code: None, signal: Some(signal), oom: false } = &reason
    else {
        bail!("{reason:?}");
    };
    ensure!(signal == "SIGKILL", "{signal}");
    Ok(())
}

async fn mistakes(simulator: &Simulator) -> Result<()> {
    let client = Client::new(simulator).await;
    let over_http = || LaunchTerminalSessionParams { subscribe_to_events: Some(false), ..simulator.params() };
    let launch = async |params| match within(client.client.terminal.launch_terminal_session(params)).await? {
        Err(DecthingsRpcError::Rpc(error)) => Ok(error),
        other => Err(anyhow!("{other:?}")),
    };
    let error = launch(LaunchTerminalSessionParams { model_id: "none", ..over_http() }).await?;
    ensure!(matches!(error, LaunchTerminalSessionError::ModelNotFound), "{error:?}");
    let nowhere = ExecutionLocationProvider::PersistentLauncher { persistent_launcher_id: "none" };
    let error = launch(LaunchTerminalSessionParams { execution_location: nowhere, ..over_http() }).await?;
    ensure!(matches!(error, LaunchTerminalSessionError::PersistentLauncherNotFound), "{error:?}");
    let options = TerminalOptions {
        add_filesystem_access: None,
        terminate_after_inactive_seconds: None,
        cols: Some(0),
        rows: Some(24),
    };
    let error = launch(LaunchTerminalSessionParams { options: Some(options), ..over_http() }).await?;
    let LaunchTerminalSessionError::InvalidParameter { parameter_name, reason } = &error else { bail!("{error:?}") };
    ensure!(parameter_name == "options.cols" && !reason.is_empty(), "{error:?}");
    Ok(())
}

async fn wrong_key(simulator: &Simulator) -> Result<()> {
    let client = Client::with_key(simulator, "wrong").await;
    let params = GetTerminalSessionsParams::<&str> { terminal_session_ids: None };
    let error = within(client.client.terminal.get_terminal_sessions(params)).await?.err();
    ensure!(format!("{error:?}") == "Some(Rpc(BadCredentials))", "{error:?}");
    // The last call of this client, so that nothing waits behind it.
    let error = within(client.client.terminal.launch_terminal_session(simulator.params())).await?.err();
    ensure!(matches!(error, Some(DecthingsRpcError::Rpc(LaunchTerminalSessionError::BadCredentials))), "{error:?}");
    Ok(())
}
