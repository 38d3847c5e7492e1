//! Recordings from a disk, which somebody may have changed.

#![no_main]

use polytty::recording::cast::Decoder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    polytty_fuzz::planted(bytes);
    let Ok(mut reader) = Decoder::open(bytes) else { return };
    let mut events = 0;
    while let Ok(Some(_)) = reader.next_event() {
        events += 1;
        assert!(events <= bytes.len(), "more events than bytes");
    }
});
