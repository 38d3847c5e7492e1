//! The binary encoding of calls, replies and events. All integers are big-endian.
//!
//! A length is checked against what is left of its message before anything is made of it: a hostile one costs nothing.

use bytes::Bytes;

/// The first byte of a WebSocket message that is a reply, and of one that is an event.
const REPLY: u8 = 0;
const EVENT: u8 = 1;
/// The api that all events of a simulated Decthings come from.
const API: &str = "Terminal";

/// The JSON of a call and the blobs behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) json: Bytes,
    pub(super) blobs: Vec<Bytes>,
}

/// A message that ends before its lengths say so, or behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Decodes the body of an HTTP call: `u8 blobs · varint json · varint blob… · json · blob…`.
pub(super) fn http_call(body: Bytes) -> Result<Payload, Malformed> {
    Reader(body).payload()
}

/// Decodes a WebSocket message of a client: `u32 id`, then as [`http_call`]. Returns the id and the rest.
pub(super) fn socket_call(message: Bytes) -> Result<(u32, Payload), Malformed> {
    let mut reader = Reader(message);
    let id = u32::from_be_bytes(reader.array()?);
    Ok((id, reader.payload()?))
}

/// The body of an HTTP answer: `varint json · json`, and no blobs.
pub(super) fn http_reply(json: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_VARINT + json.len());
    put(json, &mut bytes);
    bytes
}

/// A reply over the WebSocket: `00 · u32 id · varint json · json`, and no blobs.
pub(super) fn socket_reply(id: u32, json: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + MAX_VARINT + json.len());
    bytes.extend(reply_head(id));
    put(json, &mut bytes);
    bytes
}

/// What a reply begins with, before its lengths.
pub(super) fn reply_head(id: u32) -> [u8; 5] {
    let [a, b, c, d] = id.to_be_bytes();
    [REPLY, a, b, c, d]
}

/// An event: `01 · u8 api · api · varint json · json`, and for terminal output `varint blob · blob`.
pub(super) fn event(json: &[u8], blob: Option<&[u8]>) -> Vec<u8> {
    event_of(API, json, blob)
}

/// The same from any api. A name longer than its length byte can say is cut.
pub(super) fn event_of(api: &str, json: &[u8], blob: Option<&[u8]>) -> Vec<u8> {
    let blob_length = blob.map_or(0, |blob| MAX_VARINT + blob.len());
    let mut bytes = Vec::with_capacity(2 + api.len() + MAX_VARINT + json.len() + blob_length);
    let length = u8::try_from(api.len()).unwrap_or(u8::MAX);
    bytes.extend([EVENT, length]);
    bytes.extend(&api.as_bytes()[..usize::from(length)]);
    put(json, &mut bytes);
    if let Some(blob) = blob {
        put(blob, &mut bytes);
    }
    bytes
}

/// Bytes of the longest varint.
const MAX_VARINT: usize = 9;

/// Appends a number in its shortest form: one byte below 253, else `fd` and 2 bytes, `fe` and 4, or `ff` and 8.
pub(super) fn put_varint(number: u64, bytes: &mut Vec<u8>) {
    match number {
        0..253 => bytes.push(number.to_be_bytes()[7]),
        253..0x1_0000 => {
            bytes.push(0xFD);
            bytes.extend(&number.to_be_bytes()[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            bytes.push(0xFE);
            bytes.extend(&number.to_be_bytes()[4..]);
        }
        _ => {
            bytes.push(0xFF);
            bytes.extend(number.to_be_bytes());
        }
    }
}

fn put(part: &[u8], bytes: &mut Vec<u8>) {
    put_varint(part.len() as u64, bytes);
    bytes.extend_from_slice(part);
}

/// What is left of a message.
struct Reader(Bytes);

impl Reader {
    fn payload(mut self) -> Result<Payload, Malformed> {
        let [count] = self.array()?;
        let json_length = self.varint()?;
        // One byte of the message at least stands for each length, so the claim cannot make this large.
        let mut lengths = Vec::with_capacity(usize::from(count).min(self.0.len()));
        for _ in 0..count {
            lengths.push(self.varint()?);
        }
        let json = self.take(json_length)?;
        let blobs = lengths.into_iter().map(|length| self.take(length)).collect::<Result<_, _>>()?;
        if self.0.is_empty() { Ok(Payload { json, blobs }) } else { Err(Malformed) }
    }

    /// A number in any of its forms: one that is longer than needed is good as well.
    fn varint(&mut self) -> Result<u64, Malformed> {
        let [first] = self.array()?;
        Ok(match first {
            0xFF => u64::from_be_bytes(self.array()?),
            0xFE => u32::from_be_bytes(self.array()?).into(),
            0xFD => u16::from_be_bytes(self.array()?).into(),
            _ => first.into(),
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let array = *self.0.first_chunk().ok_or(Malformed)?;
        drop(self.0.split_to(N));
        Ok(array)
    }

    fn take(&mut self, length: u64) -> Result<Bytes, Malformed> {
        match usize::try_from(length) {
            Ok(length) if length <= self.0.len() => Ok(self.0.split_to(length)),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(number, &mut bytes);
        bytes
    }

    #[test]
    fn numbers_are_encoded_as_the_official_client_does() {
        for (number, bytes) in [
            (0, &[0][..]),
            (252, &[0xFC]),
            (253, &[0xFD, 0, 0xFD]),
            (65_535, &[0xFD, 0xFF, 0xFF]),
            (65_536, &[0xFE, 0, 1, 0, 0]),
            (0xFFFF_FFFF, &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF]),
            (0x1_0000_0000, &[0xFF, 0, 0, 0, 1, 0, 0, 0, 0]),
            (u64::MAX, &[0xFF; 9]),
        ] {
            assert_eq!(varint(number), bytes, "{number}");
            assert_eq!(Reader(Bytes::copy_from_slice(bytes)).varint(), Ok(number));
        }
    }

    #[test]
    fn numbers_that_are_longer_than_needed_are_read_too() {
        for bytes in [&[7][..], &[0xFD, 0, 7], &[0xFE, 0, 0, 0, 7], &[0xFF, 0, 0, 0, 0, 0, 0, 0, 7]] {
            assert_eq!(Reader(Bytes::copy_from_slice(bytes)).varint(), Ok(7));
        }
    }

    const WRITE: &[u8] = b"\x01\x1c\x03{\"terminalSessionId\":\"ts-1\"}ls\n";

    #[test]
    fn the_documented_examples_are_understood_and_made() {
        let call = http_call(Bytes::from_static(WRITE)).unwrap();
        assert_eq!(&call.json[..], b"{\"terminalSessionId\":\"ts-1\"}");
        assert_eq!(call.blobs, [Bytes::from_static(b"ls\n")]);

        let json = br#"{"api":"Terminal","method":"writeToTerminalSession","params":{"terminalSessionId":"ts-1"},"apiKey":"KEY"}"#;
        assert_eq!(json.len(), 0x69);
        let message = [&[0, 0, 0, 1, 1, 0x69, 4], &json[..], b"pwd\n"].concat();
        let (id, call) = socket_call(message.into()).unwrap();
        assert_eq!((id, &call.json[..], &call.blobs[0][..]), (1, &json[..], &b"pwd\n"[..]));

        let reply = socket_reply(0, br#"{"result":{"terminalSessionId":"ts-1"}}"#);
        assert_eq!(reply, b"\0\0\0\0\0\x27{\"result\":{\"terminalSessionId\":\"ts-1\"}}");
        let data = event(br#"{"event":"data","params":{"terminalSessionId":"ts-1"}}"#, Some(b"hi"));
        let expected = b"\x01\x08Terminal\x36{\"event\":\"data\",\"params\":{\"terminalSessionId\":\"ts-1\"}}\x02hi";
        assert_eq!(data, expected);
        assert_eq!(http_reply(b"{}"), b"\x02{}");
    }

    #[test]
    fn a_message_that_is_cut_anywhere_or_has_more_behind_is_malformed() {
        for length in 0..WRITE.len() {
            assert_eq!(http_call(Bytes::from_static(&WRITE[..length])), Err(Malformed), "{length}");
        }
        assert_eq!(http_call([WRITE, b"x"].concat().into()), Err(Malformed));
        assert_eq!(socket_call(Bytes::from_static(b"\0\0\0")), Err(Malformed));
    }

    #[test]
    fn hostile_lengths_are_refused_before_they_are_believed() {
        for claim in [3, 253, 65_536, 1 << 32, 1 << 63, u64::MAX] {
            // For the JSON, for one of several blobs, and so that the sum of both would overflow.
            let json = [&[0][..], &varint(claim), b"{}"].concat();
            assert_eq!(http_call(json.into()), Err(Malformed), "{claim}");
            let blob = [&[2, 2, 0][..], &varint(claim), b"{}"].concat();
            assert_eq!(http_call(blob.into()), Err(Malformed), "{claim}");
            let both = [&[1][..], &varint(claim), &varint(claim), b"{}"].concat();
            assert_eq!(http_call(both.into()), Err(Malformed), "{claim}");
        }
        assert_eq!(http_call(Bytes::from_static(&[255, 0, 0])), Err(Malformed), "255 blobs that are not there");
    }

    #[test]
    fn as_many_blobs_go_through_as_a_byte_can_count() {
        let mut body = vec![255, 2];
        body.extend([1; 255]);
        body.extend(b"{}");
        body.extend(0..255);
        let call = http_call(body.into()).unwrap();
        assert_eq!(call.blobs.len(), 255);
        assert!(call.blobs.iter().zip(0..).all(|(blob, at)| blob[..] == [at]));
    }
}
