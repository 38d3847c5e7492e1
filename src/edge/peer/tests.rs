use ppp::v2::{Builder, Protocol, Type, Version};

use super::*;

fn proxies(protocol: bool) -> Proxies {
    Proxies::new(["10.0.0.0/8", "2001:db8::7/128"].map(|network| network.parse().unwrap()).into(), protocol)
}

fn caller(peer: &str, fields: &[&str]) -> Caller {
    let proxies = proxies(false);
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(FORWARDED_FOR, http::HeaderValue::from_bytes(field.as_bytes()).unwrap());
    }
    proxies.caller(proxies.peer(peer.parse().unwrap()), &headers)
}

/// A header as a load balancer sends it, with a part that we do not look at.
fn header(command: Command, source: &str) -> Vec<u8> {
    let addresses: (SocketAddr, SocketAddr) = (source.parse().unwrap(), source.parse().unwrap());
    let builder = Builder::with_addresses(Version::Two | command, Protocol::Stream, addresses);
    builder.write_tlv(Type::ALPN, b"h2").unwrap().build().unwrap()
}

async fn meet(proxies: &Proxies, peer: &str, mut bytes: &[u8]) -> (Result<String, io::ErrorKind>, usize) {
    let met = proxies.meet(&mut bytes, peer.parse().unwrap()).await;
    (met.map(|peer| peer.to_string()).map_err(|error| error.kind()), bytes.len())
}

#[test]
fn a_stranger_s_word_means_nothing() {
    let direct = caller("192.0.2.1:5", &["198.51.100.1"]);
    assert_eq!((direct.to_string().as_str(), direct.is_forwarded()), ("192.0.2.1:5", false));
    assert_eq!(direct.counted(), Some(direct.address.into()));
}

#[test]
fn from_right_to_left_the_first_that_is_no_trusted_proxy_is_the_caller() {
    for (fields, expected) in [
        (&["198.51.100.1"][..], "198.51.100.1"),
        (&["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        (&["6.6.6.6, 198.51.100.1 ,10.1.2.3"], "198.51.100.1"),
        (&["6.6.6.6", "198.51.100.1", "10.1.2.3"], "198.51.100.1"),
        (&["6.6.6.6", "198.51.100.1:4711"], "198.51.100.1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["2001:db8::1, 2001:db8::7"], "2001:db8::1"),
        (&["::ffff:198.51.100.1"], "198.51.100.1"),
    ] {
        let caller = caller("[::ffff:10.0.0.1]:5", fields);
        assert_eq!(caller.to_string(), expected, "{fields:?}");
        assert!(caller.is_forwarded() && caller.counted().is_some());
    }
}

#[test]
fn a_proxy_that_says_nothing_that_makes_sense_counts_for_nobody() {
    for fields in [
        &[][..],
        &[""],
        &["unknown"],
        &["198.51.100.1, unknown"],
        &["198.51.100.1,"],
        &["10.1.2.3"],
        &["198.51.100.1, \"x\", 10.1.2.3"],
        &["198.51.100.1, ä"],
    ] {
        let caller = caller("10.0.0.1:5", fields);
        assert_eq!(caller.counted(), None, "{fields:?}: {caller}");
        assert!(caller.address.to_string().starts_with("10."));
    }
}

#[tokio::test]
async fn a_trusted_proxy_s_header_is_taken_off_to_the_byte() {
    let proxies = proxies(true);
    for (source, expected) in [("198.51.100.1:7", "198.51.100.1:7"), ("[2001:db8::1]:7", "[2001:db8::1]:7")] {
        let mut bytes = header(Command::Proxy, source);
        bytes.extend_from_slice(b"hello");
        assert_eq!(meet(&proxies, "10.0.0.1:5", &bytes).await, (Ok(expected.to_owned()), 5));
    }
    let check = header(Command::Local, "198.51.100.1:7");
    assert_eq!(meet(&proxies, "10.0.0.1:5", &check).await, (Ok("10.0.0.1:5".to_owned()), 0), "a health check");
    let client = proxies.meet(&mut &header(Command::Proxy, "10.9.9.9:1")[..], "10.0.0.1:5".parse().unwrap()).await;
    assert_eq!(client.unwrap().counted(), None, "a proxy behind a proxy");
}

#[tokio::test]
async fn of_nobody_else_a_header_is_read_and_a_trusted_proxy_has_to_send_one() {
    let bytes = header(Command::Proxy, "198.51.100.1:7");
    let whole = bytes.len();
    assert_eq!(meet(&proxies(true), "192.0.2.1:5", &bytes).await, (Ok("192.0.2.1:5".to_owned()), whole));
    assert_eq!(meet(&proxies(false), "10.0.0.1:5", &bytes).await, (Ok("10.0.0.1:5".to_owned()), whole));
    let invalid = Err(io::ErrorKind::InvalidData);
    let proxies = proxies(true);
    assert_eq!(meet(&proxies, "10.0.0.1:5", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdef").await.0, invalid);
    assert_eq!(meet(&proxies, "10.0.0.1:5", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n").await.0, invalid, "version 1");
}

#[tokio::test]
async fn a_header_that_is_cut_short_or_lies_is_refused() {
    let proxies = proxies(true);
    let sound = header(Command::Proxy, "198.51.100.1:7");
    for end in 0..sound.len() {
        let cut = meet(&proxies, "10.0.0.1:5", &sound[..end]).await.0;
        assert_eq!(cut, Err(io::ErrorKind::UnexpectedEof), "{end} bytes");
    }
    for (at, byte) in [(0, b'x'), (12, 0x31), (12, 0x2f), (13, 0xf1), (14, 0xff), (15, 4)] {
        let mut wrong = sound.clone();
        wrong[at] = byte;
        wrong.resize(wrong.len() + 70_000, 0);
        assert_eq!(meet(&proxies, "10.0.0.1:5", &wrong).await.0, Err(io::ErrorKind::InvalidData), "byte {at}");
    }
}
