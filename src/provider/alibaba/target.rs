//! The target of a PAI-DLC terminal: a pod of a job.

use serde_json::{Map, Value};

const FIELDS: [&str; 3] = ["job_id", "pod_id", "pod_uid"];
const WHAT: &str = "a pai-dlc target has job_id, pod_id and perhaps pod_uid";

/// The longest id, in bytes.
const MAX_ID: usize = 128;

/// A pod, its ids checked: letters, digits, `-`, `_` and `.`, so that none can change the path it is put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PaiDlcTarget {
    pub(super) job_id: String,
    pub(super) pod_id: String,
    /// Tells the pod from an earlier or later one of the same id.
    pub(super) pod_uid: Option<String>,
}

impl PaiDlcTarget {
    /// Reads `{"job_id", "pod_id", "pod_uid"?}`.
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
        let required = |name| id(fields, name)?.ok_or_else(|| format!("{name} is missing in the target: {WHAT}"));
        Ok(Self { job_id: required("job_id")?, pod_id: required("pod_id")?, pod_uid: id(fields, "pod_uid")? })
    }
}

/// Whether a text has the form of an id.
pub(super) fn is_id(text: &str) -> bool {
    text.len() <= MAX_ID
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn id(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if is_id(id) => Ok(Some(id.clone())),
        Some(Value::String(_)) => Err(format!(
            "{name} is not an id: expected 1 to {MAX_ID} letters, digits, '-', '_' or '.', a letter or digit first"
        )),
        Some(_) => Err(format!("{name} is not a string")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_named_by_its_ids() {
        let target = PaiDlcTarget::read(&json!({"job_id": "dlc-1", "pod_id": "dlc-1-worker-0"})).unwrap();
        assert_eq!((target.job_id.as_str(), target.pod_id.as_str()), ("dlc-1", "dlc-1-worker-0"));
        assert_eq!(target.pod_uid, None);
        let pinned = json!({"job_id": "j", "pod_id": "p", "pod_uid": "94a7cc7c-0033"});
        assert_eq!(PaiDlcTarget::read(&pinned).unwrap().pod_uid.as_deref(), Some("94a7cc7c-0033"));
        let longest = "x".repeat(MAX_ID);
        assert!(PaiDlcTarget::read(&json!({"job_id": longest, "pod_id": "p"})).is_ok());
    }

    #[test]
    fn a_mistake_is_told_by_the_fields_name() {
        let wrong = [
            (json!(null), "object"),
            (json!([]), "object"),
            (json!({}), "job_id is missing"),
            (json!({"job_id": "j"}), "pod_id is missing"),
            (json!({"job_id": "j", "pod_id": "p", "jobid": "x"}), "\"jobid\""),
            (json!({"job_id": 7, "pod_id": "p"}), "job_id is not a string"),
            (json!({"job_id": "j", "pod_id": "p", "pod_uid": false}), "pod_uid is not a string"),
        ];
        for (target, words) in wrong {
            let told = PaiDlcTarget::read(&target).unwrap_err();
            assert!(told.contains(words), "{target}: {told}");
        }
        for id in ["", ".", "..", "../x", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\nb", "é", "-a", &"x".repeat(129)] {
            let told = PaiDlcTarget::read(&json!({"job_id": "j", "pod_id": id})).unwrap_err();
            assert!(told.starts_with("pod_id is not an id"), "{id:?}: {told}");
        }
        let told = PaiDlcTarget::read(&json!({"\u{1b}[2J": 1})).unwrap_err();
        assert!(!told.contains('\u{1b}'), "{told}");
    }
}
