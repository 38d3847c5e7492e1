//! Masking (RFC 6455, section 5.3).

/// Masks or unmasks `bytes` where they lie; the two are the same. The first byte meets the first of `key`.
///
/// Eight bytes at a time, which the compiler turns into vectors of the machine.
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_agree_at_every_length_and_alignment() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(37)).collect();
        for start in 0..16 {
            for end in start..plain.len() {
                let mut masked = plain.clone();
                mask(&mut masked[start..end], key);
                let mut expected = plain.clone();
                for (i, byte) in expected[start..end].iter_mut().enumerate() {
                    *byte ^= key[i % 4];
                }
                assert_eq!(masked, expected, "{start}..{end}");
            }
        }
    }
}
