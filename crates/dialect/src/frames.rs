//! Terminal text as messages that are JSON objects with one string, `{…,"data":"…"}`.

use crate::json::{MAX_EXPANSION, escape, escaped_prefix};
use crate::{Kind, Outbox};

const TAIL: &[u8] = b"\"}";

/// Writes pieces of text into as few messages as the limit allows, and none where there is no text.
pub(crate) struct Frames<'a> {
    out: &'a mut Outbox,
    head: &'static str,
    limit: usize,
    /// Where the payload of the unfinished message begins.
    open: Option<usize>,
}

impl<'a> Frames<'a> {
    /// Messages that begin with `head` and are at most `limit` bytes long, which must leave room for one character.
    pub(crate) fn new(head: &'static str, limit: usize, out: &'a mut Outbox) -> Self {
        debug_assert!(limit >= head.len() + MAX_EXPANSION + TAIL.len());
        Self { out, head, limit, open: None }
    }

    pub(crate) fn push(&mut self, mut text: &str) {
        while !text.is_empty() {
            let payload = self.out.part();
            let start = *self.open.get_or_insert_with(|| {
                let start = payload.len();
                payload.extend_from_slice(self.head.as_bytes());
                start
            });
            let room = (self.limit - TAIL.len()).saturating_sub(payload.len() - start);
            // Text that grows by more than two thirds is rare: to try is cheaper than to count.
            if text.len() / 3 * 5 <= room {
                let before = payload.len();
                escape(text, payload);
                if payload.len() - before <= room {
                    return;
                }
                payload.truncate(before);
            }
            let (fits, rest) = text.split_at(escaped_prefix(text, room));
            escape(fits, payload);
            text = rest;
            if !text.is_empty() {
                self.end();
            }
        }
    }

    /// Ends the unfinished message, if there is one.
    pub(crate) fn end(&mut self) {
        if self.open.take().is_some() {
            self.out.part().extend_from_slice(TAIL);
            self.out.end(Kind::Text);
        }
    }
}
