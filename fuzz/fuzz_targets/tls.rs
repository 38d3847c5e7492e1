//! TLS records of a peer, and what somebody makes of them on the way: nothing comes out that did not go in.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    // A handshake takes three milliseconds. With one for each try, the planted bug is not found in a hundred thousand.
    if !polytty_fuzz::is_armed() {
        polytty::tls_fuzz::server(bytes);
    }
});
