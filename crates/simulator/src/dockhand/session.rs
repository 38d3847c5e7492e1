//! One terminal session: its way from the 101 to a process at Docker, both directions while it lasts, and its end.

use std::{future, sync::Arc, sync::atomic::Ordering, time::Duration};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{self, SplitSink, SplitStream},
};
use pty_process::{Size as PtySize, WritePty};
use tokio::{
    io::AsyncWriteExt as _,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use tracing::debug;

use super::{
    Server,
    detach::DetachKeys,
    docker::{Size, Started},
    output::{Signals, Types, pump},
    plan::{Course, Plan},
    wire::{self, Inbound},
};
use crate::{
    Fault, Stage,
    net::Conn,
    pty::Shell,
    web::{Outlet, Permit, Stop, count, limits, next, part},
};

/// Bytes of input that wait for the terminal. At the bound the client is read no further; the real server knows no bound.
const MAX_PENDING: usize = 1024 * 1024;
/// A pause in which a last Close may still arrive before the connection is reset.
const BEFORE_RESET: Duration = Duration::from_millis(50);

/// How long a client may take to read what comes before the last words.
const LAST_WORDS: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<Conn>;
type Sender = SplitSink<Socket, Message>;
type Receiver = SplitStream<Socket>;

/// What a WebSocket was opened for.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A new process.
    New {
        /// `envId`, if it is a number.
        environment: Option<i64>,
        /// As it stands in the path.
        container: String,
        /// The program.
        shell: String,
        /// The user.
        user: String,
    },
    /// A process that was created by a call.
    Exec(Started),
}

/// How a session ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process has ended.
    Exited,
    /// The user has typed the keys that leave the process.
    Detached,
    /// A fault breaks the stream to Docker.
    DockerLost,
    /// A fault ends the server's process.
    ProcessGone,
    /// The client has sent an illegal frame, which is answered by a Close with this code and ends the server's process.
    Illegal(u16),
    /// Anything else.
    Stop(Stop),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Runs a session to its end. The connection is gone on return; the process may live on at Docker. `behind` was read
/// behind the handshake.
pub(super) async fn run(server: Arc<Server>, conn: Conn, behind: Vec<u8>, wanted: Wanted, permit: Permit) {
    let _attached = server.attach();
    let process = server.process();
    let fault = server.site.faults.take(Stage::Session);
    let config = Some(limits(server.max_message));
    let socket = WebSocketStream::from_partially_read(conn.clone(), behind, Role::Server, config).await;
    let (mut sink, mut stream) = socket.split();
    let (plan, fault) = Plan::of(&server, &wanted, fault);
    let exec = match wanted {
        Wanted::Exec(started) => Some(started),
        Wanted::New { .. } => None,
    };
    let mut session = Session {
        server: &server,
        conn: &conn,
        course: plan.course,
        start_size: plan.size,
        input: Input {
            keeps_early: plan.keeps_early,
            sizes: exec.as_ref().map(|exec| exec.sizes.clone()),
            ..Input::default()
        },
        created: Instant::now() + plan.delay,
        shell: None,
        reaped: false,
    };
    let stop = tokio::select! {
        stop = session.run(&mut sink, &mut stream, fault) => stop,
        () = process.cancelled() => Stop::Reset,
        () = server.site.cancel.cancelled() => Stop::Shutdown,
    };
    let Session { shell, reaped, course, created, start_size, input, .. } = session;
    // A client that leaves before its process is created leaves it all the same: nobody tells Docker.
    let unborn = shell.is_none() && matches!(course, Course::Runs { .. }) && exec.is_none() && !input.keeps_early;
    let attached_by_id = exec.is_some();
    let hang_up = async {
        let shell = match shell {
            None if unborn && matches!(stop, Stop::ClientClosed | Stop::ClientLost) => {
                server.create_late(created, start_size).await
            }
            shell => shell,
        };
        match shell {
            Some(shell) if reaped || attached_by_id || server.site.cancel.is_cancelled() => shell.hang_up().await,
            Some(shell) => return server.docker.keep(&server.site, shell, permit),
            None => {}
        }
        drop(exec);
        drop(permit);
    };
    part(&server.site, stop, (sink, stream), conn, hang_up).await;
}

struct Session<'a> {
    server: &'a Server,
    conn: &'a Conn,
    course: Course,
    start_size: Size,
    input: Input,
    /// When the process is created.
    created: Instant,
    shell: Option<Shell>,
    /// Whether the shell has ended of itself.
    reaped: bool,
}

impl Session<'_> {
    async fn run(&mut self, sink: &mut Sender, stream: &mut Receiver, fault: Option<Fault>) -> Stop {
        let end = match self.until_created(stream).await {
            Ok(()) => self.go(sink, stream, fault).await.unwrap_or_else(|end| end),
            Err(end) => end,
        };
        match end {
            End::Exited => {
                self.reaped = true;
                farewell(sink, None).await
            }
            End::Detached => farewell(sink, None).await,
            End::DockerLost => farewell(sink, Some("read ECONNRESET")).await,
            End::ProcessGone => self.end_process().await,
            End::Illegal(code) => {
                let frame = CloseFrame { code: code.into(), reason: "".into() };
                let answer = async {
                    // It fails where the library has an answer ready, which only needs to go out.
                    let _ready = sink.send(Message::Close(Some(frame))).await;
                    sink.flush().await
                };
                // A client that does not read has none.
                let _answered = timeout(BEFORE_RESET, answer).await;
                self.end_process().await
            }
            End::Stop(stop) => stop,
        }
    }

    async fn end_process(&self) -> Stop {
        sleep(BEFORE_RESET).await;
        self.server.crash();
        Stop::Reset
    }

    /// Waits until the process is created. What the client says meanwhile is dropped, unless it is kept.
    async fn until_created(&mut self, stream: &mut Receiver) -> Result<(), End> {
        let (input, created) = (&mut self.input, self.created);
        let hear = async {
            loop {
                if input.pending.len() >= MAX_PENDING {
                    future::pending::<()>().await;
                }
                let message = hear(stream).await?;
                if !input.keeps_early {
                    count(&self.server.tally.messages_dropped, usize::from(message.is_some()));
                } else if let Some(message) = message {
                    input.take(self.server, &message);
                }
            }
        };
        tokio::select! {
            end = hear => end,
            () = sleep_until(created) => Ok(()),
        }
    }

    /// Takes the course that was planned.
    async fn go(&mut self, sink: &mut Sender, stream: &mut Receiver, fault: Option<Fault>) -> Result<End, End> {
        let lost = |_| End::Stop(Stop::ClientLost);
        let hex_lines_lost = match &self.course {
            Course::Refused { message, stop } => {
                if let Some(message) = message {
                    sink.send(Message::text(wire::error(message))).await.map_err(lost)?;
                }
                return Ok(End::Stop(*stop));
            }
            Course::Ends { output } => {
                sink.send(Message::text(wire::output(output.as_bytes()))).await.map_err(lost)?;
                return Ok(End::Exited);
            }
            Course::Silent { output } => {
                sink.send(Message::text(wire::output(output.as_bytes()))).await.map_err(lost)?;
                loop {
                    hear(stream).await?;
                }
            }
            Course::Runs { hex_lines_lost } => *hex_lines_lost,
        };
        let shell = match Shell::spawn_sized(&self.server.shell, self.start_size) {
            Ok(shell) => self.shell.insert(shell),
            Err(error) => {
                debug!(?error, "no shell");
                let output = format!("OCI runtime exec failed: {error:#}\r\n");
                sink.send(Message::text(wire::output(output.as_bytes()))).await.map_err(lost)?;
                return Ok(End::Exited);
            }
        };
        let signals = Signals::default();
        let (output, pty, child) = shell.parts();
        let mut outlet = Outlet::new(self.conn, sink, &Types, fault);
        tokio::select! {
            end = pump(self.server, &mut outlet, (output, child), &signals, hex_lines_lost) => Ok(end?),
            end = self.input.run(self.server, stream, pty, &signals) => Ok(end),
        }
    }
}

/// The last words of a session whose stream to Docker has ended. They come behind all its output.
async fn farewell(sink: &mut Sender, error: Option<&str>) -> Stop {
    let error = error.map(wire::error);
    let words = async {
        for message in error.into_iter().chain([wire::exit()]) {
            sink.send(Message::text(message)).await?;
        }
        Ok::<_, Error>(())
    };
    match timeout(LAST_WORDS, words).await {
        Ok(Ok(())) => Stop::EmptyClose,
        _ => Stop::ClientLost,
    }
}

/// The client's next message with a payload, `None` for a ping or pong.
async fn hear(stream: &mut Receiver) -> Result<Option<Message>, End> {
    let item = stream.next().await;
    if let Some(Ok(Message::Close(Some(frame)))) = &item
        // What tungstenite makes of a Close whose code may not be sent.
        && (frame.code, frame.reason.as_str()) == (CloseCode::Protocol, "Protocol violation")
    {
        return Err(End::Illegal(frame.code.into()));
    }
    match next(&mut stream::iter(item), None, Stop::ClientLost).await {
        Ok(message) => Ok((message.is_text() || message.is_binary()).then_some(message)),
        Err(Stop::Close(code, _)) => Err(End::Illegal(code)),
        Err(stop) => Err(stop.into()),
    }
}

/// What a client has said and its terminal has not heard yet.
#[derive(Debug, Default)]
struct Input {
    /// Whether messages count before the process is created.
    keeps_early: bool,
    keys: DetachKeys,
    pending: Vec<u8>,
    /// How much of `pending` the terminal has taken.
    taken: usize,
    size: Option<Size>,
    /// Where sizes come from if not by messages.
    sizes: Option<watch::Receiver<Option<Size>>>,
    /// The user has left: what is said now is nobody's.
    detached: bool,
}

impl Input {
    /// Does what a message says, as far as that can be done without the terminal.
    fn take(&mut self, server: &Server, message: &Message) {
        let payload = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            _ => return,
        };
        match Inbound::parse(payload) {
            Inbound::Input(_) if self.detached => {}
            Inbound::Input(bytes) => self.detached = self.keys.pass(&bytes, &mut self.pending),
            Inbound::Resize { cols, rows } if self.sizes.is_none() => self.size = Some((cols, rows)),
            Inbound::Resize { .. } | Inbound::Ignored => count(&server.tally.messages_ignored, 1),
        }
    }

    /// Brings to the terminal what the client says, until the client is gone. A size is applied a moment later, by
    /// itself: Docker is asked for it by another connection than that of the input.
    async fn run(&mut self, server: &Server, stream: &mut Receiver, mut pty: WritePty<'_>, signals: &Signals) -> End {
        let mut resize_at = self.size.map(|_| Instant::now() + server.resize_delay);
        loop {
            let waiting = self.pending.len() - self.taken;
            if self.detached && waiting == 0 {
                signals.detached.notify_one();
            }
            tokio::select! {
                biased;
                written = pty.write(&self.pending[self.taken..]), if waiting > 0 => {
                    // A terminal that takes no more has lost its shell; the output tells.
                    if let Ok(written) = written {
                        count(&server.tally.input_bytes, written);
                    }
                    self.taken += written.unwrap_or(waiting);
                    if self.taken == self.pending.len() {
                        self.pending.clear();
                        self.taken = 0;
                        self.pending.shrink_to(64 * 1024);
                    }
                }
                () = at(resize_at) => {
                    resize_at = None;
                    if let Some((cols, rows)) = self.size.take()
                        && pty.resize(PtySize::new(rows, cols)).is_ok()
                    {
                        count(&server.tally.resizes, 1);
                    }
                }
                size = changed(&mut self.sizes) => {
                    self.size = size;
                    resize_at = size.map(|_| Instant::now() + server.resize_delay);
                }
                message = hear(stream), if waiting < MAX_PENDING => match message {
                    Ok(None) => {}
                    Ok(Some(_)) if signals.agent_lost.load(Ordering::SeqCst) => {}
                    Ok(Some(message)) => {
                        self.take(server, &message);
                        if self.size.is_some() && resize_at.is_none() {
                            resize_at = Some(Instant::now() + server.resize_delay);
                        }
                    }
                    Err(end) => return end,
                },
            }
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => future::pending().await,
    }
}

/// The next size that was given by a call.
async fn changed(sizes: &mut Option<watch::Receiver<Option<Size>>>) -> Option<Size> {
    match sizes {
        Some(sizes) => match sizes.changed().await {
            Ok(()) => *sizes.borrow_and_update(),
            Err(_) => future::pending().await,
        },
        None => future::pending().await,
    }
}
