//! From a link to a session: the one place where a ticket is spent.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, Request, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use polytty_dialect::{Code, Role, client_dialect};
use tokio::time::timeout;

use super::guard::Guard;
use super::hand_on::unreached;
use super::handshake::{Handshake, Offer};
use super::peer::Caller;
use super::route::From;
use super::{Connection, Edge};
use crate::auth::{ClientCertificate, Refused, bearer, cookie};
use crate::cluster::ReplicaId;
use crate::limit::{Address, Exceeded, Held, InputPace};
use crate::respond::{Problem, Reply, STORE_RETRY, closing, with};
use crate::session::{Arrival, Attachment, ClientIo};
use crate::socket::{self, Socket};
use crate::ticket::{self, Grant, Redeemed};

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
    message: Cow<'static, str>,
    /// The limit, where it is one.
    exceeded: Option<Exceeded>,
}

impl Refusal {
    fn new(code: Code, message: &'static str) -> Self {
        Self { code, message: message.into(), exceeded: None }
    }

    /// A failure, unless its sender has failed too often: then that is all it is told.
    fn failure(code: Code, message: &'static str, failed: Result<(), Exceeded>) -> Self {
        failed.map_or_else(Self::from, |()| Self::new(code, message))
    }
}

impl std::convert::From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self { code: exceeded.code(), message: exceeded.message().into(), exceeded: Some(exceeded) }
    }
}

/// A client whose link was good.
struct Admitted {
    grant: Grant,
    offset: Option<u64>,
    /// The client's place among the connections of its address, where its connection is a proxy's.
    own: Option<Held<Address>>,
}

/// Why a client is not let in here.
enum Turned {
    /// It is refused.
    Away(Refusal),
    /// Its session is at another replica; and its place, as above.
    To(ReplicaId, Option<Held<Address>>),
}

impl<T: Into<Refusal>> std::convert::From<T> for Turned {
    fn from(refusal: T) -> Self {
        Self::Away(refusal.into())
    }
}

impl Edge {
    /// Upgrades a client whose Origin is allowed, or turns it away. `counted` is what its address has come to by requests.
    pub(super) async fn upgrade(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        ticket: &str,
        from: From,
        caller: Caller,
        counted: Result<(), Exceeded>,
    ) -> Reply {
        let handshake = match Handshake::read(request.method(), request.headers()) {
            Ok(handshake) => handshake,
            Err(reply) => return counted.map_or_else(|exceeded| exceeded.reply(), |()| *reply),
        };
        let upgrading = hyper::upgrade::on(&mut request);
        let (subprotocol, dialect) = match handshake.offer() {
            Offer::Known(name) => (Some(name), Some(name)),
            Offer::None => (None, None),
            Offer::Unknown(echo) => {
                let message = "none of the offered subprotocols is spoken here; offer polytty.v1, or none at all";
                let refusal = Refusal::new(Code::BadMessage, message);
                return self.refuse(&handshake, echo, None, refusal, upgrading, from, caller);
            }
        };
        let redeemed = match counted {
            Ok(()) => self.redeem(&request, &handshake, ticket, caller).await,
            Err(exceeded) => Err(exceeded.into()),
        };
        match redeemed {
            Ok(Admitted { grant, offset, own }) => {
                self.api.metrics.link_redeemed();
                let dialect = dialect.or(grant.purpose().dialect).unwrap_or(DEFAULT_DIALECT);
                let edge = self.clone();
                self.tasks.spawn(async move { edge.attach(grant, offset, own, upgrading, dialect, caller).await });
                handshake.accept(subprotocol)
            }
            Err(Turned::Away(refusal)) => {
                self.refuse(&handshake, subprotocol, dialect, refusal, upgrading, from, caller)
            }
            Err(Turned::To(replica, own)) => match self.hand_on(replica, &request, upgrading, own, caller).await {
                Ok(reply) => reply,
                Err((why, upgrading)) => {
                    let (code, message) = unreached(why);
                    let refusal = Refusal::new(code, message);
                    self.refuse(&handshake, subprotocol, dialect, refusal, upgrading, from, caller)
                }
            },
        }
    }

    /// Takes the ticket, when everything else about the client is found right.
    async fn redeem(
        &self,
        request: &Request<Incoming>,
        handshake: &Handshake,
        ticket: &str,
        caller: Caller,
    ) -> Result<Admitted, Turned> {
        let Ok(offset) = offset(request.uri().query()) else {
            let message = "offset has to be the number of output bytes that the client has, and stand there once";
            return Err(Refusal::new(Code::BadMessage, message).into());
        };
        let address = caller.counted();
        let failed = || address.map_or(Ok(()), |address| self.gate.failure(address));
        let subject = self.who(handshake, request.headers(), request.extensions().get()).await.map_err(|refused| {
            let failed = if refused.is_guess() { failed() } else { Ok(()) };
            Refusal::failure(Code::Unauthenticated, refused.message(), failed)
        })?;
        // Behind a proxy, a connection counts for its client from here on. It is taken first: a ticket is not given back.
        let own = address.filter(|_| caller.is_forwarded()).map(|address| self.gate.connection(address)).transpose()?;
        let redeemed = self.api.tickets.redeem(ticket, subject.as_deref()).await.map_err(|refused| {
            // A link that was good once may be shown again and again by a page that is left open.
            let failed = if refused == ticket::Refused::Unknown { failed() } else { Ok(()) };
            Refusal::failure(refused.code(), refused.message(), failed)
        })?;
        match redeemed {
            Redeemed::Here(grant) => Ok(Admitted { grant, offset, own }),
            Redeemed::Elsewhere(replica) => Err(Turned::To(replica, own)),
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
        own: Option<Held<Address>>,
        upgrading: OnUpgrade,
        dialect: &'static str,
        caller: Caller,
    ) {
        let arrival = Arrival { offset, resumes: grant.resumes(), owner: grant.purpose().owner.clone() };
        let client = self.client(upgrading, own, dialect, grant.purpose().role, arrival);
        let upgraded = timeout(self.limits.get().request_timeout, client);
        let Ok(Some(client)) = upgraded.await else {
            tracing::debug!(peer = %caller, session = %grant.purpose().session, "a client left before its upgrade");
            return;
        };
        let gone = match self.api.sessions.get(grant.purpose().session) {
            Some(session) => {
                tracing::info!(peer = %caller, session = %session.id(), dialect, "client attaches");
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
        caller: Caller,
    ) -> Reply {
        let Refusal { code, message, exceeded } = refusal;
        self.api.metrics.upgrade_refused(code.slug());
        tracing::info!(peer = %caller, code = %code, "an upgrade was refused");
        if from == From::Nowhere && dialect.is_none() {
            let reply = exceeded.map_or_else(|| Problem::new(code, message).reply(), |exceeded| exceeded.reply());
            let is_store = matches!(code, Code::StoreUnavailable | Code::StoreRestarted);
            return closing(if is_store { with(reply, header::RETRY_AFTER, STORE_RETRY) } else { reply });
        }
        let edge = self.clone();
        self.tasks.spawn(async move {
            let dialect = dialect.unwrap_or(DEFAULT_DIALECT);
            let refusing = async {
                if let Some(client) = edge.client(upgrading, None, dialect, Role::Viewer, Arrival::default()).await {
                    client.refuse(code, &message).await;
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
        own: Option<Held<Address>>,
        dialect: &'static str,
        role: Role,
        arrival: Arrival,
    ) -> Option<Attachment> {
        let upgraded = upgrading.await.ok()?;
        let parts = upgraded.downcast::<TokioIo<Guard<Connection>>>().ok()?;
        let (mut stream, behind) = parts.io.into_inner().into_parts();
        stream.own = own.or(stream.own);
        let mut already_read = BytesMut::from(&parts.read_buf[..]);
        already_read.extend_from_slice(&behind);
        let options = socket::Options {
            role: socket::Role::Server,
            max_message: self.max_message,
            ping_every: PING_EVERY,
            pong_within: PONG_WITHIN,
        };
        let stream: ClientIo = Box::new(stream);
        let limits = self.limits.get();
        let socket = Socket::new(stream, &already_read, options).with_patience(limits.message_timeout);
        let pace = InputPace::new(limits.pace, self.api.metrics.clone());
        Some(Attachment::new(socket, client_dialect(dialect)?, role, arrival).paced(pace))
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
