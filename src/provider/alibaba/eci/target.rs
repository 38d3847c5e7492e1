//! The target of an ECI terminal: a command in a container of a container group.

use serde_json::{Map, Value};

use super::super::target::is_id;

const FIELDS: [&str; 4] = ["container_group_id", "container_name", "command", "tty"];
const WHAT: &str = "an eci target has container_group_id, container_name and perhaps command and tty";

/// What runs where the target names no command.
const DEFAULT_COMMAND: &str = "/bin/sh";

/// The most words of a command (ExecContainerCommand, "Command").
const MAX_WORDS: usize = 20;

/// The longest command, in bytes of the JSON that it is sent as. No page says so; clients of the service do.
const MAX_COMMAND: usize = 2048;

/// The longest word that the page allows, in characters. Longer ones have been seen to pass.
pub(super) const MAX_WORD: usize = 256;

/// A container and what to run in it, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EciTarget {
    pub(super) group: String,
    pub(super) container: String,
    /// A JSON array of strings, as the API takes it.
    pub(super) command: String,
    pub(super) tty: bool,
    /// A word is longer than the page allows.
    pub(super) has_long_word: bool,
}

impl EciTarget {
    /// Reads `{"container_group_id", "container_name", "command"?, "tty"?}`; the command is `["/bin/sh"]` and the
    /// TTY there unless the target says otherwise.
    ///
    /// # Errors
    ///
    /// A sentence that names the field.
    pub(super) fn read(target: &Value) -> Result<Self, String> {
        let fields = target.as_object().ok_or_else(|| format!("the target is not an object: {WHAT}"))?;
        if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(format!("unknown field {unknown:?} in the target: {WHAT}"));
        }
        let (group, container) = (id(fields, "container_group_id")?, id(fields, "container_name")?);
        let words = command(fields)?;
        let tty = match fields.get("tty") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(tty)) => *tty,
            Some(_) => return Err("tty is neither true nor false".to_owned()),
        };
        if !tty && words == ["/bin/bash"] {
            return Err("tty must be true for the command /bin/bash".to_owned());
        }
        let command = Value::from(words.clone()).to_string();
        if command.len() > MAX_COMMAND {
            return Err(format!("command is too long: {} bytes of JSON, and {MAX_COMMAND} at most", command.len()));
        }
        let has_long_word = words.iter().any(|word| word.chars().count() > MAX_WORD);
        Ok(Self { group, container, command, tty, has_long_word })
    }
}

fn id(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Err(format!("{name} is missing in the target: {WHAT}")),
        Some(Value::String(id)) if is_id(id) => Ok(id.clone()),
        Some(Value::String(_)) => Err(format!(
            "{name} is not a name: expected 1 to 128 letters, digits, '-', '_' or '.', a letter or digit first"
        )),
        Some(_) => Err(format!("{name} is not a string")),
    }
}

fn command(fields: &Map<String, Value>) -> Result<Vec<&str>, String> {
    let Some(command) = fields.get("command").filter(|command| !command.is_null()) else {
        return Ok(vec![DEFAULT_COMMAND]);
    };
    let words: Option<Vec<&str>> = command.as_array().and_then(|words| words.iter().map(Value::as_str).collect());
    let words = words.ok_or("command is not an array of strings, a program and its arguments")?;
    match words.as_slice() {
        [] | ["", ..] => Err("command names no program".to_owned()),
        many if many.len() > MAX_WORDS => {
            Err(format!("command has too many items: {}, and {MAX_WORDS} at most", many.len()))
        }
        some if some.iter().any(|word| word.contains('\0')) => {
            Err("command has a NUL character, which no program can be given".to_owned())
        }
        _ => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(command: Value) -> Result<EciTarget, String> {
        EciTarget::read(&json!({"container_group_id": "eci-1", "container_name": "nginx", "command": command}))
    }

    #[test]
    fn a_container_is_named_and_gets_a_shell_with_a_tty() {
        let target = EciTarget::read(&json!({"container_group_id": "eci-2zeb", "container_name": "nginx"})).unwrap();
        assert_eq!((target.group.as_str(), target.container.as_str()), ("eci-2zeb", "nginx"));
        assert_eq!((target.command.as_str(), target.tty, target.has_long_word), (r#"["/bin/sh"]"#, true, false));
        let target = EciTarget::read(&json!({
            "container_group_id": "e", "container_name": "n", "command": ["sh", "-c", "echo \"ä\"\n"], "tty": false
        }));
        let target = target.unwrap();
        assert_eq!((target.command.as_str(), target.tty), (r#"["sh","-c","echo \"ä\"\n"]"#, false));
    }

    #[test]
    fn a_command_is_refused_above_its_limits_and_not_at_them() {
        assert!(read(json!(vec!["x"; 20])).is_ok());
        assert!(read(json!(vec!["x"; 21])).unwrap_err().starts_with("command has too many items: 21,"));
        // The brackets, and quotes around the one item.
        assert!(read(json!(["x".repeat(2044)])).is_ok());
        assert!(read(json!(["x".repeat(2045)])).unwrap_err().starts_with("command is too long: 2049 bytes"));
        assert!(!read(json!(["é".repeat(256)])).unwrap().has_long_word);
        assert!(read(json!(["é".repeat(257)])).unwrap().has_long_word);
    }

    #[test]
    fn a_mistake_is_told_by_the_fields_name() {
        for (target, words) in [
            (json!(null), "object"),
            (json!({}), "container_group_id is missing"),
            (json!({"container_group_id": "e"}), "container_name is missing"),
            (json!({"container_group_id": 7, "container_name": "n"}), "container_group_id is not a string"),
            (json!({"container_group_id": "e", "container_name": "a/b"}), "container_name is not a name"),
            (json!({"container_group_id": "e", "container_name": "n", "pod": 1}), "\"pod\""),
            (json!({"container_group_id": "e", "container_name": "n", "tty": "yes"}), "tty is neither"),
            (
                json!({"container_group_id": "e", "container_name": "n", "tty": false, "command": ["/bin/bash"]}),
                "tty must be true",
            ),
        ] {
            let told = EciTarget::read(&target).unwrap_err();
            assert!(told.contains(words), "{target}: {told}");
        }
        for command in [json!("ls"), json!([1]), json!([]), json!([""]), json!(["a\0"])] {
            assert!(read(command.clone()).unwrap_err().starts_with("command "), "{command}");
        }
    }
}
