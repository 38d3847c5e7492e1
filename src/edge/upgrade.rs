//! From a link to a session: the one place where a ticket is spent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use polytty_dialect::{Code, Role, client_dialect};
use tokio::time::timeout;

use super::guard::Guard;
use super::handshake::{Handshake, Offer};
use super::route::From;
use super::{Connection, Edge};
use crate::auth::{ClientCertificate, Refused, bearer, cookie};
use crate::respond::{Problem, Reply, closing};
use crate::session::{Arrival, Attachment, ClientIo};
use crate::socket::{self, Socket};
use crate::ticket::Grant;

/// The dialect of a client that offers no subprotocol over a link that names none.
const DEFAULT_DIALECT: &str = "operation";

/// How long a refused client may take to finish.
const REFUSED: Duration = Duration::from_secs(2);

/// A client hears from us when it was quiet for so long; middleboxes cut at 30 s.
const PING_EVERY: Duration = Duration::from_secs(25);

/// A client that answers no ping for so long is lost.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Why an upgrade is refused.
struct Refusal {
    code: Code,
    message: &'static str,
}

impl Edge {
    /// Upgrades a client whose Origin is allowed, or turns it away.
    pub(super) async fn upgrade(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        ticket: &str,
        from: From,
        peer: SocketAddr,
    ) -> Reply {
        let handshake = match Handshake::read(request.method(), request.headers()) {
            Ok(handshake) => handshake,
            Err(reply) => return *reply,
        };
        let upgrading = hyper::upgrade::on(&mut request);
        let (subprotocol, dialect) = match handshake.offer() {
            Offer::Known(name) => (Some(name), Some(name)),
            Offer::None => (None, None),
            Offer::Unknown(echo) => {
                let refusal = Refusal {
                    code: Code::BadMessage,
                    message: "none of the offered subprotocols is spoken here; offer polytty.v1, or none at all",
                };
                return self.refuse(&handshake, echo, None, refusal, upgrading, from, peer);
            }
        };
        let Ok(offset) = offset(request.uri().query()) else {
            let message = "offset has to be the number of output bytes that the client has, and stand there once";
            let refusal = Refusal { code: Code::BadMessage, message };
            return self.refuse(&handshake, subprotocol, dialect, refusal, upgrading, from, peer);
        };
        let subject = match self.who(&handshake, request.headers(), request.extensions().get()).await {
            Ok(subject) => subject,
            Err(refused) => {
                let refusal = Refusal { code: Code::Unauthenticated, message: refused.message() };
                return self.refuse(&handshake, subprotocol, dialect, refusal, upgrading, from, peer);
            }
        };
        match self.api.tickets.redeem(ticket, subject.as_deref()).await {
            Ok(grant) => {
                self.api.metrics.link_redeemed();
                let dialect = dialect.or(grant.purpose().dialect).unwrap_or(DEFAULT_DIALECT);
                let edge = self.clone();
                self.tasks.spawn(async move { edge.attach(grant, offset, upgrading, dialect, peer).await });
                handshake.accept(subprotocol)
            }
            Err(refused) => {
                let refusal = Refusal { code: refused.code(), message: refused.message() };
                self.refuse(&handshake, subprotocol, dialect, refusal, upgrading, from, peer)
            }
        }
    }

    /// As whom a client shows itself: by its `Authorization`, an item of its subprotocols, a cookie, or the certificate
    /// of its connection, in this order. `None` when it does not, or has a key that is nobody's in particular. A browser
    /// sends cookies and certificates whether they are wanted or not, so one that is no good counts as none.
    async fn who(
        &self,
        handshake: &Handshake,
        headers: &HeaderMap,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Option<Arc<str>>, Refused> {
        let shown = match bearer(headers) {
            Some(field) => Some(field.map_err(|()| Refused::Malformed)?),
            None => handshake.token(),
        };
        let identity = match shown {
            Some(shown) => self.api.identities.identify(shown).await?,
            None => {
                let by_cookie = match self.cookie.as_deref().and_then(|name| cookie(headers, name)) {
                    Some(cookie) => self.api.identities.identify(cookie).await.ok(),
                    None => None,
                };
                let by_certificate = || self.api.identities.certificate(certificate?)?.ok();
                let Some(identity) = by_cookie.or_else(by_certificate) else { return Ok(None) };
                identity
            }
        };
        Ok(identity.subject().cloned())
    }

    /// Hands an upgraded client to its session.
    async fn attach(
        self: Arc<Self>,
        grant: Grant,
        offset: Option<u64>,
        upgrading: OnUpgrade,
        dialect: &'static str,
        peer: SocketAddr,
    ) {
        let arrival = Arrival { offset, resumes: grant.resumes(), owner: grant.purpose().owner.clone() };
        let client = self.client(upgrading, dialect, grant.purpose().role, arrival);
        let upgraded = timeout(self.limits.get().request_timeout, client);
        let Ok(Some(client)) = upgraded.await else {
            tracing::debug!(peer = %peer, session = %grant.purpose().session, "a client left before its upgrade");
            return;
        };
        let gone = match self.api.sessions.get(grant.purpose().session) {
            Some(session) => {
                tracing::info!(peer = %peer, session = %session.id(), dialect, "client attaches");
                session.attach(client).await.err()
            }
            None => Some(client),
        };
        if let Some(client) = gone {
            client.refuse(Code::NotFound, "this session has ended").await;
        }
    }

    /// A browser cannot see the status of a refused upgrade: whoever may be one is let in, told why, and closed. All
    /// others get an HTTP status.
    #[expect(clippy::too_many_arguments, reason = "one call per kind of refusal; a struct would only rename them")]
    fn refuse(
        self: &Arc<Self>,
        handshake: &Handshake,
        subprotocol: Option<&str>,
        dialect: Option<&'static str>,
        refusal: Refusal,
        upgrading: OnUpgrade,
        from: From,
        peer: SocketAddr,
    ) -> Reply {
        let Refusal { code, message } = refusal;
        self.api.metrics.upgrade_refused(code.slug());
        tracing::info!(peer = %peer, code = %code, "an upgrade was refused");
        if from == From::Nowhere && dialect.is_none() {
            return closing(Problem::new(code, message).reply());
        }
        let edge = self.clone();
        self.tasks.spawn(async move {
            let dialect = dialect.unwrap_or(DEFAULT_DIALECT);
            let refusing = async {
                if let Some(client) = edge.client(upgrading, dialect, Role::Viewer, Arrival::default()).await {
                    client.refuse(code, message).await;
                }
            };
            let _ = timeout(REFUSED, refusing).await;
        });
        handshake.accept(subprotocol)
    }

    /// The client behind an accepted upgrade; `None` when it left before.
    async fn client(
        &self,
        upgrading: OnUpgrade,
        dialect: &'static str,
        role: Role,
        arrival: Arrival,
    ) -> Option<Attachment> {
        let upgraded = upgrading.await.ok()?;
        let parts = upgraded.downcast::<TokioIo<Guard<Connection>>>().ok()?;
        let (stream, behind) = parts.io.into_inner().into_parts();
        let mut already_read = BytesMut::from(&parts.read_buf[..]);
        already_read.extend_from_slice(&behind);
        let options = socket::Options {
            role: socket::Role::Server,
            max_message: self.max_message,
            ping_every: PING_EVERY,
            pong_within: PONG_WITHIN,
        };
        let stream: ClientIo = Box::new(stream);
        let socket = Socket::new(stream, &already_read, options).with_patience(self.limits.get().message_timeout);
        Some(Attachment::new(socket, client_dialect(dialect)?, role, arrival))
    }
}

/// How much output a client says that it has (`?offset=N`). Other parameters mean nothing here.
pub(super) fn offset(query: Option<&str>) -> Result<Option<u64>, ()> {
    let mut offsets = query.unwrap_or_default().split('&').filter_map(|pair| match pair.split_once('=') {
        Some(("offset", value)) => Some(value),
        None if pair == "offset" => Some(""),
        _ => None,
    });
    let Some(value) = offsets.next() else { return Ok(None) };
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || offsets.next().is_some() {
        return Err(());
    }
    value.parse().map(Some).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn an_offset_is_a_number_and_there_is_one() {
        assert_eq!(offset(None), Ok(None));
        assert_eq!(offset(Some("")), Ok(None));
        assert_eq!(offset(Some("token=x&offset=17&offsets=2")), Ok(Some(17)));
        assert_eq!(offset(Some("offset=0")), Ok(Some(0)));
        for bad in [
            "offset",
            "offset=",
            "offset=-1",
            "offset=+1",
            "offset=1e3",
            "offset=1&offset=1",
            "offset=99999999999999999999",
        ] {
            assert_eq!(offset(Some(bad)), Err(()), "{bad}");
        }
    }
}
