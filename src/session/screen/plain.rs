//! Makes what the terminal model writes down fit for every terminal.
//!
//! The model spells colours with colons and without a colour space (`38:2:r:g:b`), which ISO 8613-6 (13.1.8) does not
//! know and xterm.js takes for another colour; and it repeats characters by REP, which not every terminal knows. Both
//! are said in the older way here.

/// The same output, without what some terminals do not know or take for something else.
pub(super) fn plain(dump: &str) -> String {
    let mut plain = String::with_capacity(dump.len());
    let mut printed = None;
    let mut rest = dump;
    while let Some(at) = rest.find('\x1b') {
        let (text, sequence) = rest.split_at(at);
        plain.push_str(text);
        printed = text.chars().next_back().or(printed);
        let length = length_of(sequence);
        let (sequence, behind) = sequence.split_at(length);
        let body = sequence.strip_prefix("\x1b[");
        if let Some(parameters) = body.and_then(|body| body.strip_suffix('m')) {
            let parameters: Vec<_> = parameters.split(';').map(color).collect();
            plain.push_str(&format!("\x1b[{}m", parameters.join(";")));
        } else if let (Some(count), Some(printed)) = (body.and_then(|body| body.strip_suffix('b')), printed) {
            let count = count.parse::<usize>().unwrap_or(1).max(1);
            plain.extend(std::iter::repeat_n(printed, count));
        } else {
            plain.push_str(sequence);
        }
        rest = behind;
    }
    plain.push_str(rest);
    plain
}

/// Length of the control sequence that this begins with (ECMA-48, section 5.4), or of what is there of one. Of any
/// other escape sequence, only ESC: none of what follows it is an ESC.
fn length_of(sequence: &str) -> usize {
    if !sequence.starts_with("\x1b[") {
        return 1;
    }
    let end = sequence[2..].find(|c: char| !(' '..='?').contains(&c));
    end.map_or(sequence.len(), |end| 2 + end + sequence[2 + end..].chars().next().map_or(0, char::len_utf8))
}

/// One parameter of SGR, spelled with semicolons if it is a colour.
fn color(parameter: &str) -> String {
    match parameter.split(':').collect::<Vec<_>>()[..] {
        [ground @ ("38" | "48"), "2", r, g, b] | [ground @ ("38" | "48"), "2", _, r, g, b] => {
            format!("{ground};2;{r};{g};{b}")
        }
        [ground @ ("38" | "48"), "5", index] => format!("{ground};5;{index}"),
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn colours_are_spelled_as_every_terminal_knows_them() {
        for (dumped, expected) in [
            ("\x1b[0;38:2:1:2:3;48:5:99;1mx", "\x1b[0;38;2;1;2;3;48;5;99;1mx"),
            ("\x1b[48:2::7:8:9m", "\x1b[48;2;7;8;9m"),
            ("\x1b[m\x1b[31;4:3m38:2:1:2:3m", "\x1b[m\x1b[31;4:3m38:2:1:2:3m"),
        ] {
            assert_eq!(plain(dumped), expected);
        }
    }

    #[test]
    fn what_is_repeated_is_written_out() {
        assert_eq!(plain("a\u{4e16}\x1b[3bz"), "a\u{4e16}\u{4e16}\u{4e16}\u{4e16}z");
        assert_eq!(plain(" \x1b[0m\x1b[2bx\x1b[b"), " \x1b[0m  xx", "looks may change in between");
        assert_eq!(plain("\x1b[5b"), "\x1b[5b");
    }

    #[test]
    fn all_else_stays_as_it_is_also_what_is_unfinished() {
        for same in [
            "",
            "text",
            "\x1b[?1049h\x1b[5;5H\x1b7\x1b(0q\x1b(B",
            "x\x1b",
            "x\x1b[",
            "x\x1b[38:2:1",
            "\x1b[3\u{e4}",
            "\x1b]0;t",
        ] {
            assert_eq!(plain(same), same);
        }
    }
}
