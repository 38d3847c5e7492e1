//! `kind = "oblien"`.

use std::time::Duration;

use super::*;

const OBLIEN: &str = "[[providers]]\nname = \"ob\"\nkind = \"oblien\"\n";

fn oblien(text: &str) -> Oblien {
    let config = config(&format!("{OBLIEN}{text}"), &[]);
    match config.providers.into_iter().next().unwrap().kind {
        ProviderKind::Oblien(oblien) => oblien,
        other => panic!("{other:?}"),
    }
}

fn wrong(text: &str) -> Vec<String> {
    mistakes(&format!("{OBLIEN}{text}"), &[])
}

#[test]
fn an_api_key_is_all_that_it_takes() {
    let oblien = oblien("client_id = \"id\"\nclient_secret = \"s3cret\"\n");
    assert_eq!(oblien.api_url.to_string(), "https://api.oblien.com");
    assert_eq!(oblien.gateway_url.to_string(), "https://workspace.oblien.com");
    assert_eq!((oblien.max_terminals, oblien.token_lifetime), (10, Duration::from_secs(3300)));
    assert_eq!((oblien.access_path.as_str(), oblien.websocket_token), ("runtime-api-access", TokenPlace::Header));
    assert!(oblien.enable_access && oblien.end_attached && oblien.token.is_none() && oblien.workspace.is_none());
    assert!(!format!("{oblien:?}").contains("s3cret"));
}

#[test]
fn a_token_does_without_a_key_and_with_one() {
    assert!(oblien("token = \"t\"\n").client.is_none());
    let both = oblien("token = \"t\"\nclient_id = \"id\"\nclient_secret = \"s\"\nworkspace = \"ws_1\"\n");
    assert!(both.client.is_some() && both.token.is_some());
    assert_eq!(both.workspace.as_deref(), Some("ws_1"));
}

#[test]
fn half_a_key_is_none() {
    let missing = |key| format!("proxy.toml:6:1: providers.ob.{key}: required: ");
    for (text, expected) in [
        ("", vec!["client_id", "client_secret"]),
        ("client_id = \"id\"\n", vec!["client_secret"]),
        ("token = \"t\"\nclient_secret = \"s\"\n", vec!["client_id"]),
    ] {
        let told = wrong(text);
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert!(told.iter().zip(expected).all(|(told, key)| told.starts_with(&missing(key))), "{told:?}");
    }
}

#[test]
fn mistakes_are_told_by_key() {
    let key = "client_id = \"id\"\nclient_secret = \"s\"\n";
    for (text, expected) in [
        ("api_url = \"http://127.0.0.1:1\"", "api_url: expected an https URL; http is for simulated providers"),
        ("gateway_url = \"http://127.0.0.1:1\"", "gateway_url: expected an https URL; http is for simulated providers"),
        ("gateway_url = \"https://h/path\"", "gateway_url: expected a "),
        ("workspace = \"../x\"", "workspace: expected a workspace's id"),
        ("access_path = \"api\"", "access_path: expected \"runtime-api-access\" or \"internal-api-access\""),
        ("websocket_token = \"cookie\"", "websocket_token: expected \"header\" or \"query\""),
        ("token_lifetime = 55", "token_lifetime: expected a duration"),
        ("max_terminals = 256", "max_terminals: expected a whole number from 1 to 255"),
        ("pong_timeout = \"11m\"", "pong_timeout: expected a duration such as \"30s\" (0s for never, or from"),
        ("enable_access = 1", "enable_access: expected true or false"),
        ("end_attached = \"no\"", "end_attached: expected true or false"),
        ("region = \"x\"", "region: unknown key"),
    ] {
        let told = wrong(&format!("{key}{text}\n"));
        assert!(told.len() == 1 && told[0].contains(&format!("providers.ob.{expected}")), "{text}: {told:?}");
    }
    let told = wrong("client_id = \"a b\"\nclient_secret = \"s\"\n");
    assert!(told.len() == 1 && told[0].contains("client_id: expected a client id") && !told[0].contains("a b"));
    assert_eq!(oblien(&format!("{key}pong_timeout = \"0s\"\n")).pong_timeout, None);
    let private = format!("{key}allow_private = true\napi_url = \"http://127.0.0.1:1\"\n");
    assert_eq!(oblien(&private).api_url.to_string(), "http://127.0.0.1:1");
}
