//! `kind = "dockhand"`.

use std::time::Duration;

use super::super::checked::{AttachMessages, Dockhand, DockhandCredentials, DockhandFlow};
use super::super::error::Problem;
use super::super::section::{Field, Read, Section};
use super::super::units::BaseUrl;

const A_URL: &str = "the URL of Dockhand, such as https://dockhand.example.com";
const A_TOKEN: &str = "an API token of Dockhand, or username and password";
const A_USERNAME: &str = "the name of an account";
const A_LOGIN: &str = r#""local", "ldap" or "ldap:" and the number of a directory"#;
const AN_ATTACH_PATH: &str = r#"a path with {exec_id} in it, such as "/api/exec/{exec_id}/attach""#;

const FLOWS: [(&str, bool); 2] = [("websocket", false), ("documented", true)];
const MESSAGES: [(&str, AttachMessages); 2] = [("json", AttachMessages::Json), ("raw", AttachMessages::Raw)];

pub(super) fn dockhand(section: &mut Section<'_>, allow_private: Read<bool>) -> Read<Dockhand> {
    let url = section.required("url", A_URL, |field| url(&field, allow_private));
    let credentials = credentials(section);
    let is_documented = section.or("flow", false, |field| field.one_of(&FLOWS));
    let attach_path = section.or("attach_path", "/api/exec/{exec_id}/attach".to_owned(), |field| attach_path(&field));
    let messages = section.or("attach_messages", AttachMessages::default(), |field| field.one_of(&MESSAGES));
    let first_output_timeout = section.or("first_output_timeout", Duration::from_secs(1), |field| {
        field.duration(Duration::from_millis(100)..=Duration::from_secs(60))
    });
    let silence_timeout = section.or("silence_timeout", Some(Duration::from_secs(600)), |field| {
        field.duration_or_never(Duration::from_secs(10)..=Duration::from_secs(86_400))
    });
    let typed_ending = section.or("typed_ending", false, |field| field.flag());
    let flow = match is_documented? {
        true => DockhandFlow::Documented { attach_path: attach_path?, messages: messages? },
        false => attach_path.and(messages).map(|_| DockhandFlow::WebSocket)?,
    };
    Ok(Dockhand {
        url: url?,
        credentials: credentials?,
        flow,
        first_output_timeout: first_output_timeout?,
        silence_timeout: silence_timeout?,
        typed_ending: typed_ending?,
    })
}

fn url(field: &Field<'_>, allow_private: Read<bool>) -> Read<BaseUrl> {
    let url: BaseUrl = field.parse(A_URL)?;
    if !url.is_tls() && matches!(allow_private, Ok(false)) {
        let rule = "expected an https URL; http is for private networks and needs allow_private = true";
        return Err(field.tell(Problem::Rule(rule.to_owned())));
    }
    Ok(url)
}

/// A token, or a name and a password, and not both.
fn credentials(section: &mut Section<'_>) -> Read<DockhandCredentials> {
    let (token, username) = (section.field("token"), section.field("username"));
    let password = section.field("password");
    let provider = section.or("login_provider", "local".to_owned(), |field| login_provider(&field));
    if username.is_none() && password.is_none() {
        let token = section.required("token", A_TOKEN, |field| field.secret());
        return Ok(DockhandCredentials::Token(provider.and(token)?));
    }
    if let Some(token) = token {
        return Err(token.tell(Problem::Rule("expected either token or username and password, found both".to_owned())));
    }
    let username = section.required("username", A_USERNAME, |field| field.text(A_USERNAME).map(str::to_owned));
    let password = section.required("password", "the password of the account", |field| field.secret());
    Ok(DockhandCredentials::Login { username: username?, password: password?, provider: provider? })
}

fn login_provider(field: &Field<'_>) -> Read<String> {
    let text = field.text(A_LOGIN)?;
    let is_directory = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "local" | "ldap" => Ok(text.to_owned()),
        _ if text.strip_prefix("ldap:").is_some_and(is_directory) => Ok(text.to_owned()),
        _ => Err(field.wrong(A_LOGIN)),
    }
}

fn attach_path(field: &Field<'_>) -> Read<String> {
    let path = field.text(AN_ATTACH_PATH)?;
    let is_right = path.starts_with('/')
        && path.matches("{exec_id}").count() == 1
        && path.replace("{exec_id}", "").bytes().all(|byte| byte.is_ascii_graphic() && !b"#{}\"\\".contains(&byte));
    if is_right { Ok(path.to_owned()) } else { Err(field.wrong(AN_ATTACH_PATH)) }
}
