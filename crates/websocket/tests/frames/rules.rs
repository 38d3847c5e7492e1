//! Every rule of RFC 6455, section 5, each with its bytes split at every place.

use crate::support::*;
use polytty_websocket::{Decoder, Error, Event, Kind, Limits, Role};

const MAX: usize = 1000;

/// What `bytes` come to, however they are split in two, and one at a time.
fn split(role: Role, bytes: &[u8]) -> (Vec<Seen>, Option<Error>) {
    let whole = decode(role, MAX, [bytes]);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(decode(role, MAX, [head, tail]), whole, "split at {cut}");
    }
    assert_eq!(decode(role, MAX, bytes.chunks(1)), whole, "one byte at a time");
    whole
}

/// `frames` for `role`, decoded.
fn sound(role: Role, frames: &[Frame]) -> Vec<Seen> {
    let (seen, error) = split(role, &bytes(frames));
    assert_eq!(error, None, "{frames:?}");
    seen
}

/// `bytes` break a rule with their last byte, and not before.
fn broken_by_the_last_byte(role: Role, bytes: &[u8]) -> Error {
    let (before, last) = bytes.split_at(bytes.len() - 1);
    let mut decoder = Decoder::new(role, Limits { max_message: MAX });
    let mut seen = Vec::new();
    assert_eq!(feed(&mut decoder, before, &mut seen), Ok(()), "{bytes:x?}");
    let error = feed(&mut decoder, last, &mut seen).expect_err("it breaks a rule");
    assert_eq!(split(role, bytes).1, Some(error));
    error
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

#[test]
fn the_examples_of_section_5_7() {
    let hello = text("Hello");
    let long: Vec<u8> = (0..=255).collect();
    for (role, bytes, expected) in [
        (Role::Client, &b"\x81\x05Hello"[..], hello.clone()),
        (Role::Server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", hello.clone()),
        (Role::Client, b"\x01\x03Hel\x80\x02lo", hello),
        (Role::Client, b"\x89\x05Hello", Seen::Ping(b"Hello".to_vec())),
        (Role::Server, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Seen::Pong(b"Hello".to_vec())),
        (Role::Client, &[b"\x82\x7e\x01\x00", &long[..]].concat(), Seen::Binary(long.clone())),
    ] {
        assert_eq!(split(role, bytes), (vec![expected], None));
    }
    let kib64 = vec![7; 65536];
    let bytes = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &kib64].concat();
    assert_eq!(decode(Role::Client, 65536, bytes.chunks(1000)), (vec![Seen::Binary(kib64)], None));
}

#[test]
fn reserved_bits_and_opcodes_are_refused_with_the_first_byte() {
    for role in [Role::Server, Role::Client] {
        for reserved in 1..8 {
            for opcode in 0..16 {
                let first = [0x80 | reserved << 4 | opcode];
                assert_eq!(broken_by_the_last_byte(role, &first), Error::ReservedBits);
            }
        }
        for opcode in (3..8).chain(11..16) {
            for fin in [0, 0x80] {
                assert_eq!(broken_by_the_last_byte(role, &[fin | opcode]), Error::ReservedOpcode);
            }
        }
    }
}

#[test]
fn a_client_masks_and_a_server_does_not() {
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        assert_eq!(broken_by_the_last_byte(Role::Server, &[0x80 | opcode, 0x00]), Error::Unmasked);
        assert_eq!(broken_by_the_last_byte(Role::Client, &[0x80 | opcode, 0x80]), Error::Masked);
    }
    for role in [Role::Server, Role::Client] {
        assert_eq!(sound(role, &[Frame::new(role, BINARY, "x")]), [Seen::Binary(b"x".to_vec())]);
    }
}

#[test]
fn a_length_takes_the_fewest_bytes_and_at_most_63_bits() {
    let role = Role::Client;
    for (bytes, error) in [
        (&b"\x82\x7e\x00\x00"[..], Error::LongLength),
        (b"\x82\x7e\x00\x7d", Error::LongLength),
        (b"\x82\x7f\0\0\0\0\0\0\0\0", Error::LongLength),
        (b"\x82\x7f\0\0\0\0\0\0\xff\xff", Error::LongLength),
        (b"\x82\x7f\x80\0\0\0\0\0\0\0", Error::HugeLength),
        (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", Error::HugeLength),
        (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Error::TooLong),
    ] {
        assert_eq!(broken_by_the_last_byte(role, bytes), error);
    }
    for len in [0, 125, 126, 127, 65535, 65536] {
        let payload = vec![b'x'; len];
        let bytes = Frame::new(role, BINARY, payload.clone()).bytes();
        assert_eq!(decode(role, len, bytes.chunks(97)), (vec![Seen::Binary(payload)], None), "{len}");
    }
}

#[test]
fn the_limit_counts_over_all_fragments_and_is_found_in_the_header() {
    let role = Role::Client;
    let full = sound(role, &[Frame::new(role, BINARY, vec![0; MAX])]);
    assert_eq!(full, [Seen::Binary(vec![0; MAX])]);
    let over = Frame::new(role, BINARY, vec![0; MAX + 1]).bytes();
    assert_eq!(broken_by_the_last_byte(role, &over[..4]), Error::TooLong);

    let half = Frame::new(role, BINARY, vec![0; MAX / 2]).unfinished();
    let rest = Frame::new(role, CONTINUATION, vec![0; MAX / 2]);
    assert_eq!(sound(role, &[half.clone(), rest]), full);
    let mut bytes = half.bytes();
    bytes.extend(&Frame::new(role, CONTINUATION, vec![0; MAX / 2 + 1]).bytes()[..4]);
    assert_eq!(broken_by_the_last_byte(role, &bytes), Error::TooLong);

    // A control frame in between counts for nothing.
    let all = Frame::new(role, BINARY, vec![0; MAX]).unfinished();
    let frames = [all, Frame::new(role, PING, vec![1; 125]), Frame::new(role, CONTINUATION, "")];
    assert_eq!(sound(role, &frames), [Seen::Ping(vec![1; 125]), Seen::Binary(vec![0; MAX])]);
    assert_eq!(decode(role, 0, [&b"\x82\x00\x81\x01"[..]]), (vec![Seen::Binary(vec![])], Some(Error::TooLong)));
}

#[test]
fn fragments_are_joined_and_control_frames_come_in_between() {
    for role in [Role::Server, Role::Client] {
        let frames = [
            Frame::new(role, TEXT, "").unfinished(),
            Frame::new(role, PING, "one"),
            Frame::new(role, CONTINUATION, "zw\u{f6}").unfinished(),
            Frame::new(role, PONG, ""),
            Frame::new(role, PING, vec![2; 125]),
            Frame::new(role, CONTINUATION, "").unfinished(),
            Frame::new(role, CONTINUATION, "lf"),
            Frame::new(role, BINARY, ""),
            Frame::new(role, TEXT, "").unfinished(),
            Frame::new(role, CONTINUATION, ""),
        ];
        let expected = [
            Seen::Ping(b"one".to_vec()),
            Seen::Pong(vec![]),
            Seen::Ping(vec![2; 125]),
            text("zw\u{f6}lf"),
            Seen::Binary(vec![]),
            text(""),
        ];
        assert_eq!(sound(role, &frames), expected);
    }
}

#[test]
fn a_continuation_continues_something_and_nothing_else_does() {
    let role = Role::Server;
    assert_eq!(broken_by_the_last_byte(role, &[0x80]), Error::StrayContinuation);
    assert_eq!(broken_by_the_last_byte(role, &[0x00]), Error::StrayContinuation);
    let done = bytes(&[Frame::new(role, TEXT, "a").unfinished(), Frame::new(role, CONTINUATION, "b")]);
    assert_eq!(broken_by_the_last_byte(role, &[&done[..], &[0x80]].concat()), Error::StrayContinuation);
    for opcode in [TEXT, BINARY] {
        for fin in [0, 0x80] {
            let begun = Frame::new(role, TEXT, "a").unfinished().bytes();
            let next = [fin | opcode];
            assert_eq!(broken_by_the_last_byte(role, &[&begun[..], &next].concat()), Error::Interrupted);
        }
    }
}

#[test]
fn control_frames_are_whole_and_short() {
    for opcode in [CLOSE, PING, PONG] {
        assert_eq!(broken_by_the_last_byte(Role::Server, &[opcode]), Error::FragmentedControl);
        for length in [126, 127] {
            assert_eq!(broken_by_the_last_byte(Role::Client, &[0x80 | opcode, length]), Error::LongControl);
        }
    }
    // A limit on messages is none on control frames.
    let ping = Frame::new(Role::Client, PING, vec![0; 125]).bytes();
    assert_eq!(decode(Role::Client, 0, [&ping[..]]), (vec![Seen::Ping(vec![0; 125])], None));
}

#[test]
fn a_byte_that_cannot_be_text_fails_as_soon_as_it_is_there() {
    let role = Role::Client;
    for (prefix, last) in [
        (&b""[..], 0x80),
        (b"", 0xff),
        (b"", 0xc0),
        (b"\xce\xba\xe1\xbd\xb9", 0xf8),
        (b"\xe0", 0x80),
        (b"\xed", 0xa0),
        (b"\xf4", 0x90),
        (b"\xf0\x9f\x98", 0x41),
    ] {
        // The frame claims more than what has come, so nothing but the byte itself can be the reason.
        let one = [&[0x81, 100][..], prefix, &[last]].concat();
        assert_eq!(broken_by_the_last_byte(role, &one), Error::Utf8);
        // The same with each byte in a fragment of its own, and a Ping in between.
        let mut fragments = vec![0x01, 0];
        for byte in prefix {
            fragments.extend([0x00, 1, *byte, 0x89, 1, 0xff]);
        }
        fragments.extend([0x00, 100, last]);
        assert_eq!(broken_by_the_last_byte(role, &fragments), Error::Utf8);
    }
    // What began as a character and never became one fails when the message ends.
    assert_eq!(broken_by_the_last_byte(role, b"\x81\x03\xf0\x9f\x98"), Error::Utf8);
    assert_eq!(broken_by_the_last_byte(role, b"\x01\x01\xc3\x80\x00"), Error::Utf8);
    // Binary messages may hold anything.
    assert_eq!(split(role, b"\x02\x01\xff\x80\x01\xc0"), (vec![Seen::Binary(vec![0xff, 0xc0])], None));
}

#[test]
fn a_close_has_a_code_that_may_be_sent_and_a_reason_that_is_text() {
    let role = Role::Client;
    let close = |code: u16, reason: &[u8]| Frame::new(role, CLOSE, [&code.to_be_bytes()[..], reason].concat()).bytes();
    assert_eq!(split(role, b"\x88\x00"), (vec![Seen::Close(None)], None));
    assert_eq!(broken_by_the_last_byte(role, b"\x88\x01\x03"), Error::ShortClose);
    for code in 0..=u16::MAX {
        let allowed = matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999);
        let expected = match allowed {
            true => (vec![Seen::Close(Some((code, String::new())))], None),
            false => (vec![], Some(Error::CloseCode)),
        };
        assert_eq!(decode(role, MAX, [&close(code, b"")[..]]), expected, "{code}");
    }
    let reason = "\u{e4}".repeat(61) + "x";
    assert_eq!(split(role, &close(4410, reason.as_bytes())), (vec![Seen::Close(Some((4410, reason)))], None));
    assert_eq!(broken_by_the_last_byte(role, &close(1000, b"\xc3")), Error::Utf8);
    assert_eq!(broken_by_the_last_byte(role, &close(1000, b"a\xff")), Error::Utf8);
}

#[test]
fn nothing_behind_a_close_is_looked_at() {
    let role = Role::Server;
    let mut stream = bytes(&[
        Frame::new(role, TEXT, "cut off").unfinished(),
        Frame::new(role, CLOSE, *b"\x03\xe8bye"),
        Frame::new(role, BINARY, "late"),
    ]);
    stream.extend([0xff; 50]);
    assert_eq!(split(role, &stream), (vec![Seen::Close(Some((1000, "bye".to_owned())))], None));

    let mut decoder = Decoder::new(role, Limits { max_message: MAX });
    let mut seen = Vec::new();
    feed(&mut decoder, &stream[..20], &mut seen).unwrap();
    assert!(!decoder.is_done() && decoder.held() > 0);
    feed(&mut decoder, &stream[20..], &mut seen).unwrap();
    assert!(decoder.is_done() && decoder.held() == 0);
}

#[test]
fn every_error_says_what_to_close_with() {
    assert_eq!(Error::Utf8.code().get(), 1007);
    assert_eq!(Error::TooLong.code().get(), 1009);
    for error in [
        Error::ReservedBits,
        Error::ReservedOpcode,
        Error::Unmasked,
        Error::Masked,
        Error::LongLength,
        Error::HugeLength,
        Error::StrayContinuation,
        Error::Interrupted,
        Error::FragmentedControl,
        Error::LongControl,
        Error::ShortClose,
        Error::CloseCode,
    ] {
        assert_eq!(error.code().get(), 1002);
        assert!(!error.reason().is_empty() && error.reason().len() <= 100);
    }
}

#[test]
fn a_whole_message_is_not_copied() {
    let role = Role::Server;
    let mut scratch = bytes(&[Frame::new(role, TEXT, "one"), Frame::new(role, BINARY, vec![2; 500])]);
    let range = scratch.as_ptr_range();
    let mut decoder = Decoder::new(role, Limits { max_message: MAX });
    let mut rest = &mut scratch[..];
    for (kind, expected) in [(Kind::Text, &b"one"[..]), (Kind::Binary, &[2; 500])] {
        let Ok(Some(Event::Message { kind: got, payload })) = decoder.decode(&mut rest) else { panic!("no message") };
        assert_eq!((got, payload), (kind, expected));
        assert!(range.contains(&payload.as_ptr()), "it was copied");
        assert_eq!(decoder.held(), 0);
    }
}

#[test]
fn one_may_stop_behind_any_event_and_go_on_later() {
    let role = Role::Server;
    let frames = ["one", "two", "three"].map(|text| Frame::new(role, TEXT, text));
    let stream = bytes(&frames);
    for stop in 0..=3 {
        let mut decoder = Decoder::new(role, Limits { max_message: MAX });
        let mut scratch = stream.clone();
        let mut rest = &mut scratch[..];
        let mut seen: Vec<Seen> = Vec::new();
        for _ in 0..stop {
            seen.push(decoder.decode(&mut rest).unwrap().unwrap().into());
        }
        let taken = stream.len() - rest.len();
        assert_eq!(taken, bytes(&frames[..stop]).len());
        let kept = rest.to_vec();
        assert_eq!(kept, &stream[taken..], "what is left is untouched");
        for piece in kept.chunks(5) {
            feed(&mut decoder, piece, &mut seen).unwrap();
        }
        assert_eq!(seen, [text("one"), text("two"), text("three")]);
    }
}

#[test]
fn memory_follows_what_has_arrived_and_goes_with_the_message() {
    let role = Role::Client;
    let max_message = 1 << 20;
    let mut decoder = Decoder::new(role, Limits { max_message });
    let mut seen = Vec::new();
    let stream = Frame::new(role, BINARY, vec![9; max_message]).bytes();
    feed(&mut decoder, &stream[..10], &mut seen).unwrap();
    assert_eq!(decoder.held(), 0, "a length alone reserves nothing");
    let mut arrived = 0;
    for piece in stream[10..].chunks(4000) {
        feed(&mut decoder, piece, &mut seen).unwrap();
        arrived += piece.len();
        assert!(decoder.held() <= (2 * arrived).min(max_message), "{} held of {arrived}", decoder.held());
    }
    assert_eq!((seen.len(), decoder.held()), (1, 0));

    // A Ping in pieces, inside of a message at the limit.
    feed(&mut decoder, &Frame::new(role, BINARY, vec![9; max_message]).unfinished().bytes(), &mut seen).unwrap();
    let ping = Frame::new(role, PING, vec![1; 125]).bytes();
    feed(&mut decoder, &ping[..100], &mut seen).unwrap();
    assert!(decoder.held() <= max_message + 125);
    feed(&mut decoder, &ping[100..], &mut seen).unwrap();
    assert_eq!(seen.last(), Some(&Seen::Ping(vec![1; 125])));
    feed(&mut decoder, b"\x80\x00", &mut seen).unwrap();
    assert_eq!((seen.len(), decoder.held()), (3, 0));
    assert!(size_of::<Decoder>() <= 96, "{} bytes", size_of::<Decoder>());
}
