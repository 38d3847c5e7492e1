//! What holds for any bytes whatever.

use crate::{Close, Decoder, Error, Event, Kind, Limits, MAX_CONTROL, Role};

/// Decodes `bytes` and asserts what holds for any: nothing panics, the decoder holds no more than it may, and how the
/// bytes were cut into reads changes nothing.
///
/// The first three choose the role, the limit and the cuts; the rest is what the peer sends.
///
/// # Panics
///
/// When one of that does not hold.
pub fn fuzz_decoder(bytes: &[u8]) {
    let Some((&[role, limit, cuts], bytes)) = bytes.split_first_chunk() else { return };
    let role = if role & 1 == 0 { Role::Server } else { Role::Client };
    let max_message = usize::from(limit) * usize::from(limit) + usize::from(role == Role::Client);
    let limits = Limits { max_message };
    let whole = run(role, limits, [bytes]);
    assert_eq!(whole, run(role, limits, bytes.chunks(1)), "one byte at a time");
    let mut seed = u32::from(cuts) + 1;
    let (mut rest, mut reads) = (bytes, Vec::new());
    while !rest.is_empty() {
        seed = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let (read, behind) = rest.split_at(((seed >> 16) as usize % 300).min(rest.len()));
        reads.push(read);
        rest = behind;
    }
    assert_eq!(whole, run(role, limits, reads), "reads of any size");
}

#[derive(Debug, PartialEq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

fn run<'a>(role: Role, limits: Limits, reads: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Option<Error>) {
    let mut decoder = Decoder::new(role, limits);
    let (mut seen, mut arrived) = (Vec::new(), 0);
    for read in reads {
        arrived += read.len();
        let mut scratch = read.to_vec();
        let mut rest = &mut scratch[..];
        loop {
            let before = rest.len();
            match decoder.decode(&mut rest) {
                Ok(Some(event)) => seen.push(owned(event, limits)),
                Ok(None) => break assert!(rest.is_empty()),
                Err(error) => {
                    assert_eq!(decoder.decode(&mut rest), Err(error), "it stays so");
                    assert_eq!(decoder.held(), 0);
                    return (seen, Some(error));
                }
            }
            assert!(rest.len() < before, "an event out of nothing");
        }
        assert!(decoder.held() <= limits.max_message + MAX_CONTROL, "{} held", decoder.held());
        assert!(decoder.held() <= 2 * arrived + MAX_CONTROL, "{} held of {arrived}", decoder.held());
    }
    (seen, None)
}

fn owned(event: Event<'_>, limits: Limits) -> Seen {
    match event {
        Event::Message { kind, payload } => {
            assert!(payload.len() <= limits.max_message);
            assert!(kind == Kind::Binary || std::str::from_utf8(payload).is_ok());
            Seen::Message(kind, payload.to_vec())
        }
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close(close) => Seen::Close(close.map(|Close { code, reason }| (code.get(), reason.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that look like frames more often than chance would have it.
    fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            8 => prop::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]),
            1 => any::<u8>(),
        ];
        let length = prop_oneof![
            6 => (0..126u8).prop_map(|len| vec![len]),
            1 => (0..700u16).prop_map(|len| [&[126][..], &len.to_be_bytes()].concat()),
            1 => prop_oneof![0..70_000u64, any::<u64>()].prop_map(|len| [&[127][..], &len.to_be_bytes()].concat()),
        ];
        let payload =
            prop_oneof!["[a-zä€😀]{0,40}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..130),];
        let frame = (first, length, prop::option::weighted(0.9, any::<[u8; 4]>()), payload).prop_map(
            |(first, mut length, key, payload)| {
                if length.len() == 1 && payload.len() < 126 {
                    length[0] = payload.len() as u8;
                }
                length[0] |= if key.is_some() { 0x80 } else { 0 };
                [&[first][..], &length, &key.unwrap_or_default()[..key.map_or(0, |_| 4)], &payload].concat()
            },
        );
        prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            fuzz_decoder(&bytes);
        }

        #[test]
        fn bytes_that_are_nearly_frames(setup in any::<[u8; 3]>(), bytes in nearly_frames()) {
            fuzz_decoder(&[&setup[..], &bytes].concat());
        }
    }
}
