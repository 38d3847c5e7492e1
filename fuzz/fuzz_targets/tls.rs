//! TLS records of a peer, and what somebody makes of them on the way: nothing comes out that did not go in.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    polytty::tls_fuzz::server(bytes);
});
