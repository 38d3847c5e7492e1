//! A PAI-DLC job and its pods, read to explain why there is no terminal.

use polytty_dialect::Code;
use serde::Deserialize;

use super::super::Failure;
use super::target::{PaiDlcTarget, is_id};

/// The status of a job and of a pod in which there can be a terminal.
const RUNNING: &str = "Running";

/// All statuses of a job. Those before [`RUNNING`] may still come to it.
const BEFORE_RUNNING: [&str; 6] = ["Creating", "Queuing", "Bidding", "EnvPreparing", "SanityChecking", "Restarting"];
const AFTER_RUNNING: [&str; 6] =
    ["Stopping", "SucceededReserving", "FailedReserving", "Succeeded", "Failed", "Stopped"];

/// Statuses of a pod beside [`RUNNING`].
const POD_STATUSES: [&str; 4] = ["Pending", "Succeeded", "Failed", "Unknown"];

/// How many pods a sentence lists.
const MAX_LISTED: usize = 8;

/// What `GetJob` answers, as far as it is of use here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Job {
    status: Option<String>,
    pods: Option<Vec<Pod>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pod {
    pod_id: Option<String>,
    pod_uid: Option<String>,
    status: Option<String>,
}

impl Pod {
    fn is(&self, id: &str) -> bool {
        self.pod_id.as_deref() == Some(id)
    }

    fn is_running(&self) -> bool {
        self.status.as_deref() == Some(RUNNING)
    }
}

impl Job {
    /// Why the target has no terminal; `None` when by all that is known here it should have one.
    pub(super) fn explain(&self, target: &PaiDlcTarget) -> Option<Failure> {
        let message = match self.status.as_deref() {
            Some(RUNNING) => self.explain_pod(target)?,
            status => {
                let job = &target.job_id;
                if let Some(status) = known(status, &BEFORE_RUNNING) {
                    format!("Job {job} is {status}; there is a terminal once it is {RUNNING}.")
                } else if let Some(status) = known(status, &AFTER_RUNNING) {
                    format!("Job {job} is {status}, and has no terminal any more.")
                } else {
                    format!("Job {job} is not {RUNNING}.")
                }
            }
        };
        Some(Failure::new(Code::ProviderNotRunning, message))
    }

    fn explain_pod(&self, target: &PaiDlcTarget) -> Option<String> {
        let PaiDlcTarget { job_id, pod_id, pod_uid } = target;
        let pods = self.pods.as_deref().unwrap_or_default();
        let Some(pod) = pods.iter().find(|pod| pod.is(pod_id)) else {
            return Some(format!("Pod {pod_id} is not part of job {job_id}; {}.", running(pods)));
        };
        if pod_uid.is_some() && pod.pod_uid.is_some() && *pod_uid != pod.pod_uid {
            return Some(format!("Pod {pod_id} was started anew and has another uid now; the one asked for is gone."));
        }
        if pod.is_running() {
            return None;
        }
        Some(match known(pod.status.as_deref(), &POD_STATUSES) {
            Some(status) => format!("Pod {pod_id} is {status}; {}.", running(pods)),
            None => format!("Pod {pod_id} is not {RUNNING}; {}.", running(pods)),
        })
    }
}

/// The status, if it is one of those that are documented: no other text of the provider gets into a sentence.
fn known(status: Option<&str>, statuses: &[&'static str]) -> Option<&'static str> {
    statuses.iter().find(|known| status == Some(known)).copied()
}

fn running(pods: &[Pod]) -> String {
    let ids = pods.iter().filter(|pod| pod.is_running()).filter_map(|pod| pod.pod_id.as_deref()).filter(|id| is_id(id));
    let ids: Vec<_> = ids.collect();
    match ids.as_slice() {
        [] => "the job has no running pod".to_owned(),
        [one] => format!("the job's running pod is {one}"),
        some if some.len() <= MAX_LISTED => format!("the job's running pods are {}", some.join(", ")),
        many => {
            let (listed, rest) = many.split_at(MAX_LISTED);
            format!("the job's running pods are {} and {} more", listed.join(", "), rest.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn explain(job: Value) -> Option<String> {
        let target =
            PaiDlcTarget { job_id: "j".to_owned(), pod_id: "j-w-0".to_owned(), pod_uid: Some("u1".to_owned()) };
        let failure = serde_json::from_value::<Job>(job).unwrap().explain(&target)?;
        assert_eq!(failure.code, Code::ProviderNotRunning);
        Some(failure.message)
    }

    fn pod(id: &str, uid: &str, status: &str) -> Value {
        json!({"PodId": id, "PodUid": uid, "Status": status, "Type": "Worker", "Ip": "10.0.0.1"})
    }

    #[test]
    fn a_job_that_is_not_running_is_told_by_its_status() {
        for (status, words) in [
            ("Stopped", "Job j is Stopped, and"),
            ("Succeeded", "Job j is Succeeded, and"),
            ("Queuing", "Job j is Queuing; there is a terminal once"),
            ("Strange\r\nstatus", "Job j is not Running."),
        ] {
            let told = explain(json!({"Status": status, "Pods": [pod("j-w-0", "u1", "Running")]})).unwrap();
            assert!(told.starts_with(words), "{told}");
        }
        assert_eq!(explain(json!({})).unwrap(), "Job j is not Running.");
    }

    #[test]
    fn a_pod_is_told_by_what_became_of_it_and_what_runs_instead() {
        let told = explain(json!({"Status": "Running", "Pods": [
            pod("j-w-0", "u1", "Succeeded"), pod("j-w-1", "u2", "Running"), pod("j-w-2\u{1b}", "u3", "Running"),
        ]}));
        assert_eq!(told.unwrap(), "Pod j-w-0 is Succeeded; the job's running pod is j-w-1.");
        let told = explain(json!({"Status": "Running", "Pods": [pod("a", "x", "Running"), pod("b", "y", "Running")]}));
        assert_eq!(told.unwrap(), "Pod j-w-0 is not part of job j; the job's running pods are a, b.");
        let told = explain(json!({"Status": "Running", "Pods": []}));
        assert_eq!(told.unwrap(), "Pod j-w-0 is not part of job j; the job has no running pod.");
        let told = explain(json!({"Status": "Running", "Pods": [pod("j-w-0", "u9", "Running")]}));
        assert!(told.unwrap().contains("another uid"));
        let crowd: Vec<_> = (0..20).map(|n| pod(&format!("p{n}"), "u", "Running")).collect();
        assert!(explain(json!({"Status": "Running", "Pods": crowd})).unwrap().ends_with("p7 and 12 more."));
    }

    #[test]
    fn a_pod_that_runs_is_not_explained_away() {
        assert_eq!(explain(json!({"Status": "Running", "Pods": [pod("j-w-0", "u1", "Running")]})), None);
    }
}
