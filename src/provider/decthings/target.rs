//! The target of a Decthings terminal: a model, and what the terminal runs in.

use polytty_dialect::decthings::{ExecutionLocation, Gpus, Launch, LauncherSpec};
use serde_json::{Map, Value};

/// The longest id or name, in bytes.
const MAX_ID: usize = 256;

/// The most models whose files a terminal may see besides its own.
const MAX_MODELS: usize = 64;

/// The longest time without input that can be asked for, in seconds: a year.
const MAX_INACTIVE: u32 = 31_536_000;

/// The most processors that can be asked for.
const MAX_CPUS: f64 = 65_536.0;

/// Reads `{"model_id", "execution_location", "add_filesystem_access"?, "terminate_after_inactive_seconds"?}`, in
/// `execution_location` the names of the service's own document.
///
/// # Errors
///
/// A sentence that names the field.
pub(super) fn read(target: &Value) -> Result<Launch, String> {
    let target = Object::of(
        target,
        "the target",
        &["model_id", "execution_location", "add_filesystem_access", "terminate_after_inactive_seconds"],
    )?;
    Ok(Launch {
        model_id: target.required("model_id", id)?,
        execution_location: target.required("execution_location", location)?,
        add_filesystem_access: target.optional("add_filesystem_access", models)?.unwrap_or_default(),
        terminate_after_inactive_seconds: target
            .optional("terminate_after_inactive_seconds", |value, place| seconds(value, place, 1..=MAX_INACTIVE))?,
    })
}

fn location(value: &Value, place: &str) -> Result<ExecutionLocation, String> {
    const TYPES: &str = r#""persistentLauncher" or "temporaryLauncher""#;
    let object = value.as_object().ok_or_else(|| format!("{place} is not an object"))?;
    let kind = object.get("type").ok_or_else(|| format!("{place}.type is missing: expected {TYPES}"))?;
    match kind.as_str() {
        Some("persistentLauncher") => {
            let object = Object::of(value, place, &["type", "persistentLauncherId"])?;
            let persistent_launcher_id = object.required("persistentLauncherId", id)?;
            Ok(ExecutionLocation::PersistentLauncher { persistent_launcher_id })
        }
        Some("temporaryLauncher") => {
            let object = Object::of(value, place, &["type", "spec"])?;
            Ok(ExecutionLocation::TemporaryLauncher { spec: object.required("spec", spec)? })
        }
        _ => Err(format!("{place}.type is not a known one: expected {TYPES}")),
    }
}

fn spec(value: &Value, place: &str) -> Result<LauncherSpec, String> {
    let known = ["cpus", "memoryMebibytes", "diskMebibytes", "swapMebibytes", "gpus"];
    let spec = Object::of(value, place, &known)?;
    let some = |value: &Value, place: &str| number(value, place, 1..=u32::MAX);
    Ok(LauncherSpec {
        cpus: spec.required("cpus", cpus)?,
        memory_mebibytes: spec.required("memoryMebibytes", some)?,
        disk_mebibytes: spec.optional("diskMebibytes", some)?,
        swap_mebibytes: spec.optional("swapMebibytes", |value, place| number(value, place, 0..=u32::MAX))?,
        gpus: spec.optional("gpus", gpus)?,
    })
}

fn gpus(value: &Value, place: &str) -> Result<Gpus, String> {
    let gpus = Object::of(value, place, &["model", "count"])?;
    let count = |value: &Value, place: &str| number(value, place, 1..=1024);
    Ok(Gpus { model: gpus.required("model", text)?, count: gpus.required("count", count)? })
}

/// A positive number, perhaps a fraction, passed on as it was written.
fn cpus(value: &Value, place: &str) -> Result<serde_json::Number, String> {
    match value {
        Value::Number(cpus) if cpus.as_f64().is_some_and(|cpus| cpus > 0.0 && cpus <= MAX_CPUS) => Ok(cpus.clone()),
        _ => Err(format!("{place} is not a number above 0, such as 0.5 or 2")),
    }
}

/// Ids in a list, each by itself or, as the service's document has it, in an object under `modelId`.
fn models(value: &Value, place: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{place} is not a list of at most {MAX_MODELS} model ids");
    let models = value.as_array().filter(|models| models.len() <= MAX_MODELS).ok_or_else(wrong)?;
    let model = |(at, model): (usize, &Value)| {
        let place = format!("{place}[{at}]");
        match model {
            Value::Object(_) => Object::of(model, &place, &["modelId"])?.required("modelId", id),
            _ => id(model, &place),
        }
    };
    models.iter().enumerate().map(model).collect()
}

/// An id: visible ASCII, so that it can be repeated in a sentence.
fn id(value: &Value, place: &str) -> Result<String, String> {
    let id = value.as_str().ok_or_else(|| format!("{place} is not a string"))?;
    let is_right = (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'<' | b'>'));
    if is_right {
        Ok(id.to_owned())
    } else {
        Err(format!("{place} is not an id: expected 1 to {MAX_ID} ASCII letters, digits and signs, no spaces"))
    }
}

/// A name that may have spaces, such as that of a graphics processor.
fn text(value: &Value, place: &str) -> Result<String, String> {
    match value.as_str() {
        Some(text) if (1..=MAX_ID).contains(&text.len()) && !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err(format!("{place} is not a string of 1 to {MAX_ID} bytes")),
    }
}

/// A whole number, or the same as text, which is what a command line has.
fn seconds(value: &Value, place: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    match value.as_str().map(str::parse::<u32>) {
        Some(Ok(seconds)) => number(&seconds.into(), place, range),
        _ => number(value, place, range),
    }
}

fn number(value: &Value, place: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{place} is not a whole number from {} to {}", range.start(), range.end()))
}

/// An object with its place in the target, all fields of which are known.
struct Object<'a> {
    fields: &'a Map<String, Value>,
    /// What stands before a field's name; nothing for the target itself.
    prefix: String,
}

impl<'a> Object<'a> {
    fn of(value: &'a Value, place: &str, known: &[&str]) -> Result<Self, String> {
        let fields = value.as_object().ok_or_else(|| format!("{place} is not an object"))?;
        if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            let unknown: String = unknown.chars().take(40).collect();
            return Err(format!("unknown field {unknown:?} in {place}: expected {}", known.join(", ")));
        }
        let prefix = if place == "the target" { String::new() } else { format!("{place}.") };
        Ok(Self { fields, prefix })
    }

    fn required<T>(&self, name: &str, read: impl FnOnce(&Value, &str) -> Result<T, String>) -> Result<T, String> {
        self.optional(name, read)?.ok_or_else(|| format!("{}{name} is missing in the target", self.prefix))
    }

    /// A field that need not be there; null counts as not there.
    fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let value = self.fields.get(name).filter(|value| !value.is_null());
        value.map(|value| read(value, &format!("{}{name}", self.prefix))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_locations_and_all_options_are_read() {
        let location = json!({"type": "persistentLauncher", "persistentLauncherId": "p-1"});
        let launch = read(&json!({"model_id": "m", "execution_location": location})).unwrap();
        assert_eq!((launch.model_id.as_str(), launch.terminate_after_inactive_seconds), ("m", None));
        assert!(launch.add_filesystem_access.is_empty());
        assert_eq!(serde_json::to_value(&launch.execution_location).unwrap(), location);

        let location = json!({"type": "temporaryLauncher", "spec": {
            "cpus": 0.5, "memoryMebibytes": 512, "diskMebibytes": 1024, "swapMebibytes": 0,
            "gpus": {"model": "A100 80GB", "count": 2},
        }});
        let launch = read(&json!({
            "model_id": "m", "execution_location": location,
            "add_filesystem_access": ["x", {"modelId": "y"}], "terminate_after_inactive_seconds": 60,
        }))
        .unwrap();
        assert_eq!(launch.add_filesystem_access, ["x", "y"]);
        assert_eq!(launch.terminate_after_inactive_seconds, Some(60));
        assert_eq!(serde_json::to_value(&launch.execution_location).unwrap(), location);
        let least = json!({"type": "temporaryLauncher", "spec": {"cpus": 2, "memoryMebibytes": 512}});
        let launch = read(&json!({"model_id": "m", "execution_location": least, "add_filesystem_access": null,
            "terminate_after_inactive_seconds": "60"}));
        assert_eq!(launch.as_ref().unwrap().terminate_after_inactive_seconds, Some(60));
        assert_eq!(serde_json::to_value(&launch.unwrap().execution_location).unwrap(), least);
    }

    #[test]
    fn a_mistake_is_told_by_the_fields_name() {
        let here = json!({"type": "persistentLauncher", "persistentLauncherId": "p"});
        let at = |location: Value| json!({"model_id": "m", "execution_location": location});
        let made_of = |spec: Value| at(json!({"type": "temporaryLauncher", "spec": spec}));
        let with = |field: &str, value: Value| json!({"model_id": "m", "execution_location": here, field: value});
        for (target, words) in [
            (json!([]), "the target is not an object"),
            (json!({}), "model_id is missing"),
            (json!({"model_id": "m"}), "execution_location is missing"),
            (json!({"model_id": 7, "execution_location": here}), "model_id is not a string"),
            (json!({"model_id": "", "execution_location": here}), "model_id is not an id"),
            (json!({"model_id": "a b", "execution_location": here}), "model_id is not an id"),
            (json!({"model_id": "m".repeat(257), "execution_location": here}), "model_id is not an id"),
            (with("modelId", json!("m")), "unknown field \"modelId\" in the target: expected model_id, "),
            (at(json!("p")), "execution_location is not an object"),
            (at(json!({})), "execution_location.type is missing"),
            (at(json!({"type": "launcher"})), "execution_location.type is not a known one"),
            (at(json!({"type": "persistentLauncher"})), "execution_location.persistentLauncherId is missing"),
            (
                at(json!({"type": "persistentLauncher", "persistentLauncherId": "p", "spec": {}})),
                "unknown field \"spec\" in execution_location",
            ),
            (at(json!({"type": "temporaryLauncher"})), "execution_location.spec is missing"),
            (made_of(json!({"memoryMebibytes": 1})), "execution_location.spec.cpus is missing"),
            (made_of(json!({"cpus": 0, "memoryMebibytes": 1})), "spec.cpus is not a number above 0"),
            (made_of(json!({"cpus": "1", "memoryMebibytes": 1})), "spec.cpus is not a number above 0"),
            (made_of(json!({"cpus": 1, "memoryMebibytes": 1.5})), "spec.memoryMebibytes is not a whole number"),
            (made_of(json!({"cpus": 1, "memoryMebibytes": 1, "disk": 1})), "unknown field \"disk\" in execution_"),
            (made_of(json!({"cpus": 1, "memoryMebibytes": 1, "gpus": {"model": "L4"}})), "spec.gpus.count is missing"),
            (with("add_filesystem_access", json!("x")), "add_filesystem_access is not a list"),
            (with("add_filesystem_access", json!(["x", 7])), "add_filesystem_access[1] is not a string"),
            (
                with("add_filesystem_access", json!([{"model": "x"}])),
                "unknown field \"model\" in add_filesystem_access[0]",
            ),
            (with("add_filesystem_access", json!(vec!["x"; 65])), "a list of at most 64"),
            (with("terminate_after_inactive_seconds", json!(0)), "terminate_after_inactive_seconds is not a whole"),
            (with("terminate_after_inactive_seconds", json!("0")), "terminate_after_inactive_seconds is not a whole"),
            (with("terminate_after_inactive_seconds", json!("30m")), "terminate_after_inactive_seconds is not a whole"),
        ] {
            let told = read(&target).unwrap_err();
            assert!(told.contains(words), "{target}: {told}");
        }
        let told = read(&json!({"\u{1b}[2J": 1})).unwrap_err();
        assert!(!told.contains('\u{1b}'), "{told}");
    }
}
