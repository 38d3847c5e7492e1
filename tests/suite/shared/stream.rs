//! A stream of bytes that a shell and a test can both make from the same seed.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

/// Park and Miller's generator: its products are below 2^53, so that awk has them exactly.
const FACTOR: u64 = 16_807;
const MODULUS: u64 = 2_147_483_647;

/// Bytes from 1 to 255, in no order that a mistake would keep.
pub(super) struct Stream(u64);

impl Stream {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed % (MODULUS - 1) + 1)
    }

    pub(super) fn bytes(mut self, count: usize) -> Vec<u8> {
        let next = || {
            self.0 = self.0 * FACTOR % MODULUS;
            u8::try_from(1 + self.0 / 256 % 255).unwrap()
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    /// The command that prints them, free of single quotes.
    pub(super) fn shell(&self, count: usize) -> String {
        let Self(seed) = self;
        format!(
            "LC_ALL=C awk \"BEGIN {{ x = {seed}; while (n++ < {count}) \
             {{ x = x * {FACTOR} % {MODULUS}; printf \\\"%c\\\", 1 + int(x / 256) % 255 }} }}\""
        )
    }
}

/// The SHA-256 of some bytes, as `sha256sum` writes it.
pub(super) fn sum(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
