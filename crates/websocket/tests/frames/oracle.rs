//! tungstenite as the judge: it takes what we take and refuses what we refuse, with the same close code.
//!
//! We are stricter, on purpose, in this:
//!
//! - a length that takes more bytes than it needs is 1002 (section 5.2); tungstenite takes it;
//! - a length of more than 63 bits is 1002; tungstenite says 1009;
//! - of two faults in one frame the first on the wire counts, where tungstenite looks for one over its limit (1009)
//!   before all others but a reserved opcode;
//! - a fault is found when its byte is there; tungstenite first waits for the whole frame.
//!
//! We are never more lenient.

use std::io::{self, ErrorKind, Read, Write};

use crate::support::*;
use polytty_websocket::{Error, Role};
use proptest::prelude::*;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const MAX: usize = 300;

/// How tungstenite comes to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It waits for more, or the peer has closed.
    Sound,
    Refused(u16),
}

/// What a peer sent, and a sink for the answers.
struct Peer<'a>(&'a [u8]);

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn oracle(role: Role, stream: &[u8]) -> (Vec<Seen>, End) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let role = match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    };
    let mut socket = WebSocket::from_raw_socket(Peer(stream), role, Some(config));
    let mut seen = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => seen.push(Seen::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(Message::Ping(payload)) => seen.push(Seen::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => seen.push(Seen::Pong(payload.to_vec())),
            // This is what it makes of a code that must not be sent.
            Ok(Message::Close(Some(CloseFrame { reason, .. }))) if reason.as_str() == "Protocol violation" => {
                return (seen, End::Refused(1002));
            }
            Ok(Message::Close(close)) => {
                seen.push(Seen::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned()))));
                return (seen, End::Sound);
            }
            Ok(Message::Frame(_)) => unreachable!("it is never read"),
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return (seen, End::Sound),
            Err(tungstenite::Error::Protocol(_)) => return (seen, End::Refused(1002)),
            Err(tungstenite::Error::Utf8(_)) => return (seen, End::Refused(1007)),
            Err(tungstenite::Error::Capacity(_)) => return (seen, End::Refused(1009)),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn ours(role: Role, stream: &[u8], reads: usize) -> (Vec<Seen>, Option<Error>) {
    decode(role, MAX, stream.chunks(reads))
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z\u{e4}\u{20ac}\u{1f600}]{0,30}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::sample::select(vec![124, 125, 126, 127, MAX / 2, MAX - 1, MAX, MAX + 1]).prop_map(|len| vec![b'x'; len]),
        1 => (prop_oneof![Just(1000u16), 990..1020u16, 2990..3010u16, any::<u16>()], "[a-z\u{e4}]{0,20}")
            .prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    ]
}

/// A frame that has every right to be where it may stand.
fn likely(role: Role) -> impl Strategy<Value = Frame> {
    let opcode = prop::sample::select(vec![TEXT, TEXT, BINARY, BINARY, CONTINUATION, PING, PONG, CLOSE]);
    (opcode, payloads(), any::<[u8; 4]>(), prop::bool::weighted(0.7)).prop_map(move |(opcode, payload, key, fin)| {
        let mut frame = Frame::new(role, opcode, payload);
        frame.key = frame.key.map(|_| key);
        frame.fin = fin || opcode >= CLOSE;
        frame
    })
}

/// Makes opcodes follow the rules of fragmentation, so that streams go on for long enough.
fn in_order(mut frames: Vec<Frame>) -> Vec<Frame> {
    let mut in_message = false;
    for frame in &mut frames {
        if frame.opcode < CLOSE {
            frame.opcode = match (in_message, frame.opcode) {
                (true, _) => CONTINUATION,
                (false, CONTINUATION) => BINARY,
                (false, opcode) => opcode,
            };
            in_message = !frame.fin;
        } else {
            frame.payload.truncate(125);
        }
    }
    frames
}

/// One thing wrong with one frame, whichever it is.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Reserved(u8),
    Opcode(u8),
    Mask,
    Fin,
}

fn faults() -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => Just(Fault::None),
        1 => (1..8u8).prop_map(Fault::Reserved),
        2 => (0..16u8).prop_map(Fault::Opcode),
        1 => Just(Fault::Mask),
        1 => Just(Fault::Fin),
    ]
}

fn spoil(frame: &mut Frame, fault: Fault) {
    match fault {
        Fault::None => {}
        Fault::Reserved(bits) => frame.reserved = bits,
        Fault::Opcode(opcode) => frame.opcode = opcode,
        Fault::Mask => frame.key = frame.key.xor(Some([1, 2, 3, 4])),
        Fault::Fin => frame.fin = !frame.fin,
    }
}

fn streams() -> impl Strategy<Value = (Role, Vec<Frame>)> {
    let frames = roles().prop_flat_map(|role| (Just(role), prop::collection::vec(likely(role), 1..8)));
    (frames, faults(), any::<prop::sample::Index>()).prop_map(|((role, frames), fault, at)| {
        let mut frames = in_order(frames);
        let at = at.index(frames.len());
        spoil(&mut frames[at], fault);
        (role, frames)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn both_see_the_same_and_refuse_for_the_same_reason((role, frames) in streams(), reads in 1..600usize) {
        let stream = bytes(&frames);
        let (seen, error) = ours(role, &stream, reads);
        let (expected, end) = oracle(role, &stream);
        prop_assert_eq!(&seen, &expected);
        let code = error.map_or(End::Sound, |error| End::Refused(error.code().get()));
        // Two faults in one frame: too long, and something that stands before the length on the wire.
        let two = frames.iter().any(|frame| frame.payload.len() > 125 && frame.opcode >= CLOSE)
            || frames.iter().any(|frame| frame.payload.len() > MAX);
        if !(two && code == End::Refused(1002) && end == End::Refused(1009)) {
            prop_assert_eq!(code, end, "{:?}", error);
        }
    }

    #[test]
    fn whatever_the_bytes_we_are_never_more_lenient(
        role in roles(),
        setup in prop::collection::vec((faults(), 0..10u8), 8),
        frames in prop::collection::vec(likely(Role::Client), 1..8),
        claimed in any::<u64>(),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut frames = in_order(frames);
        for (frame, (fault, length)) in frames.iter_mut().zip(setup) {
            frame.key = (role == Role::Server).then_some([9, 8, 7, 6]);
            spoil(frame, fault);
            frame.length = match length {
                0 => Length::Claimed(claimed),
                1 => Length::Long,
                2 => Length::Word,
                _ => Length::Shortest,
            };
        }
        let stream = [bytes(&frames), tail].concat();
        let (seen, error) = ours(role, &stream, 1000);
        let (expected, end) = oracle(role, &stream);
        prop_assert!(expected.starts_with(&seen), "{:?} of {:?}", seen, expected);
        if error.is_none() {
            prop_assert_eq!((&seen, End::Sound), (&expected, end));
        }
    }
}

#[test]
fn where_we_are_stricter() {
    let role = Role::Client;
    for (stream, error, theirs) in [
        (&b"\x82\x7e\x00\x01x"[..], Error::LongLength, (vec![Seen::Binary(b"x".to_vec())], End::Sound)),
        (b"\x82\x7f\0\0\0\0\0\0\0\x01x", Error::LongLength, (vec![Seen::Binary(b"x".to_vec())], End::Sound)),
        (b"\x82\x7f\x80\0\0\0\0\0\0\0", Error::HugeLength, (vec![], End::Refused(1009))),
        (b"\xc2\x7e\x01\x2d", Error::ReservedBits, (vec![], End::Refused(1009))),
        (b"\x89\x7e\x01\x2d", Error::LongControl, (vec![], End::Refused(1009))),
        (b"\xc2\x05", Error::ReservedBits, (vec![], End::Sound)),
        (b"\x81\x05\xff", Error::Utf8, (vec![], End::Sound)),
    ] {
        assert_eq!(ours(role, stream, 100), (vec![], Some(error)), "{stream:x?}");
        assert_eq!(oracle(role, stream), theirs, "{stream:x?}");
    }
}
