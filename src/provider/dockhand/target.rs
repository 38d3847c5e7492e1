//! The target of a Dockhand terminal: a shell in a container of an environment.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

const FIELDS: [&str; 4] = ["container", "environment", "shell", "user"];
const WHAT: &str = "a dockhand target has container, environment and perhaps shell and user";

/// What runs, and as whom, where the target does not say.
const DEFAULT_SHELL: &str = "/bin/sh";
const DEFAULT_USER: &str = "root";

/// The longest container name, shell or user, in bytes.
const MAX_LEN: usize = 255;

/// What a value of a query is encoded by: everything but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A container and what to run in it, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DockhandTarget {
    /// A name or an id of Docker's. It is put into the path as it is, since Dockhand does not decode it there.
    pub(super) container: String,
    pub(super) environment: u32,
    pub(super) shell: String,
    pub(super) user: String,
}

impl DockhandTarget {
    /// Reads `{"container", "environment", "shell"?, "user"?}`. The environment may be written as a string of digits.
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
        let container = text(fields, "container")?.ok_or_else(|| missing("container"))?;
        if !is_container(container) {
            return Err(format!(
                "container is not a name or id of Docker's: expected 1 to {MAX_LEN} letters, digits, '-', '_' or '.', a \
                 letter or digit first, and no '..'"
            ));
        }
        Ok(Self {
            container: container.to_owned(),
            environment: environment(fields)?,
            shell: argument(fields, "shell", DEFAULT_SHELL)?,
            user: argument(fields, "user", DEFAULT_USER)?,
        })
    }

    /// The path of the terminal's WebSocket, which is also that of an exec instance, as it goes on the wire.
    pub(super) fn exec_path(&self) -> String {
        format!("/api/containers/{}/exec", self.container)
    }

    /// The query of the terminal's WebSocket.
    pub(super) fn query(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        format!("shell={}&user={}&envId={}", encode(&self.shell), encode(&self.user), self.environment)
    }
}

fn missing(name: &str) -> String {
    format!("{name} is missing in the target: {WHAT}")
}

/// The names that Docker allows. Dockhand looks for `..`, `/`, `\`, `%` and NUL, and so none of them is in here.
fn is_container(text: &str) -> bool {
    text.len() <= MAX_LEN
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !text.contains("..")
}

fn environment(fields: &Map<String, Value>) -> Result<u32, String> {
    let number = match fields.get("environment") {
        None | Some(Value::Null) => return Err(missing("environment")),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
    };
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| "environment is not the number of an environment, from 1 on".to_owned())
}

fn argument(fields: &Map<String, Value>, name: &str, default: &str) -> Result<String, String> {
    match text(fields, name)? {
        None => Ok(default.to_owned()),
        Some(text) if (1..=MAX_LEN).contains(&text.len()) && !text.contains(char::is_control) => Ok(text.to_owned()),
        Some(_) => Err(format!("{name} is not 1 to {MAX_LEN} bytes long, or has control characters")),
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

    #[test]
    fn a_container_is_named_and_gets_a_shell_as_root() {
        let target = DockhandTarget::read(&json!({"container": "web.1_a-b", "environment": 3})).unwrap();
        assert_eq!(target.exec_path(), "/api/containers/web.1_a-b/exec");
        assert_eq!(target.query(), "shell=%2Fbin%2Fsh&user=root&envId=3");
        let target =
            json!({"container": "c0ffee", "environment": "12", "shell": "/opt/a b/sh&x=#é", "user": "1000:1000"});
        let target = DockhandTarget::read(&target).unwrap();
        assert_eq!(target.query(), "shell=%2Fopt%2Fa%20b%2Fsh%26x%3D%23%C3%A9&user=1000%3A1000&envId=12");
    }

    #[test]
    fn a_container_that_dockhand_would_misread_is_refused_before_it_is_asked() {
        for container in ["", "..", "a..b", "a/b", "a\\b", "a%2fb", "a\0b", "a b", "a?b", "a#b", "é", ".a", "-a"] {
            let told = DockhandTarget::read(&json!({"container": container, "environment": 1})).unwrap_err();
            assert!(told.starts_with("container is not a name"), "{container:?}: {told}");
        }
        for (len, is_right) in [(MAX_LEN, true), (MAX_LEN + 1, false)] {
            let target = json!({"container": "x".repeat(len), "environment": 1});
            assert_eq!(DockhandTarget::read(&target).is_ok(), is_right);
        }
    }

    #[test]
    fn a_mistake_is_told_by_the_fields_name() {
        for (target, words) in [
            (json!([]), "object"),
            (json!({}), "container is missing"),
            (json!({"container": "c"}), "environment is missing"),
            (json!({"container": 7, "environment": 1}), "container is not a string"),
            (json!({"container": "c", "environment": 0}), "environment is not the number"),
            (json!({"container": "c", "environment": -1}), "environment is not the number"),
            (json!({"container": "c", "environment": 1.5}), "environment is not the number"),
            (json!({"container": "c", "environment": ""}), "environment is not the number"),
            (json!({"container": "c", "environment": "+1"}), "environment is not the number"),
            (json!({"container": "c", "environment": 4294967296_u64}), "environment is not the number"),
            (json!({"container": "c", "environment": 1, "shell": ""}), "shell is not 1 to"),
            (json!({"container": "c", "environment": 1, "shell": ["sh"]}), "shell is not a string"),
            (json!({"container": "c", "environment": 1, "user": "a\r\n"}), "user is not 1 to"),
            (json!({"container": "c", "environment": 1, "env": 1}), "\"env\""),
        ] {
            let told = DockhandTarget::read(&target).unwrap_err();
            assert!(told.contains(words), "{target}: {told}");
        }
    }
}
