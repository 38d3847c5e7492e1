//! An ECI container group, read to explain why there is no terminal.

use polytty_dialect::Code;
use serde::Deserialize;

use super::super::super::Failure;
use super::super::target::is_id;
use super::target::EciTarget;

/// The status of a group and the state of a container in which there can be a terminal.
const RUNNING: &str = "Running";

/// The statuses of a group beside [`RUNNING`]. Those before it may still come to it.
const BEFORE_RUNNING: [&str; 4] = ["Pending", "Scheduling", "Restarting", "Updating"];
const AFTER_RUNNING: [&str; 5] = ["Succeeded", "Failed", "ScheduleFailed", "Terminating", "Expired"];

/// States of a container beside [`RUNNING`].
const STATES: [&str; 2] = ["Waiting", "Terminated"];

/// How many containers a sentence lists.
const MAX_LISTED: usize = 8;

/// What `DescribeContainerGroups` answers, as far as it is of use here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Groups {
    container_groups: Option<Vec<Group>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Group {
    container_group_id: Option<String>,
    status: Option<String>,
    containers: Option<Vec<Container>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    name: Option<String>,
    current_state: Option<State>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    state: Option<String>,
}

impl Groups {
    /// Why the target has no terminal; `None` when by all that is known here it should have one.
    pub(super) fn explain(&self, target: &EciTarget, region: &str) -> Option<Failure> {
        let id = &target.group;
        let message = match self
            .container_groups
            .as_deref()?
            .iter()
            .find(|group| group.container_group_id.as_ref() == Some(id))
        {
            // A key that may not look gets an empty list, too.
            None => format!("Region {region} has no container group {id} that the configured AccessKey may see."),
            Some(group) => group.explain(target)?,
        };
        Some(Failure::new(Code::ProviderNotRunning, message))
    }
}

impl Group {
    fn explain(&self, target: &EciTarget) -> Option<String> {
        let EciTarget { group: id, container: name, .. } = target;
        let status = self.status.as_deref();
        if let Some(status) = known(status, &BEFORE_RUNNING) {
            return Some(format!("Container group {id} is {status}; there is a terminal once it is {RUNNING}."));
        }
        if let Some(status) = known(status, &AFTER_RUNNING) {
            return Some(format!("Container group {id} is {status}, and has no terminal any more."));
        }
        if status != Some(RUNNING) {
            return Some(format!("Container group {id} is not {RUNNING}."));
        }
        let containers = self.containers.as_deref().unwrap_or_default();
        let Some(container) = containers.iter().find(|container| container.name.as_ref() == Some(name)) else {
            return Some(format!("Container group {id} has no container {name}; {}.", listed(containers)));
        };
        let state = container.current_state.as_ref().and_then(|state| state.state.as_deref());
        known(state, &STATES).map(|state| format!("Container {name} of container group {id} is {state}."))
    }
}

/// The word, if it is one of those that are documented: no other text of the provider gets into a sentence.
fn known(word: Option<&str>, words: &[&'static str]) -> Option<&'static str> {
    words.iter().find(|known| word == Some(known)).copied()
}

fn listed(containers: &[Container]) -> String {
    let names = containers.iter().filter_map(|container| container.name.as_deref()).filter(|name| is_id(name));
    let names: Vec<_> = names.collect();
    match names.split_at(names.len().min(MAX_LISTED)) {
        ([], _) => "it names none".to_owned(),
        (some, []) => format!("it has {}", some.join(", ")),
        (some, rest) => format!("it has {} and {} more", some.join(", "), rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn explain(groups: Value) -> Option<String> {
        let target = json!({"container_group_id": "eci-1", "container_name": "nginx"});
        let groups: Groups = serde_json::from_value(json!({"ContainerGroups": groups})).unwrap();
        let failure = groups.explain(&EciTarget::read(&target).unwrap(), "cn-x")?;
        assert_eq!(failure.code, Code::ProviderNotRunning);
        Some(failure.message)
    }

    fn group(status: &str, containers: Value) -> Value {
        json!([{"ContainerGroupId": "eci-1", "ContainerGroupName": "web", "Status": status, "Containers": containers}])
    }

    fn container(name: &str, state: &str) -> Value {
        json!({"Name": name, "CurrentState": {"State": state, "RestartCount": 0}})
    }

    #[test]
    fn a_group_that_is_not_running_is_told_by_its_status() {
        for (status, words) in [
            ("Pending", "Container group eci-1 is Pending; there is a terminal once"),
            ("Succeeded", "Container group eci-1 is Succeeded, and"),
            ("Strange\r\nstatus", "Container group eci-1 is not Running."),
        ] {
            let told = explain(group(status, json!([container("nginx", "Running")]))).unwrap();
            assert!(told.starts_with(words), "{told}");
        }
        for nothing in [json!([]), json!([{"ContainerGroupId": "eci-2", "Status": "Running"}])] {
            let told = explain(nothing).unwrap();
            assert_eq!(told, "Region cn-x has no container group eci-1 that the configured AccessKey may see.");
        }
    }

    #[test]
    fn a_container_is_told_by_its_state_or_by_the_others() {
        let told = explain(group("Running", json!([container("nginx", "Terminated")])));
        assert_eq!(told.unwrap(), "Container nginx of container group eci-1 is Terminated.");
        let told = explain(group("Running", json!([container("a", "Running"), container("b\u{1b}", "Running")])));
        assert_eq!(told.unwrap(), "Container group eci-1 has no container nginx; it has a.");
        let crowd: Vec<_> = (0..20).map(|n| container(&format!("c{n}"), "Running")).collect();
        assert!(explain(group("Running", json!(crowd))).unwrap().ends_with("c7 and 12 more."));
        assert!(explain(group("Running", json!([]))).unwrap().ends_with("it names none."));
    }

    #[test]
    fn a_container_that_runs_is_not_explained_away() {
        assert_eq!(explain(group("Running", json!([container("nginx", "Running")]))), None);
        assert_eq!(explain(group("Running", json!([{"Name": "nginx"}]))), None);
        assert_eq!(explain(json!(null)), None);
    }
}
