//! The parameters of the methods. Unknown members are ignored, as the official clients for Python need it: they leave
//! `data` in the JSON of a write. A member that is null counts as missing.

use std::time::Duration;

use serde_json::{Map, Value};

use super::error::RpcError;

/// How long a session lives without input unless its launch says otherwise.
const INACTIVE_AFTER: u64 = 1_800;
/// Models that one launch may add; the reference names no bound.
const MAX_ACCESS: usize = 64;

const STRING: &str = "It has to be a string.";
const OBJECT: &str = "It has to be an object.";
const SIZE: &str = "Columns and rows have to be integers from 1 to 65535.";
const POSITIVE: &str = "It has to be a positive integer.";

/// The parameters of `launchTerminalSession`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Launch {
    pub(super) model_id: String,
    pub(super) location: Location,
    /// Further models whose files the session may reach.
    pub(super) access: Vec<String>,
    pub(super) inactive_after: Duration,
    pub(super) cols: Option<u16>,
    pub(super) rows: Option<u16>,
    pub(super) subscribe: bool,
}

/// Where a session runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Location {
    /// On the launcher with this id.
    Persistent(String),
    /// On a new launcher with this `LauncherSpec`.
    Temporary(Value),
}

/// The parameters of a call, not yet looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<'a>(&'a Map<String, Value>);

impl<'a> Params<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, RpcError> {
        value.as_object().map(Self).ok_or(RpcError::invalid("params", OBJECT))
    }

    pub(super) fn terminal(self) -> Result<&'a str, RpcError> {
        self.string("terminalSessionId")
    }

    pub(super) fn model(self) -> Result<&'a str, RpcError> {
        self.string("modelId")
    }

    /// The columns and rows of a resize.
    pub(super) fn size(self) -> Result<(u16, u16), RpcError> {
        let size = self.get("size").and_then(Value::as_object).ok_or(RpcError::invalid("size", OBJECT))?;
        let number = |name| size.get(name).and_then(dimension).ok_or(RpcError::invalid("size", SIZE));
        Ok((number("cols")?, number("rows")?))
    }

    /// The sessions that `getTerminalSessions` asks for; `None` for all.
    pub(super) fn terminals(self) -> Result<Option<Vec<&'a str>>, RpcError> {
        const NAME: &str = "terminalSessionIds";
        let Some(ids) = self.get(NAME) else { return Ok(None) };
        let ids = ids.as_array().ok_or(RpcError::invalid(NAME, "It has to be an array of strings."))?;
        let ids = ids.iter().map(|id| id.as_str().ok_or(RpcError::invalid(NAME, "Its items have to be strings.")));
        ids.collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn launch(self) -> Result<Launch, RpcError> {
        let model_id = self.model()?.to_owned();
        let location = self.location()?;
        let subscribe = match self.get("subscribeToEvents") {
            None => true,
            Some(value) => {
                value.as_bool().ok_or(RpcError::invalid("subscribeToEvents", "It has to be true or false."))?
            }
        };
        let none = Map::new();
        let options = match self.get("options") {
            None => Params(&none),
            Some(options) => Params(options.as_object().ok_or(RpcError::invalid("options", OBJECT))?),
        };
        let inactive_after = match options.get("terminateAfterInactiveSeconds") {
            None => INACTIVE_AFTER,
            Some(value) => {
                positive(value).ok_or(RpcError::invalid("options.terminateAfterInactiveSeconds", POSITIVE))?
            }
        };
        Ok(Launch {
            model_id,
            location,
            access: options.access()?,
            inactive_after: Duration::from_secs(inactive_after),
            cols: options.dimension("cols", "options.cols")?,
            rows: options.dimension("rows", "options.rows")?,
            subscribe,
        })
    }

    fn location(self) -> Result<Location, RpcError> {
        let invalid = |reason| RpcError::invalid("executionLocation", reason);
        let location = self.get("executionLocation").and_then(Value::as_object).ok_or(invalid(OBJECT))?;
        match location.get("type").and_then(Value::as_str) {
            Some("persistentLauncher") => {
                let id = location.get("persistentLauncherId").and_then(Value::as_str);
                Ok(Location::Persistent(id.ok_or(invalid("It needs a persistentLauncherId."))?.to_owned()))
            }
            Some("temporaryLauncher") => {
                let spec = location.get("spec").ok_or(invalid("It needs a spec."))?;
                check_spec(spec).map_err(invalid)?;
                Ok(Location::Temporary(spec.clone()))
            }
            _ => Err(invalid("Its type has to be persistentLauncher or temporaryLauncher.")),
        }
    }

    fn access(self) -> Result<Vec<String>, RpcError> {
        let invalid = |reason| RpcError::invalid("options.addFilesystemAccess", reason);
        let Some(list) = self.get("addFilesystemAccess") else { return Ok(Vec::new()) };
        let list = list.as_array().ok_or(invalid("It has to be an array."))?;
        if list.len() > MAX_ACCESS {
            return Err(invalid("It names too many models."));
        }
        let model = |item: &Value| item.get("modelId").and_then(Value::as_str).map(str::to_owned);
        list.iter().map(|item| model(item).ok_or(invalid("Its items have to be objects with a modelId."))).collect()
    }

    fn dimension(self, name: &str, path: &'static str) -> Result<Option<u16>, RpcError> {
        self.get(name).map(|value| dimension(value).ok_or(RpcError::invalid(path, SIZE))).transpose()
    }

    fn string(self, name: &'static str) -> Result<&'a str, RpcError> {
        self.get(name).and_then(Value::as_str).ok_or(RpcError::invalid(name, STRING))
    }

    fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

/// Checks a `LauncherSpec`: processors, memory, and what else it may have.
fn check_spec(spec: &Value) -> Result<(), &'static str> {
    let spec = spec.as_object().ok_or("Its spec has to be an object.")?;
    if !spec.get("cpus").and_then(Value::as_f64).is_some_and(|cpus| cpus > 0.0) {
        return Err("Its spec needs a positive number of cpus.");
    }
    if spec.get("memoryMebibytes").and_then(positive).is_none() {
        return Err("Its spec needs memoryMebibytes, a positive integer.");
    }
    let whole = |name| spec.get(name).filter(|value| !value.is_null()).is_none_or(Value::is_u64);
    if !whole("diskMebibytes") || !whole("swapMebibytes") {
        return Err("The diskMebibytes and swapMebibytes of its spec have to be integers.");
    }
    match spec.get("gpus").filter(|gpus| !gpus.is_null()) {
        None => Ok(()),
        Some(gpus) if gpus["model"].is_string() && positive(&gpus["count"]).is_some() => Ok(()),
        Some(_) => Err("The gpus of its spec have to have a model and a count."),
    }
}

fn dimension(value: &Value) -> Option<u16> {
    positive(value).and_then(|number| u16::try_from(number).ok())
}

fn positive(value: &Value) -> Option<u64> {
    value.as_u64().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn launch(value: &Value) -> Result<Launch, RpcError> {
        Params::of(value)?.launch()
    }

    fn refused(value: &Value) -> &'static str {
        match launch(value) {
            Err(RpcError::InvalidParameter { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_launch_has_the_documented_defaults() {
        let place = json!({"type": "persistentLauncher", "persistentLauncherId": "p"});
        let launch = launch(&json!({"modelId": "m", "executionLocation": place, "options": null})).unwrap();
        let expected = Launch {
            model_id: "m".to_owned(),
            location: Location::Persistent("p".to_owned()),
            access: Vec::new(),
            inactive_after: Duration::from_secs(1_800),
            cols: None,
            rows: None,
            subscribe: true,
        };
        assert_eq!(launch, expected);
    }

    #[test]
    fn a_launch_can_say_everything() {
        let spec = json!({"cpus": 0.5, "memoryMebibytes": 512, "gpus": {"model": "L4", "count": 1}});
        let launch = launch(&json!({
            "modelId": "m",
            "executionLocation": {"type": "temporaryLauncher", "spec": spec},
            "options": {
                "addFilesystemAccess": [{"modelId": "x"}, {"modelId": "y"}],
                "terminateAfterInactiveSeconds": 7,
                "cols": 100,
                "rows": 30,
            },
            "subscribeToEvents": false,
        }))
        .unwrap();
        assert_eq!(launch.location, Location::Temporary(spec));
        assert_eq!(launch.access, ["x", "y"]);
        assert_eq!((launch.inactive_after.as_secs(), launch.cols, launch.rows), (7, Some(100), Some(30)));
        assert!(!launch.subscribe);
    }

    #[test]
    fn mistakes_are_told_by_the_parameter() {
        let good = json!({
            "modelId": "m",
            "executionLocation": {"type": "temporaryLauncher", "spec": {"cpus": 1, "memoryMebibytes": 512}},
            "options": {},
        });
        assert!(launch(&good).is_ok());
        for (pointer, value, name) in [
            ("/modelId", json!(7), "modelId"),
            ("/executionLocation", json!("here"), "executionLocation"),
            ("/executionLocation/type", json!("elsewhere"), "executionLocation"),
            ("/executionLocation/type", json!("persistentLauncher"), "executionLocation"),
            ("/executionLocation/spec", json!([]), "executionLocation"),
            ("/executionLocation/spec/cpus", json!(0), "executionLocation"),
            ("/executionLocation/spec/memoryMebibytes", json!(1.5), "executionLocation"),
            ("/options", json!({"cols": 0}), "options.cols"),
            ("/options", json!({"rows": 65_536}), "options.rows"),
            ("/options", json!({"addFilesystemAccess": ["x"]}), "options.addFilesystemAccess"),
            ("/options", json!({"terminateAfterInactiveSeconds": 0}), "options.terminateAfterInactiveSeconds"),
            ("/options", json!([]), "options"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert_eq!(refused(&bad), name, "{bad}");
        }
        assert_eq!(refused(&json!([])), "params");
        assert_eq!(refused(&json!({})), "modelId");
    }

    #[test]
    fn a_size_is_whole_and_positive() {
        let size = |size: Value| Params::of(&json!({"size": size})).unwrap().size();
        assert_eq!(size(json!({"cols": 65_535, "rows": 1})), Ok((65_535, 1)));
        for bad in [json!({"cols": 80}), json!({"cols": 80.5, "rows": 24}), json!({"cols": 0, "rows": 24}), json!([80])]
        {
            assert!(size(bad.clone()).is_err(), "{bad}");
        }
    }
}
