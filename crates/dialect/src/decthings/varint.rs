//! Numbers and lengths on the wire, all big-endian.

use crate::BadMessage;

/// What a number below 2^16 that needs more than one byte begins with; then its two bytes.
const U16: u8 = 0xfd;
/// The same below 2^32, with four bytes.
const U32: u8 = 0xfe;
/// The same for all others, with eight bytes.
const U64: u8 = 0xff;

/// Appends `number` in its shortest form: one byte below 253, else a mark and two, four or eight bytes.
pub fn put_varint(number: u64, out: &mut Vec<u8>) {
    if number < u64::from(U16) {
        out.push(number as u8);
    } else if let Ok(number) = u16::try_from(number) {
        out.push(U16);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        out.push(U32);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(U64);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Takes a message apart from its beginning. What does not fit into the message is an error before anything is done
/// with its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces<'a> {
    rest: &'a [u8],
}

/// The message ends in the middle, or claims to go on behind its end.
const SHORT: BadMessage = BadMessage { reason: "a message is shorter than it says" };

impl<'a> Pieces<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, BadMessage> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, BadMessage> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number in any of its forms; one that could be shorter is taken as it is.
    pub(super) fn varint(&mut self) -> Result<u64, BadMessage> {
        Ok(match self.byte()? {
            U16 => u64::from(u16::from_be_bytes(self.array()?)),
            U32 => u64::from(u32::from_be_bytes(self.array()?)),
            U64 => u64::from_be_bytes(self.array()?),
            small => u64::from(small),
        })
    }

    /// So many bytes, if the message has them.
    pub(super) fn slice(&mut self, len: u64) -> Result<&'a [u8], BadMessage> {
        let len = usize::try_from(len).map_err(|_| SHORT)?;
        let (slice, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(slice)
    }

    /// A length and so many bytes.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], BadMessage> {
        let len = self.varint()?;
        self.slice(len)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadMessage> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(number, &mut out);
        out
    }

    #[test]
    fn a_number_takes_the_form_of_its_size() {
        let cases: [(u64, &[u8]); 9] = [
            (0, &[0]),
            (252, &[0xfc]),
            (253, &[0xfd, 0, 0xfd]),
            (255, &[0xfd, 0, 0xff]),
            (65_535, &[0xfd, 0xff, 0xff]),
            (65_536, &[0xfe, 0, 1, 0, 0]),
            ((1 << 32) - 1, &[0xfe, 0xff, 0xff, 0xff, 0xff]),
            (1 << 32, &[0xff, 0, 0, 0, 1, 0, 0, 0, 0]),
            (u64::MAX, &[0xff; 9]),
        ];
        for (number, bytes) in cases {
            assert_eq!(put(number), bytes, "{number}");
            assert_eq!(Pieces::new(bytes).varint(), Ok(number));
            for len in 0..bytes.len() {
                assert_eq!(Pieces::new(&bytes[..len]).varint(), Err(SHORT), "{number}, {len} bytes");
            }
        }
    }

    #[test]
    fn a_form_that_is_longer_than_it_need_be_is_read_too() {
        for bytes in [&[0xfd, 0, 7][..], &[0xfe, 0, 0, 0, 7], &[0xff, 0, 0, 0, 0, 0, 0, 0, 7]] {
            assert_eq!(Pieces::new(bytes).varint(), Ok(7));
        }
    }

    #[test]
    fn a_length_is_believed_only_when_the_bytes_are_there() {
        assert_eq!(Pieces::new(&[2, b'h', b'i', 9]).sized(), Ok(&b"hi"[..]));
        let hostile: [&[u8]; 4] = [&[3, b'h', b'i'], &[0xfe, 0xff, 0xff, 0xff, 0xff], &[0xff; 9], &[0xff, 0x80, 0, 0]];
        for bytes in hostile {
            assert_eq!(Pieces::new(bytes).sized(), Err(SHORT), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(number in prop_oneof![any::<u64>(), 0..70_000_u64]) {
            let bytes = put(number);
            let mut pieces = Pieces::new(&bytes);
            prop_assert_eq!(pieces.varint(), Ok(number));
            prop_assert!(pieces.is_empty());
        }
    }
}
