//! Decthings: calls and events of any number of terminals over one connection.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use polytty_websocket::{Decoder, Event, Kind, Limits, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Shared;
use super::act::{Act, Reel};
use super::serve::{read, write};
use crate::wire::{Frames, Wire, decthings_event, decthings_length, frames};

/// What is called.
#[derive(Deserialize)]
struct Call {
    method: String,
    #[serde(default)]
    params: Value,
}

/// The terminals of one connection, and what is to be sent.
struct Terminals<'a> {
    shared: &'a Shared,
    acts: BTreeMap<u32, Act>,
    next: u32,
    encoder: Frames,
    out: Vec<u8>,
}

/// Serves one connection, and the terminals that are launched on it.
pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: &Shared) -> io::Result<()> {
    let mut decoder = Decoder::new(Role::Server, Limits { max_message: 2 << 20 });
    let mut terminals = Terminals { shared, acts: BTreeMap::new(), next: 0, encoder: frames(), out: Vec::new() };
    loop {
        let (mut is_over, mut reel) = (false, None);
        let count = read(&mut stream, |mut input| {
            while let Some(event) = decoder.decode(&mut input).map_err(io::Error::other)? {
                match event {
                    Event::Message { payload, .. } => reel = terminals.take(payload)?.or(reel.take()),
                    Event::Ping(payload) => terminals.encoder.pong(payload, &mut terminals.out),
                    Event::Close(_) => {
                        terminals.encoder.close(None, &mut terminals.out);
                        is_over = true;
                    }
                    Event::Pong(_) => {}
                }
            }
            Ok(())
        })
        .await?;
        write(&mut stream, &mut terminals.out, reel).await?;
        if count == 0 || is_over {
            return stream.shutdown().await;
        }
    }
}

impl Terminals<'_> {
    /// One call. What is to be written besides the answer, and how often.
    fn take(&mut self, message: &[u8]) -> io::Result<Option<(Rc<Reel>, usize)>> {
        let (id, json, input) = split(message).ok_or(io::ErrorKind::InvalidData)?;
        let call: Call = serde_json::from_slice(json)?;
        let terminal = call.params["terminalSessionId"].as_str().and_then(|name| name.parse::<u32>().ok());
        let mut reel = None;
        match (call.method.as_str(), terminal) {
            ("launchTerminalSession", _) => {
                self.next += 1;
                let what = call.params["modelId"].as_str().unwrap_or_default();
                let act = Act::named(what, Wire::Decthings(self.next), &self.shared.reels)?;
                self.acts.insert(self.next, act);
                self.reply(id, &json!({ "terminalSessionId": self.next.to_string() }));
            }
            ("writeToTerminalSession", Some(terminal)) => {
                self.reply(id, &json!({}));
                if let Some(act) = self.acts.get_mut(&terminal) {
                    reel = act.press(input, Wire::Decthings(terminal), &mut self.encoder, &mut self.out);
                }
            }
            ("terminateTerminalSession", Some(terminal)) => {
                self.acts.remove(&terminal);
                self.reply(id, &json!({}));
                let exit = json!({ "event": "exit", "params": { "terminalSessionId": terminal.to_string(),
                    "reason": { "code": "terminated_on_request" } } });
                self.encoder.message_with(Kind::Binary, &mut self.out, |out| decthings_event(&exit.to_string(), out));
            }
            _ => self.reply(id, &json!({})),
        }
        Ok(reel)
    }

    fn reply(&mut self, id: [u8; 4], result: &Value) {
        let json = json!({ "result": result }).to_string();
        self.encoder.message_with(Kind::Binary, &mut self.out, |out| {
            out.push(0);
            out.extend_from_slice(&id);
            decthings_length(json.len(), out);
            out.extend_from_slice(json.as_bytes());
        });
    }
}

/// A call's id, JSON and first blob.
fn split(message: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (id, rest) = message.split_first_chunk::<4>()?;
    let (&blobs, rest) = rest.split_first()?;
    let (json, mut rest) = length(rest)?;
    let mut first = 0;
    for blob in 0..blobs {
        let (length, behind) = length(rest)?;
        if blob == 0 {
            first = length;
        }
        rest = behind;
    }
    let (json, rest) = rest.split_at_checked(json)?;
    Some((*id, json, rest.get(..first)?))
}

/// A length in one, three, five or nine bytes, and what stands behind it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let more = match first {
        0xff => 8,
        0xfe => 4,
        0xfd => 2,
        _ => return Some((first.into(), rest)),
    };
    let (length, rest) = rest.split_at_checked(more)?;
    Some((length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest))
}
