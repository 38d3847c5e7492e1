//! The codecs, from memory to memory: each of them both ways, and the pairs that are met most, by what the terminal says
//! and by the length of messages.
//!
//! ```text
//! cargo bench --bench dialect                              # all of it, a few minutes
//! cargo bench --bench dialect -- 'pai-dlc decode/ls'       # those whose name holds this
//! cargo bench --bench dialect -- '/4096$' --measurement-time 2
//! ```
//!
//! One iteration is one message; throughput counts the terminal's bytes, not those of the wire. What a path carried is
//! compared with what it was given before anything is measured.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use polytty_workload::{SIZES, cases};

fn dialects(c: &mut Criterion) {
    for case in cases() {
        let mut group = c.benchmark_group(case.name);
        for &corpus in case.contents.corpora() {
            for size in SIZES {
                group.throughput(Throughput::Bytes(size as u64));
                group.bench_function(BenchmarkId::new(corpus.name(), size), |b| {
                    let mut path = case.path(corpus, size);
                    path.warm_up();
                    b.iter(|| path.step());
                });
            }
        }
    }
}

/// Client and upstream meet over one key that is pressed, as it comes and as its echo.
fn keystrokes(c: &mut Criterion) {
    let mut group = c.benchmark_group("keystroke");
    for case in cases().into_iter().filter(|case| case.name.contains(" to ")) {
        group.bench_function(case.name, |b| {
            let mut path = case.path(polytty_workload::Corpus::Plain, 1);
            path.warm_up();
            b.iter(|| path.step());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(30))
        .measurement_time(Duration::from_millis(120))
        .sample_size(10)
        .nresamples(2_000)
        .without_plots();
    targets = keystrokes, dialects
}
criterion_main!(benches);
