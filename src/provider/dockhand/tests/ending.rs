//! How terminals are left.

use std::future::poll_fn;

use super::*;

fn typing(peer: &Peer) -> Dockhand {
    Dockhand { typed_ending: true, ..settings(peer) }
}

async fn close_code(terminal: &mut Terminal) -> u16 {
    match terminal.next().await {
        Some(Message::Close(Some(frame))) => frame.code.into(),
        other => panic!("a Close, not {other:?}"),
    }
}

#[tokio::test]
async fn leaving_is_a_close_and_nothing_is_typed() {
    let mut peer = dockhand().await;
    let settings = settings(&peer);
    let (upstream, mut terminal) = opened(&mut peer, settings).await;
    let left = tokio::spawn(upstream.end());
    assert_eq!(close_code(&mut terminal).await, 1000);
    drop(terminal);
    in_time(left).await.unwrap();
}

#[tokio::test]
async fn a_typed_ending_is_three_things_in_order_and_waits_for_the_exit() {
    let mut peer = dockhand().await;
    let settings = typing(&peer);
    let (upstream, mut terminal) = opened(&mut peer, settings).await;
    let left = tokio::spawn(upstream.end());
    assert_eq!(text(&mut terminal).await, r#"{"type":"input","data":"\u0003"}"#);
    terminal.text(r##"{"type":"output","data":"^C\r\n# "}"##).await;
    assert_eq!(text(&mut terminal).await, r#"{"type":"input","data":"\u0015exit\r"}"#);
    terminal.text(r#"{"type":"exit"}"#).await;
    terminal.close(None).await;
    in_time(left).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shell_that_does_not_leave_is_left() {
    let mut peer = dockhand().await;
    let settings = typing(&peer);
    let (upstream, mut terminal) = opened(&mut peer, settings).await;
    let started = Instant::now();
    let left = tokio::spawn(upstream.end());
    text(&mut terminal).await;
    text(&mut terminal).await;
    assert_eq!(close_code(&mut terminal).await, 1000);
    drop(terminal);
    in_time(left).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nothing_is_typed_to_a_full_screen_program() {
    // What switches the screen has been shown, or still lies unread; it may come in pieces.
    for (shown, unread) in [
        (&[r"\u001b[?1049h\u001b[22;0;0t"][..], &[][..]),
        (&["x"], &[r"\u001b[?1049h"]),
        (&[r"\u001b[?10"], &[r"49h"]),
        (&[r"\u001b[?1049h"], &[r"\u001b[?1049l", r"\u001b[?47h"]),
    ] {
        let mut peer = dockhand().await;
        let settings = typing(&peer);
        let (mut upstream, mut terminal) = opened(&mut peer, settings).await;
        // One write, so that what stands behind the last message that is read is here, too.
        let data = shown.iter().chain(unread).map(|data| format!(r#"{{"type":"output","data":"{data}"}}"#));
        terminal.texts(&data.collect::<Vec<_>>()).await;
        for _ in shown {
            // A budget of one byte is one message.
            let read = poll_fn(|cx| upstream.poll_output(cx, &mut Vec::new(), 1));
            assert!(matches!(in_time(read).await, Happened::Output));
        }
        let left = tokio::spawn(upstream.end());
        assert_eq!(close_code(&mut terminal).await, 1000, "{shown:?}, {unread:?}");
        drop(terminal);
        in_time(left).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_typed_behind_an_exit() {
    let mut peer = dockhand().await;
    let settings = typing(&peer);
    let (mut upstream, mut terminal) = opened(&mut peer, settings).await;
    terminal.text(r#"{"type":"exit"}"#).await;
    assert_eq!(read_to_end(&mut upstream).await.1, Ok(Exit::default()));
    let left = tokio::spawn(upstream.end());
    assert_eq!(close_code(&mut terminal).await, 1000);
    drop(terminal);
    in_time(left).await.unwrap();
}
