//! JSON string bodies (RFC 8259, section 7), written for terminal bytes.
//!
//! Terminal text is dense in what JSON escapes (every line end is two escapes) and its clean runs are short, so neither
//! direction searches for the next special byte. Both take 64 bytes at once, learn from vectors where all of their special
//! bytes are, and go from one to the next. The interface is slices in and an appended buffer out.

mod escape;
mod unescape;

pub use escape::{MAX_EXPANSION, escape, escaped_prefix};
pub use unescape::{StringError, Unescaper};

/// The escapes of one letter: what they stand for, and the letter.
const SHORT: [(u8, u8); 7] =
    [(b'"', b'"'), (b'\\', b'\\'), (0x08, b'b'), (0x09, b't'), (0x0a, b'n'), (0x0c, b'f'), (0x0d, b'r')];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn quoted(body: &str) -> String {
        format!("{body}\"")
    }

    /// Reads bodies in order as one stream, and its end.
    fn unescaped(bodies: &[&str]) -> Result<String, StringError> {
        let (mut strings, mut out) = (Unescaper::new(), Vec::new());
        for body in bodies {
            strings.push(&quoted(body), &mut out)?;
        }
        strings.flush(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    fn serde_body(text: &str) -> String {
        let json = serde_json::to_string(text).unwrap();
        json[1..json.len() - 1].to_owned()
    }

    /// Text as terminals produce it: escapes and line ends between runs of any alphabet.
    fn terminal_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            3 => "[ -~]{0,20}",
            2 => "[\u{0}-\u{1f}\"\\\\]{1,6}",
            1 => "\\PC{0,10}",
            1 => any::<String>(),
        ];
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn every_character_below_256_is_escaped_as_serde_json_does_and_read_back() {
        for char in (0..256).filter_map(char::from_u32) {
            for text in
                [format!("{char}"), format!("{char}2345678"), format!("1234567{char}"), format!("{char}").repeat(99)]
            {
                assert_eq!(escaped(&text), serde_body(&text));
                assert_eq!(unescaped(&[&escaped(&text)]), Ok(text));
            }
        }
    }

    #[test]
    fn a_body_ends_at_its_first_quote_that_is_not_escaped() {
        let (mut strings, mut out) = (Unescaper::new(), b"before ".to_vec());
        assert_eq!(strings.push(r#"a\"b\\","rows":0}"#, &mut out), Ok(6));
        assert_eq!(out, br#"before a"b\"#);
    }

    #[test]
    fn what_is_no_body_appends_nothing() {
        let cases = [
            ("", StringError::Unclosed),
            ("abc", StringError::Unclosed),
            ("abcdefghijklmnop", StringError::Unclosed),
            (r"abcdefghijklmn\", StringError::Escape),
            (r#"abc\""#, StringError::Unclosed),
            ("tab\there\"", StringError::Control),
            ("a nul in the middle of a word \0 is no good\"", StringError::Control),
            (r#"\x41""#, StringError::Escape),
            (r#"\u12""#, StringError::Escape),
            (r#"\u12g4""#, StringError::Escape),
            (r#"\u+123""#, StringError::Escape),
            (r#"\ud83d\u12""#, StringError::Escape),
            (r#"\U0041""#, StringError::Escape),
        ];
        for (input, error) in cases {
            let (mut strings, mut out) = (Unescaper::new(), b"kept".to_vec());
            assert_eq!(strings.push(input, &mut out), Err(error), "{input:?}");
            assert_eq!(out, b"kept", "{input:?}");
        }
    }

    /// Lengths on both sides of where a vector, a piece, a block and a window end.
    const LENGTHS: [usize; 22] = [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 79, 80, 95, 96, 97, 127, 129];

    #[test]
    fn an_escape_is_written_and_read_at_any_place_of_a_block() {
        for special in ["\"", "\\", "\n", "\r\n", "\x1b[", "\0", "\x7f", "é", "漢", "😀", "\x1b\x1b\r\n\x1b"] {
            for before in 0..130 {
                for behind in LENGTHS {
                    let text = format!("{}{special}{}", "a".repeat(before), "b".repeat(behind));
                    assert_eq!(escaped(&text), serde_body(&text), "{before} {special:?} {behind}");
                    assert_eq!(unescaped(&[&serde_body(&text)]), Ok(text), "{before} {special:?} {behind}");
                }
            }
        }
    }

    #[test]
    fn any_spelling_of_an_escape_is_read_at_any_place_of_a_block() {
        let spellings = [
            (r"\/", "/"),
            (r"\u001B", "\x1b"),
            (r"\u007f", "\x7f"),
            (r"\u0080", "\u{80}"),
            (r"\u00E9\u000a", "é\n"),
            (r"\u6f22", "漢"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d", "\u{fffd}"),
            (r"\r\r\n\n\r", "\r\r\n\n\r"),
        ];
        for (spelling, meaning) in spellings {
            for before in 0..130 {
                for behind in LENGTHS {
                    let (head, tail) = ("a".repeat(before), "b".repeat(behind));
                    let read = unescaped(&[&format!("{head}{spelling}{tail}")]);
                    assert_eq!(read, Ok(format!("{head}{meaning}{tail}")), "{before} {spelling} {behind}");
                }
            }
        }
    }

    #[test]
    fn any_number_of_escapes_in_a_block_is_written_and_read() {
        for special in ["\x1b", "\n", "\""] {
            for (count, before) in (0..130).flat_map(|count| [0, 1, 31, 63].map(|before| (count, before))) {
                let text = format!("{}{}tail", "é".repeat(before), special.repeat(count));
                assert_eq!(escaped(&text), serde_body(&text), "{count} {special:?}");
                assert_eq!(unescaped(&[&serde_body(&text)]), Ok(text), "{count} {special:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_found_at_any_place_of_a_block() {
        let cases = [
            ("", StringError::Unclosed),
            ("\t", StringError::Control),
            ("\0", StringError::Control),
            (r"\x", StringError::Escape),
            (r"\u00", StringError::Escape),
            (r"\u001", StringError::Escape),
            (r"\u00g1", StringError::Escape),
            (r"\u001g", StringError::Escape),
            ("\\", StringError::Escape),
        ];
        for (wrong, error) in cases {
            for before in 0..130 {
                let (mut strings, mut out) = (Unescaper::new(), b"kept".to_vec());
                let input = format!("{}{wrong}", "a".repeat(before));
                assert_eq!(strings.push(&input, &mut out), Err(error), "{before} {wrong:?}");
                let error = if wrong.is_empty() { continue } else { error };
                assert_eq!(strings.push(&format!("{input}zz and more\""), &mut out), Err(error), "{before} {wrong:?}");
                assert_eq!(out, b"kept");
            }
        }
    }

    #[test]
    fn a_pair_cut_in_two_is_one_character() {
        assert_eq!(unescaped(&[r"a\ud83d", r"\ude00b"]).unwrap(), "a😀b");
        assert_eq!(
            unescaped(&[r"\uD83D", "", r"\uDE00"]).unwrap(),
            "😀",
            "an empty body between the halves is nothing"
        );
    }

    #[test]
    fn a_half_that_stays_alone_becomes_a_replacement_character() {
        assert_eq!(unescaped(&[r"a\ud83d", "b"]).unwrap(), "a\u{fffd}b");
        assert_eq!(unescaped(&[r"\ud83d", r"\ud83d", r"\ude00"]).unwrap(), "\u{fffd}😀");
        assert_eq!(unescaped(&[r"\ude00", r"\ud83dx\ud83d\n"]).unwrap(), "\u{fffd}\u{fffd}x\u{fffd}\n");
        assert_eq!(unescaped(&[r"\ud83d"]).unwrap(), "\u{fffd}");
    }

    #[test]
    fn a_body_that_fails_leaves_the_carried_half_for_the_next() {
        let (mut strings, mut out) = (Unescaper::new(), Vec::new());
        strings.push(r#"\ud83d""#, &mut out).unwrap();
        assert_eq!(strings.push("no quote", &mut out), Err(StringError::Unclosed));
        strings.push(r#"\ude00""#, &mut out).unwrap();
        assert_eq!(out, "😀".as_bytes());
    }

    #[test]
    fn a_prefix_is_as_long_as_the_escape_of_every_byte_says() {
        for byte in 0..128_u8 {
            let text = char::from(byte).to_string().repeat(200);
            let each = escaped(&text[..1]).len();
            for limit in [0, each - 1, each, 63 * each, 64 * each, 65 * each, 199 * each + each - 1] {
                assert_eq!(escaped_prefix(&text, limit), limit / each, "{byte:#x}, {limit}");
            }
        }
    }

    #[test]
    fn the_prefix_that_fits_is_the_longest_one() {
        assert_eq!(escaped_prefix("abc", 3), 3);
        assert_eq!(escaped_prefix("abc", 2), 2);
        assert_eq!(escaped_prefix("\x1b[A", 5), 0);
        assert_eq!(escaped_prefix("\x1b[A", 6), 1);
        assert_eq!(escaped_prefix("a€", 3), 1, "the three bytes of the sign stay together");
        assert_eq!(escaped_prefix("a€", 4), 4);
    }

    proptest! {
        #[test]
        fn escaping_equals_serde_json(text in terminal_text()) {
            prop_assert_eq!(escaped(&text), serde_body(&text));
        }

        #[test]
        fn reading_undoes_escaping(text in terminal_text()) {
            prop_assert_eq!(unescaped(&[&serde_body(&text)]).unwrap(), text);
        }

        #[test]
        fn reading_accepts_what_serde_json_accepts(body in r#"([ -~]|\\["\\/bfnrtu]|\\u[0-9a-f]{4}|\PC|[\x00-\x1f"]){0,24}"#) {
            let (mut strings, mut out) = (Unescaper::new(), Vec::new());
            let ours = strings.push(&quoted(&body), &mut out);
            let whole = ours == Ok(body.len());
            match serde_json::from_str::<String>(&format!("\"{body}\"")) {
                Ok(text) => {
                    prop_assert!(whole);
                    prop_assert_eq!(String::from_utf8(out).unwrap(), text);
                }
                // serde_json refuses lone halves in a `String`; as raw bytes it takes them.
                Err(_) => prop_assert_eq!(whole, serde_json::from_str::<&serde_json::value::RawValue>(&format!("\"{body}\"")).is_ok()),
            }
        }

        #[test]
        fn any_units_in_any_split_read_as_the_lossy_whole(
            units in prop::collection::vec(prop_oneof![0xd7f0..0xe010_u16, any::<u16>()], 0..24),
            cut in any::<prop::sample::Index>(),
        ) {
            let spell = |units: &[u16]| units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            let (head, tail) = units.split_at(cut.index(units.len() + 1));
            prop_assert_eq!(unescaped(&[&spell(head), &spell(tail)]).unwrap(), String::from_utf16_lossy(&units));
        }

        #[test]
        fn the_prefix_that_fits_fits_and_one_more_would_not(text in terminal_text(), limit in 0..400_usize) {
            let len = escaped_prefix(&text, limit);
            prop_assert!(escaped(&text[..len]).len() <= limit);
            if let Some(next) = text[len..].chars().next() {
                prop_assert!(escaped(&text[..len + next.len_utf8()]).len() > limit);
            }
        }
    }
}
