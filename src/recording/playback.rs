//! A recording on its way to whoever asked for it, in pieces of bounded length.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::task::{JoinHandle, spawn_blocking};

use super::cast::{Encoder, Format, ReadError};
use super::joined::{Joined, JoinedError};

/// A piece, in bytes; its last line may go beyond it.
const PIECE: usize = 64 << 10;

/// A recording as the body of a response: the parts as one cast, whole lines only.
///
/// One piece is read ahead, by a thread that may block; a client that does not read holds nothing else.
pub struct Playback {
    state: State,
}

enum State {
    Resting(Box<Reel>),
    Reading(JoinHandle<Read>),
    Over,
}

/// What the thread gives back: its reel and a piece of it.
type Read = (Box<Reel>, Result<Option<Bytes>, JoinedError>);

/// What the thread works with.
struct Reel {
    joined: Joined,
    encoder: Encoder,
    /// What goes before anything else.
    head: Vec<u8>,
}

impl Playback {
    /// Opens a recording; `None` where there is none. Blocks.
    pub(super) fn open(parts: Vec<PathBuf>, format: Option<Format>) -> Result<Option<Self>, JoinedError> {
        let joined = match Joined::open(parts) {
            Ok(None) | Err(JoinedError::File { error: ReadError::Unfinished, .. }) => return Ok(None),
            // It was deleted since it was listed.
            Err(JoinedError::File { error: ReadError::Io(error), .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Ok(Some(joined)) => joined,
            Err(error) => return Err(error),
        };
        let mut header = joined.header().clone();
        if let Some(origin) = &mut header.origin {
            (origin.part, origin.offset_us) = (1, 0);
        }
        let mut head = Vec::new();
        let encoder = Encoder::start(format.unwrap_or_else(|| joined.format()), &header, &mut head);
        Ok(Some(Self { state: State::Resting(Box::new(Reel { joined, encoder, head })) }))
    }
}

impl Reel {
    fn piece(&mut self) -> Result<Option<Bytes>, JoinedError> {
        let mut piece = std::mem::take(&mut self.head);
        while piece.len() < PIECE {
            let Some(event) = self.joined.next_event()? else { break };
            self.encoder.event(event.at, &event.code, &event.data, &mut piece);
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Resting(mut reel) => {
                    self.state = State::Reading(spawn_blocking(move || {
                        let piece = reel.piece();
                        (reel, piece)
                    }));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (reel, piece) = read.map_err(io::Error::other)?;
                    return match piece {
                        Ok(None) => Poll::Ready(None),
                        Ok(Some(piece)) => {
                            self.state = State::Resting(reel);
                            Poll::Ready(Some(Ok(Frame::data(piece))))
                        }
                        Err(error) => {
                            tracing::error!(error = ?error.to_string(), "a recording cannot be read");
                            Poll::Ready(Some(Err(io::Error::other(error))))
                        }
                    };
                }
            }
        }
    }
}
