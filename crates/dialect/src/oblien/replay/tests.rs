//! Stories of connections that were lost, and the rule against brute force.

use proptest::prelude::*;

use super::*;

fn tail(bytes: &[u8], from_birth: bool) -> Tail {
    let mut tail = Tail::new(from_birth);
    tail.push(bytes);
    tail
}

/// Plays pieces of a replay; what a person sees of it once it has settled, `None` for a gap.
fn shown(tail: &Tail, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut replay = Replay::new();
    for piece in pieces {
        replay.push(tail, piece);
    }
    match replay.settle(tail) {
        Match::Overlap(skip) => Some(replay.held()[skip..].to_vec()),
        Match::Gap => None,
    }
}

/// Lines that differ from each other, as a log has them.
fn log(lines: std::ops::Range<u32>) -> Vec<u8> {
    lines.flat_map(|line| format!("line {line} of the log\r\n").into_bytes()).collect()
}

#[test]
fn what_was_seen_is_not_seen_again() {
    let seen = log(0..100);
    let kept = [&seen[..], b"and more"].concat();
    assert_eq!(shown(&tail(&seen, true), &[&kept]).unwrap(), b"and more");
    assert_eq!(shown(&tail(&seen, true), &[&seen]).unwrap(), b"");
}

#[test]
fn the_answer_is_there_with_the_byte_that_makes_it_certain() {
    let seen = log(0..100);
    let (tail, mut replay) = (tail(&seen, true), Replay::new());
    for (at, byte) in seen.iter().enumerate() {
        let answer = replay.push(&tail, &[*byte]);
        assert_eq!(answer.is_some(), at + 1 == seen.len(), "{at}");
    }
    assert_eq!(replay.settle(&tail), Match::Overlap(seen.len()));
}

#[test]
fn a_ring_that_has_moved_on_overlaps_by_less() {
    let all = log(0..20_000);
    let kept = &all[all.len() - RING..];
    for missed in [0, 1, 1000, RING - CERTAIN] {
        let tail = tail(&all[..all.len() - missed], true);
        assert_eq!(shown(&tail, &[kept]).unwrap(), &all[all.len() - missed..], "{missed}");
    }
    for missed in [RING - CERTAIN + 1, RING, RING + 1, 2 * RING] {
        assert_eq!(shown(&tail(&all[..all.len() - missed], true), &[kept]), None, "{missed}");
    }
}

#[test]
fn a_young_terminal_overlaps_by_all_that_it_has_said() {
    for seen in ["", "$ ", "$ ls\r\n"] {
        let kept = format!("{seen}a b\r\n$ ");
        assert_eq!(shown(&tail(seen.as_bytes(), true), &[kept.as_bytes()]).unwrap(), b"a b\r\n$ ", "{seen:?}");
    }
}

#[test]
fn a_short_overlap_proves_nothing() {
    // The ring is full, so what came before it is gone; that it begins like a prompt is a coincidence.
    let mut kept = b"$ ".to_vec();
    kept.extend(log(0..4000));
    kept.truncate(RING);
    assert_eq!(shown(&tail(b"$ ", true), &[&kept]), None);
    assert_eq!(shown(&tail(b"", true), &[&kept]), None);
    // One byte less, and nothing can be gone.
    assert_eq!(shown(&tail(b"$ ", true), &[&kept[..RING - 1]]).unwrap(), &kept[2..RING - 1]);
    // Somebody else's beginning is unknown.
    assert_eq!(shown(&tail(b"$ ", false), &[b"$ ls"]), None);
    // Somebody has cleared what the server kept.
    assert_eq!(shown(&tail(&log(0..100), true), &[b"\r\n$ "]), None);
    assert_eq!(shown(&tail(&log(0..100), true), &[]), None);
}

#[test]
fn a_terminal_that_said_nothing_goes_on_saying_nothing() {
    assert_eq!(shown(&tail(b"", true), &[]).unwrap(), b"");
}

#[test]
fn a_ring_larger_than_our_memory_is_searched_for_it() {
    let all = log(0..10_000);
    let kept = &all[all.len() - 3 * RING..];
    let seen = &all[..all.len() - RING];
    assert_eq!(shown(&tail(seen, true), &kept.chunks(999).collect::<Vec<_>>()).unwrap(), &all[all.len() - RING..]);
    let attached = tail(&all[all.len() - 2 * RING..all.len() - 5], false);
    assert_eq!(shown(&attached, &[kept]).unwrap(), &all[all.len() - 5..]);
}

#[test]
fn of_several_overlaps_the_longest_counts() {
    let seen = b"y\r\n".repeat(1000);
    assert_eq!(shown(&tail(&seen, true), &[&seen]).unwrap(), b"");
    assert_eq!(shown(&tail(&seen, true), &[&seen, b"y\r\n^C"]).unwrap(), b"y\r\n^C");
}

#[test]
fn what_is_held_has_a_bound_and_keeps_the_newest() {
    let news = log(0..30_000);
    assert!(news.len() > 2 * MAX_HELD);
    for size in [1000, MAX_HELD - 1, MAX_HELD, MAX_HELD + 1, news.len()] {
        let (tail, mut replay) = (tail(b"something else entirely", false), Replay::new());
        for piece in news.chunks(size) {
            replay.push(&tail, piece);
            assert!(replay.held().len() <= MAX_HELD);
        }
        assert_eq!(replay.settle(&tail), Match::Gap);
        assert_eq!(replay.held(), &news[news.len() - MAX_HELD..], "in pieces of {size}");
    }
}

#[test]
fn an_answer_that_nobody_fetches_becomes_a_gap() {
    let seen = log(0..100);
    let (tail, mut replay) = (tail(&seen, true), Replay::new());
    assert_eq!(replay.push(&tail, &seen), Some(Match::Overlap(seen.len())));
    let news = vec![b'x'; MAX_UNFETCHED - seen.len()];
    assert_eq!(replay.push(&tail, &news), Some(Match::Overlap(seen.len())));
    assert_eq!(replay.held().len(), MAX_UNFETCHED);
    assert_eq!(replay.push(&tail, b"y"), Some(Match::Gap));
    assert_eq!((replay.held().len(), replay.held().last()), (MAX_HELD, Some(&b'y')));
}

#[test]
fn output_that_cannot_be_told_apart_costs_no_more_than_any_other() {
    // Quadratic work would take minutes here.
    let (tail, mut replay) = (tail(&vec![b'a'; RING], true), Replay::new());
    for _ in 0..RING - 1 {
        assert_eq!(replay.push(&tail, b"a"), None);
    }
    assert_eq!(replay.push(&tail, b"b"), Some(Match::Overlap(RING - 1)));
}

#[test]
fn a_tail_keeps_the_end_of_what_was_delivered() {
    let all = log(0..9000);
    for size in [1, 100, RING - 1, RING, RING + 1, all.len()] {
        let mut tail = Tail::new(true);
        assert!(tail.is_empty());
        all.chunks(size).for_each(|piece| tail.push(piece));
        assert_eq!(tail.bytes, &all[all.len() - RING..], "in pieces of {size}");
        assert_eq!((tail.len(), tail.whole), (RING, false));
    }
    assert!(tail(&all[..RING], true).whole);
    assert!(!tail(&all[..RING + 1], true).whole);
}

/// The length of the longest end of `tail` that `held` begins with, by trying all.
fn longest(tail: &[u8], held: &[u8]) -> usize {
    (0..=tail.len()).rev().find(|&len| held.starts_with(&tail[tail.len() - len..])).unwrap_or(0)
}

proptest! {
    /// Few letters, so that there are many overlaps; long runs of one, so that they reach the certain length.
    #[test]
    fn the_search_finds_what_trying_all_finds(
        seen in prop::collection::vec((0..3_u8, 1..60_usize), 0..12),
        kept in prop::collection::vec((0..3_u8, 1..60_usize), 0..12),
        from in any::<prop::sample::Index>(),
        sizes in prop::collection::vec(1..50_usize, 1..40),
    ) {
        let spell = |runs: &[(u8, usize)]| runs.iter().flat_map(|&(letter, len)| vec![letter; len]).collect::<Vec<_>>();
        let (seen, news) = (spell(&seen), spell(&kept));
        let held = [&seen[from.index(seen.len() + 1)..], &news[..]].concat();
        let (tail, mut replay) = (tail(&seen, true), Replay::new());
        let (mut rest, mut early) = (&held[..], None);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, later) = rest.split_at(rest.len().min(*size));
            early = early.or(replay.push(&tail, piece));
            rest = later;
        }
        let longest = longest(&seen, &held);
        let settled = replay.settle(&tail);
        if longest >= CERTAIN || longest == seen.len() {
            prop_assert_eq!(settled, Match::Overlap(longest));
        }
        prop_assert!(early.is_none_or(|early| early == settled));
        prop_assert_eq!(replay.held(), &held);
    }

    /// Whatever the ring and wherever it is cut: what is shown is what was not shown before, or a gap is told.
    #[test]
    fn nothing_is_lost_silently_and_nothing_is_shown_twice(
        all in prop::collection::vec(any::<u8>(), 0..3000),
        seen in any::<prop::sample::Index>(),
        kept in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let (seen, kept) = (seen.index(all.len() + 1), kept.index(all.len() + 1));
        let replayed = &all[kept..];
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(replayed.len() + 1)).collect();
        places.extend([0, replayed.len()]);
        places.sort_unstable();
        let pieces: Vec<_> = places.windows(2).map(|pair| &replayed[pair[0]..pair[1]]).collect();
        // Followed from the middle, so that only a proof counts.
        let overlap = seen.saturating_sub(kept);
        match shown(&tail(&all[..seen], false), &pieces) {
            Some(shown) => prop_assert_eq!(shown, &all[seen..]),
            None => prop_assert!(overlap < CERTAIN),
        }
    }
}
