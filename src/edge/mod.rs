//! The edge: what a peer meets before anybody knows who it is.
//!
//! Accept → permit → TLS → request head → route. Every step has a deadline and a bound, and nothing is looked up before
//! Host and Origin were found right.

#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod guard;
mod hand_on;
mod handshake;
mod inner;
mod listener;
mod pages;
mod peer;
mod route;
mod spare;
mod tls;
mod upgrade;

pub(crate) use hand_on::{relayed, unreached_reply};
pub use listener::{Edge, bind};
pub use pages::{DemoProvider, Pages};
pub(crate) use peer::Caller;
pub use peer::Proxies;
pub use tls::{TlsError, TlsErrors, server_config};

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::limit::{Address, Held};
use crate::tls::ServerStream;

/// A client's TLS stream with its place among the connections, which it keeps also behind an upgrade.
pub(crate) struct Connection {
    stream: ServerStream<TcpStream>,
    _place: OwnedSemaphorePermit,
    /// Its place among those of its address; behind a proxy, from the upgrade on.
    own: Option<Held<Address>>,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
