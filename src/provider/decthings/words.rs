//! What Decthings refuses and how its terminals end, in polytty's words.

use polytty_dialect::decthings::{ErrorCode, ExecutionLocation, ExitReason, Launch, Refusal};
use polytty_dialect::{BadMessage, Code, Exit};

use crate::provider::Failure;

/// A call that was refused, by whom it is up to. `launch` is what was asked for, where that was a launch.
pub(super) fn refused(method: &str, refusal: &Refusal, launch: Option<&Launch>) -> Failure {
    let (code, message) = match refusal.code {
        ErrorCode::ModelNotFound => (
            Code::ProviderNotRunning,
            match launch {
                Some(launch) if launch.add_filesystem_access.is_empty() => {
                    format!("Decthings has no model {} for the configured account.", launch.model_id)
                }
                _ => "Decthings does not have the model, or one of those in add_filesystem_access.".to_owned(),
            },
        ),
        ErrorCode::PersistentLauncherNotFound => (
            Code::ProviderNotRunning,
            match launch.map(|launch| &launch.execution_location) {
                Some(ExecutionLocation::PersistentLauncher { persistent_launcher_id: id }) => {
                    format!("Decthings has no persistent launcher {id} for the configured account.")
                }
                _ => "Decthings does not have the persistent launcher.".to_owned(),
            },
        ),
        ErrorCode::QuotaExceeded => (
            Code::QuotaExceeded,
            "The quota of the configured account at Decthings is used up; end another terminal or launcher first."
                .to_owned(),
        ),
        ErrorCode::ServerOverloaded => {
            (Code::ProviderUnavailable, "Decthings has no room for a terminal at the moment.".to_owned())
        }
        ErrorCode::TooManyRequests => {
            (Code::ProviderUnavailable, "Decthings asks us to slow down. Try again in a moment.".to_owned())
        }
        ErrorCode::BadCredentials => {
            (Code::ProviderRefused, "Decthings does not accept the configured api_key.".to_owned())
        }
        ErrorCode::PaymentRequired => {
            (Code::ProviderRefused, "Decthings asks the owner of the configured account for a payment.".to_owned())
        }
        ErrorCode::InvalidParameter => (Code::ProviderRefused, invalid(refusal.parameter.as_deref())),
        ErrorCode::TerminalSessionNotFound => {
            (Code::ProviderLost, "Decthings does not know this terminal any more.".to_owned())
        }
        _ => (Code::ProviderUnavailable, "Decthings failed, and does not say why.".to_owned()),
    };
    Failure::new(code, message).detail(detail(method, refusal))
}

/// Which field of the target it is that Decthings does not like, where it names one.
fn invalid(parameter: Option<&str>) -> String {
    let parameter = parameter.unwrap_or_default();
    let parts = [
        ("terminateAfterInactiveSeconds", "terminate_after_inactive_seconds"),
        ("addFilesystemAccess", "add_filesystem_access"),
        ("executionLocation", "execution_location"),
        ("persistentLauncherId", "execution_location"),
        ("spec", "execution_location"),
        ("modelId", "model_id"),
    ];
    match parts.iter().find(|(theirs, _)| parameter.contains(theirs)) {
        Some((_, ours)) => format!("Decthings does not accept {ours} of the target as it is."),
        None => "Decthings does not accept what it was asked for.".to_owned(),
    }
}

/// A reply that is none.
pub(super) fn no_reply(method: &str, bad: BadMessage) -> Failure {
    Failure::new(Code::ProviderUnavailable, "Decthings answered with something that is no reply.")
        .detail(format!("{method}: {bad}"))
}

/// A refusal for the log.
pub(super) fn detail(method: &str, refusal: &Refusal) -> String {
    let Refusal { word, parameter, .. } = refusal;
    let of = parameter.as_ref().map(|parameter| format!(" of {parameter}")).unwrap_or_default();
    format!("{method}: error {word}{of}")
}

/// How a terminal ended: as a process does, or because it was taken away.
pub(super) fn ended(reason: ExitReason) -> Result<Exit, Failure> {
    match reason {
        ExitReason::Process { code, signal, oom } => {
            let reason = oom.then(|| "the terminal ran out of memory".to_owned());
            Ok(Exit { code, signal, reason })
        }
        ExitReason::OnRequest => {
            Ok(Exit { reason: Some("the terminal was ended at Decthings on request".to_owned()), ..Exit::default() })
        }
        ExitReason::Launcher => Err(Failure::new(
            Code::ProviderNotRunning,
            "The launcher in which the terminal ran was shut down at Decthings.",
        )
        .detail("exit: launcher_terminated")),
        ExitReason::Inactive => Err(Failure::new(
            Code::IdleTimeout,
            "Decthings ended the terminal: nothing was typed for longer than it allows.",
        )
        .detail("exit: inactive_timeout")),
        ExitReason::Unknown => {
            Err(Failure::new(Code::ProviderLost, "Decthings ended the terminal, and does not say why.")
                .detail("exit: unknown"))
        }
    }
}

/// A terminal that is not there any more, and that nobody said anything about.
pub(super) fn vanished() -> Exit {
    Exit { reason: Some("the terminal is gone at Decthings; how it ended is not known".to_owned()), ..Exit::default() }
}
