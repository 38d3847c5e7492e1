//! The list of what is measured.

use polytty_dialect::channel::{Channel, Framing, ResizeMode};
use polytty_dialect::decthings::{Calls, Events};
use polytty_dialect::dockhand::{Dockhand, Form};
use polytty_dialect::oblien::Tail;
use polytty_dialect::operation::{OperationClient, PaiDlc};
use polytty_dialect::polytty_v1::PolyttyV1;
use polytty_dialect::raw::Raw;
use polytty_dialect::{ClientDialect, Kind, UpstreamDialect};

use crate::path::{Codec, Path, SESSION, TERMINAL, TURN};
use crate::{Corpus, Wire};

/// Messages of a turn at most: of the short ones, so many are as good as all.
const MESSAGES: usize = 1024;

/// What a path may be led over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The codec does not look at what it carries: it costs the same whatever that is.
    Blind,
    /// It looks, and takes any bytes.
    Bytes,
    /// It looks, and takes text.
    Text,
}

impl Contents {
    /// The corpora that tell something.
    #[must_use]
    pub fn corpora(self) -> &'static [Corpus] {
        match self {
            Self::Blind => &[Corpus::Plain, Corpus::Random],
            Self::Bytes => &Corpus::ALL,
            Self::Text => &Corpus::ALL[..6],
        }
    }
}

/// One way through a codec, or through two that meet.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Codec and way, such as `pai-dlc decode`.
    pub name: &'static str,
    /// What it may be led over.
    pub contents: Contents,
    codec: fn() -> Codec,
    given: Given,
    outcome: Outcome,
}

/// What the path is handed.
#[derive(Clone, Copy, Debug)]
enum Given {
    Bytes,
    Messages(Wire),
}

/// What comes out, and how it differs from what was handed in.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Bytes(fn(&[u8]) -> Vec<u8>),
    Messages(Wire, fn(&[u8]) -> Vec<u8>),
    /// It stays inside.
    Nothing,
}

impl Case {
    /// The path over one corpus, in messages of `size` bytes, once it has carried a turn as it should.
    ///
    /// # Panics
    ///
    /// When it has not.
    #[must_use]
    pub fn path(&self, corpus: Corpus, size: usize) -> Path {
        let whole = match self.given {
            Given::Messages(wire) => wire.is_text(),
            Given::Bytes => false,
        };
        let mut turn = corpus.block(TURN.min(size * MESSAGES));
        turn.truncate(TURN.min(size * MESSAGES));
        end_with_a_character(&mut turn);
        let messages = pieces(&turn, size, whole)
            .map(|piece| match self.given {
                Given::Bytes => (Kind::Binary, piece.to_vec()),
                Given::Messages(wire) => wire.write(piece),
            })
            .collect();
        let mut path = Path::new((self.codec)(), messages, size, turn.len());
        self.check(&mut path, &turn);
        path
    }

    fn check(&self, path: &mut Path, turn: &[u8]) {
        let mut written = Vec::new();
        let read = path.watch(|message| {
            if let Outcome::Messages(wire, _) = self.outcome {
                written.extend(wire.read(message.kind, message.payload));
            }
        });
        let (carried, expected) = match self.outcome {
            Outcome::Bytes(changed) => (read, changed(turn)),
            Outcome::Messages(_, changed) => (written, changed(turn)),
            Outcome::Nothing => return,
        };
        assert!(carried == expected, "{}: what came out is not what went in", self.name);
    }
}

/// Cuts off what is not the end of a character, so that a turn can follow itself.
fn end_with_a_character(turn: &mut Vec<u8>) {
    while let Some(chunk) = turn.utf8_chunks().last().filter(|chunk| !chunk.invalid().is_empty()) {
        turn.truncate(turn.len() - chunk.invalid().len());
    }
}

/// Pieces of `size` bytes, or a little more where they are to consist of `whole` characters.
fn pieces(mut turn: &[u8], size: usize, whole: bool) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut end = size.min(turn.len());
        while whole && end < turn.len() && turn[end] & 0xc0 == 0x80 {
            end += 1;
        }
        let (piece, rest) = turn.split_at(end);
        turn = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn same(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn lossy(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).into_owned().into_bytes()
}

/// Line ends as a terminal wants them.
fn returned(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

/// The Enter key as a pipe wants it.
fn entered(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte == b'\r' { b'\n' } else { byte }).collect()
}

const STDIN: Wire = Wire::Json("operation", "stdin");
const STDOUT: Wire = Wire::Json("operation", "stdout");
const STDIN_CHANNEL: Wire = Wire::Behind(0);
const STDOUT_CHANNEL: Wire = Wire::Behind(1);
const WORKSPACE: Wire = Wire::Behind(TERMINAL);

fn v1() -> Box<dyn ClientDialect> {
    Box::new(PolyttyV1::new())
}

fn operation() -> Box<dyn ClientDialect> {
    Box::new(OperationClient::new())
}

fn raw() -> Box<dyn ClientDialect> {
    Box::new(Raw::new())
}

fn pai_dlc() -> Box<dyn UpstreamDialect> {
    Box::new(PaiDlc::new())
}

fn eci() -> Box<dyn UpstreamDialect> {
    Box::new(channel(None, true))
}

fn channel(subprotocol: Option<&str>, tty: bool) -> Channel {
    let framing = Framing::of_subprotocol(subprotocol).expect("it is one of Kubernetes'");
    Channel::new(framing, tty, ResizeMode::K8s4)
}

fn pipes() -> Box<dyn UpstreamDialect> {
    Box::new(channel(None, false))
}

fn base64() -> Box<dyn UpstreamDialect> {
    Box::new(channel(Some("v4.base64.channel.k8s.io"), true))
}

fn dockhand() -> Box<dyn UpstreamDialect> {
    Box::new(Dockhand::new(Form::Json))
}

fn dockhand_raw() -> Box<dyn UpstreamDialect> {
    Box::new(Dockhand::new(Form::Raw))
}

/// Every codec, both ways, and the pairs that are met most.
#[must_use]
pub fn cases() -> Vec<Case> {
    use Codec::{ClientDecode, ClientOutput, Shown, Typed, UpstreamDecode, UpstreamInput};
    use Contents::{Blind, Bytes, Text};
    use Given::{Bytes as Plainly, Messages};
    use Outcome::{Bytes as Read, Messages as Written, Nothing};

    let case = |name, contents, codec, given, outcome| Case { name, contents, codec, given, outcome };
    let input = Wire::Json("type", "input");
    let output = Wire::Json("type", "output");
    vec![
        case("polytty.v1 decode", Blind, || ClientDecode(v1()), Messages(Wire::Binary), Read(same)),
        case("polytty.v1 decode stdin", Text, || ClientDecode(v1()), Messages(STDIN), Read(same)),
        case("polytty.v1 encode", Blind, || ClientOutput(v1()), Plainly, Written(Wire::Binary, same)),
        case("operation decode", Text, || ClientDecode(operation()), Messages(STDIN), Read(same)),
        case("operation encode", Bytes, || ClientOutput(operation()), Plainly, Written(STDOUT, lossy)),
        case("raw decode", Text, || ClientDecode(raw()), Messages(Wire::Text), Read(same)),
        case("raw encode", Blind, || ClientOutput(raw()), Plainly, Written(Wire::Binary, same)),
        case("pai-dlc decode", Text, || UpstreamDecode(pai_dlc()), Messages(STDOUT), Read(same)),
        case("pai-dlc encode", Bytes, || UpstreamInput(pai_dlc()), Plainly, Written(STDIN, lossy)),
        case("eci decode", Blind, || UpstreamDecode(eci()), Messages(STDOUT_CHANNEL), Read(same)),
        case("eci encode", Blind, || UpstreamInput(eci()), Plainly, Written(STDIN_CHANNEL, same)),
        case("eci pipes decode", Bytes, || UpstreamDecode(pipes()), Messages(STDOUT_CHANNEL), Read(returned)),
        case("eci pipes encode", Bytes, || UpstreamInput(pipes()), Plainly, Written(STDIN_CHANNEL, entered)),
        case("eci base64 decode", Blind, || UpstreamDecode(base64()), Messages(Wire::Base64('1')), Read(same)),
        case("eci base64 encode", Blind, || UpstreamInput(base64()), Plainly, Written(Wire::Base64('0'), same)),
        case("dockhand decode", Text, || UpstreamDecode(dockhand()), Messages(output), Read(same)),
        case("dockhand encode", Bytes, || UpstreamInput(dockhand()), Plainly, Written(input, lossy)),
        case("dockhand raw decode", Blind, || UpstreamDecode(dockhand_raw()), Messages(Wire::Binary), Read(same)),
        case("dockhand raw encode", Blind, || UpstreamInput(dockhand_raw()), Plainly, Written(Wire::Binary, same)),
        case("oblien decode", Blind, || Codec::OblienDecode, Messages(WORKSPACE), Read(same)),
        case("oblien encode", Blind, || Codec::OblienInput, Plainly, Written(WORKSPACE, same)),
        case("oblien remember", Blind, || Codec::OblienTail(Box::new(Tail::new(true))), Plainly, Nothing),
        case(
            "decthings decode",
            Blind,
            || Codec::DecthingsDecode(Events::new()),
            Messages(Wire::Event(SESSION)),
            Read(same),
        ),
        case(
            "decthings encode",
            Blind,
            || Codec::DecthingsInput(Calls::new(API_KEY)),
            Plainly,
            Written(Wire::Call, same),
        ),
        case("pai-dlc to polytty.v1", Text, || Shown(pai_dlc(), v1()), Messages(STDOUT), Written(Wire::Binary, same)),
        case("pai-dlc to operation", Text, || Shown(pai_dlc(), operation()), Messages(STDOUT), Written(STDOUT, same)),
        case("eci to polytty.v1", Blind, || Shown(eci(), v1()), Messages(STDOUT_CHANNEL), Written(Wire::Binary, same)),
        case("eci to operation", Text, || Shown(eci(), operation()), Messages(STDOUT_CHANNEL), Written(STDOUT, lossy)),
        case("polytty.v1 to pai-dlc", Text, || Typed(v1(), pai_dlc()), Messages(Wire::Binary), Written(STDIN, lossy)),
        case("polytty.v1 to eci", Blind, || Typed(v1(), eci()), Messages(Wire::Binary), Written(STDIN_CHANNEL, same)),
        case("operation to pai-dlc", Text, || Typed(operation(), pai_dlc()), Messages(STDIN), Written(STDIN, same)),
        case("operation to eci", Text, || Typed(operation(), eci()), Messages(STDIN), Written(STDIN_CHANNEL, same)),
    ]
}

/// As long as one of the service's.
const API_KEY: &str = "0123456789abcdef0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SIZES;

    #[test]
    fn every_path_carries_what_it_is_given() {
        for case in cases() {
            for &corpus in case.contents.corpora() {
                for size in [1, 7].into_iter().chain(SIZES) {
                    let mut path = case.path(corpus, size);
                    path.turn();
                    path.turn();
                }
            }
        }
    }

    #[test]
    fn names_tell_cases_apart() {
        let mut names: Vec<_> = cases().iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases().len());
    }

    #[test]
    #[should_panic(expected = "what came out is not what went in")]
    fn a_path_that_carries_something_else_is_not_handed_out() {
        let mut case = cases()[0];
        case.outcome = Outcome::Bytes(|bytes| bytes.to_ascii_uppercase());
        let _ = case.path(Corpus::Plain, 64);
    }

    #[test]
    fn text_messages_cut_no_character_and_binary_ones_do() {
        let turn = Corpus::Cjk.block(1000);
        assert!(pieces(&turn, 64, true).all(|piece| std::str::from_utf8(piece).is_ok()));
        assert!(pieces(&turn, 64, false).any(|piece| std::str::from_utf8(piece).is_err()));
        assert_eq!(pieces(&turn, 64, false).collect::<Vec<_>>().concat(), turn);
    }
}
