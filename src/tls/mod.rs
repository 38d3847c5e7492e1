//! TLS over a stream, by rustls' unbuffered interface.
//!
//! What is read is decrypted in scratch memory of the thread, and what is written is sealed there. A connection at rest owns
//! nothing but its keys: beside them there is only a record that has come in part, or what the peer does not take. The
//! buffered interface keeps 4 KiB of every connection for good; `docs/decisions/0026-tls-without-buffers.md` has the figures.

mod end;

#[cfg(feature = "fuzzing")]
pub mod fuzz;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use end::End;

/// What is read or sealed at once, in bytes: at sizes beyond it nothing becomes cheaper.
const TURN: usize = 64 << 10;

/// The least that is read at once. What somebody wanted less of is kept for them.
const LEAST: usize = 4 << 10;

/// What may be held of records and handshake messages that have come in part, in bytes. A message may be 64 KiB long (rustls
/// refuses more), and what it is cut into adds to that; who cuts it much too small is let go.
const MAX_HELD: usize = 112 << 10;

/// What a record adds to what it carries, at the most: header, nonce, tag and type.
const OVERHEAD: usize = 64;

/// What one record carries at the most (RFC 8446, section 5.1).
const FRAGMENT: usize = 16 << 10;

thread_local! {
    static INCOMING: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_HELD + TURN].into());
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The server's end over a stream.
pub(crate) type ServerStream<S> = TlsStream<S, UnbufferedServerConnection>;

/// The client's end over a stream.
pub(crate) type ClientStream<S> = TlsStream<S, UnbufferedClientConnection>;

/// Shakes hands with a client.
///
/// # Errors
///
/// Those of the stream; `InvalidData` with the [`rustls::Error`] in it, of which the client was told; `UnexpectedEof` when it
/// left before.
pub(crate) async fn accept<S>(config: Arc<ServerConfig>, stream: S) -> io::Result<ServerStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
    TlsStream::shake(stream, connection).await
}

/// Shakes hands with a server that has to be who `name` says.
///
/// # Errors
///
/// As [`accept`].
pub(crate) async fn connect<S>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: S,
) -> io::Result<ClientStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
    TlsStream::shake(stream, connection).await
}

/// One end of a TLS connection over a stream.
///
/// The end of the stream without the peer's close_notify is `UnexpectedEof`, since somebody may have cut it (RFC 8446, section
/// 6.1).
pub(crate) struct TlsStream<S, C> {
    stream: S,
    connection: C,
    /// Read, and not whole yet.
    held: Vec<u8>,
    /// Decrypted and not taken, from `taken` on.
    opened: Vec<u8>,
    taken: usize,
    /// To be written, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    /// What was wrong with what the peer has sent; told once what came before it is taken.
    failed: Option<rustls::Error>,
    has_peer_closed: bool,
    has_closed: bool,
}

impl<S: fmt::Debug, C> fmt::Debug for TlsStream<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S, C: End> TlsStream<S, C> {
    /// What it is over.
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What was agreed upon.
    pub(crate) fn state(&self) -> &CommonState {
        &self.connection
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: End> TlsStream<S, C> {
    async fn shake(stream: S, connection: C) -> io::Result<Self> {
        let mut tls = Self {
            stream,
            connection,
            held: Vec::new(),
            opened: Vec::new(),
            taken: 0,
            unsent: Vec::new(),
            sent: 0,
            failed: None,
            has_peer_closed: false,
            has_closed: false,
        };
        std::future::poll_fn(|cx| tls.poll_shake(cx)).await?;
        Ok(tls)
    }

    fn poll_shake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // A client speaks first, without anything to answer.
            self.advance();
            if let Some(error) = self.failed.clone() {
                // So that the peer learns why, if it takes that at once.
                let _ = self.poll_unsent(cx);
                return Poll::Ready(Err(invalid(error)));
            }
            ready!(self.poll_unsent(cx))?;
            if !self.connection.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_records(cx, &mut ReadBuf::new(&mut [])))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Takes in what is held, as far as it is whole.
    fn advance(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let done = self.take_in(&mut held, &mut ReadBuf::new(&mut []));
        held.drain(..done);
        self.held = if held.is_empty() { Vec::new() } else { held };
    }

    /// Takes in whole records from the front of `incoming`: plaintext goes to `buf`, and what has no room there is kept. How
    /// much of `incoming` is done with.
    fn take_in(&mut self, incoming: &mut [u8], buf: &mut ReadBuf<'_>) -> usize {
        let mut done = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process(&mut incoming[done..]);
            let goes_on = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            discard += record.discard;
                            let (now, later) = record.payload.split_at(buf.remaining().min(record.payload.len()));
                            buf.put_slice(now);
                            self.opened.extend_from_slice(later);
                        }
                        Some(Err(error)) => break Err(error),
                        None => break Ok(true),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.unsent);
                    Ok(true)
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It goes out before anything that is written later.
                    data.done();
                    Ok(true)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.has_peer_closed = true;
                    Ok(true)
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
                    Ok(false)
                }
                // Early data is not offered.
                Ok(_) => Err(rustls::Error::General("an unknown state".to_owned())),
                Err(error) => Err(error),
            };
            done += discard;
            match goes_on {
                Ok(true) => {}
                Ok(false) => return done,
                Err(error) => {
                    self.failed = Some(error);
                    self.fetch_alert();
                    return done;
                }
            }
        }
    }

    /// Has what the peer is told of a failure sent.
    fn fetch_alert(&mut self) {
        // While there is something to be sent, nothing of the peer is looked at, which must not happen any more.
        while self.connection.wants_write() {
            let UnbufferedStatus { state, .. } = self.connection.process(&mut []);
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return };
            encode(data, &mut self.unsent);
        }
    }

    /// Reads once and takes in what is whole. How much was read; 0 is the stream's end.
    fn poll_records(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        INCOMING.with_borrow_mut(|scratch| {
            let held = self.held.len();
            if held > MAX_HELD {
                return Poll::Ready(Err(invalid(rustls::Error::PeerSentOversizedRecord)));
            }
            scratch[..held].copy_from_slice(&self.held);
            let most = buf.remaining().clamp(LEAST, TURN);
            let mut reading = ReadBuf::new(&mut scratch[held..held + most]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut reading))?;
            let count = reading.filled().len();
            if count > 0 {
                let incoming = &mut scratch[..held + count];
                let done = self.take_in(incoming, buf);
                self.held.clear();
                if done == incoming.len() {
                    self.held = Vec::new();
                } else {
                    self.held.extend_from_slice(&incoming[done..]);
                }
            }
            Poll::Ready(Ok(count))
        })
    }

    /// Writes what is sealed.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        if !self.unsent.is_empty() {
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Seals `data` behind what is in `out` for this call only. How long it is.
    fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        // Whatever is to be said before.
        self.advance();
        if self.failed.is_some() {
            return Err(over());
        }
        let room = data.len() + (data.len() / FRAGMENT + 2) * OVERHEAD;
        if out.len() < room {
            out.resize(room, 0);
        }
        loop {
            let UnbufferedStatus { state, .. } = self.connection.process(&mut self.held);
            let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
                return Err(over());
            };
            match traffic.encrypt(data, out) {
                Ok(sealed) => return Ok(sealed),
                Err(EncryptError::InsufficientSize(size)) => out.resize(size.required_size, 0),
                Err(error @ EncryptError::EncryptExhausted) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Says that nothing more will come.
    fn close(&mut self) {
        self.has_closed = true;
        self.advance();
        if self.failed.is_some() {
            return;
        }
        let UnbufferedStatus { state, .. } = self.connection.process(&mut self.held);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            let begins = self.unsent.len();
            self.unsent.resize(begins + 2 * OVERHEAD, 0);
            let sealed = traffic.queue_close_notify(&mut self.unsent[begins..]).unwrap_or(0);
            self.unsent.truncate(begins + sealed);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: End + Unpin> AsyncRead for TlsStream<S, C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            if !this.opened.is_empty() {
                let rest = &this.opened[this.taken..];
                let now = &rest[..rest.len().min(buf.remaining())];
                buf.put_slice(now);
                this.taken += now.len();
                if this.taken == this.opened.len() {
                    (this.opened, this.taken) = (Vec::new(), 0);
                }
                break;
            }
            if let Some(error) = &this.failed {
                return Poll::Ready(Err(invalid(error.clone())));
            }
            if this.has_peer_closed {
                break;
            }
            let read = ready!(this.poll_records(cx, buf))?;
            if !this.unsent.is_empty() {
                // If it cannot be written, writing will tell.
                let _ = this.poll_unsent(cx);
            }
            if buf.filled().len() > before {
                break;
            }
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: End + Unpin> AsyncWrite for TlsStream<S, C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_unsent(cx))?;
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // A little more than a turn goes with it: a record and a call of its own would cost more.
        let data = if data.len() > TURN + 2 * LEAST { &data[..TURN] } else { data };
        OUTGOING.with_borrow_mut(|out| {
            let sealed = this.seal(data, out)?;
            // What had to be said before it goes out before it.
            let mut sent = 0;
            while this.unsent.is_empty() && sent < sealed {
                match Pin::new(&mut this.stream).poll_write(cx, &out[sent..sealed])? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(written) => sent += written,
                    Poll::Pending => break,
                }
            }
            this.unsent.extend_from_slice(&out[sent..sealed]);
            Poll::Ready(Ok(data.len()))
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_closed {
            self.close();
        }
        ready!(self.poll_unsent(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) {
    let begins = out.len();
    // It says how long it is when there is no room for it.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        out.resize(begins + size.required_size, 0);
        let encoded = data.encode(&mut out[begins..]).unwrap_or(0);
        out.truncate(begins + encoded);
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "nothing can be written any more")
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
