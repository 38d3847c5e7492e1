//! Why sessions end.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use serde_json::{Value, json};

/// Why a session has ended, as its `exit` event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Somebody called `terminateTerminalSession`.
    TerminatedOnRequest,
    /// The launcher that it ran on has ended.
    LauncherTerminated,
    /// No input came for as long as its launch allowed.
    InactiveTimeout,
    /// The provider does not know either.
    Unknown,
    /// The shell has ended.
    ProcessExit {
        /// Its exit status, if it has one.
        exit_code: Option<i32>,
        /// The signal that killed it, such as `SIGKILL`.
        signal: Option<String>,
        /// Whether it was killed for want of memory.
        oom: bool,
    },
}

impl ExitReason {
    /// The reason of a shell that was killed for want of memory.
    #[must_use]
    pub fn out_of_memory() -> Self {
        Self::ProcessExit { exit_code: None, signal: Some("SIGKILL".to_owned()), oom: true }
    }

    /// The reason of a shell that has ended by itself.
    pub(super) fn of(status: ExitStatus) -> Self {
        Self::ProcessExit { exit_code: status.code(), signal: status.signal().map(signal_name), oom: false }
    }

    /// What [`Fault::Exit`](crate::Fault::Exit) demands; a word that is none of its own is a signal's name.
    pub(super) fn demanded(word: &str) -> Self {
        match word {
            "terminated_on_request" => Self::TerminatedOnRequest,
            "launcher_terminated" => Self::LauncherTerminated,
            "inactive_timeout" => Self::InactiveTimeout,
            "unknown" => Self::Unknown,
            "oom" => Self::out_of_memory(),
            "no-code" => Self::ProcessExit { exit_code: None, signal: None, oom: false },
            signal => Self::ProcessExit { exit_code: None, signal: Some(signal.to_owned()), oom: false },
        }
    }

    /// The `reason` of the event.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::TerminatedOnRequest => json!({"code": "terminated_on_request"}),
            Self::LauncherTerminated => json!({"code": "launcher_terminated"}),
            Self::InactiveTimeout => json!({"code": "inactive_timeout"}),
            Self::Unknown => json!({"code": "unknown"}),
            Self::ProcessExit { exit_code, signal, oom } => {
                let mut reason = json!({"code": "process_exit", "oom": oom});
                if let Some(code) = exit_code {
                    reason["exitCode"] = (*code).into();
                }
                if let Some(signal) = signal {
                    reason["signal"] = signal.as_str().into();
                }
                reason
            }
        }
    }
}

fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        other => return format!("SIG{other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_spelt_as_the_official_client_reads_them() {
        let code = ExitReason::ProcessExit { exit_code: Some(3), signal: None, oom: false };
        assert_eq!(code.json(), json!({"code": "process_exit", "exitCode": 3, "oom": false}));
        let oom = json!({"code": "process_exit", "signal": "SIGKILL", "oom": true});
        assert_eq!(ExitReason::demanded("oom").json(), oom);
        assert_eq!(ExitReason::demanded("no-code").json(), json!({"code": "process_exit", "oom": false}));
        assert_eq!(ExitReason::demanded("SIGSEGV").json()["signal"], "SIGSEGV");
        for word in ["terminated_on_request", "launcher_terminated", "inactive_timeout", "unknown"] {
            assert_eq!(ExitReason::demanded(word).json(), json!({"code": word}));
        }
    }
}
