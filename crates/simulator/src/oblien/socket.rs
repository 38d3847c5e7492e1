//! A runtime's WebSocket: all its terminals' output on the way out, and their input on the way in.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::Role},
};

use super::{
    Server,
    ring::MAX_CAPACITY,
    runtime::{Attachment, Outbound, Runtime},
    terminal::Input,
    wire::{self, Inbound},
    world::Workspace,
};
use crate::{
    Fault, Stage,
    net::Conn,
    web::{Messages, Outlet, Pings, Samples, Stop, Wire, count, limits, next, part},
};

/// Bytes of an inbound message or frame. No document names a limit; this is far above what clients send.
const MAX_INBOUND: usize = 1024 * 1024;
/// Bytes of outbound messages: the largest is the replay of a whole scrollback.
const MAX_BUFFERED: usize = 2 * MAX_CAPACITY;
/// An id that no terminal has: they are given from 1 on.
const NOBODY: u8 = 0;
/// Another, which a client may take for one that it has not been told of yet.
const STRANGER: u8 = 254;

/// Runs a WebSocket to its end, in the place of the one before it. The connection is gone on return; terminals stay.
pub(super) async fn run(server: &Server, workspace: &Workspace, runtime: &Runtime, conn: Conn, mut behind: Vec<u8>) {
    let fault = server.site.faults.take(Stage::Session);
    let limits = limits(MAX_INBOUND).max_write_buffer_size(MAX_BUFFERED);
    let pings = Pings::new(conn.clone(), &mut behind, server.answers_pings);
    let socket = WebSocketStream::from_partially_read(pings, behind, Role::Server, Some(limits)).await;
    let (mut sink, mut stream) = socket.split();
    // The server may have been switched off since the handshake.
    let Some(attachment) = runtime.attach(server.eviction.stop()) else {
        return part(&server.site, Stop::Fin, (sink, stream), conn, async {}).await;
    };
    let _open = Open::of(server);
    let Attachment { serial, replay, queue, stop: mut told, evicted } = attachment;
    if evicted {
        count(&server.tally.evictions, 1);
    }
    let stop = {
        let silent_exits = fault == Some(Fault::ExitNoCode);
        let cuts =
            fault.as_ref().is_some_and(|fault| fault.after().is_some() || matches!(fault, Fault::Fragments { .. }));
        let outlet = Outlet::new(&conn, &mut sink, &Frames, fault);
        let mut writer = Writer { server, workspace, runtime, outlet, silent_exits, cuts, speaker: None };
        tokio::select! {
            // Whoever is told to stop says nothing more.
            biased;
            Ok(stop) = &mut told => stop,
            () = server.site.cancel.cancelled() => Stop::Shutdown,
            stop = writer.run(replay, queue) => stop,
            stop = take_input(server, runtime, &conn, &mut stream) => stop,
        }
    };
    runtime.detach(serial);
    part(&server.site, stop, (sink, stream), conn, async {}).await;
}

/// An open WebSocket's place in the count.
struct Open<'a>(&'a AtomicUsize);

impl<'a> Open<'a> {
    fn of(server: &'a Server) -> Self {
        server.tally.sockets_open.fetch_add(1, Ordering::SeqCst);
        count(&server.tally.sockets_opened, 1);
        Self(&server.tally.sockets_open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The sending half.
struct Writer<'a, S> {
    server: &'a Server,
    workspace: &'a Workspace,
    runtime: &'a Runtime,
    outlet: Outlet<'a, S, Frames>,
    /// Whether exits are told without their codes.
    silent_exits: bool,
    /// Whether frames are cut as the fault demands. Else they go out whole, however long.
    cuts: bool,
    /// Whose output was sent last.
    speaker: Option<u8>,
}

impl<S: Messages> Writer<'_, S> {
    /// Sends the replay and then what comes, until the socket fails or a fault demands an end.
    async fn run(&mut self, replay: Vec<(u8, Vec<u8>, Option<i32>)>, queue: mpsc::Receiver<Outbound>) -> Stop {
        match self.pump(replay, queue).await {
            // The runtime has dropped its end, which it does only with a word on how to stop.
            Ok(()) => std::future::pending().await,
            Err(stop) => stop,
        }
    }

    async fn pump(
        &mut self,
        replay: Vec<(u8, Vec<u8>, Option<i32>)>,
        mut queue: mpsc::Receiver<Outbound>,
    ) -> Result<(), Stop> {
        self.strike().await?;
        for (id, scrollback, ended) in &replay {
            if ended.is_none() || self.server.replay_ended {
                for piece in scrollback.chunks(self.server.replay_chunk) {
                    self.output(wire::output(*id, piece).into()).await?;
                }
            }
        }
        for (id, _, ended) in replay {
            if let Some(code) = ended {
                self.exit(id, code).await?;
            }
        }
        while let Some(outbound) = queue.recv().await {
            match outbound {
                Outbound::Output(frame) => self.output(frame).await?,
                Outbound::Exit { id, code } => self.exit(id, code).await?,
                // Nobody waits any more: nothing to do.
                Outbound::Sent(told) => drop(told.send(())),
            }
        }
        Ok(())
    }

    /// Sends a frame, cut where a fault has to strike, and lets that strike as soon as its bytes are out.
    async fn output(&mut self, frame: Bytes) -> Result<(), Stop> {
        let id = frame[0];
        let mut rest = frame;
        while rest.len() > 1 {
            let limit = if self.cuts { self.outlet.limit() } else { usize::MAX };
            let data = rest.len() - 1;
            let piece = if data <= limit {
                std::mem::take(&mut rest)
            } else {
                let piece = rest.split_to(1 + limit);
                // The id is in front of every piece.
                rest = wire::output(id, &rest).into();
                piece
            };
            self.speaker = Some(id);
            self.outlet.took(piece.len() - 1);
            self.outlet.output(Message::Binary(piece)).await?;
            self.strike().await?;
        }
        Ok(())
    }

    async fn exit(&mut self, id: u8, code: i32) -> Result<(), Stop> {
        let code = (!self.silent_exits).then_some(code);
        self.outlet.send(Message::text(wire::exit(id, code))).await
    }

    async fn strike(&mut self) -> Result<(), Stop> {
        match self.outlet.strike().await? {
            None => Ok(()),
            Some(fault) => self.commit(fault).await,
        }
    }

    /// Commits a fault that only this kind has.
    async fn commit(&mut self, fault: Fault) -> Result<(), Stop> {
        match fault {
            Fault::Evict { times, after } => {
                if times > 1 {
                    self.server.site.faults.next(Fault::Evict { times: times - 1, after });
                }
                count(&self.server.tally.evictions, 1);
                Err(self.server.eviction.stop())
            }
            Fault::Watcher { .. } => self.texts(wire::watcher_messages()).await,
            Fault::UnknownChannel { .. } => self.texts(wire::unknown_messages(STRANGER)).await,
            Fault::UnknownTerminal { .. } => {
                for id in [NOBODY, STRANGER] {
                    let frame = wire::output(id, b"not yours\r\n");
                    self.outlet.send(Message::binary(frame)).await?;
                }
                Ok(())
            }
            Fault::ShortFrames { .. } => {
                self.outlet.send(Message::binary(Bytes::new())).await?;
                self.outlet.send(Message::binary(vec![self.speaker.unwrap_or(1)])).await
            }
            Fault::TerminalDies { .. } => {
                if let Some(remote) = self.runtime.remote(self.speaker) {
                    remote.kill();
                }
                Ok(())
            }
            Fault::Disabled { .. } => {
                // Without randomness for a new token the server stays on; this socket ends all the same.
                let _disabled = self.workspace.disable();
                Err(Stop::Fin)
            }
            _ => Ok(()),
        }
    }

    async fn texts(&mut self, texts: impl IntoIterator<Item = String>) -> Result<(), Stop> {
        for text in texts {
            self.outlet.send(Message::text(text)).await?;
        }
        Ok(())
    }
}

/// Takes the client's messages until it is gone.
async fn take_input<S>(server: &Server, runtime: &Runtime, conn: &Conn, stream: &mut S) -> Stop
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    loop {
        let message = match next(stream, None, Stop::ClientLost).await {
            Ok(message) => message,
            Err(stop) => return stop,
        };
        let (id, input) = match message {
            Message::Binary(frame) => match frame.first() {
                Some(&id) => (id, Input::Data(frame.slice(1..))),
                None => {
                    count(&server.tally.messages_ignored, 1);
                    continue;
                }
            },
            Message::Text(text) => match Inbound::parse(&text) {
                Inbound::Resize { id, cols, rows } => (id, Input::Resize(cols, rows)),
                Inbound::Ignored => {
                    count(&server.tally.messages_ignored, 1);
                    continue;
                }
            },
            // tungstenite has already put a pong into its queue where there is to be one; the rest is nobody's.
            _ => continue,
        };
        let Some(remote) = runtime.input(id, &input) else {
            count(&server.tally.messages_ignored, 1);
            continue;
        };
        if matches!(&input, Input::Data(bytes) if bytes.is_empty()) {
            continue;
        }
        tokio::select! {
            biased;
            () = remote.input(input) => {}
            // As long as input waits nothing is read, and so the client's end would go unnoticed.
            () = conn.peer_gone() => return Stop::ClientLost,
        }
    }
}

/// Messages of this kind, for the faults that need one.
struct Frames;

impl Samples for Frames {
    fn wire(&self) -> Wire {
        Wire::Binary
    }

    fn output(&self, data: &str) -> Vec<u8> {
        wire::output(STRANGER, data.as_bytes())
    }

    fn around(&self, _: u64) -> (Vec<u8>, Vec<u8>) {
        (vec![STRANGER], Vec::new())
    }

    fn garbage(&self) -> Message {
        Message::text("this is {not JSON")
    }

    fn unknown(&self) -> Message {
        Message::text(r#"{"channel":"toast","type":"unknown"}"#)
    }
}
