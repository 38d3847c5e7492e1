//! The far side: a provider that has its output ready before it is asked for, so that it is never what is waited for. It
//! is a process of its own with one thread, and listens twice: in plain TCP and over TLS.
//!
//! The name of what is asked for says what it does: `bulk.CORPUS.SIZE.MIB` sends that much at the first key, in messages of
//! that size; `burst.KIB` sends that much of [`BURST_CORPUS`] at every key; `echo` sends every key back; `sink.MIB` takes that
//! much and says so.

mod act;
mod decthings;
mod oblien;
mod serve;

use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use polytty_workload::Corpus;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use act::Reels;
use oblien::Workspace;

/// What a sink says when it has everything.
pub(crate) const TAKEN: &[u8] = b"taken\n";

/// What a Dockhand says first: polytty waits for it, since Dockhand loses what comes earlier.
pub(crate) const PROMPT: &[u8] = b"$ ";

/// What bursts are made of: ASCII, so that no message has to end elsewhere than where it is cut.
pub(crate) const BURST_CORPUS: Corpus = Corpus::Ls;

/// What all connections share.
struct Shared {
    /// Of the listener without TLS, and of the one with it.
    addresses: [String; 2],
    reels: Reels,
    workspace: Workspace,
}

/// Serves until its input ends. Prints its two addresses first, plain and TLS. `home` has the certificate.
pub(crate) fn run(home: &Path) -> io::Result<()> {
    std::thread::spawn(|| {
        // Whoever has started it is gone.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let acceptor = acceptor(home)?;
    LocalSet::new().block_on(&runtime, async {
        let (plain, tls) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let addresses = [plain.local_addr()?.to_string(), tls.local_addr()?.to_string()];
        println!("{} {}", addresses[0], addresses[1]);
        io::stdout().flush()?;
        let shared = Rc::new(Shared { addresses, reels: Reels::default(), workspace: Workspace::default() });
        loop {
            let (stream, is_plain) = tokio::select! {
                accepted = plain.accept() => (accepted?.0, true),
                accepted = tls.accept() => (accepted?.0, false),
            };
            stream.set_nodelay(true)?;
            let (acceptor, shared) = (acceptor.clone(), Rc::clone(&shared));
            tokio::task::spawn_local(async move {
                // Whoever leaves in the middle is done.
                let _ = if is_plain {
                    serve::serve(stream, false, &shared).await
                } else {
                    match acceptor.accept(stream).await {
                        Ok(stream) => serve::serve(stream, true, &shared).await,
                        Err(error) => Err(error),
                    }
                };
            });
        }
    })
}

/// The suite that everybody has here.
fn acceptor(home: &Path) -> io::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(home.join("cert.pem")).map_err(io::Error::other)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(home.join("key.pem")).map_err(io::Error::other)?;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
