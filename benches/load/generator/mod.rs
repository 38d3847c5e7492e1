//! The near side: clients that ask, compare and count, and do nothing else. A process of its own, one thread.
//!
//! It is told what to do in one line of JSON on its standard input after the other, and says in one line what came of it.

mod carry;
mod client;
mod shell;

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsConnector;

/// How long one order may take. Whoever is later than that hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the generator is told.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Opens sessions that stay, side by side. Sessions are numbered from 0. The latencies are from the connection to the
    /// open session.
    Open { doors: Vec<Door> },
    /// Compares what comes with so many mebibytes of a corpus, after one key unless that was pressed before.
    Bulk { session: usize, corpus: String, mib: usize, is_pressed: bool },
    /// Sends so many mebibytes and waits until they were taken.
    Paste { session: usize, mib: usize },
    /// Keys and their echoes, one after the other, in each of these sessions in turn, with a pause behind each.
    Keys { sessions: Vec<usize>, count: usize, pause_ms: u64 },
    /// The same beside a session that floods, until that is over.
    KeysBeside { session: usize, flood: usize, corpus: String, mib: usize },
    /// Asks for a burst and takes it, so often, in all of these sessions side by side, or one session after the other. The
    /// latencies are when each session had everything.
    Bursts { sessions: Vec<usize>, kib: usize, times: usize, side_by_side: bool },
    /// Presses a key in each of these sessions and looks at nothing.
    Press { sessions: Vec<usize> },
    /// Whole sessions, one after the other: handshake, upgrade, open, a key and its echo, end.
    Come { doors: Vec<Door> },
    /// A part of a mixed day.
    Day(Day),
    /// What a shell shows that writes so many mebibytes, and then keys and their echoes, in somebody's own deployment.
    Shell { session: usize, mib: usize, keys: usize },
    /// Leaves all sessions.
    Leave,
}

/// Where a session is, and how its client speaks.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) dialect: Dialect,
    pub(crate) exchange: Exchange,
    /// Bytes of output that come by themselves.
    pub(crate) greeting: usize,
}

/// Who does what for a while. The work is counted, so that it is the same for every proxy.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Day {
    /// How long it lasts for whoever keeps up.
    pub(crate) seconds: u64,
    /// Sessions in which five keys a second are typed.
    pub(crate) typists: Vec<usize>,
    /// Sessions that ask for a burst of so many KiB every second.
    pub(crate) lists: Vec<usize>,
    pub(crate) list_kib: usize,
    /// One that asks for a burst of so many KiB twenty times a second.
    pub(crate) flood: usize,
    pub(crate) flood_kib: usize,
    /// Sessions that come and go, spread over the time.
    pub(crate) doors: Vec<Door>,
}

/// How a client is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    /// `polytty.v1`: output in binary.
    Polytty,
    /// `operation`: output in JSON.
    Operation,
    /// Through a proxy that looks at nothing: the source's own binary messages.
    Opaque,
    /// The same with the source's own JSON.
    OpaqueOperation,
}

/// What the client offers to agree on keys by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Exchange {
    /// X25519, and one cipher suite: the same for everybody, since what is compared is not the choice of these.
    X25519,
    /// X25519MLKEM768, and the same suite.
    X25519MlKem768,
    /// Whatever this library would.
    Any,
}

/// What it answers.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Done {
    /// What the order itself took, in seconds.
    pub(crate) seconds: f64,
    /// Bytes of terminals that were compared or sent.
    pub(crate) bytes: u64,
    /// Microseconds, sorted; of what, the order says.
    #[serde(default)]
    pub(crate) latencies: Vec<f64>,
    /// What the generator itself has used of a processor, in seconds.
    pub(crate) cpu: f64,
    /// What went wrong; nothing counts then.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// Serves orders until the input ends. `ca` is the file with the certificates that are trusted; the system's, where it is empty.
pub(crate) fn run(ca: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tls = Connectors::new(ca)?;
    let mut clients = Vec::new();
    for line in io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let before = super::process::cpu(std::process::id());
        let done = runtime.block_on(async {
            let carried = tokio::time::timeout(PATIENCE, carry::carry_out(&tls, &mut clients, order)).await;
            carried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        let mut done = done.unwrap_or_else(|error| Done { error: Some(error.to_string()), ..Done::default() });
        done.cpu = super::process::cpu(std::process::id()) - before;
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &done)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

/// One for each [`Exchange`].
struct Connectors {
    x25519: TlsConnector,
    hybrid: TlsConnector,
    any: TlsConnector,
}

impl Connectors {
    fn new(ca: &str) -> io::Result<Self> {
        let roots = roots(ca)?;
        let fixed = |group| {
            let mut provider = aws_lc_rs::default_provider();
            provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
            provider.kx_groups = vec![group];
            connector(provider, &roots)
        };
        Ok(Self {
            x25519: fixed(aws_lc_rs::kx_group::X25519)?,
            hybrid: fixed(aws_lc_rs::kx_group::X25519MLKEM768)?,
            any: connector(aws_lc_rs::default_provider(), &roots)?,
        })
    }

    fn of(&self, exchange: Exchange) -> &TlsConnector {
        match exchange {
            Exchange::X25519 => &self.x25519,
            Exchange::X25519MlKem768 => &self.hybrid,
            Exchange::Any => &self.any,
        }
    }
}

/// The certificates in a file, or the system's where its name is empty.
pub(crate) fn roots(ca: &str) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if ca.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    }
    for root in CertificateDer::pem_file_iter(ca).map_err(io::Error::other)? {
        roots.add(root.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    Ok(roots)
}

/// A client's TLS 1.3 without resumption: every session pays for its handshake.
pub(crate) fn connector(provider: CryptoProvider, roots: &RootCertStore) -> io::Result<TlsConnector> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}
