//! Frames cost no allocation but for a message that is cut, which costs one.
#![allow(clippy::unwrap_used)]

use allocation_counter::measure;
use polytty_websocket::{Decoder, Encoder, Event, Kind, Limits, Role};

/// Messages that are counted, once the buffers have seen as many.
const MESSAGES: usize = 1000;

const SIZES: [usize; 5] = [0, 1, 64, 4 * 1024, 64 * 1024];

/// What is read at once, in bytes.
const READ: usize = 256 * 1024;

fn encoder(role: Role) -> Encoder<impl FnMut() -> [u8; 4]> {
    Encoder::new(role, || [0x37, 0xfa, 0x21, 0x3d])
}

/// What a peer sends to `role`: as many whole messages as fit into one read.
fn stream(role: Role, kind: Kind, size: usize) -> (usize, Vec<u8>) {
    let peer = if role == Role::Server { Role::Client } else { Role::Server };
    let (mut encoder, payload, mut out, mut messages) = (encoder(peer), vec![b'x'; size], Vec::new(), 0);
    while out.len() + size + polytty_websocket::MAX_HEADER <= READ {
        encoder.message(kind, &payload, &mut out);
        messages += 1;
    }
    (messages, out)
}

/// Every way that a message can go, with both kinds, in both roles, at each size.
fn each(mut test: impl FnMut(Role, Kind, usize)) {
    for role in [Role::Server, Role::Client] {
        for kind in [Kind::Text, Kind::Binary] {
            SIZES.into_iter().for_each(|size| test(role, kind, size));
        }
    }
}

#[test]
fn whole_messages_are_read_without_an_allocation() {
    each(|role, kind, size| {
        let (messages, stream) = stream(role, kind, size);
        let mut decoder = Decoder::new(role, Limits { max_message: 1024 * 1024 });
        let mut scratch = vec![0; stream.len()];
        let mut seen = 0;
        let counted = measure(|| {
            while seen < MESSAGES {
                scratch.copy_from_slice(&stream);
                let mut rest = &mut scratch[..];
                while let Some(event) = decoder.decode(&mut rest).unwrap() {
                    assert!(matches!(event, Event::Message { payload, .. } if payload.len() == size));
                    seen += 1;
                }
            }
        });
        assert!(seen >= MESSAGES && seen.is_multiple_of(messages));
        assert_eq!(counted.count_total, 0, "{role:?}, {kind:?}, {size} bytes");
    });
}

#[test]
fn a_message_that_is_cut_behind_its_middle_costs_one_allocation_which_is_given_back() {
    each(|role, kind, size| {
        if size < 64 {
            return;
        }
        let peer = if role == Role::Server { Role::Client } else { Role::Server };
        let mut message = Vec::new();
        encoder(peer).message(kind, &vec![b'x'; size], &mut message);
        let (mut decoder, mut scratch) =
            (Decoder::new(role, Limits { max_message: 1024 * 1024 }), vec![0; message.len()]);
        let counted = measure(|| {
            for _ in 0..MESSAGES {
                scratch.copy_from_slice(&message);
                let (mut front, mut back) = scratch.split_at_mut(message.len() * 2 / 3);
                assert_eq!(decoder.decode(&mut front).unwrap(), None);
                let whole = decoder.decode(&mut back).unwrap();
                assert!(matches!(whole, Some(Event::Message { payload, .. }) if payload.len() == size));
                assert_eq!(decoder.decode(&mut back).unwrap(), None);
                assert_eq!(decoder.held(), 0);
            }
        });
        assert_eq!(counted.count_total, MESSAGES as u64, "{role:?}, {kind:?}, {size} bytes");
        assert_eq!(counted.count_current, 0);
    });
}

#[test]
fn messages_are_written_without_an_allocation() {
    each(|role, kind, size| {
        let payload = vec![b'x'; size];
        let (mut encoder, mut out) = (encoder(role), Vec::new());
        let mut write = || {
            out.clear();
            encoder.message(kind, &payload, &mut out);
            encoder.message_with(kind, &mut out, |out| out.extend_from_slice(&payload));
            encoder.ping(b"probe", &mut out);
            assert!(out.len() > 2 * size);
        };
        write();
        let counted = measure(|| (0..MESSAGES).for_each(|_| write()));
        assert_eq!(counted.count_total, 0, "{role:?}, {kind:?}, {size} bytes");
    });
}
