//! WebSocket frames: read in place as a thread does with its scratch memory, and written.

use std::hint::black_box;

use polytty_websocket::{Decoder, Encoder, Event, Kind, Limits, Role};
use polytty_workload::{Corpus, TURN};

use crate::HotPath;
use crate::dialects::SIZES;

/// Always the same, since what it is makes no difference.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) fn paths(measure: &mut dyn FnMut(HotPath)) {
    for (name, role, kind) in [
        ("frames decode masked binary", Role::Server, Kind::Binary),
        ("frames decode masked text", Role::Server, Kind::Text),
        ("frames decode binary", Role::Client, Kind::Binary),
        ("frames decode text", Role::Client, Kind::Text),
    ] {
        for size in [1].into_iter().chain(SIZES) {
            measure(decode(name, role, kind, size));
        }
    }
    for (name, role) in [("frames encode", Role::Server), ("frames encode masked", Role::Client)] {
        for size in [1].into_iter().chain(SIZES) {
            measure(encode(name, role, size));
        }
    }
}

fn messages(size: usize) -> usize {
    (TURN / size).min(1024)
}

fn hot(name: &str, size: usize, turn: impl FnMut() + 'static) -> HotPath {
    let messages = messages(size);
    HotPath { name: format!("{name}\tplain\t{size}"), messages, bytes: messages * size, turn: Box::new(turn) }
}

/// The read into scratch memory is counted, too: what is decoded is overwritten.
fn decode(name: &str, role: Role, kind: Kind, size: usize) -> HotPath {
    let peer = if role == Role::Server { Role::Client } else { Role::Server };
    let (mut encoder, mut stream) = (Encoder::new(peer, || KEY), Vec::new());
    let payload = Corpus::Plain.block(size);
    for _ in 0..messages(size) {
        encoder.message(kind, &payload[..size], &mut stream);
    }
    let mut decoder = Decoder::new(role, Limits { max_message: 1024 * 1024 });
    let mut scratch = vec![0; stream.len()];
    hot(name, size, move || {
        scratch.copy_from_slice(&stream);
        let (mut rest, mut seen) = (&mut scratch[..], 0);
        while let Ok(Some(Event::Message { payload, .. })) = decoder.decode(&mut rest) {
            seen += black_box(payload).len();
        }
        assert_eq!(seen, messages(size) * size);
    })
}

fn encode(name: &str, role: Role, size: usize) -> HotPath {
    let payload = Corpus::Plain.block(size);
    let (mut encoder, mut out) = (Encoder::new(role, || KEY), Vec::new());
    hot(name, size, move || {
        out.clear();
        for _ in 0..messages(size) {
            encoder.message(Kind::Binary, &payload[..size], &mut out);
        }
        assert!(black_box(&out).len() > messages(size) * size);
    })
}
