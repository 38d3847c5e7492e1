use polytty_dialect::{ClientEvent, Code, Exit, Message, PingId, Resume as Link, ServerEvent, client_dialect};

use super::*;

const WINDOW: u64 = 4096;

/// The other side, with the proxy's own codec.
struct Far(Conversation);

impl Far {
    /// A conversation for a terminal of 120 by 40, with a connection.
    fn new() -> Self {
        let mut conversation = Conversation::new(Size::new(120, 40));
        conversation.connected();
        Self(conversation)
    }

    /// A conversation that is attached as a writer and has said what it says then.
    fn attached(offset: u64, input: u64) -> Self {
        let mut far = Self::new();
        far.ready(offset, input).unwrap();
        far.hears();
        far
    }

    fn says(&mut self, event: &ServerEvent<'_>) -> Result<Option<Event>, Broken> {
        let mut out = Outbox::new();
        client_dialect("polytty.v1").unwrap().event(event, &mut out);
        let message = out.iter().next().unwrap();
        self.0.take(message.kind, Bytes::copy_from_slice(message.payload))
    }

    fn ready(&mut self, offset: u64, input: u64) -> Result<Option<Event>, Broken> {
        let url = &format!("wss://term.example/t/after-{offset}");
        let resume = Some(Link { url, expires_at: "2030-01-01T00:00:00Z" });
        let (session, role, size) = ("s", Role::Writer, Size::DEFAULT);
        self.says(&ServerEvent::Ready { session, role, size, offset, input, window: WINDOW, resume })
    }

    /// Comes back over a new connection.
    fn back(&mut self, offset: u64, input: u64) -> Event {
        assert!(matches!(self.0.ended(End::Lost("cut".to_owned())), Verdict::Again(_)));
        self.0.connected();
        assert_eq!(self.hears(), [""; 0], "nothing is said before it is ready");
        self.ready(offset, input).unwrap().unwrap()
    }

    fn prints(&mut self, output: &[u8]) -> Output {
        match self.0.take(Kind::Binary, Bytes::copy_from_slice(output)) {
            Ok(Some(Event::Output(output))) => output,
            other => panic!("{other:?}"),
        }
    }

    /// All that the client says now: words, and input as the text that it is.
    fn hears(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let mut out = Outbox::new();
            self.0.write(&mut out);
            if out.is_empty() {
                return heard;
            }
            for message in out.iter() {
                heard.push(word(message));
            }
        }
    }
}

fn word(message: Message<'_>) -> String {
    let mut input = Vec::new();
    match client_dialect("polytty.v1").unwrap().decode(message, &mut input).unwrap() {
        ClientEvent::Input => format!("input {}", String::from_utf8(input).unwrap()),
        ClientEvent::Resize { size, .. } => format!("size {}x{}", size.cols(), size.rows()),
        ClientEvent::Ack(offset) => format!("ack {offset}"),
        ClientEvent::Ping(id) => format!("ping {}", id.as_json()),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[test]
fn the_size_goes_ahead_and_input_waits_for_the_terminal() {
    let mut far = Far::new();
    assert_eq!(far.0.type_bytes(b"ls\r"), 3);
    assert_eq!(far.hears(), ["size 120x40"]);
    let ready = far.ready(500, 30).unwrap().unwrap();
    let expected = Event::Ready { role: Role::Writer, size: Size::DEFAULT, again: false, missing: 0 };
    assert_eq!(ready, expected, "what was before the first time is not missing");
    assert_eq!(far.hears(), ["ack 500", "input ls\r"]);
    far.0.resize(Size::new(100, 40).unwrap());
    far.0.resize(Size::new(99, 40).unwrap());
    assert_eq!(far.hears(), ["size 99x40"]);
    assert_eq!(far.hears(), [""; 0]);
}

#[test]
fn who_comes_back_says_nothing_before_ready_and_then_what_the_session_has_not_taken() {
    let mut far = Far::attached(0, 10);
    assert_eq!(far.prints(b"output").live, "output");
    far.0.type_bytes(b"abcdef");
    assert_eq!(far.hears(), ["input abcdef"]);
    far.0.type_bytes(b"gh");
    assert_eq!(far.0.resume().unwrap().link.path_and_query(Some(far.0.offset())), "/t/after-0?offset=6");
    let ready = far.back(6, 14);
    assert!(matches!(ready, Event::Ready { again: true, missing: 0, .. }), "{ready:?}");
    assert_eq!(far.hears(), ["size 120x40", "ack 0", "input efgh"], "what is not consumed is not acknowledged");
    assert_eq!(far.0.resume().unwrap().link.path_and_query(None), "/t/after-6", "the newest link counts");
    assert!(matches!(far.back(6, 18), Event::Ready { .. }));
    assert_eq!(far.hears(), ["size 120x40", "ack 0"]);
}

#[test]
fn every_byte_of_output_is_handed_on_once() {
    let mut far = Far::attached(100, 0);
    far.prints(b"one two ");
    far.back(104, 0);
    let output = far.prints(b"two three");
    assert_eq!((&output.live[..], far.0.offset()), (&b"three"[..], 113), "a proxy that repeats itself is cut short");
    let ready = far.back(120, 0);
    assert!(matches!(ready, Event::Ready { missing: 7, .. }), "{ready:?}");
    assert_eq!(far.prints(b"x").live, "x");
    assert_eq!(far.0.offset(), 121);
}

#[test]
fn what_is_not_new_is_told_apart_however_it_is_split() {
    let (reset, old, new) = (&b"RESET"[..], &b"old output"[..], &b"new"[..]);
    let session = [old, new].concat();
    let cuts = |bytes: &[u8]| (1..bytes.len()).collect::<Vec<_>>();
    for first in cuts(reset) {
        for second in cuts(&session) {
            let mut far = Far::attached(1000, 0);
            far.says(&ServerEvent::Synthetic { bytes: reset.len() as u64 }).unwrap();
            let (front, back) = reset.split_at(first);
            let mut outputs = vec![far.prints(front), far.prints(back)];
            far.says(&ServerEvent::Replay { bytes: old.len() as u64, missing: 3 }).unwrap();
            let (front, back) = session.split_at(second);
            outputs.extend([far.prints(front), far.prints(back)]);
            let joined = |part: fn(&Output) -> &Bytes| outputs.iter().flat_map(part).copied().collect::<Vec<_>>();
            assert_eq!(joined(|output| &output.synthetic), reset);
            assert_eq!(joined(|output| &output.replayed), old);
            assert_eq!(joined(|output| &output.live), new);
            assert_eq!(far.0.offset(), 1000 + session.len() as u64, "a reset counts in no offset");
            assert_eq!(far.0.unconsumed(), session.len() as u64);
        }
    }
    let mut far = Far::attached(0, 0);
    far.says(&ServerEvent::Synthetic { bytes: 2 }).unwrap();
    let output = far.prints(b"!!live");
    assert_eq!((&output.synthetic[..], &output.live[..]), (&b"!!"[..], &b"live"[..]));
}

#[test]
fn output_is_acknowledged_in_quarters_of_the_window_once_it_is_worked_off() {
    let mut far = Far::attached(50, 0);
    far.prints(&[b'x'; 3000]);
    assert_eq!(far.hears(), [""; 0]);
    far.0.consumed(1023);
    assert_eq!(far.hears(), [""; 0]);
    far.0.consumed(1);
    assert_eq!(far.hears(), ["ack 1074"]);
    far.0.consumed(1976);
    assert_eq!(far.hears(), ["ack 3050"]);
    far.prints(b"y");
    far.back(3051, 0);
    assert_eq!(far.hears(), ["size 120x40", "ack 3050"]);
    // Never beyond what was sent: that would be an error.
    far.0.consumed(1);
    far.back(3000, 0);
    assert_eq!(far.hears(), ["size 120x40", "ack 3000"]);
}

#[test]
fn much_input_is_asked_about_and_forgotten_once_it_was_taken() {
    let mut far = Far::attached(0, 0);
    let much = vec![b'x'; MAX_KEPT + 5];
    assert_eq!(far.0.type_bytes(&much), MAX_KEPT);
    assert_eq!(far.0.room(), 0);
    let heard = far.hears();
    let asked = heard.iter().position(|word| word == "ping 1").unwrap();
    assert!(heard[..asked].iter().map(|word| word.len() - "input ".len()).sum::<usize>() == ASK_AFTER as usize);
    assert!(heard[asked + 1..].iter().all(|word| word.starts_with("input ")), "one question at a time");
    far.says(&ServerEvent::Pong(&PingId::new("7").unwrap())).unwrap();
    assert_eq!(far.0.room(), 0);
    far.says(&ServerEvent::Pong(&PingId::new("1").unwrap())).unwrap();
    assert_eq!(far.0.room(), ASK_AFTER as usize);
    assert_eq!(far.hears(), ["ping 2"]);
    far.back(0, MAX_KEPT as u64 - 2);
    assert_eq!(far.hears(), ["size 120x40", "ack 0", "input xx"]);
}

#[test]
fn the_end_of_input_stands_behind_it_and_is_said_again_until_it_was_taken() {
    let mut far = Far::attached(0, 0);
    far.0.type_bytes(b"last");
    far.0.end_input();
    assert_eq!(far.0.type_bytes(b"more"), 0);
    assert_eq!(far.hears(), ["input last", "eof", "ping 1"]);
    far.back(0, 2);
    assert_eq!(far.hears(), ["size 120x40", "ack 0", "input st", "eof", "ping 2"]);
    far.says(&ServerEvent::Pong(&PingId::new("2").unwrap())).unwrap();
    far.back(0, 4);
    assert_eq!(far.hears(), ["size 120x40", "ack 0"]);
}

#[test]
fn a_viewer_types_nothing_and_has_no_size() {
    let mut far = Far::new();
    far.hears();
    let (session, role, size) = ("s", Role::Viewer, Size::DEFAULT);
    far.says(&ServerEvent::Ready { session, role, size, offset: 0, input: 9, window: WINDOW, resume: None }).unwrap();
    assert_eq!(far.0.type_bytes(b"abc"), 3);
    far.0.resize(Size::new(10, 10).unwrap());
    far.0.end_input();
    assert_eq!(far.hears(), ["ack 0"]);
    let lost = Outcome::Lost("cut".to_owned());
    assert_eq!(far.0.ended(End::Lost("cut".to_owned())), Verdict::Over(lost), "no link, no way back");
}

#[test]
fn a_viewer_that_does_not_keep_up_is_skipped_forward() {
    let mut far = Far::new();
    let (session, role, size) = ("s", Role::Viewer, Size::DEFAULT);
    let ready = |offset| ServerEvent::Ready { session, role, size, offset, input: 9, window: WINDOW, resume: None };
    let url = "wss://term.example/t/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let resume = Some(Link { url, expires_at: "2030-01-01T00:00:00Z" });
    far.says(&ServerEvent::Ready { session, role, size, offset: 100, input: 9, window: WINDOW, resume }).unwrap();
    far.hears();
    far.prints(b"seen");
    let skipped = far.says(&ready(5000)).unwrap().unwrap();
    assert_eq!(skipped, Event::Ready { role, size, again: true, missing: 4896 });
    far.says(&ServerEvent::Synthetic { bytes: 6 }).unwrap();
    assert_eq!(far.prints(b"SCREEN").synthetic, "SCREEN");
    assert_eq!(far.prints(b"new").live, "new");
    far.0.consumed(7);
    assert_eq!(far.hears(), ["ack 5003"]);
    let lost = Verdict::Again("cut".to_owned());
    assert_eq!(far.0.ended(End::Lost("cut".to_owned())), lost, "the link that it has is still good");
}

#[test]
fn only_what_may_pass_is_come_back_from() {
    let error = |code: Code| ServerEvent::Error { code, message: "words", last: true };
    for code in Code::ALL {
        let mut far = Far::attached(0, 0);
        far.says(&error(code)).unwrap();
        assert!(far.0.is_over());
        let verdict = far.0.ended(End::Closed(Some(code.close())));
        let passes =
            matches!(code, Code::FellBehind | Code::RateLimited | Code::QuotaExceeded | Code::StoreUnavailable);
        assert_eq!(matches!(verdict, Verdict::Again(_)), passes, "{code}: {verdict:?}");
        if !passes {
            let (code, message) = (code.slug().to_owned(), "words".to_owned());
            assert_eq!(verdict, Verdict::Over(Outcome::Failed { code, message }));
        }
    }
    for (code, passes) in [
        (None, true),
        (Some(1000), false),
        (Some(1001), true),
        (Some(1002), false),
        (Some(1009), false),
        (Some(1011), true),
        (Some(4400), false),
        (Some(4409), false),
        (Some(4410), false),
        (Some(4413), true),
        (Some(4502), false),
    ] {
        let verdict = Far::attached(0, 0).0.ended(End::Closed(code));
        assert_eq!(matches!(verdict, Verdict::Again(_)), passes, "{code:?}: {verdict:?}");
    }
    for (error, passes) in [
        (ConnectError::Timeout, true),
        (ConnectError::Unreachable(String::new()), true),
        (ConnectError::Status(503), true),
        (ConnectError::Status(410), false),
        (ConnectError::Handshake("rule"), false),
    ] {
        let refused = End::Refused(error.clone());
        let verdict = Far::attached(0, 0).0.ended(refused.clone());
        assert_eq!(matches!(verdict, Verdict::Again(_)), passes, "{error}: {verdict:?}");
        assert_eq!(Far::new().0.ended(refused), Verdict::Over(Outcome::NoConnection(error)), "the first has to work");
    }
}

#[test]
fn an_exit_is_the_end_however_the_connection_ends_behind_it() {
    for end in [End::Closed(Some(1000)), End::Closed(None), End::Lost("reset".to_owned())] {
        let mut far = Far::attached(0, 0);
        let exit = Exit { code: Some(7), ..Exit::default() };
        far.says(&ServerEvent::Exit(&exit)).unwrap();
        assert_eq!(far.0.ended(end), Verdict::Over(Outcome::Exit(exit)));
    }
}

#[test]
fn a_notice_ends_nothing_and_the_words_for_others_change_nothing() {
    let mut far = Far::attached(0, 0);
    let notice = ServerEvent::Error { code: Code::Unsupported, message: "no eof", last: false };
    let (code, message) = ("unsupported".to_owned(), "no eof".to_owned());
    assert_eq!(far.says(&notice).unwrap(), Some(Event::Notice { code, message }));
    let size = Size::new(90, 20).unwrap();
    assert_eq!(far.says(&ServerEvent::Size(size)).unwrap(), Some(Event::Size(size)));
    assert_eq!(far.says(&ServerEvent::Viewers(3)).unwrap(), Some(Event::Viewers(3)));
    assert_eq!(far.0.take(Kind::Text, Bytes::from_static(br#"{"operation":"dance"}"#)), Ok(None));
    assert!(matches!(far.0.ended(End::Lost(String::new())), Verdict::Again(_)));
}

#[test]
fn the_session_itself_is_ended_by_a_word() {
    let mut far = Far::attached(0, 0);
    far.0.end_session();
    assert_eq!(far.hears(), ["close"]);
    assert_eq!(far.hears(), [""; 0]);
}

#[test]
fn what_cannot_be_is_no_polytty() {
    assert!(Far::new().0.take(Kind::Binary, Bytes::from_static(b"x")).is_err(), "output before ready");
    let mut far = Far::attached(0, 0);
    assert!(far.ready(0, 0).is_err(), "ready twice");
    for input in [9, 14] {
        let mut far = Far::attached(0, 10);
        far.0.type_bytes(b"abc");
        far.hears();
        far.0.ended(End::Closed(None));
        far.0.connected();
        assert!(far.ready(0, input).is_err(), "{input} bytes cannot have been taken");
    }
    let url = "http://elsewhere.example/";
    let resume = ServerEvent::Resume(Link { url, expires_at: "2030-01-01T00:00:00Z" });
    assert!(Far::attached(0, 0).says(&resume).is_err());
}
