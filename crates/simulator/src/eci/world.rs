//! The container groups that the simulated region has, and how the API shows them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::random;

/// A container group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerGroup {
    /// Such as `eci-2zebxkiifulhl0001abcd`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// As DescribeContainerGroups says it: `Running`, `Pending`, `Succeeded`, `Failed` and so on.
    pub status: &'static str,
    /// In the order in which DescribeContainerGroups lists them.
    pub containers: Vec<Container>,
}

/// A container of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Unique in its group.
    pub name: &'static str,
    /// `Waiting`, `Running` or `Terminated`.
    pub state: &'static str,
}

/// New ids, and groups and containers in every state that matters to a terminal. The first container of the first group
/// runs.
pub(super) fn random() -> Result<Vec<ContainerGroup>> {
    [
        ("web", "Running", &[("nginx", "Running"), ("sidecar", "Running"), ("migration", "Terminated")][..]),
        ("starting", "Pending", &[("app", "Waiting")]),
        ("crashing", "Running", &[("app", "Waiting"), ("logger", "Running")]),
        ("finished", "Succeeded", &[("job", "Terminated")]),
        ("broken", "Failed", &[("job", "Terminated")]),
        ("moving", "Restarting", &[("app", "Running")]),
        ("old", "Expired", &[("app", "Terminated")]),
        ("homeless", "ScheduleFailed", &[]),
    ]
    .into_iter()
    .map(|(name, status, containers)| {
        let containers = containers.iter().map(|(name, state)| Container { name, state }).collect();
        Ok(ContainerGroup { id: format!("eci-{}", random::word(20)?), name: name.to_owned(), status, containers })
    })
    .collect()
}

impl ContainerGroup {
    /// The group as DescribeContainerGroups shows it.
    pub(super) fn to_json(&self, region: &str) -> Value {
        json!({
            "ContainerGroupId": self.id,
            "ContainerGroupName": self.name,
            "RegionId": region,
            "ZoneId": format!("{region}-b"),
            "Status": self.status,
            "RestartPolicy": "Never",
            "Cpu": 1.0,
            "Memory": 2.0,
            "IntranetIp": if self.status == "Running" { "192.0.2.10" } else { "" },
            "CreationTime": "2026-01-12T08:00:00Z",
            "Containers": self.containers.iter().map(Container::to_json).collect::<Vec<_>>(),
            "InitContainers": [],
            "Events": [],
            "Volumes": [],
            "Tags": [],
        })
    }
}

impl Container {
    fn to_json(&self) -> Value {
        let current = match self.state {
            "Running" => json!({"State": "Running", "DetailStatus": "", "StartTime": "2026-01-12T08:00:20Z"}),
            "Waiting" => json!({"State": "Waiting", "DetailStatus": "CrashLoopBackOff"}),
            _ => json!({
                "State": "Terminated",
                "DetailStatus": "Completed",
                "ExitCode": 0,
                "StartTime": "2026-01-12T08:00:20Z",
                "FinishTime": "2026-01-12T09:30:00Z",
            }),
        };
        json!({
            "Name": self.name,
            "Image": format!("registry.example/{}:1", self.name),
            "Cpu": 0.5,
            "Memory": 1.0,
            "RestartCount": 0,
            "Ready": self.state == "Running",
            "CurrentState": current,
            "PreviousState": {},
            "Commands": [],
            "Args": [],
            "EnvironmentVars": [],
            "Ports": [],
            "VolumeMounts": [],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_terminal_to_open_and_everything_that_can_be_in_the_way() {
        let groups = random().unwrap();
        let first = &groups[0];
        assert_eq!((first.status, first.containers[0].state), ("Running", "Running"));
        let has = |status: &str, state: &str| {
            groups.iter().any(|group| group.status == status && group.containers.iter().any(|c| c.state == state))
        };
        assert!(has("Running", "Terminated") && has("Running", "Waiting") && has("Pending", "Waiting"));
        assert!(has("Succeeded", "Terminated") && has("Restarting", "Running"));
        assert_eq!(first.to_json("r")["Containers"][0]["CurrentState"]["State"], "Running");
    }
}
