//! What a terminal of the source does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use polytty_workload::Corpus;

use super::{BURST_CORPUS, TAKEN};
use crate::wire::{BLOCK, Frames, Wire};

/// The length of a burst's messages.
const BURST_MESSAGE: usize = 4096;

/// Every block in frames, made once.
#[derive(Default)]
pub(super) struct Reels(RefCell<HashMap<String, Rc<Reel>>>);

/// Output that is ready to be written.
pub(super) struct Reel {
    pub(super) frames: Vec<u8>,
    /// Bytes of the terminal in it.
    length: usize,
}

impl Reels {
    fn get(&self, wire: Wire, corpus: Corpus, size: usize, bytes: Option<usize>) -> Rc<Reel> {
        let name = format!("{wire:?}.{}.{size}.{bytes:?}", corpus.name());
        let mut reels = self.0.borrow_mut();
        let reel = reels.entry(name).or_insert_with(|| {
            let mut block = corpus.block(bytes.unwrap_or(BLOCK));
            block.truncate(bytes.unwrap_or(block.len()));
            Rc::new(Reel { frames: wire.reel(&block, size), length: block.len() })
        });
        Rc::clone(reel)
    }
}

/// What becomes of a key.
pub(super) enum Act {
    Echo,
    Burst(Rc<Reel>),
    /// So often at the first key.
    Bulk(Rc<Reel>, usize),
    /// How much is still to be taken.
    Sink(usize),
}

impl Act {
    /// What the name asks for, on a wire.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for any other name.
    pub(super) fn named(name: &str, wire: Wire, reels: &Reels) -> io::Result<Self> {
        let words: Vec<&str> = name.split('.').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
        let act = || {
            Some(match *words.first()? {
                "echo" => Self::Echo,
                "burst" => Self::Burst(reels.get(wire, BURST_CORPUS, BURST_MESSAGE, Some(number(1)? << 10))),
                "bulk" => {
                    let reel = reels.get(wire, Corpus::named(words.get(1)?)?, number(2)?.max(1), None);
                    let times = (number(3)? << 20).div_ceil(reel.length);
                    Self::Bulk(reel, times)
                }
                "sink" => Self::Sink(number(1)? << 20),
                _ => return None,
            })
        };
        act().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, name.to_owned()))
    }

    /// Keys were pressed: appends what is said at once, and returns what is to be written besides, and how often.
    pub(super) fn press(
        &mut self,
        keys: &[u8],
        wire: Wire,
        encoder: &mut Frames,
        out: &mut Vec<u8>,
    ) -> Option<(Rc<Reel>, usize)> {
        match self {
            _ if keys.is_empty() => {}
            Self::Echo => wire.output(encoder, keys, out),
            Self::Burst(reel) => out.extend_from_slice(&reel.frames),
            Self::Bulk(reel, times) => return Some((Rc::clone(reel), std::mem::take(times))),
            Self::Sink(0) => {}
            Self::Sink(left) => {
                *left = left.saturating_sub(keys.len());
                if *left == 0 {
                    wire.output(encoder, TAKEN, out);
                }
            }
        }
        None
    }
}
