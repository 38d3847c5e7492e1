//! The jobs that the simulated region has, and how the API shows them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::random;

/// A job with its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Such as `dlcmjzjt1dxbmx4h`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// As GetJob says it: `Running`, `Stopped`, `Queuing`, `Succeeded`.
    pub status: &'static str,
    /// In the order in which GetJob lists them.
    pub pods: Vec<Pod>,
}

/// A pod of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Such as `dlcmjzjt1dxbmx4h-worker-0`.
    pub id: String,
    /// The UUID of the present incarnation.
    pub uid: String,
    /// `Worker` or `Master`.
    pub kind: &'static str,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub status: &'static str,
    /// The UUIDs of earlier incarnations, which have failed.
    pub history: Vec<String>,
}

/// One region of one account. It does not change.
#[derive(Debug)]
pub(super) struct World {
    pub(super) tenant: String,
    pub(super) jobs: Vec<Job>,
}

impl World {
    /// New ids, and jobs and pods in every state that matters to a terminal. The first pod of the first job runs.
    pub(super) fn random() -> Result<Self> {
        let mut digits = String::from("t1");
        for byte in random::bytes::<15>()? {
            digits.push(char::from(b'0' + byte % 10));
        }
        let mut jobs = vec![
            job("training", "Running", &[("Worker", "Running"), ("Worker", "Running")])?,
            job("evaluation", "Running", &[("Worker", "Succeeded"), ("Worker", "Running"), ("Worker", "Pending")])?,
            job("cancelled", "Stopped", &[("Master", "Failed"), ("Worker", "Failed")])?,
            job("waiting", "Queuing", &[])?,
            job("finished", "Succeeded", &[("Master", "Succeeded")])?,
        ];
        jobs[0].pods[0].history.push(random::uuid()?);
        Ok(Self { tenant: digits, jobs })
    }

    pub(super) fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }
}

fn job(name: &str, status: &'static str, pods: &[(&'static str, &'static str)]) -> Result<Job> {
    let id = format!("dlc{}", random::word(13)?);
    let pods = pods
        .iter()
        .enumerate()
        .map(|(at, (kind, status))| {
            let index = pods[..at].iter().filter(|(other, _)| other == kind).count();
            let id = format!("{id}-{}-{index}", kind.to_lowercase());
            Ok(Pod { id, uid: random::uuid()?, kind, status, history: Vec::new() })
        })
        .collect::<Result<_>>()?;
    Ok(Job { id, name: name.to_owned(), status, pods })
}

impl Job {
    /// The job as GetJob and ListJobs show it.
    pub(super) fn to_json(&self, workspace_id: &str) -> Value {
        let finished = matches!(self.status, "Stopped" | "Succeeded");
        json!({
            "JobId": self.id,
            "DisplayName": self.name,
            "JobType": "PyTorchJob",
            "Status": self.status,
            "ReasonCode": format!("Job{}", self.status),
            "ReasonMessage": match self.status {
                "Running" => "The job is running.",
                "Stopped" => "The job was stopped by its user.",
                "Queuing" => "The job waits for resources.",
                _ => "The job has succeeded.",
            },
            "WorkspaceId": workspace_id,
            "ResourceType": "ECS",
            "GmtCreateTime": "2026-01-12T08:00:00Z",
            "GmtFinishTime": if finished { "2026-01-12T09:30:00Z" } else { "" },
            "Pods": self.pods.iter().map(Pod::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Pod {
    fn to_json(&self) -> Value {
        let mut pod = self.incarnation(&self.uid, self.status);
        let history: Vec<_> = self.history.iter().map(|uid| self.incarnation(uid, "Failed")).collect();
        pod["HistoryPods"] = Value::Array(history);
        pod
    }

    fn incarnation(&self, uid: &str, status: &str) -> Value {
        json!({
            "PodId": self.id,
            "PodUid": uid,
            "Type": self.kind,
            "Status": status,
            "SubStatus": "Normal",
            "Ip": if status == "Running" { "10.0.1.2" } else { "" },
            "ResourceType": "ECS",
            "GmtCreateTime": "2026-01-12T08:00:05Z",
            "GmtStartTime": if status == "Pending" { "" } else { "2026-01-12T08:00:20Z" },
            "GmtFinishTime": if matches!(status, "Succeeded" | "Failed") { "2026-01-12T09:30:00Z" } else { "" },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_has_a_terminal_to_open_and_everything_that_can_be_in_the_way() {
        let world = World::random().unwrap();
        let first = &world.jobs[0];
        assert_eq!((first.status, first.pods[0].status), ("Running", "Running"));
        assert_eq!(first.pods[0].id, format!("{}-worker-0", first.id));
        assert_eq!(first.pods[1].id, format!("{}-worker-1", first.id));
        assert!(world.jobs.iter().any(|job| job.status == "Stopped"));
        assert!(world.jobs.iter().any(|job| job.status == "Running" && job.pods[0].status == "Succeeded"));
        assert_eq!(first.to_json("w")["Pods"][0]["HistoryPods"][0]["PodUid"], first.pods[0].history[0]);
    }
}
