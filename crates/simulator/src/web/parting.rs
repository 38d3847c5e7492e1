//! How a session's messages stop, and how its connection then ends.

use std::time::Duration;

use futures_util::{
    SinkExt as _, Stream, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tracing::debug;

use super::Site;
use crate::net::Conn;

/// How long the peer has to take what is in flight and to end its side: until then the connection stays open, since
/// closing it with unread bytes would send a reset, and that destroys what the peer has not read yet.
const FAREWELL: Duration = Duration::from_secs(5);
/// The longest that [`Fault::Stall`](crate::Fault::Stall) holds a connection.
const MAX_STALL: Duration = Duration::from_secs(600);

/// Why a session's messages stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client has sent a Close, which is to be answered.
    ClientClosed,
    /// The connection broke or its client is given up, and nothing more can be said.
    ClientLost,
    /// The simulator stops.
    Shutdown,
    /// The connection is to be reset.
    Reset,
    /// The connection is to end behind the last byte without a Close.
    Fin,
    /// A Close is due, with this code and reason.
    Close(u16, &'static str),
    /// A Close is due that has neither code nor reason.
    EmptyClose,
    /// Nothing is to be read or sent any more, and the connection is to stay open.
    Stall,
}

/// The client's next message.
///
/// # Errors
/// How to stop: `overdue` if nothing has come by the deadline, else what the end or the mistake of the client demands.
pub(crate) async fn next<S>(stream: &mut S, deadline: Option<Instant>, overdue: Stop) -> Result<Message, Stop>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    let message = match deadline {
        None => stream.next().await,
        Some(deadline) => timeout_at(deadline, stream.next()).await.map_err(|_| overdue)?,
    };
    match message {
        Some(Ok(Message::Close(_))) => Err(Stop::ClientClosed),
        Some(Ok(message)) => Ok(message),
        Some(Err(Error::Capacity(_))) => Err(Stop::Close(CloseCode::Size.into(), "")),
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Err(Stop::ClientLost),
        Some(Err(Error::Protocol(_))) => Err(Stop::Close(CloseCode::Protocol.into(), "")),
        Some(Err(Error::Utf8(_))) => Err(Stop::Close(CloseCode::Invalid.into(), "")),
        Some(Err(_)) | None => Err(Stop::ClientLost),
    }
}

/// Ends the connection as `stop` demands, and what is behind the session by `hang_up`: at once, or when a
/// [stall](Stop::Stall) is over. Both are gone on return.
pub(crate) async fn part<S: AsyncRead + AsyncWrite + Unpin>(
    site: &Site,
    stop: Stop,
    (sink, stream): (SplitSink<WebSocketStream<S>, Message>, SplitStream<WebSocketStream<S>>),
    conn: Conn,
    hang_up: impl Future<Output = ()>,
) {
    debug!(?stop, "a session stops");
    if stop == Stop::Stall {
        tokio::select! {
            _ = timeout(MAX_STALL, conn.peer_gone()) => {}
            () = site.cancel.cancelled() => {}
        }
    }
    let farewell = async {
        if let Ok(socket) = sink.reunite(stream) {
            tokio::select! {
                _ = timeout(FAREWELL, say_farewell(stop, socket, &conn)) => {}
                () = site.cancel.cancelled() => {}
            }
        }
        drop(conn);
    };
    tokio::join!(hang_up, farewell);
}

async fn say_farewell<S>(stop: Stop, mut socket: WebSocketStream<S>, conn: &Conn)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match stop {
        // What cannot be delivered is lost here, as it would be in earnest.
        Stop::ClientLost | Stop::Shutdown | Stop::Stall => return,
        Stop::Reset => return drop(conn.reset_on_drop()),
        Stop::Fin => {
            if socket.flush().await.is_err() {
                return;
            }
        }
        Stop::Close(code, reason) => {
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            if socket.close(Some(frame)).await.is_err() {
                return;
            }
            until_closed(&mut socket).await;
        }
        Stop::EmptyClose => {
            if socket.close(None).await.is_err() {
                return;
            }
            until_closed(&mut socket).await;
        }
        Stop::ClientClosed => until_closed(&mut socket).await,
    }
    if conn.shutdown_write().is_ok() {
        conn.discard().await;
    }
}

/// Reads until the closing handshake is complete; the reply to a Close goes out on the way.
async fn until_closed<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    while let Some(Ok(_)) = socket.next().await {}
}
