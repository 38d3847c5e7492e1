//! Messages of a provider, in each dialect: nothing makes a codec panic, and output does not grow out of nothing.

#![no_main]

use polytty_dialect::channel::{Channel, Framing, ResizeMode};
use polytty_dialect::decthings::{Events, read_body};
use polytty_dialect::dockhand::{Dockhand, Form};
use polytty_dialect::operation::PaiDlc;
use polytty_dialect::{Kind, Message, UpstreamDialect, oblien};

/// What one byte of a message may become at the most: U+FFFD, in three bytes, or a line end, in two.
const GROWTH: usize = 3;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    // The first byte chooses who reads, so that one run costs one reading.
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let subprotocols = [None, Some("channel.k8s.io"), Some("v4.channel.k8s.io"), Some("v5.channel.k8s.io")];
    let framings = subprotocols.into_iter().chain([Some("base64.channel.k8s.io")]).filter_map(Framing::of_subprotocol);
    let mut codecs: Vec<Box<dyn UpstreamDialect>> = vec![Box::new(PaiDlc::new())];
    for form in [Form::Json, Form::Raw] {
        codecs.push(Box::new(Dockhand::new(form)));
    }
    for framing in framings {
        codecs.push(Box::new(Channel::new(framing, true, ResizeMode::K8s4)));
        codecs.push(Box::new(Channel::new(framing, false, ResizeMode::Off)));
    }
    let messages = || {
        bytes.split(|byte| *byte == 0xfe).filter_map(|message| {
            let (kind, payload) = message.split_first()?;
            Some(Message { kind: if kind & 1 == 0 { Kind::Text } else { Kind::Binary }, payload })
        })
    };
    let choice = usize::from(*choice) % (codecs.len() + 1);
    if let Some(codec) = codecs.get_mut(choice) {
        let mut output = Vec::new();
        for message in messages() {
            let had = output.len();
            let _ = codec.decode(message, &mut output);
            assert!(output.len() - had <= GROWTH * (message.payload.len() + 4), "more came out than went in");
        }
        let _ = codec.verdict();
        return;
    }
    let mut events = Events::default();
    for message in messages() {
        let _ = oblien::decode(message);
        let _ = events.read(message.payload);
        let _ = read_body(message.payload);
    }
});
