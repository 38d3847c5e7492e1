//! The way from a terminal to the WebSocket.

use std::{
    future,
    sync::atomic::{AtomicBool, Ordering},
};

use pty_process::ReadPty;
use tokio::{process::Child, sync::Notify};
use tokio_tungstenite::tungstenite::Message;

use super::{Server, session::End, wire};
use crate::{
    Fault,
    pty::Drain,
    web::{CHUNK, Messages, Outlet, Samples, Stop, Wire, count, short_frame},
};

/// What [`Fault::UpgradeEarlyFrame`] sends as its first message's data.
pub const EARLY_OUTPUT: &str = "early\r\n";

/// What passes between the two directions of a session.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The user has typed the keys that leave the process.
    pub(super) detached: Notify,
    /// The agent is lost: input goes nowhere.
    pub(super) agent_lost: AtomicBool,
}

/// Sends what the terminal says until the shell has ended, the user has left it, or a fault demands something else. One
/// read is one message, and decoded by itself.
pub(super) async fn pump<S: Messages>(
    server: &Server,
    outlet: &mut Outlet<'_, S, Types>,
    (mut pty, shell): (ReadPty<'_>, &mut Child),
    signals: &Signals,
    hex_lines_lost: bool,
) -> Result<End, Stop> {
    let mut buffer = vec![0; CHUNK];
    let mut drain = Drain::default();
    loop {
        match outlet.strike().await? {
            Some(Fault::DockerLost { .. }) => return Ok(End::DockerLost),
            Some(Fault::ProcessGone { .. }) => return Ok(End::ProcessGone),
            Some(Fault::AgentLost { .. }) => {
                signals.agent_lost.store(true, Ordering::SeqCst);
                future::pending::<()>().await;
            }
            _ => {}
        }
        let limit = outlet.limit();
        let read = tokio::select! {
            read = drain.read(&mut pty, shell, &mut buffer[..limit], 0) => read,
            () = signals.detached.notified() => return Ok(End::Detached),
        };
        if read == 0 {
            return Ok(End::Exited);
        }
        outlet.took(read);
        count(&server.tally.output_bytes, read);
        if !hex_lines_lost {
            outlet.output(Message::text(wire::output(&buffer[..read]))).await?;
            continue;
        }
        let rest = without_hex_lines(&buffer[..read]);
        if !rest.is_empty() {
            outlet.output(Message::text(wire::output(&rest))).await?;
        }
    }
}

/// A chunk without the lines that look like the sizes of a chunked HTTP body.
fn without_hex_lines(chunk: &[u8]) -> Vec<u8> {
    let is_size = |line: &&[u8]| {
        line.strip_suffix(b"\r\n").is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
    };
    chunk.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_size(line)).flatten().copied().collect()
}

/// The messages of this wire, for faults.
pub(super) struct Types;

impl Samples for Types {
    fn wire(&self) -> Wire {
        Wire::Text
    }

    fn output(&self, data: &str) -> Vec<u8> {
        wire::output(data.as_bytes()).into_bytes()
    }

    fn around(&self, _size: u64) -> (Vec<u8>, Vec<u8>) {
        let mut empty = wire::output(b"");
        // Cut where the data goes: before the last two characters, `"}`.
        let after = empty.split_off(empty.len() - 2);
        (empty.into(), after.into())
    }

    fn garbage(&self) -> Message {
        Message::text("this is {not JSON")
    }

    fn unknown(&self) -> Message {
        Message::text(wire::message("toast", Some(("data", "unknown type"))))
    }
}

/// The frame that [`Fault::UpgradeEarlyFrame`] sends behind its 101.
pub(super) fn early_frame() -> Vec<u8> {
    short_frame(Wire::Text, &Types.output(EARLY_OUTPUT), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_early_frame_is_short_enough_to_be_whole() {
        assert_eq!(usize::from(early_frame()[1]), Types.output(EARLY_OUTPUT).len());
    }

    #[test]
    fn a_message_is_cut_where_its_data_goes() {
        let (before, after) = Types.around(99);
        assert_eq!([before, b"xx".to_vec(), after].concat(), Types.output("xx"));
    }

    #[test]
    fn lines_of_hexadecimal_digits_are_taken_for_sizes() {
        assert_eq!(without_hex_lines(b"cafe\r\nl s\r\n0\r\nbeef\n7\r\n\r\nff"), b"l s\r\nbeef\n\r\nff");
    }
}
