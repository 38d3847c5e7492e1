//! Time-based one-time codes (RFC 6238): SHA-1, 30 seconds, six digits.

use std::time::SystemTime;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};

const STEP_SECONDS: u64 = 30;

/// Whether `code` is that of the present step, the one before or the one after.
pub(super) fn is_code(secret: &[u8], code: &str, now: SystemTime) -> bool {
    let step = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / STEP_SECONDS);
    let matches =
        |step| verify_slices_are_equal(format!("{:06}", at_step(secret, step)).as_bytes(), code.as_bytes()).is_ok();
    (step.saturating_sub(1)..=step + 1).any(matches)
}

/// The code of a step (RFC 4226 §5.3).
fn at_step(secret: &[u8], step: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 15);
    let mut four = [0; 4];
    four.copy_from_slice(&tag[offset..offset + 4]);
    (u32::from_be_bytes(four) & 0x7FFF_FFFF) % 1_000_000
}

/// A secret as authenticator apps take it: base32 (RFC 4648 §6), without padding.
pub(super) fn base32(secret: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for &byte in secret {
        (bits, held) = (bits << 8 | u32::from(byte), held + 8);
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
            bits &= (1 << held) - 1;
        }
    }
    if held > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - held) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_standards_table() {
        // RFC 6238 appendix B has eight digits, of which these are the last six.
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert!(is_code(SECRET, code, at(seconds)), "{seconds}");
            assert!(is_code(SECRET, code, at(seconds + 30)) && is_code(SECRET, code, at(seconds - 30)));
            assert!(!is_code(SECRET, code, at(seconds + 60)));
        }
        assert!(!is_code(SECRET, "", SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn secrets_are_written_in_base32() {
        assert_eq!(base32(SECRET), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(base32(b""), "");
    }
}
