//! The hot paths of the proxy, one after the other, each warmed up and then taken once inside of [`measured`].
//!
//! Of use under callgrind, which counts the instructions inside of that function and writes them down each time it is left
//! (`scripts/instructions`). For each path a line is printed, in the order in which they are taken: its name, and how many
//! messages and bytes of terminal it carried.

mod dialects;
mod frames;
mod recording;
mod session;

use std::hint::black_box;
use std::io::{self, Write as _};

/// One hot path: what it is called, what it carries, and a turn of it.
struct HotPath {
    name: String,
    messages: usize,
    bytes: usize,
    turn: Box<dyn FnMut()>,
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for make in [dialects::paths, frames::paths, session::paths, recording::paths] {
        make(&mut |mut path| {
            (path.turn)();
            (path.turn)();
            measured(&mut path.turn);
            // Nobody reads on if the lines go nowhere.
            let _ = writeln!(out, "{}\t{}\t{}", path.name, path.messages, path.bytes);
        });
    }
    out.flush()
}

/// What callgrind is told to count.
#[inline(never)]
fn measured(turn: &mut dyn FnMut()) {
    turn();
    // Or the call above would be a jump, and this function left before it is done.
    black_box(());
}
