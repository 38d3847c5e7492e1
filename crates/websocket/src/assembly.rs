//! The part of a message, or of a control frame, that has arrived when the rest has not.

use crate::{Error, Kind, MAX_CONTROL};

/// One buffer for both: first the unfinished message, behind it the control frame that arrived in between.
#[derive(Debug)]
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    message: Option<Unfinished>,
}

#[derive(Clone, Copy, Debug)]
struct Unfinished {
    kind: Kind,
    /// Its bytes in the buffer.
    len: usize,
    /// Those of them that are known to be text. At most three less, where a character is not complete.
    checked: usize,
}

impl Assembly {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), message: None }
    }

    /// Bytes of heap memory that it owns.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether it has nothing, and no memory to be freed.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.message.is_none() && self.bytes.capacity() == 0
    }

    pub(crate) fn in_message(&self) -> bool {
        self.message.is_some()
    }

    /// Bytes of the unfinished message.
    pub(crate) fn message_len(&self) -> usize {
        self.message.map_or(0, |message| message.len)
    }

    pub(crate) fn begin(&mut self, kind: Kind) {
        self.message = Some(Unfinished { kind, len: 0, checked: 0 });
    }

    /// Ends a message of which nothing was kept: `payload` is all of it.
    pub(crate) fn finish_with(&mut self, payload: &[u8]) -> Result<Kind, Error> {
        match self.message.take() {
            Some(Unfinished { kind: Kind::Text, .. }) => match simdutf8::basic::from_utf8(payload) {
                Ok(_) => Ok(Kind::Text),
                Err(_) => Err(Error::Utf8),
            },
            _ => Ok(Kind::Binary),
        }
    }

    /// Adds to the message, of which the buffer will hold `most` bytes at the most.
    pub(crate) fn extend(&mut self, payload: &[u8], most: usize) -> Result<(), Error> {
        self.push(payload, most);
        let Some(message) = &mut self.message else { return Ok(()) };
        message.len += payload.len();
        if message.kind == Kind::Text {
            message.checked += text_prefix(&self.bytes[message.checked..])?;
        }
        Ok(())
    }

    /// Ends the message that the buffer holds. It stays there until [`Assembly::release`].
    pub(crate) fn finish(&mut self) -> Result<Kind, Error> {
        match self.message.take() {
            Some(message) if message.kind == Kind::Text && message.checked < message.len => Err(Error::Utf8),
            Some(message) => Ok(message.kind),
            None => Ok(Kind::Binary),
        }
    }

    /// The message that was just finished.
    pub(crate) fn finished(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds to the control frame.
    pub(crate) fn extend_control(&mut self, payload: &[u8]) {
        self.push(payload, self.message_len() + MAX_CONTROL);
    }

    /// What has come of the control frame.
    pub(crate) fn control(&self) -> &[u8] {
        &self.bytes[self.message_len()..]
    }

    /// Forgets everything but the unfinished message; the memory goes with it.
    pub(crate) fn release(&mut self) {
        match self.message_len() {
            0 => self.bytes = Vec::new(),
            len => self.bytes.truncate(len),
        }
    }

    /// Forgets everything but the control frame.
    pub(crate) fn abandon_message(&mut self) {
        self.bytes = self.bytes.split_off(self.message_len());
        self.message = None;
    }

    /// Grows to twice what has arrived, and no further than to `most` in all.
    fn push(&mut self, payload: &[u8], most: usize) {
        let needed = self.bytes.len() + payload.len();
        if needed > self.bytes.capacity() {
            let goal = needed.saturating_mul(2).min(most).max(needed);
            self.bytes.reserve_exact(goal - self.bytes.len());
        }
        self.bytes.extend_from_slice(payload);
    }
}

/// How many bytes are whole characters. What is behind them can still become one.
fn text_prefix(bytes: &[u8]) -> Result<usize, Error> {
    match simdutf8::compat::from_utf8(bytes) {
        Ok(text) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Error::Utf8),
    }
}
