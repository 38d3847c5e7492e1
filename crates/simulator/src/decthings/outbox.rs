//! What waits for one connection to be sent: replies and events in one order, each kind with a bound of its own.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Bytes of terminal output that wait for one connection, of all its subscriptions together. At the bound the terminals
/// are read no further, each taking its turn for the room that becomes free.
const EVENT_ROOM: usize = 256 * 1024;
/// Bytes of replies that wait for one connection. At the bound further replies are held back, and with them their calls.
/// It is a bound of its own so that input gets through while output cannot leave.
const REPLY_ROOM: usize = 4 * 1024 * 1024;
/// What an event without a blob counts for.
const BARE_EVENT: usize = 256;

/// Something to be sent, and the room that it takes until it is.
#[derive(Debug)]
pub(super) enum Item {
    /// A reply: its bytes are made, and maybe spoilt, already.
    Reply(Vec<u8>, Room),
    /// Terminal output: the event's JSON, and the blob.
    Data(Bytes, Bytes, Room),
    /// An event that has only JSON.
    Event(Bytes, Room),
}

/// Room for an item. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// The sending end. It outlives its connection for as long as somebody holds it, and has no room then.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The connection's number, different from that of every other.
    pub(super) connection: u64,
    items: mpsc::UnboundedSender<Item>,
    events: Arc<Semaphore>,
    replies: Arc<Semaphore>,
}

impl Outbox {
    /// An outbox and the end to send from. The queue itself is unbounded, but nothing gets into it without room.
    pub(super) fn new(connection: u64) -> (Arc<Self>, mpsc::UnboundedReceiver<Item>) {
        let (items, queue) = mpsc::unbounded_channel();
        let events = Arc::new(Semaphore::new(EVENT_ROOM));
        let replies = Arc::new(Semaphore::new(REPLY_ROOM));
        (Arc::new(Self { connection, items, events, replies }), queue)
    }

    /// The connection is gone: whoever waits for room learns it, and nobody gets any more.
    pub(super) fn close(&self) {
        self.events.close();
        self.replies.close();
    }

    /// Waits for room for a reply of this many bytes; `None` if the connection is gone. One that is larger than all the
    /// room there is takes all of it.
    pub(super) async fn reply_room(&self, bytes: usize) -> Option<Room> {
        room(&self.replies, bytes.min(REPLY_ROOM)).await
    }

    /// Puts an item behind all others.
    pub(super) fn push(&self, item: Item) {
        // A queue that nobody takes from any more belongs to a connection that is gone.
        let _gone = self.items.send(item);
    }
}

async fn room(semaphore: &Arc<Semaphore>, bytes: usize) -> Option<Room> {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    let permit = Arc::clone(semaphore).acquire_many_owned(permits).await.ok()?;
    Some(Room { _permit: permit })
}

/// A connection's subscription to a terminal.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) outbox: Arc<Outbox>,
    /// Cancelled when the subscription ends before its terminal and its connection do.
    pub(super) ended: CancellationToken,
}

impl Subscriber {
    pub(super) fn new(outbox: &Arc<Outbox>) -> Self {
        Self { outbox: Arc::clone(outbox), ended: CancellationToken::new() }
    }

    /// Waits for room for this much terminal output, or for an event without any; `None` once the subscription has ended.
    pub(super) async fn room(&self, output: usize) -> Option<Room> {
        let bytes = output.clamp(BARE_EVENT, EVENT_ROOM);
        tokio::select! {
            () = self.ended.cancelled() => None,
            room = room(&self.outbox.events, bytes) => room,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn output_that_is_not_sent_leaves_no_room_for_more_but_for_replies() {
        let (outbox, mut queue) = Outbox::new(0);
        let subscriber = Subscriber::new(&outbox);
        let mut taken = 0;
        while let Some(Some(room)) = subscriber.room(16 * 1024).now_or_never() {
            taken += 16 * 1024;
            outbox.push(Item::Data(Bytes::new(), Bytes::new(), room));
        }
        assert_eq!(taken, EVENT_ROOM);
        assert!(outbox.reply_room(REPLY_ROOM + 1).now_or_never().is_some());
        drop(queue.recv().await);
        assert!(subscriber.room(16 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn whoever_waits_for_room_learns_that_the_connection_or_the_subscription_is_gone() {
        let (outbox, _queue) = Outbox::new(0);
        let (first, second) = (Subscriber::new(&outbox), Subscriber::new(&outbox));
        let _all = first.room(EVENT_ROOM).await.unwrap();
        let (mut waiting, other) = (Box::pin(first.room(1)), second.room(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        first.ended.cancel();
        assert!(waiting.await.is_none());
        outbox.close();
        assert!(other.await.is_none());
    }
}
