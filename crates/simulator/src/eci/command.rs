//! What is to be executed: the parameters `Command`, `TTY`, `Stdin` and `Sync` of ExecContainerCommand.

use crate::{alibaba::ApiError, web::Query};

/// Items of a command.
const MAX_ITEMS: usize = 20;
/// Bytes of `Command`. An item is documented to have at most 256 characters, yet clients send longer ones.
const MAX_BYTES: usize = 2_048;

/// What a terminal link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exec {
    /// The program and its arguments; at least one word.
    pub(super) command: Vec<String>,
    /// Whether it gets a terminal.
    pub(super) tty: bool,
    /// Whether it gets input.
    pub(super) stdin: bool,
    /// Whether the call itself is answered with the output.
    pub(super) sync: bool,
}

impl Exec {
    /// Reads the parameters.
    ///
    /// # Errors
    /// 400 if one is malformed or too long, or if they contradict each other.
    pub(super) fn of(query: &Query) -> Result<Self, ApiError> {
        let command = words(query.get("Command").ok_or_else(|| ApiError::missing("Command"))?)?;
        let exec = Self {
            command,
            tty: boolean(query, "TTY")?.unwrap_or(false),
            stdin: boolean(query, "Stdin")?.unwrap_or(true),
            sync: boolean(query, "Sync")?.unwrap_or(false),
        };
        let is_bash = exec.command == ["/bin/bash"];
        if exec.sync && exec.tty {
            return Err(exceeded("TTY has to be false if Sync is true."));
        }
        if exec.sync && is_bash {
            return Err(exceeded("Command cannot be /bin/bash if Sync is true."));
        }
        if is_bash && !exec.tty {
            return Err(exceeded("TTY has to be true if Command is /bin/bash."));
        }
        Ok(exec)
    }

    /// Whether it is a shell and nothing else: on a terminal that runs the simulator's own.
    pub(super) fn is_shell(&self) -> bool {
        matches!(&self.command[..], [program] if matches!(program.as_str(), "/bin/bash" | "/bin/sh" | "bash" | "sh"))
    }
}

/// 400 `InvalidParameter.ValueExceeded`, the documented code of this action for a parameter that is not valid.
pub(super) fn exceeded(message: impl Into<String>) -> ApiError {
    ApiError::new(http::StatusCode::BAD_REQUEST, "InvalidParameter.ValueExceeded", message.into())
}

/// A boolean in any case: the Python SDK writes `True`, the Node one `true`.
fn boolean(query: &Query, name: &str) -> Result<Option<bool>, ApiError> {
    query.boolean(name).map_err(|()| exceeded(format!("{name} is not a boolean.")))
}

/// The words of a JSON array. Any other text is the name of a program without arguments.
fn words(command: &str) -> Result<Vec<String>, ApiError> {
    if command.len() > MAX_BYTES {
        return Err(exceeded(format!("Command is longer than {MAX_BYTES} bytes.")));
    }
    let words = if command.trim_start().starts_with('[') {
        serde_json::from_str(command).map_err(|_| exceeded("Command is not a JSON array of strings."))?
    } else {
        vec![command.to_owned()]
    };
    if words.len() > MAX_ITEMS {
        return Err(exceeded(format!("Command has more than {MAX_ITEMS} items.")));
    }
    if words.first().is_none_or(String::is_empty) || words.iter().any(|word| word.contains('\0')) {
        return Err(exceeded("Command names no program."));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(pairs: &[(&str, &str)]) -> Result<Exec, String> {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Exec::of(&Query(pairs)).map_err(|error| error.code.into_owned())
    }

    #[test]
    fn a_command_is_a_json_array_or_one_bare_word() {
        let listing = exec(&[("Command", r#"["/bin/sh", "-c", "ls -a"]"#)]).unwrap();
        assert_eq!(listing.command, ["/bin/sh", "-c", "ls -a"]);
        assert_eq!((listing.tty, listing.stdin, listing.sync), (false, true, false));
        assert!(!listing.is_shell());
        let bare = exec(&[("Command", "/bin/bash"), ("TTY", "True"), ("Stdin", "false")]).unwrap();
        assert_eq!((bare.command.as_slice(), bare.tty, bare.stdin), (&["/bin/bash".to_owned()][..], true, false));
        assert!(bare.is_shell());
        for bad in ["[", "[1]", "[]", r#"[""]"#, r#"["a\u0000b"]"#] {
            assert_eq!(exec(&[("Command", bad)]).unwrap_err(), "InvalidParameter.ValueExceeded", "{bad}");
        }
        assert_eq!(exec(&[]).unwrap_err(), "MissingCommand");
        assert_eq!(exec(&[("Command", "ls"), ("TTY", "yes")]).unwrap_err(), "InvalidParameter.ValueExceeded");
    }

    #[test]
    fn a_command_is_bounded_in_items_and_in_bytes() {
        let items = |count: usize| serde_json::to_string(&vec!["x"; count]).unwrap();
        assert_eq!(exec(&[("Command", &items(20))]).unwrap().command.len(), 20);
        assert_eq!(exec(&[("Command", &items(21))]).unwrap_err(), "InvalidParameter.ValueExceeded");
        let bytes = |length: usize| format!(r#"["{}"]"#, "x".repeat(length - 4));
        assert!(exec(&[("Command", &bytes(2_048))]).is_ok(), "an item above 256 characters");
        assert_eq!(exec(&[("Command", &bytes(2_049))]).unwrap_err(), "InvalidParameter.ValueExceeded");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let bash = r#"["/bin/bash"]"#;
        for pairs in [
            &[("Command", "ls"), ("Sync", "true"), ("TTY", "true")][..],
            &[("Command", bash), ("Sync", "true")],
            &[("Command", bash), ("TTY", "false")],
            &[("Command", bash)],
        ] {
            assert_eq!(exec(pairs).unwrap_err(), "InvalidParameter.ValueExceeded", "{pairs:?}");
        }
        assert!(exec(&[("Command", "ls"), ("Sync", "true"), ("TTY", "false")]).unwrap().sync);
    }
}
