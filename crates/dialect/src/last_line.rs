//! The last words to a client whose dialect has none for an error.

/// The longest message that is shown, in bytes. It is cut on a character boundary.
pub(crate) const MAX_MESSAGE: usize = 512;

/// Hands on a line of plain terminal text that says `message`: on a line of its own, and without control characters,
/// so that words from elsewhere cannot steer the terminal. Each of those becomes a space.
pub(crate) fn last_line(message: &str, mut text: impl FnMut(&str)) {
    text("\r\n");
    let message = &message[..message.floor_char_boundary(MAX_MESSAGE)];
    for (nth, words) in message.split(char::is_control).enumerate() {
        if nth > 0 {
            text(" ");
        }
        text(words);
    }
    text("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> String {
        let mut out = String::new();
        last_line(message, |text| out.push_str(text));
        out
    }

    #[test]
    fn controls_do_not_reach_the_terminal() {
        assert_eq!(line("gone\x1b[2J\u{9b}0m\x07\r\nbye"), "\r\ngone [2J 0m   bye\r\n");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = line(&format!("{}€uro", "x".repeat(MAX_MESSAGE - 1)));
        assert_eq!(long, format!("\r\n{}\r\n", "x".repeat(MAX_MESSAGE - 1)));
    }
}
