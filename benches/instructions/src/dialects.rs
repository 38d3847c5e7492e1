//! Every codec both ways, pairs of them, and a key that is pressed.

use polytty_workload::{Case, Contents, Corpus, cases};

use crate::HotPath;

/// The shortest and the longest message that are common: what an echo takes, and what a TTY gives at once.
pub(crate) const SIZES: [usize; 2] = [64, 4096];

/// Prose, colours, the densest text, and the one with the longest characters.
pub(crate) const CORPORA: [Corpus; 4] = [Corpus::Plain, Corpus::Ls, Corpus::Yes, Corpus::Cjk];

pub(crate) fn paths(measure: &mut dyn FnMut(HotPath)) {
    let cases = cases();
    for case in cases.iter().filter(|case| case.name.contains(" to ")) {
        measure(hot(case, Corpus::Plain, 1));
    }
    for case in &cases {
        let corpora = if case.contents == Contents::Blind { &CORPORA[..1] } else { &CORPORA };
        for &corpus in corpora {
            for size in SIZES {
                measure(hot(case, corpus, size));
            }
        }
    }
}

fn hot(case: &Case, corpus: Corpus, size: usize) -> HotPath {
    let mut path = case.path(corpus, size);
    path.warm_up();
    let messages = path.messages();
    HotPath {
        name: format!("{}\t{}\t{size}", case.name, corpus.name()),
        messages,
        bytes: path.bytes(),
        turn: Box::new(move || path.turn()),
    }
}
