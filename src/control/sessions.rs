//! `/v1/sessions`

use std::sync::Arc;

use http::header::HeaderMap;
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use polytty_dialect::{Code, Role, Size, client_dialect};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::body::{is_json, parse_json, read_body};
use super::replicas::{MadeAt, list_all};
use super::{Api, read_json};
use crate::auth::{Identity, Scope};
use crate::edge::Caller;
use crate::limit::{Exceeded, Limit};
use crate::respond::{Problem, Reply, STORE_RETRY, json, with};
use crate::session::{CreateError, Session, Sessions, Spec};
use crate::ticket::{MintError, Purpose};

/// Labels of one session, and the longest name or value (and subject), in bytes.
const MAX_LABELS: usize = 32;
const MAX_TEXT: usize = 256;

/// When no session could be created for another reason than its request, the caller may come back after so many seconds.
const RETRY: &str = "5";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateSession {
    provider: String,
    target: Map<String, Value>,
    size: Option<Map<String, Value>>,
    subject: Option<String>,
    #[serde(default = "yes")]
    shared: bool,
    dialect: Option<String>,
    record: Option<bool>,
    #[serde(default)]
    labels: Map<String, Value>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SizeBody {
    cols: u64,
    rows: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateLink {
    #[serde(default)]
    role: RoleBody,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleBody {
    #[default]
    Viewer,
    Writer,
}

#[derive(Serialize)]
struct Link {
    id: String,
    url: String,
    expires_at: Timestamp,
    /// Seconds.
    expires_in: u64,
}

impl Api {
    pub(super) async fn create_session(
        &self,
        request: Request<Incoming>,
        by: &Identity,
        caller: Caller,
        max_body: u64,
    ) -> Reply {
        let (parts, body) = request.into_parts();
        let read = async {
            is_json(&parts.headers)?;
            let body = read_body(body, max_body).await?;
            let spec = self.spec(parse_json(&body)?, by)?;
            Ok::<_, Problem>((body, spec))
        };
        let (body, mut spec) = match read.await {
            Ok(read) => read,
            Err(problem) => return problem.reply(),
        };
        // Who hands a call on has counted it.
        if !caller.is_handed_on()
            && let Err(exceeded) = self.gate.mint(by.name(), spec.subject.as_deref())
        {
            return exceeded.reply();
        }
        match self.made_at(&spec, caller).await {
            MadeAt::Here(held) => spec.held = held,
            MadeAt::Elsewhere(owner) => {
                return self.made_by(owner, parts.uri.path(), &parts.headers, body, caller).await;
            }
            MadeAt::Refused(reply) => return reply,
        }
        if let Err(exceeded) = self.gate.memory() {
            return exceeded.reply();
        }
        // What was made in vain would push the ended sessions out of their list.
        if let Err(error) = self.tickets.check() {
            return self.not_minted(error);
        }
        let provider = spec.provider.name().to_owned();
        let session = match self.sessions.create(spec, self.tickets.ttl()).await {
            Ok(session) => session,
            Err(error) => return not_created(error),
        };
        let link = match self.mint(&session, Role::Writer).await {
            Ok(link) => link,
            Err(reply) => {
                session.end().await;
                return reply;
            }
        };
        tracing::info!(session = %session.id(), provider = ?provider, by = ?by.name(), "session created");
        let location = format!("/v1/sessions/{}", session.id());
        with(json(StatusCode::CREATED, &link), header::LOCATION, &location)
    }

    pub(super) async fn list_sessions(&self, by: &Identity, headers: &HeaderMap, caller: Caller) -> Reply {
        let mut sessions = self.sessions.list();
        sessions.retain(|info| by.reaches(&info.provider, info.subject.as_deref()));
        let Some(cluster) = self.others(caller) else {
            return json(StatusCode::OK, &serde_json::json!({ "sessions": sessions }));
        };
        let own = sessions.iter().filter_map(|info| serde_json::to_value(info).ok()).collect();
        list_all(cluster, own, headers, caller).await
    }

    pub(super) fn show_session(&self, id: &str, by: &Identity) -> Reply {
        let info = id.parse().ok().and_then(|id| self.sessions.info(id));
        match info.filter(|info| by.reaches(&info.provider, info.subject.as_deref())) {
            Some(info) => json(StatusCode::OK, &info),
            None => no_session(),
        }
    }

    /// A session that is there. To whom it is no concern, it is as if it were not.
    fn session(&self, id: &str, by: &Identity) -> Option<Arc<Session>> {
        let session = self.sessions.get(id.parse().ok()?)?;
        let (provider, subject) = session.belongs_to();
        by.reaches(provider, subject).then_some(session)
    }

    pub(super) async fn end_session(&self, id: &str, by: &Identity) -> Reply {
        let Some(session) = self.session(id, by) else { return no_session() };
        tracing::info!(session = %session.id(), by = ?by.name(), "session is to end");
        session.end().await;
        let mut ended = crate::respond::reply(StatusCode::NO_CONTENT, "text/plain", "");
        ended.headers_mut().remove(header::CONTENT_TYPE);
        ended
    }

    pub(super) async fn scrollback(&self, id: &str, by: &Identity) -> Reply {
        let Some(session) = self.session(id, by) else { return no_session() };
        match session.scrollback().await {
            Some(bytes) => crate::respond::reply(StatusCode::OK, "application/octet-stream", bytes),
            None => no_session(),
        }
    }

    pub(super) async fn create_link(
        &self,
        id: &str,
        request: Request<Incoming>,
        by: &Identity,
        max_body: u64,
    ) -> Reply {
        let body: CreateLink = match read_json(request, max_body).await {
            Ok(body) => body,
            Err(problem) => return problem.reply(),
        };
        let Some(session) = self.session(id, by) else { return no_session() };
        let role = match body.role {
            RoleBody::Writer => Role::Writer,
            RoleBody::Viewer => Role::Viewer,
        };
        // Counted here also for a call that was handed on: only who has the session knows for whom it is.
        let (_, subject) = session.belongs_to();
        if let Err(exceeded) = self.gate.mint(by.name(), subject) {
            return exceeded.reply();
        }
        // Who watches is somebody new; a writer's terminal is there already.
        if role == Role::Viewer
            && let Err(exceeded) = self.gate.memory()
        {
            return exceeded.reply();
        }
        // A session waits for its writer, and for nobody who only watches.
        let until = Instant::now() + Sessions::patience(self.tickets.ttl());
        if role == Role::Writer && !session.expect_client(until).await {
            return no_session();
        }
        match self.mint(&session, role).await {
            Ok(link) => json(StatusCode::CREATED, &link),
            Err(reply) => reply,
        }
    }

    /// Reads what a session is created from. The whole request is judged before anything is made or counted.
    fn spec(&self, body: CreateSession, by: &Identity) -> Result<Spec, Problem> {
        let bad = |detail: String| Problem::new(Code::BadMessage, detail).status(StatusCode::UNPROCESSABLE_ENTITY);
        let mut usable = self.providers.iter().filter(|entry| by.may_use(entry.name()));
        let provider = usable.clone().find(|entry| entry.name() == body.provider).ok_or_else(|| {
            let known: Vec<_> = usable.by_ref().map(|entry| entry.name()).collect();
            let detail = format!("provider: there is none of this name; known are {}", known.join(", "));
            Problem::new(Code::NotFound, detail).status(StatusCode::UNPROCESSABLE_ENTITY)
        })?;
        let target = provider.target(&Value::Object(body.target)).map_err(|why| bad(format!("target: {why}")))?;
        let size = match body.size {
            None => Size::DEFAULT,
            Some(size) => {
                let SizeBody { cols, rows } =
                    SizeBody::deserialize(Value::Object(size)).map_err(|error| bad(format!("size: {error}")))?;
                Size::new(cols, rows).ok_or_else(|| {
                    bad("size: cols and rows are whole numbers from 1; leave size out for 80 x 24".to_owned())
                })?
            }
        };
        let record = body.record.or(provider.record()).unwrap_or(self.record);
        if record && self.recorder.is_none() {
            let detail = "record: this proxy has nowhere to record to (recording.directory); leave it out";
            return Err(Problem::new(Code::Unsupported, detail));
        }
        let dialect = match body.dialect.as_deref().map(|name| (name, client_dialect(name))) {
            None => None,
            Some((_, Some(dialect))) => Some(dialect.name()),
            Some((_, None)) => return Err(bad("dialect: known are polytty.v1, operation and raw".to_owned())),
        };
        if body.subject.as_ref().is_some_and(|subject| subject.is_empty() || !is_text(subject)) {
            return Err(bad(format!("subject: 1 to {MAX_TEXT} bytes without control characters")));
        }
        let labels = labels(body.labels).ok_or_else(|| {
            bad(format!(
                "labels: at most {MAX_LABELS}, with texts of at most {MAX_TEXT} bytes without control characters"
            ))
        })?;
        let subject = match (body.subject, by.subject()) {
            (None, own) => own.cloned(),
            (Some(other), Some(own)) if *other != **own && !by.may(Scope::Admin) => {
                let detail = "subject: this credential acts for its own subject only; leave subject out";
                return Err(Problem::new(Code::Forbidden, detail));
            }
            (Some(subject), _) => Some(subject.into()),
        };
        if !body.shared && subject.is_none() {
            return Err(bad("shared: a link that only its subject can use needs a subject".to_owned()));
        }
        Ok(Spec {
            provider: provider.clone(),
            target,
            size,
            subject,
            shared: body.shared,
            labels,
            dialect,
            record,
            held: None,
        })
    }

    fn not_minted(&self, error: MintError) -> Reply {
        let detail = match error {
            MintError::Full => {
                let exceeded = Exceeded::count(Limit::Tickets, self.max_tickets);
                self.gate.refused(&exceeded);
                return exceeded.reply();
            }
            MintError::NoRandomness => "the operating system yields no random bytes",
            MintError::Unavailable => "no link can be made at the moment: the store of the links is away",
        };
        let reply = Problem::new(error.code(), detail).reply();
        if error == MintError::Unavailable { with(reply, header::RETRY_AFTER, STORE_RETRY) } else { reply }
    }

    async fn mint(&self, session: &Arc<Session>, role: Role) -> Result<Link, Reply> {
        let ttl = self.tickets.ttl();
        let expires_at = Timestamp::now() + SignedDuration::try_from(ttl).unwrap_or(SignedDuration::ZERO);
        let purpose = Purpose { session: session.id(), role, dialect: session.dialect(), owner: session.owner() };
        let ticket = self.tickets.mint(purpose).await.map_err(|error| self.not_minted(error))?;
        self.metrics.link_minted();
        let url = format!("wss://{}/t/{}", self.public_url.authority(), ticket.expose());
        Ok(Link { id: session.id().to_string(), url, expires_at, expires_in: ttl.as_secs() })
    }
}

fn labels(labels: Map<String, Value>) -> Option<Vec<(String, String)>> {
    if labels.len() > MAX_LABELS {
        return None;
    }
    labels
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(value) if is_text(&name) && is_text(&value) => Some((name, value)),
            _ => None,
        })
        .collect()
}

/// Whether a text can be kept, and shown where it breaks no line.
fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.contains(char::is_control)
}

fn no_session() -> Reply {
    Problem::new(Code::NotFound, "there is no such session, or no longer").reply()
}

fn not_created(error: CreateError) -> Reply {
    let (code, detail) = match error {
        CreateError::Full(exceeded) => return exceeded.reply(),
        CreateError::StoreAway => {
            (Code::StoreUnavailable, "the store that replicas count sessions by cannot be reached")
        }
        CreateError::Draining => (Code::Draining, "this proxy is shutting down"),
        CreateError::NoRandomness => (Code::Internal, "the operating system yields no random bytes"),
    };
    with(Problem::new(code, detail).reply(), header::RETRY_AFTER, RETRY)
}
