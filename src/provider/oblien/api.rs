//! The calls of a workspace's data plane, and its WebSocket.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap};
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use polytty_dialect::oblien::TerminalId;
use polytty_dialect::{Code, Exit, Size};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::access::{Access, CALL, Need, Service, Token, agent};
use super::refusal::{self, Refusal};
use crate::config::TokenPlace;
use crate::provider::Failure;
use crate::provider::dial::{Stream, WebSocketRefusal, WebSocketRequest};

/// How long a connection may take to come about, its token included.
const DIAL: Duration = Duration::from_secs(15);

/// How long the server may take to make a terminal. One that is not waited for is left behind, since only the answer
/// names it; whoever wanted it may give up long before.
const CREATE: Duration = Duration::from_secs(60);

/// One workspace and runtime, as its server has it.
#[derive(Clone)]
pub(super) struct Api {
    service: Arc<Service>,
    access: Arc<Access>,
    /// Empty, or `/runtimes/NAME`.
    prefix: Arc<str>,
}

/// A terminal in the server's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: TerminalId,
    /// `None` while its process runs.
    pub(super) exit: Option<Exit>,
    /// When it was made, as the server spells it: what tells it from another one of the same id.
    pub(super) born: Option<String>,
}

/// All terminals of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) terminals: Vec<Listed>,
    /// How many there are, those with ids that have no byte included.
    pub(super) count: usize,
}

/// Why there is no new terminal.
#[derive(Debug)]
pub(super) enum CreateError {
    /// The server has as many as it takes.
    Quota(String),
    /// Anything else.
    Failed(Failure),
}

impl Api {
    pub(super) fn new(service: Arc<Service>, access: Arc<Access>, runtime: Option<&str>) -> Self {
        let prefix = runtime.map(|name| format!("/runtimes/{name}")).unwrap_or_default();
        Self { service, access, prefix: prefix.into() }
    }

    /// What people call the place.
    pub(super) fn workspace(&self) -> String {
        self.access.workspace()
    }

    /// The credentials and settings that it calls with.
    pub(super) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    pub(super) fn settings(&self) -> &crate::config::Oblien {
        &self.service.settings
    }

    /// Opens the workspace's one WebSocket, with a token newer than `last`, the last connection's. `switches_on` as for
    /// [`Access::token`].
    ///
    /// # Errors
    ///
    /// [`Failure`], after one more try with another token where the first was refused.
    pub(super) async fn connect(
        &self,
        last: Option<Token>,
        switches_on: bool,
    ) -> Result<(Stream, Bytes, Token), Failure> {
        timeout(DIAL, self.dial(last, switches_on)).await.unwrap_or_else(|_| Err(refusal::late()))
    }

    async fn dial(&self, last: Option<Token>, switches_on: bool) -> Result<(Stream, Bytes, Token), Failure> {
        let need = last.as_ref().map_or(Need::Any, Need::Fresh);
        let token = self.access.token(&self.service, need, switches_on).await?;
        match self.upgrade(&token).await {
            Ok((stream, already_read)) => return Ok((stream, already_read, token)),
            Err(WebSocketRefusal::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {}
            Err(refusal) => return Err(refused(refusal)),
        }
        let token = self.access.token(&self.service, Need::Other(&token), switches_on).await?;
        let (stream, already_read) = self.upgrade(&token).await.map_err(refused)?;
        Ok((stream, already_read, token))
    }

    async fn upgrade(&self, token: &Token) -> Result<(Stream, Bytes), WebSocketRefusal> {
        let settings = &self.service.settings;
        let mut path = format!("{}/ws", self.prefix);
        let mut headers = HeaderMap::from_iter([agent()]);
        match settings.websocket_token {
            TokenPlace::Header => {
                headers.insert(AUTHORIZATION, token.header().map_err(WebSocketRefusal::Broken)?);
            }
            TokenPlace::Query => {
                path.push_str("?token=");
                path.extend(utf8_percent_encode(token.expose(), NON_ALPHANUMERIC));
            }
        }
        let (tls, authority) = (settings.gateway_url.is_tls(), settings.gateway_url.authority());
        let request = WebSocketRequest { tls, authority, path_and_query: &path, subprotocol: None, headers };
        self.service.dialer.websocket(request).await
    }

    /// Makes a terminal.
    ///
    /// # Errors
    ///
    /// [`CreateError`]. How a refusal for want of room looks is documented nowhere, so after one that may be it, the
    /// terminals are counted.
    pub(super) async fn create(&self, command: &[String], size: Size) -> Result<TerminalId, CreateError> {
        #[derive(Deserialize)]
        struct Created {
            id: Value,
        }

        let mut body = json!({"cols": size.cols(), "rows": size.rows()});
        if !command.is_empty() {
            body["cmd"] = json!(command);
        }
        let reply = self
            .service
            .call(&self.access, Method::POST, &format!("{}/terminals", self.prefix), body.to_string().into(), CREATE)
            .await
            .map_err(CreateError::Failed)?;
        let refusal = match refusal::read::<Created>(&reply) {
            Ok(created) => {
                if let Some(id) = id(&created.id) {
                    return Ok(id);
                }
                let senseless = refusal::senseless("POST /terminals: an id that has no byte");
                if let Some(number) = number(&created.id)
                    && let Err(failure) = self.delete_named(&number).await
                {
                    tracing::warn!(number, detail = ?failure.detail, "a terminal without a byte could not be deleted");
                }
                return Err(CreateError::Failed(senseless));
            }
            Err(refusal) => refusal,
        };
        let is_quota = refusal.is_quota() || (refusal.may_be_quota() && self.is_full().await);
        Err(if is_quota {
            CreateError::Quota(format!("POST /terminals: {}", refusal.detail()))
        } else {
            CreateError::Failed(refusal.data())
        })
    }

    async fn is_full(&self) -> bool {
        let most = self.service.settings.max_terminals as usize;
        self.list().await.is_ok_and(|list| list.count >= most)
    }

    /// Lists the terminals.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub(super) async fn list(&self) -> Result<List, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            terminals: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            id: Value,
            alive: Option<bool>,
            exit_code: Option<i32>,
            created_at: Option<String>,
        }

        let answer: Answer = self.get("/terminals").await?.map_err(|refusal| refusal.data())?;
        let count = answer.terminals.len();
        let terminals = answer.terminals.into_iter().filter_map(|entry| {
            // While a process lives its status reads 0, so only `alive` tells.
            let exit = (entry.alive == Some(false)).then(|| Exit { code: entry.exit_code, ..Exit::default() });
            Some(Listed { id: id(&entry.id)?, exit, born: entry.created_at })
        });
        Ok(List { terminals: terminals.collect(), count })
    }

    /// What the server has kept of a terminal's output.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub(super) async fn scrollback(&self, id: TerminalId) -> Result<Vec<u8>, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            scrollback: String,
        }

        let answer: Answer =
            self.get(&format!("/terminals/{id}/scrollback")).await?.map_err(|refusal| refusal.data())?;
        BASE64.decode(answer.scrollback).map_err(|_| refusal::senseless("GET scrollback: no base64"))
    }

    /// Ends a terminal's process and forgets it. One that is not there is no failure.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub(super) async fn delete(&self, id: TerminalId) -> Result<(), Failure> {
        self.delete_named(&id.to_string()).await
    }

    async fn delete_named(&self, id: &str) -> Result<(), Failure> {
        let path = format!("{}/terminals/{id}", self.prefix);
        let reply = self.service.call(&self.access, Method::DELETE, &path, Bytes::new(), CALL).await?;
        match refusal::read::<Value>(&reply) {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is_absent() || reply.status == StatusCode::NO_CONTENT => Ok(()),
            Err(refusal) => Err(refusal.data()),
        }
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Result<T, Refusal>, Failure> {
        let path = format!("{}{path}", self.prefix);
        let reply = self.service.call(&self.access, Method::GET, &path, Bytes::new(), CALL).await?;
        Ok(refusal::read(&reply))
    }
}

/// An id as the API writes it, a string or, by some servers, a number.
fn id(value: &Value) -> Option<TerminalId> {
    match value {
        Value::String(id) => TerminalId::parse(id),
        Value::Number(id) => TerminalId::parse(&id.to_string()),
        _ => None,
    }
}

/// An id that is at least a number, and so can stand in a path.
fn number(value: &Value) -> Option<String> {
    const MAX_DIGITS: usize = 20;
    let number = match value {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    let is_number = (1..=MAX_DIGITS).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(number)
}

fn refused(refusal: WebSocketRefusal) -> Failure {
    match refusal {
        WebSocketRefusal::Status(StatusCode::UNAUTHORIZED) => {
            refusal::token_refused().detail("the WebSocket's upgrade: status 401")
        }
        WebSocketRefusal::Status(StatusCode::FORBIDDEN) => {
            refusal::shut_out().detail("the WebSocket's upgrade: status 403")
        }
        WebSocketRefusal::Status(StatusCode::NOT_FOUND) => Failure::new(
            Code::ProviderNotRunning,
            "The workspace has no terminals to offer there: there is no such runtime, or its access was disabled.",
        )
        .detail("the WebSocket's upgrade: status 404"),
        other => other.into(),
    }
}
