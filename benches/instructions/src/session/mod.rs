//! What a session does with its output beside sending it. Its modules are the proxy's own, without the proxy around them.

#[allow(dead_code, reason = "the proxy's; not all of it is on a hot path")]
#[path = "../../../../src/session/questions.rs"]
mod questions;
#[allow(dead_code, unreachable_pub, reason = "the proxy's; not all of it is on a hot path")]
#[path = "../../../../src/session/ring/mod.rs"]
mod ring;
#[allow(dead_code, unused_imports, reason = "the proxy's; not all of it is on a hot path")]
#[path = "../../../../src/session/screen/mod.rs"]
mod screen;

use std::hint::black_box;

use polytty_dialect::Size;
use polytty_workload::{Corpus, TURN};

use crate::HotPath;
use crate::dialects::{CORPORA, SIZES};
use questions::Questions;
use ring::{Ring, Total};
use screen::Screen;

/// `sessions.scrollback`, by default.
const SCROLLBACK: usize = 256 * 1024;

pub(crate) fn paths(measure: &mut dyn FnMut(HotPath)) {
    for corpus in CORPORA {
        for size in SIZES {
            let mut ring = Ring::new(SCROLLBACK, Total::new(1 << 30));
            // From the first byte that is forgotten on.
            ring.push(&corpus.block(SCROLLBACK), u64::MAX);
            measure(hot("scrollback", corpus, size, move |output| ring.push(output, u64::MAX)));
        }
        let (mut questions, mut shown) = (Questions::default(), Vec::new());
        measure(hot("without questions", corpus, SIZES[1], move |output| {
            shown.clear();
            questions.cut(output, &mut shown);
            black_box(&shown);
        }));
        let mut screen = Screen::new(Size::DEFAULT);
        measure(hot("screen", corpus, SIZES[1], move |output| screen.feed(output)));
    }
}

fn hot(name: &str, corpus: Corpus, size: usize, mut each: impl FnMut(&[u8]) + 'static) -> HotPath {
    let messages = (TURN / size).min(1024);
    let output = corpus.block(messages * size);
    let name = format!("{name}\t{}\t{size}", corpus.name());
    let turn = move || output.chunks_exact(size).take(messages).for_each(&mut each);
    HotPath { name, messages, bytes: messages * size, turn: Box::new(turn) }
}
