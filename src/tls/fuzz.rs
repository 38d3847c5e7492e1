//! What holds for any bytes that a peer sends, and for whatever somebody on the way makes of them. For the targets in `fuzz/`.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{accept, connect};

/// What lies on the way between two ends, in bytes.
const WAY: usize = 16 << 10;

/// What a client says: more than a record, and more than is read at once.
const SAID: usize = 70_000;

/// The first byte chooses: the rest is sent to a server as it is, or says what is changed on the way from a client to a server,
/// in threes: where, in two bytes, and by what.
///
/// # Panics
///
/// When the server takes something for the client's that it has not said, or for its end what is none.
pub fn server(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    if choice & 1 == 0 { run(stranger(rest)) } else { run(tampered(rest)) }
}

/// Runs what needs nothing but memory, until nothing moves any more: a peer that is told of a longer record than there is waits
/// for the rest of it, and its own peer for the answer.
fn run(task: impl Future<Output = ()>) {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut task = pin!(task);
    while woken.0.swap(false, Ordering::Relaxed) {
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return;
        }
    }
}

/// A client that says `bytes` and nothing else.
async fn stranger(bytes: &[u8]) {
    let (near, far) = duplex(WAY);
    let (mut heard, mut says) = tokio::io::split(far);
    let victim = async move {
        let Ok(mut server) = accept(configs().0.clone(), near).await else { return };
        assert!(server.read_to_end(&mut Vec::new()).await.is_err(), "nobody without keys says farewell");
    };
    let attack = async {
        let _ = says.write_all(bytes).await;
        let _ = says.shutdown().await;
    };
    let mut answer = Vec::new();
    let _ = tokio::join!(victim, attack, heard.read_to_end(&mut answer));
}

/// A client whose words are changed on the way.
async fn tampered(changes: &[u8]) {
    let said: Vec<u8> = (0..SAID).map(|at| (at ^ (at >> 8)) as u8).collect();
    let ((client_end, client_way), (server_way, server_end)) = (duplex(WAY), duplex(WAY));
    let client = async {
        let name = ServerName::try_from("one.example").expect("a name");
        let Ok(mut client) = connect(configs().1.clone(), name, client_end).await else { return };
        let _ = client.write_all(&said).await;
        let _ = client.shutdown().await;
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let server = async {
        let Ok(mut server) = accept(configs().0.clone(), server_end).await else { return };
        let mut came = Vec::new();
        let ended = server.read_to_end(&mut came).await;
        assert!(said.starts_with(&came), "what comes out is what went in");
        assert!(ended.is_err() || came.len() == said.len(), "an end in order is behind everything");
        let _ = server.shutdown().await;
    };
    tokio::join!(client, server, way(client_way, server_way, changes));
}

async fn way(client: DuplexStream, server: DuplexStream, changes: &[u8]) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (tokio::io::split(client), tokio::io::split(server));
    let there = async {
        let (mut buffer, mut passed) = (vec![0; 4 << 10], 0);
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            for [high, low, by] in changes.as_chunks::<3>().0 {
                let at = usize::from(u16::from_be_bytes([*high, *low]));
                if let Some(byte) = at.checked_sub(passed).and_then(|at| buffer[..count].get_mut(at)) {
                    *byte ^= by;
                }
            }
            passed += count;
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(there, back);
}

fn configs() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static CONFIGS: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["one.example".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a key that fits");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_asserts_holds_for_its_seeds() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x00\x16\x03\x01",
            b"\x01\x00\x05\x01",
            b"\x01\x40\x00\xff\x00\x01\x80",
            b"\x01\x00\x04\x02",
        ] {
            server(bytes);
        }
    }
}
