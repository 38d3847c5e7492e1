//! Upgrades for a link: handshake fields, offers of subprotocols, the offset, credentials.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    polytty::edge::fuzz::link_request(bytes);
});
