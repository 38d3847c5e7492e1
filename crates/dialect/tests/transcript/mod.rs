//! Reads transcripts (their format is in `transcripts/README.md`) and plays them to codecs.

use std::fmt::Write as _;

use polytty_dialect::channel::{Channel, Framing, ResizeMode};
use polytty_dialect::dockhand::{Dockhand, Form};
use polytty_dialect::operation::PaiDlc;
use polytty_dialect::{
    ClientDialect, ClientEvent, Code, Exit, Kind, Message, Outbox, PingId, Resume, Role, ServerEvent, Size,
    UpstreamDialect, UpstreamEvent, client_dialect,
};

/// Every transcript, by the name of its file.
pub(crate) const ALL: [(&str, &str); 4] = [
    ("polytty_v1", include_str!("../../transcripts/polytty_v1.txt")),
    ("operation_client", include_str!("../../transcripts/operation_client.txt")),
    ("operation_pai_dlc", include_str!("../../transcripts/operation_pai_dlc.txt")),
    ("raw", include_str!("../../transcripts/raw.txt")),
];

pub(crate) struct Transcript {
    /// The line that names the codec.
    pub(crate) codec: String,
    pub(crate) steps: Vec<Step>,
}

/// What happens, and from which line of the file on.
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) action: Action,
}

pub(crate) enum Action {
    Read { kind: Kind, payload: Vec<u8>, expected: Read },
    Call { call: String, sent: Vec<(Kind, Vec<u8>)>, returned: bool },
}

/// What reading a message did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) bytes: String,
    pub(crate) event: String,
    /// What an upstream codec has heard by now of how the process ended; empty before.
    pub(crate) verdict: String,
}

pub(crate) enum Codec {
    Client(Box<dyn ClientDialect>),
    Upstream(Box<dyn UpstreamDialect>),
}

pub(crate) fn parse(file: &str) -> Transcript {
    let mut lines = file.lines().zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let codec = lines.next().expect("a line that names the codec").0.to_owned();
    let mut steps: Vec<Step> = Vec::new();
    for (text, line) in lines {
        let (mark, rest) = text.split_once(' ').unwrap_or_else(|| panic!("line {line}: {text:?}"));
        let last = steps.last_mut().map(|step| &mut step.action);
        match (mark, last) {
            ("<", _) => {
                let (kind, payload) = message(rest);
                steps.push(Step { line, action: Action::Read { kind, payload, expected: Read::default() } });
            }
            ("!", _) => {
                let call = rest.to_owned();
                steps.push(Step { line, action: Action::Call { call, sent: Vec::new(), returned: true } });
            }
            (">", Some(Action::Call { sent, .. })) => sent.push(message(rest)),
            ("=", Some(Action::Call { returned, .. })) if rest == "no" => *returned = false,
            ("=", Some(Action::Read { expected, .. })) => match rest.split_once(' ') {
                Some(("bytes", bytes)) => expected.bytes = show(&unescape(bytes)),
                Some(("verdict", verdict)) => expected.verdict = verdict.to_owned(),
                _ => expected.event = rest.to_owned(),
            },
            _ => panic!("line {line}: {text:?} does not belong here"),
        }
    }
    Transcript { codec, steps }
}

impl Codec {
    pub(crate) fn new(line: &str) -> Self {
        match line.split_once(' ') {
            Some(("client", name)) => Self::Client(client_dialect(name).expect("a known client dialect")),
            Some(("upstream", "pai-dlc")) => Self::Upstream(Box::new(PaiDlc::new())),
            Some(("upstream", "dockhand")) => Self::Upstream(Box::new(Dockhand::new(Form::Json))),
            Some(("upstream", "dockhand raw")) => Self::Upstream(Box::new(Dockhand::new(Form::Raw))),
            Some(("upstream", codec)) if codec.starts_with("channel") => Self::Upstream(Box::new(channel(codec))),
            _ => panic!("no codec {line:?}"),
        }
    }

    /// Plays steps without looking at what they do.
    pub(crate) fn play(&mut self, steps: &[Step]) {
        for step in steps {
            match &step.action {
                Action::Read { kind, payload, .. } => drop(self.read(*kind, payload)),
                Action::Call { call, .. } => drop(self.call(call)),
            }
        }
    }

    pub(crate) fn read(&mut self, kind: Kind, payload: &[u8]) -> Read {
        let message = Message { kind, payload };
        let mut bytes = b"before".to_vec();
        let event = match self {
            Self::Client(codec) => codec.decode(message, &mut bytes).map(client_event),
            Self::Upstream(codec) => codec.decode(message, &mut bytes).map(upstream_event),
        };
        let verdict = match self {
            Self::Upstream(codec) => codec.verdict().cloned().map(upstream_event).unwrap_or_default(),
            Self::Client(_) => String::new(),
        };
        let bytes = show(bytes.strip_prefix(b"before").expect("what was there stays"));
        Read { bytes, verdict, event: event.unwrap_or_else(|bad| format!("bad {bad}")) }
    }

    /// The messages that a call appends, and what it returns.
    pub(crate) fn call(&mut self, call: &str) -> (Vec<(Kind, Vec<u8>)>, bool) {
        let mut out = Outbox::new();
        let (name, rest) = call.split_once(' ').unwrap_or((call, ""));
        let mut returned = true;
        match (self, name) {
            (Self::Client(codec), "output") => codec.output(&unescape(rest), &mut out),
            (Self::Client(codec), "finish") => codec.finish(&mut out),
            (Self::Client(codec), _) => server_event(name, rest, |event| codec.event(event, &mut out)),
            (Self::Upstream(codec), "input") => codec.input(&unescape(rest), &mut out),
            (Self::Upstream(codec), "resize") => returned = codec.resize(size(rest), &mut out),
            (Self::Upstream(codec), "eof") => returned = codec.eof(&mut out),
            _ => panic!("no call {call:?}"),
        }
        (out.iter().map(|message| (message.kind, message.payload.to_vec())).collect(), returned)
    }
}

/// Bytes as the transcripts write them, so that a failure can be read.
pub(crate) fn show(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() || char == '<' {
                char.to_string().bytes().for_each(|byte| write!(shown, "<{byte:02x}>").unwrap());
            } else {
                shown.push(char);
            }
        }
        chunk.invalid().iter().for_each(|byte| write!(shown, "<{byte:02x}>").unwrap());
    }
    shown
}

/// The opposite of [`show`].
pub(crate) fn unescape(payload: &str) -> Vec<u8> {
    let mut pieces = payload.split('<');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_once('>').unwrap_or_else(|| panic!("an escape in {payload:?}"));
        bytes.push(u8::from_str_radix(hex, 16).unwrap_or_else(|_| panic!("an escape in {payload:?}")));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

/// `channel`, then a subprotocol, `no-tty` and a way to resize, each where it is not the default.
fn channel(codec: &str) -> Channel {
    let words = || codec.split(' ').skip(1);
    let framing = Framing::of_subprotocol(words().find(|word| word.contains('.'))).expect("a subprotocol");
    let resize = match words().find(|word| ["stty", "off"].contains(word)) {
        Some("stty") => ResizeMode::Stty,
        Some(_) => ResizeMode::Off,
        None => ResizeMode::K8s4,
    };
    Channel::new(framing, !words().any(|word| word == "no-tty"), resize)
}

fn message(rest: &str) -> (Kind, Vec<u8>) {
    match rest.split_once(' ').unwrap_or((rest, "")) {
        ("text", payload) => (Kind::Text, unescape(payload)),
        ("binary", payload) => (Kind::Binary, unescape(payload)),
        _ => panic!("no kind of message in {rest:?}"),
    }
}

fn size(text: &str) -> Size {
    let (cols, rows) = text.split_once('x').expect("COLSxROWS");
    Size::new(cols.parse().expect("cols"), rows.parse().expect("rows")).expect("a size")
}

fn client_event(event: ClientEvent) -> String {
    match event {
        ClientEvent::Input => "input".to_owned(),
        ClientEvent::Resize { size, clamped } => {
            format!("resize {}x{}{}", size.cols(), size.rows(), if clamped { " clamped" } else { "" })
        }
        ClientEvent::Eof => "eof".to_owned(),
        ClientEvent::Ack(bytes) => format!("ack {bytes}"),
        ClientEvent::Ping(id) => format!("ping {}", id.as_json()),
        ClientEvent::Close => "close".to_owned(),
        ClientEvent::Ignored => "ignored".to_owned(),
    }
}

fn upstream_event(event: UpstreamEvent) -> String {
    match event {
        UpstreamEvent::Output => "output".to_owned(),
        UpstreamEvent::Exit(exit) => format!("exit {:?}", exit.code),
        UpstreamEvent::Failed(words) => format!("failed {words}"),
        UpstreamEvent::Ignored => "ignored".to_owned(),
    }
}

fn server_event(name: &str, rest: &str, tell: impl FnOnce(&ServerEvent<'_>)) {
    // `reason` and `message` are the only values with spaces, and stand last.
    let (rest, reason) = match rest.split_once("reason=") {
        Some((rest, reason)) => (rest, Some(reason.to_owned())),
        None => (rest, None),
    };
    let field = |key: &str| rest.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let number = |key: &str| field(key).unwrap_or_else(|| panic!("{key} of {name}")).parse::<u64>().expect(key);
    let resume = field("url").zip(field("expires_at")).map(|(url, expires_at)| Resume { url, expires_at });
    match name {
        "ready" => tell(&ServerEvent::Ready {
            session: field("session").expect("session"),
            role: if field("role") == Some("writer") { Role::Writer } else { Role::Viewer },
            size: size(field("size").expect("size")),
            offset: number("offset"),
            input: number("input"),
            window: number("window"),
            resume,
        }),
        "replay" => tell(&ServerEvent::Replay { bytes: number("bytes"), missing: number("missing") }),
        "synthetic" => tell(&ServerEvent::Synthetic { bytes: number("bytes") }),
        "resume" => tell(&ServerEvent::Resume(resume.expect("url and expires_at"))),
        "size" => tell(&ServerEvent::Size(size(rest))),
        "viewers" => tell(&ServerEvent::Viewers(u32::try_from(number("count")).expect("count"))),
        "pong" => tell(&ServerEvent::Pong(&PingId::new(rest).expect("an id"))),
        "exit" => {
            let code = field("code").map(|code| code.parse().expect("code"));
            tell(&ServerEvent::Exit(&Exit { code, signal: field("signal").map(str::to_owned), reason }));
        }
        "error" => {
            let mut words = rest.splitn(3, ' ');
            let slug = words.next().expect("a code");
            let code = Code::ALL.into_iter().find(|code| code.slug() == slug).expect("a known code");
            let last = words.next() == Some("final");
            let message = String::from_utf8(unescape(words.next().expect("a message"))).expect("UTF-8");
            tell(&ServerEvent::Error { code, message: &message, last });
        }
        _ => panic!("no event {name:?}"),
    }
}
