//! The target of an Oblien terminal: a workspace, and what to run or attach to there.

use polytty_dialect::oblien::TerminalId;
use serde_json::{Map, Value};

const FIELDS: [&str; 4] = ["workspace", "runtime", "command", "terminal"];
const WHAT: &str = "an oblien target has workspace (unless the provider is configured with one), and perhaps runtime, \
                    and command or terminal";

/// The longest id of a workspace, in bytes.
const MAX_ID: usize = 128;

/// The most words of a command, and the most bytes of all together.
const MAX_WORDS: usize = 64;
const MAX_COMMAND: usize = 8192;

/// The runtime that a path without a name leads to.
const DEFAULT_RUNTIME: &str = "default";

/// A terminal to open, every part of it fit for a path or a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OblienTarget {
    pub(super) place: Place,
    pub(super) what: What,
}

/// Where terminals share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// `None` where the configured token alone says which workspace it is.
    pub(super) workspace: Option<String>,
    /// `None` for the default one.
    pub(super) runtime: Option<String>,
}

/// What to do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Make a terminal; an empty command leaves the choice to the workspace.
    Create(Vec<String>),
    /// Take over one that is there.
    Attach(TerminalId),
}

/// Which workspaces a configuration can reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    /// The configured one.
    pub(super) workspace: Option<&'a str>,
    /// Whether a target may name another.
    pub(super) any: bool,
}

impl OblienTarget {
    /// Reads `{"workspace"?, "runtime"?, "command"?, "terminal"?}`.
    ///
    /// # Errors
    ///
    /// A sentence that names the field.
    pub(super) fn read(target: &Value, reach: Reach<'_>) -> Result<Self, String> {
        let fields = target.as_object().ok_or_else(|| format!("the target is not an object: {WHAT}"))?;
        if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(format!("unknown field {unknown:?} in the target: {WHAT}"));
        }
        let what = match (terminal(fields)?, command(fields)?) {
            (None, command) => What::Create(command.unwrap_or_default()),
            (Some(id), None) => What::Attach(id),
            (Some(_), Some(_)) => {
                return Err("command and terminal exclude each other: a terminal that is there has its command".into());
            }
        };
        Ok(Self { place: Place { workspace: workspace(fields, reach)?, runtime: runtime(fields)? }, what })
    }
}

/// Whether a text has the form of a workspace's id, so that it cannot change the path it is put into.
pub(crate) fn is_workspace(text: &str) -> bool {
    text.len() <= MAX_ID
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn workspace(fields: &Map<String, Value>, reach: Reach<'_>) -> Result<Option<String>, String> {
    let configured = || reach.workspace.map(str::to_owned);
    match text(fields, "workspace")? {
        None if reach.workspace.is_none() && reach.any => Err(format!("workspace is missing in the target: {WHAT}")),
        None => Ok(configured()),
        Some(id) if !is_workspace(id) => Err(format!(
            "workspace is not an id: expected 1 to {MAX_ID} letters, digits, '-', '_' or '.', a letter or digit first"
        )),
        Some(id) if reach.any || reach.workspace == Some(id) => Ok(Some(id.to_owned())),
        Some(_) => Err("workspace is not the one that this provider's token is configured for; leave it out".into()),
    }
}

/// `^[a-z][a-z0-9_-]{0,63}$`, as the runtime's server takes it.
fn runtime(fields: &Map<String, Value>) -> Result<Option<String>, String> {
    let Some(name) = text(fields, "runtime")? else { return Ok(None) };
    let is_right = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if !is_right {
        return Err("runtime is not a runtime's name: expected a lower-case letter, then at most 63 lower-case \
                    letters, digits, '_' or '-'"
            .into());
    }
    Ok((name != DEFAULT_RUNTIME).then(|| name.to_owned()))
}

fn command(fields: &Map<String, Value>) -> Result<Option<Vec<String>>, String> {
    let words = match fields.get("command") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(words)) => words,
        Some(_) => return Err("command is not an array of strings".into()),
    };
    let words: Option<Vec<_>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
    let words = words.ok_or("command is not an array of strings")?;
    if words.first().is_none_or(String::is_empty) {
        return Err("command names no program".into());
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("command has a NUL character, which no program can be given".into());
    }
    if words.len() > MAX_WORDS || words.iter().map(String::len).sum::<usize>() > MAX_COMMAND {
        return Err(format!("command is too long: at most {MAX_WORDS} words and {MAX_COMMAND} bytes"));
    }
    Ok(Some(words))
}

fn terminal(fields: &Map<String, Value>) -> Result<Option<TerminalId>, String> {
    let wrong = || "terminal is not a terminal's id: expected a whole number from 0 to 255, such as \"1\"".to_owned();
    match fields.get("terminal") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => TerminalId::parse(id).map(Some).ok_or_else(wrong),
        Some(Value::Number(id)) => TerminalId::parse(&id.to_string()).map(Some).ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a string")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ANY: Reach<'static> = Reach { workspace: None, any: true };

    fn wrong(target: &Value, reach: Reach<'_>) -> String {
        OblienTarget::read(target, reach).expect_err(&target.to_string())
    }

    #[test]
    fn a_terminal_is_made_unless_one_is_named() {
        let target = OblienTarget::read(&json!({"workspace": "ws_a1"}), ANY).unwrap();
        assert_eq!(target.place, Place { workspace: Some("ws_a1".into()), runtime: None });
        assert_eq!(target.what, What::Create(Vec::new()));
        let target =
            OblienTarget::read(&json!({"workspace": "ws", "runtime": "macos", "command": ["/bin/sh", "-c", ""]}), ANY);
        let target = target.unwrap();
        assert_eq!(target.place.runtime.as_deref(), Some("macos"));
        assert_eq!(target.what, What::Create(vec!["/bin/sh".into(), "-c".into(), String::new()]));
        for id in [json!("7"), json!(7)] {
            let target = OblienTarget::read(&json!({"workspace": "ws", "terminal": id}), ANY).unwrap();
            assert_eq!(target.what, What::Attach(TerminalId::new(7)));
        }
    }

    #[test]
    fn the_default_runtime_by_its_name_is_the_same_place() {
        let named = OblienTarget::read(&json!({"workspace": "ws", "runtime": "default"}), ANY).unwrap();
        assert_eq!(named.place, OblienTarget::read(&json!({"workspace": "ws"}), ANY).unwrap().place);
    }

    #[test]
    fn a_configured_workspace_need_not_be_named_and_a_token_reaches_no_other() {
        let reach = Reach { workspace: Some("ws_1"), any: true };
        let place = |target: Value, reach| OblienTarget::read(&target, reach).unwrap().place.workspace;
        assert_eq!(place(json!({}), reach).as_deref(), Some("ws_1"));
        assert_eq!(place(json!({"workspace": "ws_2"}), reach).as_deref(), Some("ws_2"));
        let reach = Reach { workspace: Some("ws_1"), any: false };
        assert_eq!(place(json!({"workspace": "ws_1"}), reach), place(json!({}), reach));
        assert!(wrong(&json!({"workspace": "ws_2"}), reach).starts_with("workspace is not the one"));
        let reach = Reach { workspace: None, any: false };
        assert_eq!(place(json!({}), reach), None);
        assert!(wrong(&json!({"workspace": "ws_2"}), reach).starts_with("workspace is not the one"));
    }

    #[test]
    fn a_mistake_is_told_by_the_fields_name() {
        let cases = [
            (json!(null), "object"),
            (json!({}), "workspace is missing"),
            (json!({"workspace": 7}), "workspace is not a string"),
            (json!({"workspace": "w", "terminals": "1"}), "\"terminals\""),
            (json!({"workspace": "w", "runtime": "MacOS"}), "runtime is not"),
            (json!({"workspace": "w", "runtime": "a/b"}), "runtime is not"),
            (json!({"workspace": "w", "runtime": ""}), "runtime is not"),
            (json!({"workspace": "w", "runtime": "a".repeat(65)}), "runtime is not"),
            (json!({"workspace": "w", "command": "sh"}), "command is not"),
            (json!({"workspace": "w", "command": ["sh", 1]}), "command is not"),
            (json!({"workspace": "w", "command": []}), "command names no program"),
            (json!({"workspace": "w", "command": [""]}), "command names no program"),
            (json!({"workspace": "w", "command": ["a\u{0}"]}), "command has a NUL"),
            (json!({"workspace": "w", "command": vec!["a"; 65]}), "command is too long"),
            (json!({"workspace": "w", "command": ["a".repeat(8193)]}), "command is too long"),
            (json!({"workspace": "w", "terminal": "01"}), "terminal is not"),
            (json!({"workspace": "w", "terminal": 256}), "terminal is not"),
            (json!({"workspace": "w", "terminal": 1.5}), "terminal is not"),
            (json!({"workspace": "w", "terminal": true}), "terminal is not"),
            (json!({"workspace": "w", "terminal": "1", "command": ["sh"]}), "command and terminal"),
        ];
        for (target, words) in cases {
            let told = wrong(&target, ANY);
            assert!(told.contains(words), "{target}: {told}");
        }
        for id in ["", ".", "..", "../x", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\nb", "é", "-a", &"x".repeat(129)] {
            assert!(wrong(&json!({"workspace": id}), ANY).starts_with("workspace is not an id"), "{id:?}");
        }
        assert!(OblienTarget::read(&json!({"workspace": "w", "command": vec!["a"; 64]}), ANY).is_ok());
        assert!(OblienTarget::read(&json!({"workspace": "w", "command": ["a".repeat(8192)]}), ANY).is_ok());
        assert!(OblienTarget::read(&json!({"workspace": "w", "runtime": "a".repeat(64)}), ANY).is_ok());
    }
}
