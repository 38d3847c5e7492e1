//! No codec allocates once it runs: what it needs, it has from the turn before.
//!
//! What the proxy itself adds to that (an outbox a turn towards a provider, a copy of each message that is read) is its own,
//! and not measured here.

use allocation_counter::measure;
use polytty_workload::cases;

/// Warms every path up, then counts what `messages` more allocate.
fn assert_free_of_allocations(size: usize, messages: usize) {
    let mut table = String::new();
    for case in cases() {
        for &corpus in case.contents.corpora() {
            let mut path = case.path(corpus, size);
            path.warm_up();
            let count = measure(|| (0..messages).for_each(|_| path.step())).count_total;
            if count > 0 {
                table += &format!("{}, {}, {size} bytes: {count} in {messages} messages\n", case.name, corpus.name());
            }
        }
    }
    assert!(table.is_empty(), "these allocate:\n{table}");
}

#[test]
fn the_counter_counts() {
    let counted = measure(|| {
        let mut grown: Vec<u8> = Vec::with_capacity(1);
        grown.extend_from_slice(&[0; 100]);
        std::hint::black_box(grown);
    });
    assert_eq!(counted.count_total, 2, "one to begin with, one to grow");
}

#[test]
fn keystrokes_allocate_nothing() {
    assert_free_of_allocations(1, 1000);
}

#[test]
fn short_messages_allocate_nothing() {
    assert_free_of_allocations(64, 1000);
}

#[test]
fn longer_messages_allocate_nothing() {
    assert_free_of_allocations(1024, 1000);
}

/// They make the turn, and with it the buffers, as large as it gets.
#[test]
fn messages_of_a_quarter_of_a_turn_allocate_nothing() {
    assert_free_of_allocations(16 * 1024, 16);
}
