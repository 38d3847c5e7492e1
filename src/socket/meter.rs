//! Counts what goes through a stream, so that progress can be told from silence.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream and how much it has carried.
#[derive(Debug)]
pub struct Meter<S> {
    inner: S,
    read: u64,
    written: u64,
    /// Writes that had to wait, and went on.
    resumed: u64,
    is_held: Held,
}

/// What waits for the peer to make room.
#[derive(Debug, Default)]
struct Held {
    write: bool,
    flush: bool,
}

impl<S> Meter<S> {
    /// Starts at zero.
    pub fn new(inner: S) -> Self {
        Self { inner, read: 0, written: 0, resumed: 0, is_held: Held::default() }
    }

    /// Bytes read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Bytes written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What shows that the peer is there: it grows with every byte read, and whenever a write that had to wait goes on.
    /// A write that need not wait shows nothing, since the kernel takes it whether the peer is there or not.
    pub fn signs(&self) -> u64 {
        self.read + self.resumed
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.read += (buf.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        let was_held = std::mem::replace(&mut self.is_held.write, polled.is_pending());
        let written = ready!(polled)?;
        self.resumed += u64::from(was_held);
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        let was_held = std::mem::replace(&mut self.is_held.flush, polled.is_pending());
        ready!(polled)?;
        self.resumed += u64::from(was_held);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
