//! What the encoder writes, and what any sound peer may write, is decoded to what it was.

use crate::support::*;
use polytty_websocket::{Close, CloseCode, Encoder, Kind, MAX_HEADER, Role};
use proptest::prelude::*;

const MAX: usize = 200_000;

/// Keys that can be told apart, in a known order.
fn keys() -> impl FnMut() -> [u8; 4] {
    let mut next = 0x0102_0304u32;
    move || {
        next = next.wrapping_mul(0x0101_0107);
        next.to_be_bytes()
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

/// Lengths around those where the header changes.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![4 => 0..40usize, 2 => 120..130usize, 1 => 65_530..65_540usize, 1 => 0..5000usize];
    (len, any::<u8>()).prop_map(|(len, seed)| (0..len).map(|i| (i as u8).wrapping_mul(seed)).collect())
}

fn events() -> impl Strategy<Value = Seen> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => "\\PC{0,60}".prop_map(Seen::Text),
        4 => payloads().prop_map(Seen::Binary),
        1 => control().prop_map(Seen::Ping),
        1 => control().prop_map(Seen::Pong),
    ]
}

fn closes() -> impl Strategy<Value = Option<Seen>> {
    let code = prop_oneof![1000..=1003u16, 1007..=1013u16, 3000..=4999u16];
    prop::option::of(prop::option::of((code, "\\PC{0,30}")).prop_map(Seen::Close))
}

fn encode(role: Role, in_place: bool, events: &[Seen]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(role, keys()), Vec::new());
    for event in events {
        let before = out.len();
        let (kind, payload) = match event {
            Seen::Text(text) => (Kind::Text, text.as_bytes()),
            Seen::Binary(bytes) => (Kind::Binary, &bytes[..]),
            Seen::Ping(payload) => {
                encoder.ping(payload, &mut out);
                continue;
            }
            Seen::Pong(payload) => {
                encoder.pong(payload, &mut out);
                continue;
            }
            Seen::Close(close) => {
                let close = close
                    .as_ref()
                    .map(|(code, reason)| Close { code: CloseCode::new(*code).expect("it is one"), reason });
                encoder.close(close, &mut out);
                continue;
            }
        };
        match in_place {
            false => encoder.message(kind, payload, &mut out),
            true => encoder.message_with(kind, &mut out, |out| out.extend_from_slice(payload)),
        }
        assert!(out.len() - before <= payload.len() + MAX_HEADER);
    }
    out
}

/// Splits `bytes` by sizes that are used again and again.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    pieces
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        role in roles(),
        in_place in any::<bool>(),
        mut events in prop::collection::vec(events(), 0..8),
        close in closes(),
        reads in prop::collection::vec(prop_oneof![1..20usize, 1..5000usize, 60_000..70_000usize], 1..5),
    ) {
        events.extend(close);
        let stream = encode(role, in_place, &events);
        prop_assert_eq!(decode(other(role), MAX, cut(&stream, &reads)), (events, None));
    }

    #[test]
    fn both_ways_to_write_a_message_write_the_same(role in roles(), payload in payloads(), before in payloads()) {
        let events = [Seen::Binary(before), Seen::Binary(payload), Seen::Binary(vec![])];
        prop_assert_eq!(encode(role, false, &events), encode(role, true, &events));
    }

    #[test]
    fn any_fragmentation_with_control_frames_in_between_is_decoded(
        role in roles(),
        messages in prop::collection::vec((events(), prop::collection::vec(0..2000usize, 0..6)), 1..5),
        control in prop::collection::vec(any::<u8>(), 0..=125),
        key in any::<[u8; 4]>(),
        reads in prop::collection::vec(prop_oneof![1..20usize, 1..5000usize], 1..5),
    ) {
        let (mut frames, mut expected) = (Vec::new(), Vec::new());
        for (event, sizes) in messages {
            let (opcode, payload) = match &event {
                Seen::Text(text) => (TEXT, text.as_bytes()),
                Seen::Binary(bytes) => (BINARY, &bytes[..]),
                Seen::Ping(payload) => (PING, &payload[..]),
                Seen::Pong(payload) => (PONG, &payload[..]),
                Seen::Close(_) => continue,
            };
            if opcode >= CLOSE {
                frames.push(Frame::new(role, opcode, payload));
                expected.push(event);
                continue;
            }
            let (mut opcode, mut rest) = (opcode, payload);
            for size in sizes {
                let (fragment, behind) = rest.split_at(size.min(rest.len()));
                frames.push(Frame::new(role, opcode, fragment).unfinished());
                frames.push(Frame::new(role, PING, control.clone()));
                expected.push(Seen::Ping(control.clone()));
                (opcode, rest) = (CONTINUATION, behind);
            }
            frames.push(Frame::new(role, opcode, rest));
            expected.push(event);
        }
        for frame in &mut frames {
            frame.key = frame.key.map(|_| key);
        }
        prop_assert_eq!(decode(role, MAX, cut(&bytes(&frames), &reads)), (expected, None));
    }
}

#[test]
fn a_client_takes_a_fresh_key_for_each_frame_and_a_server_none() {
    let mut asked = 0u8;
    let mut encoder = Encoder::new(Role::Client, || {
        asked += 1;
        [asked, 0, 0, 0]
    });
    let mut out = Vec::new();
    encoder.message(Kind::Text, b"a", &mut out);
    encoder.message_with(Kind::Binary, &mut out, |out| out.push(0));
    encoder.ping(b"", &mut out);
    assert_eq!(out, [0x81, 0x81, 1, 0, 0, 0, b'a' ^ 1, 0x82, 0x81, 2, 0, 0, 0, 2, 0x89, 0x80, 3, 0, 0, 0]);

    let mut encoder = Encoder::new(Role::Server, || panic!("a server does not mask"));
    out.clear();
    encoder.message(Kind::Text, b"a", &mut out);
    encoder.pong(b"b", &mut out);
    encoder.close(None, &mut out);
    assert_eq!(out, b"\x81\x01a\x8a\x01b\x88\x00");
}

#[test]
fn what_is_too_long_for_a_control_frame_is_cut() {
    let mut encoder = Encoder::new(Role::Server, || [0; 4]);
    let mut out = Vec::new();
    encoder.ping(&[7; 126], &mut out);
    encoder.pong(&[7; 1000], &mut out);
    let reason = "x".to_owned() + &"\u{e4}".repeat(100);
    encoder.close(Some(Close { code: CloseCode::NORMAL, reason: &reason }), &mut out);
    let cut = "x".to_owned() + &"\u{e4}".repeat(61);
    let expected = vec![Seen::Ping(vec![7; 125]), Seen::Pong(vec![7; 125]), Seen::Close(Some((1000, cut)))];
    assert_eq!(decode(Role::Client, 0, [&out[..]]), (expected, None));
}

#[test]
fn a_message_in_parts_can_be_taken_back() {
    let mut encoder = Encoder::new(Role::Server, || [0; 4]);
    let mut out = Vec::new();
    encoder.message(Kind::Text, b"before", &mut out);
    let begun = encoder.begin(&mut out);
    out.extend_from_slice(b"never");
    encoder.cancel(begun, &mut out);
    let begun = encoder.begin(&mut out);
    out.extend_from_slice(b"af");
    out.extend_from_slice(b"ter");
    encoder.end(begun, Kind::Binary, &mut out);
    assert_eq!(out, b"\x81\x06before\x82\x05after");
}
