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
    let messages = || {
        bytes.split(|byte| *byte == 0xfe).filter_map(|message| {
            let (kind, payload) = message.split_first()?;
            Some(Message { kind: if kind & 1 == 0 { Kind::Text } else { Kind::Binary }, payload })
        })
    };
    if let Some(mut codec) = codec(usize::from(*choice)) {
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

/// The subprotocols by which a channel's framing is chosen.
const SUBPROTOCOLS: [Option<&str>; 5] =
    [None, Some("channel.k8s.io"), Some("v4.channel.k8s.io"), Some("v5.channel.k8s.io"), Some("base64.channel.k8s.io")];

/// The codec of this number; `None` for those that are no codecs. Only this one is made: the more runs a second, the better.
fn codec(choice: usize) -> Option<Box<dyn UpstreamDialect>> {
    let channels = 3 + 2 * SUBPROTOCOLS.len();
    Some(match choice % (channels + 1) {
        0 => Box::new(PaiDlc::new()),
        1 => Box::new(Dockhand::new(Form::Json)),
        2 => Box::new(Dockhand::new(Form::Raw)),
        channel if channel < channels => {
            let framing = Framing::of_subprotocol(SUBPROTOCOLS[(channel - 3) / 2])?;
            match channel % 2 {
                0 => Box::new(Channel::new(framing, true, ResizeMode::K8s4)),
                _ => Box::new(Channel::new(framing, false, ResizeMode::Off)),
            }
        }
        _ => return None,
    })
}
