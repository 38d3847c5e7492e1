use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::provider::{BoxFuture, Upstream};

fn line() -> (Arc<Bell>, Line, Box<dyn Upstream>) {
    let bell = Arc::default();
    let (line, upstream) = Line::new(&bell, LineId(7));
    (bell, line, Box::new(upstream))
}

fn size(cols: u64, rows: u64) -> Size {
    Size::new(cols, rows).unwrap()
}

fn rung(bell: &Bell) -> Vec<u64> {
    let mut lines = Vec::new();
    let _ = bell.poll_rung(&mut Context::from_waker(Waker::noop()), &mut lines);
    lines.iter().map(|LineId(id)| *id).collect()
}

fn poll(upstream: &mut dyn Upstream, budget: usize) -> (String, Vec<u8>) {
    let mut output = Vec::new();
    let happened = upstream.poll_output(&mut Context::from_waker(Waker::noop()), &mut output, budget);
    let name = match happened {
        Poll::Pending => "pending".to_owned(),
        Poll::Ready(happened) => format!("{happened:?}"),
    };
    (name, output)
}

#[test]
fn what_a_session_wants_comes_in_the_order_in_which_it_was_said() {
    let (bell, line, mut upstream) = line();
    upstream.input(b"before");
    upstream.resize(size(100, 30));
    upstream.input(b"behind");
    assert_eq!(rung(&bell), [7]);
    let mut input = Vec::new();
    assert_eq!(line.next(&mut input, 4), Some(Want::Input(4)));
    assert_eq!(line.next(&mut input, 4), Some(Want::Input(2)));
    assert_eq!(line.next(&mut input, 4), Some(Want::Resize(size(100, 30))));
    assert_eq!(line.next(&mut input, 64), Some(Want::Input(6)));
    assert_eq!(line.next(&mut input, 64), None);
    assert_eq!(input, b"beforebehind");
}

#[test]
fn of_several_sizes_the_latest_counts_where_it_was_said() {
    let (_, line, mut upstream) = line();
    upstream.resize(size(1, 1));
    upstream.input(b"a");
    upstream.resize(size(2, 2));
    let mut input = Vec::new();
    assert_eq!(line.next(&mut input, 64), Some(Want::Input(1)));
    assert_eq!(line.next(&mut input, 64), Some(Want::Resize(size(2, 2))));
    assert_eq!(line.next(&mut input, 64), None);
}

#[test]
fn the_bell_rings_once_until_the_line_was_looked_after() {
    let (bell, line, mut upstream) = line();
    upstream.input(b"a");
    upstream.input(b"b");
    assert_eq!(rung(&bell), [7]);
    upstream.input(b"c");
    assert_eq!(rung(&bell), [0; 0], "the hub has not yet looked");
    let mut input = Vec::new();
    while line.next(&mut input, 64).is_some() {}
    upstream.input(b"d");
    assert_eq!(rung(&bell), [7]);
}

#[test]
fn output_notices_and_the_end_keep_their_order() {
    let (_, line, mut upstream) = line();
    line.deliver(b"one");
    line.notice(Code::OutputGap, "a gap");
    line.deliver(b"two");
    line.exit(Exit { code: Some(3), ..Exit::default() });
    assert_eq!(poll(&mut *upstream, 2), ("Output".into(), b"on".to_vec()));
    assert_eq!(poll(&mut *upstream, 64), ("Output".into(), b"e".to_vec()));
    assert!(poll(&mut *upstream, 64).0.contains("a gap"));
    assert_eq!(poll(&mut *upstream, 0).0, "pending");
    assert_eq!(poll(&mut *upstream, 64), ("Output".into(), b"two".to_vec()));
    assert!(poll(&mut *upstream, 64).0.contains("code: Some(3)"));
}

#[test]
fn a_full_line_presses_once_and_loses_nothing() {
    let (bell, line, mut upstream) = line();
    line.deliver(&vec![b'x'; FULL + 1]);
    assert_eq!(poll(&mut *upstream, 1).0, "Output", "somebody takes: no haste yet");
    line.deliver(b"xx");
    assert_eq!(poll(&mut *upstream, 0).0, "CannotWait");
    assert_eq!(poll(&mut *upstream, 0).0, "pending");
    line.deliver(&vec![b'x'; FULL]);
    assert!(line.is_choked());
    let mut taken = 1;
    loop {
        let (happened, output) = poll(&mut *upstream, 1000);
        taken += output.len();
        if happened != "Output" {
            break;
        }
    }
    assert_eq!(taken, 2 * FULL + 3);
    assert!(!line.is_choked());
    let mut lines = Vec::new();
    assert!(
        bell.poll_rung(&mut Context::from_waker(Waker::noop()), &mut lines).is_ready(),
        "the hub is called to read on"
    );
}

fn called(bell: &Bell) -> bool {
    bell.poll_rung(&mut Context::from_waker(Waker::noop()), &mut Vec::new()).is_ready()
}

#[test]
fn who_is_alone_on_a_connection_paces_it_for_as_long_as_its_client_reads() {
    let (bell, line, mut upstream) = line();
    let mut now = Instant::now();
    assert_eq!(line.pace(true, now), None);
    line.deliver(&vec![b'x'; FULL + HELD]);
    assert!(line.is_choked());
    for _ in 0..10 {
        assert_eq!(line.pace(true, now), Some(now + PATIENCE));
        assert_eq!(poll(&mut *upstream, 0).0, "pending", "it may take its time");
        now += PATIENCE / 2;
        assert_eq!(poll(&mut *upstream, 1).0, "Output");
    }
    assert_eq!(poll(&mut *upstream, FULL).1.len(), FULL);
    assert!(!line.is_choked());
    assert!(called(&bell), "the hub is called to read on");
    assert_eq!(line.pace(true, now), None);
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_let_go_even_where_it_is_alone() {
    let (bell, line, mut upstream) = line();
    let now = Instant::now();
    line.pace(true, now);
    line.deliver(&vec![b'x'; FULL + 1]);
    line.pace(true, now);
    assert_eq!(line.pace(true, now + PATIENCE - Duration::from_millis(1)), Some(now + PATIENCE));
    assert_eq!(poll(&mut *upstream, 0).0, "pending");
    assert_eq!(line.pace(true, now + PATIENCE), None);
    assert!(!line.is_choked());
    assert!(called(&bell), "the hub is called to read on");
    assert_eq!(poll(&mut *upstream, 0).0, "CannotWait");
    assert_eq!(poll(&mut *upstream, FULL).1.len(), FULL);
    // It has caught up, and may pace again.
    line.deliver(&[b'x'; HELD]);
    assert!(line.is_choked());
}

#[test]
fn who_is_alone_no_more_paces_no_more() {
    let (bell, line, mut upstream) = line();
    let now = Instant::now();
    line.pace(true, now);
    line.deliver(&[b'x'; FULL + 1]);
    assert_eq!(poll(&mut *upstream, 0).0, "pending");
    assert_eq!(line.pace(false, now), None);
    assert!(called(&bell), "the hub is called to read on");
    assert_eq!(poll(&mut *upstream, 0).0, "CannotWait");
}

#[tokio::test]
async fn ending_waits_for_the_word_of_the_hub() {
    let (bell, line, upstream) = line();
    let mut end: BoxFuture<'static, ()> = upstream.end();
    assert!((&mut end).now_or_never().is_none());
    assert_eq!(rung(&bell), [7]);
    assert_eq!(line.next(&mut Vec::new(), 64), Some(Want::End));
    assert_eq!(line.next(&mut Vec::new(), 64), None);
    drop(line);
    end.await;
}

#[tokio::test]
async fn a_session_that_vanishes_has_its_terminal_ended() {
    let (bell, line, mut upstream) = line();
    upstream.input(b"never typed");
    drop(upstream);
    let mut lines = Vec::new();
    poll_fn(|cx| bell.poll_rung(cx, &mut lines)).await;
    assert_eq!(line.next(&mut Vec::new(), 64), Some(Want::End));
}

#[test]
fn a_hub_that_is_gone_is_a_lost_terminal_behind_all_its_output() {
    let (_, line, mut upstream) = line();
    line.deliver(b"last");
    drop(line);
    assert_eq!(poll(&mut *upstream, 64), ("Output".into(), b"last".to_vec()));
    assert!(poll(&mut *upstream, 64).0.contains("ProviderLost"));
    upstream.input(b"into the void");
    assert!(upstream.poll_flushed(&mut Context::from_waker(Waker::noop())).is_ready());
}
