//! Both ends, against each other and against tokio-rustls, over pipes of every width.

use std::time::Duration;

use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

fn name() -> ServerName<'static> {
    ServerName::try_from("one.example").unwrap()
}

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["one.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

async fn pair(
    width: usize,
    version: &'static SupportedProtocolVersion,
) -> (ServerStream<DuplexStream>, ClientStream<DuplexStream>) {
    let ((server, client), (near, far)) = (configs(version), duplex(width));
    let (server, client) = tokio::join!(accept(server, far), connect(client, name(), near));
    (server.unwrap(), client.unwrap())
}

/// Bytes that tell where they stand.
fn counted(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Sends in pieces, and reads what was sent at the other end.
async fn carry(from: &mut (impl AsyncWrite + Unpin), to: &mut (impl AsyncRead + Unpin), data: &[u8], piece: usize) {
    let mut came = vec![0; data.len()];
    let sending = async {
        for piece in data.chunks(piece) {
            from.write_all(piece).await.unwrap();
        }
        from.flush().await.unwrap();
    };
    let (_, read) = tokio::join!(sending, to.read_exact(&mut came));
    read.unwrap();
    assert!(came == data);
}

#[tokio::test]
async fn it_speaks_with_another_implementation_as_either_end_in_either_version() {
    for (version, told) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let ((server, client), data) = (configs(version), counted(300_000));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (near, far) = duplex(10_000);
            let connector = TlsConnector::from(client.clone());
            let (ours, theirs) = tokio::join!(accept(server.clone(), far), connector.connect(name(), near));
            let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
            assert_eq!((ours.state().protocol_version(), ours.state().handshake_kind()), (Some(told), Some(kind)));
            carry(&mut ours, &mut theirs, &data, 70_000).await;
            carry(&mut theirs, &mut ours, &data, 70_000).await;
        }
        // Another client, that it may have no ticket.
        let client = Arc::new(ClientConfig::clone(&client));
        let (near, far) = duplex(10_000);
        let acceptor = TlsAcceptor::from(server);
        let (theirs, ours) = tokio::join!(acceptor.accept(far), connect(client, name(), near));
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        carry(&mut ours, &mut theirs, &data, 70_000).await;
        carry(&mut theirs, &mut ours, &data, 70_000).await;
    }
}

#[tokio::test]
async fn at_rest_it_holds_nothing() {
    let (mut server, mut client) = pair(100_000, &TLS13).await;
    carry(&mut server, &mut client, &counted(200_000), 30_000).await;
    carry(&mut client, &mut server, &counted(200_000), 7).await;
    for held in [&server.held, &server.opened, &server.unsent, &client.held, &client.opened, &client.unsent] {
        assert_eq!(held.capacity(), 0);
    }
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_sent_a_turn_and_no_more() {
    let (mut server, mut client) = pair(1_000, &TLS13).await;
    let data = counted(1 << 20);
    let mut sent = 0;
    while let Ok(wrote) = timeout(Duration::from_millis(50), server.write(&data[sent..])).await {
        sent += wrote.unwrap();
    }
    assert_eq!(sent, TURN);
    assert!(server.unsent.capacity() <= TURN + 5 * OVERHEAD, "{}", server.unsent.capacity());
    let mut came = vec![0; sent];
    let (flushed, read) = tokio::join!(server.flush(), client.read_exact(&mut came));
    assert!(flushed.is_ok() && read.is_ok() && came == data[..sent]);
}

#[tokio::test]
async fn a_farewell_is_an_end_and_what_is_cut_is_not() {
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = pair(10_000, version).await;
        server.write_all(b"last").await.unwrap();
        server.shutdown().await.unwrap();
        let mut last = Vec::new();
        client.read_to_end(&mut last).await.unwrap();
        assert_eq!(last, b"last");
        // The other half is open.
        client.write_all(b"still").await.unwrap();
        client.flush().await.unwrap();
        let mut still = [0; 5];
        server.read_exact(&mut still).await.unwrap();
        assert_eq!(&still, b"still");

        let (mut server, client) = pair(10_000, version).await;
        drop(client);
        let error = server.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn what_is_forged_ends_it_behind_what_was_right_and_the_peer_is_told() {
    let (server, client) = configs(&TLS13);
    let (near, mut middle_near) = duplex(100_000);
    let (mut middle_far, far) = duplex(100_000);
    let forging = tokio::spawn(async move {
        let shaking = tokio::io::copy_bidirectional(&mut middle_near, &mut middle_far);
        let _ = timeout(Duration::from_millis(300), shaking).await;
        (middle_near, middle_far)
    });
    let (server, client) = tokio::join!(accept(server, far), connect(client, name(), near));
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    let (mut middle_near, mut middle_far) = forging.await.unwrap();
    client.write_all(b"right").await.unwrap();
    client.flush().await.unwrap();
    let mut record = [0; 100];
    let length = middle_near.read(&mut record).await.unwrap();
    middle_far.write_all(&record[..length]).await.unwrap();
    // The same once more is under another number.
    middle_far.write_all(&record[..length]).await.unwrap();
    let mut came = [0; 5];
    server.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"right");
    for _ in 0..2 {
        let error = server.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
    let length = middle_far.read(&mut record).await.unwrap();
    middle_near.write_all(&record[..length]).await.unwrap();
    let told = client.read_u8().await.unwrap_err();
    assert!(told.to_string().contains("BadRecordMac"), "{told}");
    assert!(server.write_all(b"more").await.is_err());
}

#[tokio::test]
async fn who_is_no_client_learns_why_and_who_leaves_is_missed() {
    let (server, _) = configs(&TLS13);
    let (mut near, far) = duplex(10_000);
    near.write_all(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n").await.unwrap();
    let error = accept(server.clone(), far).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let mut alert = Vec::new();
    near.read_to_end(&mut alert).await.unwrap();
    assert_eq!((alert[0], alert[5]), (21, 2), "a fatal alert (RFC 8446, section 6): {alert:?}");

    let (mut near, far) = duplex(10_000);
    near.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    drop(near);
    let error = accept(server, far).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_handshake_message_in_crumbs_does_not_grow_memory_past_its_bound() {
    let (server, _) = configs(&TLS13);
    let (mut near, far) = duplex(1 << 20);
    // A ClientHello of 60,000 bytes, one byte a record.
    let mut crumbs = vec![22, 3, 1, 0, 4, 1, 0, 0xea, 0x60];
    for _ in 0..60_000 {
        crumbs.extend_from_slice(&[22, 3, 1, 0, 1, 0]);
    }
    let feeding = tokio::spawn(async move {
        let _ = near.write_all(&crumbs).await;
    });
    let error = accept(server, far).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    feeding.await.unwrap();
}

#[tokio::test]
async fn keys_are_renewed_when_the_other_end_asks_for_it() {
    let ((server, client), (near, far)) = (configs(&TLS13), duplex(10_000));
    let connector = TlsConnector::from(client);
    let (ours, theirs) = tokio::join!(accept(server, far), connector.connect(name(), near));
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    for _ in 0..3 {
        theirs.get_mut().1.refresh_traffic_keys().unwrap();
        carry(&mut theirs, &mut ours, &counted(40_000), 9_000).await;
        carry(&mut ours, &mut theirs, &counted(40_000), 9_000).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_widths_all_arrives(
        width in prop_oneof![1_usize..700, 700_usize..40_000],
        pieces in prop::collection::vec(1_usize..90_000, 1..6),
        reads in prop::collection::vec(1_usize..90_000, 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ((server, client), (near, far)) = (configs(&TLS13), duplex(width));
            let data = counted(pieces.iter().sum());
            let sending = async {
                // Tickets that the pipe has no room for wait until the client reads.
                let mut server = accept(server, far).await.unwrap();
                let mut rest = &data[..];
                for piece in pieces {
                    let (now, later) = rest.split_at(piece);
                    server.write_all(now).await.unwrap();
                    server.flush().await.unwrap();
                    rest = later;
                }
                server.shutdown().await.unwrap();
            };
            let reading = async {
                let mut client = connect(client, name(), near).await.unwrap();
                let (mut came, mut reads) = (Vec::new(), reads.iter().cycle());
                let mut buffer = vec![0; 90_000];
                loop {
                    let count = client.read(&mut buffer[..*reads.next().unwrap()]).await.unwrap();
                    if count == 0 {
                        return came;
                    }
                    came.extend_from_slice(&buffer[..count]);
                }
            };
            let (_, came) = tokio::join!(sending, reading);
            assert!(came == data);
        });
    }
}
