//! Events of an asciicast.

#[allow(dead_code, unreachable_pub, unused_imports, reason = "the proxy's; not all of it is on a hot path")]
#[path = "../../../src/recording/cast/mod.rs"]
mod cast;

use std::hint::black_box;

use cast::{Code, Encoder, Format, Header};
use polytty_workload::TURN;

use crate::HotPath;
use crate::dialects::{CORPORA, SIZES};

pub(crate) fn paths(measure: &mut dyn FnMut(HotPath)) {
    for corpus in CORPORA {
        for size in SIZES {
            let messages = (TURN / size).min(1024);
            let text = String::from_utf8_lossy(&corpus.block(size)).into_owned();
            let text = text[..text.floor_char_boundary(size)].to_owned();
            let mut out = Vec::new();
            let header = Header { cols: 80, rows: 24, timestamp: None, idle_limit: None, origin: None };
            let mut encoder = Encoder::start(Format::V3, &header, &mut out);
            let (name, bytes) = (format!("recording\t{}\t{size}", corpus.name()), messages * text.len());
            let mut at = 0;
            let turn = move || {
                out.clear();
                for _ in 0..messages {
                    at += 20_000;
                    encoder.event(at, &Code::Output, &text, &mut out);
                }
                black_box(&out);
            };
            measure(HotPath { name, messages, bytes, turn: Box::new(turn) });
        }
    }
}
