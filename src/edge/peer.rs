//! Where a client is, behind whatever stands in front of this process.
//!
//! A connection comes from an address; a proxy that is trusted may say by a PROXY header for whom it was made, and by
//! `X-Forwarded-For` for whom a request is. Of anybody else such words mean nothing. `Forwarded` (RFC 7239) is not read:
//! proxies that set the one field pass the other one on as the client wrote it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cluster::CLIENT_ADDRESS;
use crate::limit::Address;

/// The field in which proxies list for whom they ask: each adds whom it heard from at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What every header of the PROXY protocol begins with: the signature, version and command, family, and the length of the
/// rest (section 2.2).
const FIXED: usize = 16;

/// The longest rest of such a header, in bytes. Addresses take up to 216; what follows them is not looked at.
const MAX_REST: usize = 4096;

/// Who is trusted to speak for others.
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    protocol: bool,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    address: SocketAddr,
    is_proxy: bool,
}

/// Over which connection a request came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrived {
    /// A client's, or a proxy's before it.
    Client(Peer),
    /// Another replica's, at this address.
    Replica(SocketAddr),
}

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    address: IpAddr,
    /// Where it is the other end of the connection itself.
    port: Option<u16>,
    is_proxy: bool,
    /// Whether another replica has handed it on, which has counted it.
    is_handed_on: bool,
}

impl Proxies {
    /// Trusts these networks; with `protocol`, their connections begin with a header of the PROXY protocol.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>, protocol: bool) -> Self {
        Self { trusted, protocol }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    fn peer(&self, address: SocketAddr) -> Peer {
        // A listener of IPv6 shows those of IPv4 in its own terms.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Peer { address, is_proxy: self.trusts(address.ip()) }
    }

    /// Who is at the other end of a connection that came from `address`. Of a trusted proxy, the header is read that says so.
    ///
    /// # Errors
    ///
    /// When there should be a header and is none, or none that makes sense.
    pub(super) async fn meet<S: AsyncRead + Unpin>(&self, stream: &mut S, address: SocketAddr) -> io::Result<Peer> {
        let peer = self.peer(address);
        if !self.protocol || !peer.is_proxy {
            return Ok(peer);
        }
        Ok(read_header(stream).await?.map_or(peer, |source| self.peer(source)))
    }

    /// Who makes a request over a connection with `peer`: the last one that was forwarded for and is no trusted proxy. Where a
    /// proxy says nothing that makes sense, it is that proxy.
    pub(super) fn caller(&self, peer: Peer, headers: &HeaderMap) -> Caller {
        let Peer { address, is_proxy } = peer;
        let mut caller = Caller { address: address.ip(), port: Some(address.port()), is_proxy, is_handed_on: false };
        let fields = headers.get_all(FORWARDED_FOR).iter().map(|field| field.to_str().unwrap_or_default());
        let mut hops: Vec<&str> =
            if is_proxy { fields.flat_map(|field| field.split(',')).collect() } else { Vec::new() };
        while let Some(hop) = hops.pop().filter(|_| caller.is_proxy) {
            let Some(address) = hop_address(hop.trim()) else { break };
            caller = Caller { address, port: None, is_proxy: self.trusts(address), is_handed_on: false };
        }
        caller
    }
}

impl Peer {
    /// Whom its connection and handshake count for; `None` for a proxy, which brings those of many.
    pub(super) fn counted(self) -> Option<Address> {
        (!self.is_proxy).then(|| self.address.ip().into())
    }
}

impl Caller {
    /// Who asks by way of another replica at `replica`, which says so.
    pub(super) fn of_replica(replica: SocketAddr, headers: &HeaderMap) -> Self {
        let said = headers.get(CLIENT_ADDRESS).and_then(|address| address.to_str().ok()?.parse::<SocketAddr>().ok());
        let address = said.unwrap_or(replica);
        let port = Some(address.port()).filter(|port| *port != 0);
        Self { address: address.ip(), port, is_proxy: false, is_handed_on: true }
    }

    /// Whom its request counts for; `None` for a proxy that does not say, and for whom another replica has counted.
    pub(crate) fn counted(self) -> Option<Address> {
        (!self.is_proxy && !self.is_handed_on).then(|| self.address.into())
    }

    /// Whether another replica has handed its request on.
    pub(crate) fn is_handed_on(self) -> bool {
        self.is_handed_on
    }

    /// Its address for another replica; without a port, that is 0.
    pub(crate) fn socket_address(self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(0))
    }

    /// Whether a proxy speaks for it, so that its connection was not counted for it.
    pub(super) fn is_forwarded(self) -> bool {
        self.port.is_none()
    }
}

impl fmt::Display for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(peer) => peer.fmt(f),
            Self::Replica(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Reads exactly the header of the PROXY protocol, version 2, so that what follows it is untouched. `None` when the proxy
/// speaks for itself, as for its health checks, or names no address.
async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<SocketAddr>> {
    let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    if !header.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(broken("a trusted proxy sends no header of the PROXY protocol, version 2"));
    }
    let rest = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if rest > MAX_REST {
        return Err(broken("a header of the PROXY protocol is too long"));
    }
    header.resize(FIXED + rest, 0);
    stream.read_exact(&mut header[FIXED..]).await?;
    let header = Header::try_from(&header[..]).map_err(|error| broken(&error.to_string()))?;
    Ok(match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(addresses)) => Some((addresses.source_address, addresses.source_port).into()),
        (Command::Proxy, Addresses::IPv6(addresses)) => Some((addresses.source_address, addresses.source_port).into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
