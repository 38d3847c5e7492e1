//! A workspace of Oblien's: its API, and the one connection that all its terminals share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;

use polytty_websocket::{Decoder, Event, Kind, Limits, Role};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Shared;
use super::act::Act;
use super::serve::{Request, read, write};
use crate::wire::{Wire, frames};

/// The terminals that there are.
#[derive(Default)]
pub(super) struct Workspace {
    /// By its number, what each was asked for, and which of all that were ever made it is.
    terminals: RefCell<BTreeMap<u8, (u64, String)>>,
    made: Cell<u64>,
}

impl Workspace {
    /// A call of the control plane or of the data plane: a status and a body.
    pub(super) fn call(&self, request: &Request) -> (u16, String) {
        #[derive(Deserialize)]
        struct Wanted {
            cmd: Vec<String>,
        }

        let said = |status, body: serde_json::Value| (status, body.to_string());
        let path = request.path.split('?').next().unwrap_or_default();
        if path.starts_with("/workspace/") {
            return said(200, json!({ "success": true, "enabled": true, "running": true, "token": "token" }));
        }
        let mut terminals = self.terminals.borrow_mut();
        match (request.method.as_str(), path.strip_prefix("/terminals")) {
            ("GET", Some("")) => {
                let list: Vec<_> =
                    terminals.keys().map(|id| json!({ "id": id.to_string(), "alive": true, "exit_code": 0 })).collect();
                said(200, json!({ "success": true, "terminals": list }))
            }
            ("POST", Some("")) => {
                let free = (1..=u8::MAX).find(|id| !terminals.contains_key(id));
                let wanted = serde_json::from_slice::<Wanted>(&request.body).ok();
                let (Some(id), Some(what)) = (free, wanted.and_then(|wanted| wanted.cmd.into_iter().next())) else {
                    return said(400, json!({ "success": false, "error": "no command, or no room" }));
                };
                self.made.set(self.made.get() + 1);
                terminals.insert(id, (self.made.get(), what));
                said(201, json!({ "success": true, "id": id.to_string(), "cols": 80, "rows": 24 }))
            }
            ("DELETE", Some(rest)) => {
                let id = rest.trim_start_matches('/').parse().ok();
                match id.and_then(|id: u8| terminals.remove(&id)) {
                    Some(_) => said(200, json!({ "success": true })),
                    None => said(404, json!({ "success": false, "error": "not_found" })),
                }
            }
            _ => said(404, json!({ "success": false, "error": "not_found" })),
        }
    }

    fn of(&self, id: u8) -> Option<(u64, String)> {
        self.terminals.borrow().get(&id).cloned()
    }
}

/// Serves the one connection. A terminal is known from its first key on.
pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: &Shared) -> io::Result<()> {
    let mut decoder = Decoder::new(Role::Server, Limits { max_message: 2 << 20 });
    let (mut encoder, mut out) = (frames(), Vec::new());
    let mut acts: BTreeMap<u8, (u64, Act)> = BTreeMap::new();
    loop {
        let (mut is_over, mut reel) = (false, None);
        let count = read(&mut stream, |mut input| {
            while let Some(event) = decoder.decode(&mut input).map_err(io::Error::other)? {
                match event {
                    Event::Message { kind: Kind::Binary, payload: [id, keys @ ..] } => {
                        let Some((number, what)) = shared.workspace.of(*id) else { continue };
                        let wire = Wire::Channel(*id);
                        // Another terminal may have had this id before.
                        if acts.get(id).is_none_or(|(known, _)| *known != number) {
                            acts.insert(*id, (number, Act::named(&what, wire, &shared.reels)?));
                        }
                        if let Some((_, act)) = acts.get_mut(id) {
                            reel = act.press(keys, wire, &mut encoder, &mut out).or(reel.take());
                        }
                    }
                    Event::Message { .. } | Event::Pong(_) => {}
                    Event::Ping(payload) => encoder.pong(payload, &mut out),
                    Event::Close(_) => {
                        encoder.close(None, &mut out);
                        is_over = true;
                    }
                }
            }
            Ok(())
        })
        .await?;
        write(&mut stream, &mut out, reel).await?;
        if count == 0 || is_over {
            return stream.shutdown().await;
        }
    }
}
