//! The methods of the api `Terminal`, and the errors that each may answer with.

use serde_json::{Value, json};

/// A method of the api `Terminal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Launch,
    Write,
    Resize,
    Terminate,
    List,
    Subscribe,
    Unsubscribe,
    AddFilesystemAccess,
}

impl Method {
    pub(super) const ALL: [Self; 8] = [
        Self::Launch,
        Self::Write,
        Self::Resize,
        Self::Terminate,
        Self::List,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::AddFilesystemAccess,
    ];

    /// The method of an api. The api's name counts in any case, the method's only as it is written.
    pub(super) fn find(api: &str, method: &str) -> Option<Self> {
        let methods = if api.eq_ignore_ascii_case("Terminal") { &Self::ALL[..] } else { &[] };
        methods.iter().copied().find(|known| known.name() == method)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Launch => "launchTerminalSession",
            Self::Write => "writeToTerminalSession",
            Self::Resize => "resizeTerminalSession",
            Self::Terminate => "terminateTerminalSession",
            Self::List => "getTerminalSessions",
            Self::Subscribe => "subscribeToEvents",
            Self::Unsubscribe => "unsubscribeFromEvents",
            Self::AddFilesystemAccess => "addFilesystemAccessForTerminalSession",
        }
    }

    /// Whether the official clients call it over HTTP. The others depend on a connection that carries events.
    pub(super) fn is_usual_over_http(self) -> bool {
        !matches!(self, Self::Launch | Self::Subscribe | Self::Unsubscribe)
    }

    /// Whether the reference lists this error for the method.
    pub(super) fn may_fail_with(self, code: &str) -> bool {
        let own: &[&str] = match self {
            Self::Launch => {
                &["model_not_found", "persistent_launcher_not_found", "quota_exceeded", "server_overloaded"]
            }
            Self::Write | Self::Resize | Self::Terminate | Self::Subscribe => &["terminal_session_not_found"],
            Self::AddFilesystemAccess => &["terminal_session_not_found", "model_not_found"],
            Self::Unsubscribe => &["not_subscribed"],
            Self::List => &[],
        };
        let common: &[&str] = match self {
            Self::Unsubscribe => &["too_many_requests", "unknown", "invalid_parameter"],
            _ => &["bad_credentials", "too_many_requests", "payment_required", "unknown", "invalid_parameter"],
        };
        own.contains(&code) || common.contains(&code)
    }
}

/// Why a call has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RpcError {
    BadCredentials,
    ModelNotFound,
    PersistentLauncherNotFound,
    QuotaExceeded,
    TerminalSessionNotFound,
    NotSubscribed,
    InvalidParameter {
        name: &'static str,
        reason: &'static str,
    },
    Unknown,
    /// What a fault demands, be it documented or not.
    Demanded(String),
}

impl RpcError {
    pub(super) fn invalid(name: &'static str, reason: &'static str) -> Self {
        Self::InvalidParameter { name, reason }
    }

    fn code(&self) -> &str {
        match self {
            Self::BadCredentials => "bad_credentials",
            Self::ModelNotFound => "model_not_found",
            Self::PersistentLauncherNotFound => "persistent_launcher_not_found",
            Self::QuotaExceeded => "quota_exceeded",
            Self::TerminalSessionNotFound => "terminal_session_not_found",
            Self::NotSubscribed => "not_subscribed",
            Self::InvalidParameter { .. } => "invalid_parameter",
            Self::Unknown => "unknown",
            Self::Demanded(code) => code,
        }
    }

    /// The error object of a reply of `method`. An error that the reference does not list for it, which an official
    /// client would not be able to read, becomes `unknown`.
    pub(super) fn json(&self, method: Method) -> Value {
        match self {
            Self::InvalidParameter { name, reason } => {
                json!({"code": "invalid_parameter", "parameterName": name, "reason": reason})
            }
            Self::Demanded(code) if code == "invalid_parameter" => {
                json!({"code": code, "parameterName": "modelId", "reason": "It was demanded to be invalid."})
            }
            Self::Demanded(code) => json!({"code": code}),
            _ if method.may_fail_with(self.code()) => json!({"code": self.code()}),
            _ => json!({"code": "unknown"}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_known_in_any_case_and_the_method_as_it_is_written() {
        assert_eq!(Method::find("Terminal", "writeToTerminalSession"), Some(Method::Write));
        assert_eq!(Method::find("terminal", "getTerminalSessions"), Some(Method::List));
        assert_eq!(Method::find("Model", "getTerminalSessions"), None);
        assert_eq!(Method::find("Terminal", "WriteToTerminalSession"), None);
        assert_eq!(Method::find("Terminal", "attachToTerminalSession"), None);
    }

    #[test]
    fn no_method_answers_with_an_error_that_is_not_listed_for_it() {
        assert_eq!(RpcError::BadCredentials.json(Method::List), json!({"code": "bad_credentials"}));
        assert_eq!(RpcError::BadCredentials.json(Method::Unsubscribe), json!({"code": "unknown"}));
        assert_eq!(RpcError::QuotaExceeded.json(Method::Write), json!({"code": "unknown"}));
        assert_eq!(RpcError::Demanded("rotten".to_owned()).json(Method::Write), json!({"code": "rotten"}));
        let invalid = RpcError::invalid("modelId", "It has to be a string.").json(Method::Launch);
        assert_eq!(invalid["parameterName"], "modelId");
    }
}
