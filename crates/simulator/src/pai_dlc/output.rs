//! The way from a terminal to the WebSocket.

use pty_process::ReadPty;
use tokio::{
    process::Child,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{
    Server,
    wire::{message, stdout},
};
use crate::{
    pty::Drain,
    text::Decoder,
    web::{CHUNK, Messages, Outlet, Samples, Stop, Wire, count, short_frame},
};

/// What [`Fault::UpgradeEarlyFrame`](crate::Fault::UpgradeEarlyFrame) sends as its first message's data.
pub const EARLY_OUTPUT: &str = "early\r\n";

/// Sends what the terminal says, and pings, until the shell has ended.
///
/// # Errors
/// The socket fails, or the fault demands an end.
pub(super) async fn pump<S: Messages>(
    server: &Server,
    outlet: &mut Outlet<'_, S, Operations>,
    mut pty: ReadPty<'_>,
    shell: &mut Child,
) -> Result<(), Stop> {
    let mut decoder = Decoder::new(CHUNK);
    let mut pings = interval_at(Instant::now() + server.ping_every, server.ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drain = Drain::default();
    loop {
        // This kind has no session faults of its own.
        let _other = outlet.strike().await?;
        let (buffer, filled) = decoder.space(outlet.limit());
        let read = tokio::select! {
            read = drain.read(&mut pty, shell, buffer, filled) => read,
            _ = pings.tick() => {
                outlet.send(Message::Ping(Bytes::new())).await?;
                continue;
            }
        };
        if read == 0 {
            break;
        }
        outlet.took(read);
        count(&server.tally.output_bytes, read);
        let text = decoder.text(read);
        if !text.is_empty() {
            outlet.output(Message::text(stdout(&text))).await?;
        }
    }
    match decoder.finish() {
        "" => Ok(()),
        rest => outlet.output(Message::text(stdout(rest))).await,
    }
}

/// The messages of this wire, for faults.
pub(super) struct Operations;

impl Samples for Operations {
    fn wire(&self) -> Wire {
        Wire::Text
    }

    fn output(&self, data: &str) -> Vec<u8> {
        stdout(data).into_bytes()
    }

    fn around(&self, _size: u64) -> (Vec<u8>, Vec<u8>) {
        let empty = stdout("");
        // Cut where the data goes: before the quotation mark of `","rows"`.
        let (before, after) = empty.split_at(empty.find("\",\"rows\"").unwrap_or(0));
        (before.into(), after.into())
    }

    fn garbage(&self) -> Message {
        Message::text("this is {not JSON")
    }

    fn unknown(&self) -> Message {
        Message::text(message("toast", "unknown operation"))
    }
}

/// The frame that [`Fault::UpgradeEarlyFrame`](crate::Fault::UpgradeEarlyFrame) sends behind its 101.
pub(super) fn early_frame() -> Vec<u8> {
    short_frame(Wire::Text, stdout(EARLY_OUTPUT).as_bytes(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_early_frame_is_short_enough_to_be_whole() {
        assert_eq!(usize::from(early_frame()[1]), stdout(EARLY_OUTPUT).len());
    }
}
