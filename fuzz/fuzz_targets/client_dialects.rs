//! Messages of a client, in each dialect: a bad one appends nothing, and input does not grow out of nothing.

#![no_main]

use polytty_dialect::{Kind, Message, client_dialect};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    for name in ["polytty.v1", "operation", "raw"] {
        let mut client = client_dialect(name).unwrap();
        let mut input = Vec::new();
        // Each message begins with a byte for its kind, and ends at the next one.
        for message in bytes.split(|byte| *byte == 0xfe) {
            let Some((kind, payload)) = message.split_first() else { continue };
            let kind = if kind & 1 == 0 { Kind::Text } else { Kind::Binary };
            let had = input.len();
            if client.decode(Message { kind, payload }, &mut input).is_err() {
                assert_eq!(input.len(), had, "{name}: a bad message has appended something");
            }
            // What an earlier message left unfinished may come out as U+FFFD.
            assert!(input.len() - had <= payload.len() + 3, "{name}: more came out than went in");
        }
    }
});
