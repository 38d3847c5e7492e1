//! Heads of requests: what the guard lets through, a parser reads as it did.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    polytty::edge::fuzz::request_head(bytes);
});
