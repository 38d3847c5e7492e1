//! `[cluster]`: replicas that share a store and reach each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::Problem;
use super::section::{Read, Section};
use super::units::Authority;

/// `[cluster]`: how this replica is reached by the others. All of it is required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The listener for other replicas: TLS with client certificates, never for clients.
    pub listen: SocketAddr,
    /// The host and port by which the others reach it; its host is what the certificate has to name.
    pub advertise: Authority,
    /// This replica's certificate chain, leaf first, as server and as client: a PEM file.
    pub cert: PathBuf,
    /// Its private key, a PEM file.
    pub key: PathBuf,
    /// The roots that replicas are known by: a PEM file. Whoever holds a certificate of theirs is a replica.
    pub ca: PathBuf,
}

/// Reads the section.
pub(super) fn cluster(section: &mut Section<'_>) -> Read<Cluster> {
    const AN_ADDRESS: &str = r#"an IP address and port such as "10.0.0.5:8444""#;
    const A_WAY: &str = r#"the host and port by which other replicas reach cluster.listen, such as "10.0.0.5:8444""#;
    let listen = section.required("listen", AN_ADDRESS, |field| field.address());
    let advertise = section.required("advertise", A_WAY, |field| {
        let authority: Authority = field.parse(A_WAY)?;
        match authority.port() {
            Some(port) if port != 0 => Ok(authority),
            _ => Err(field.tell(Problem::Rule(format!("expected {A_WAY}: the port is missing")))),
        }
    });
    let cert = section.required("cert", "the path of a PEM file with this replica's certificate chain", |f| f.file());
    let key = section.required("key", "the path of a PEM file with its private key", |field| field.file());
    let ca = section.required("ca", "the path of a PEM file with the roots that replicas are known by", |f| f.file());
    Ok(Cluster { listen: listen?, advertise: advertise?, cert: cert?, key: key?, ca: ca? })
}
