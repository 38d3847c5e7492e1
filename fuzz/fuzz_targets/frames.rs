//! WebSocket frames of a peer: however they are cut, what is decoded is the same, and no more is held than has come.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    polytty_websocket::fuzz_decoder(bytes);
});
