//! Stories of `kind = "decthings"`.

use super::*;

/// What it must have.
const DECTHINGS: &str = "[[providers]]\nname = \"d\"\nkind = \"decthings\"\napi_key = \"s3cret\"\n";

fn settings(text: &str) -> Decthings {
    let config = config(&format!("{DECTHINGS}{text}"), &[]);
    let ProviderKind::Decthings(settings) = config.providers.into_iter().next().unwrap().kind else {
        panic!("a decthings provider")
    };
    settings
}

fn mistake(text: &str) -> String {
    let told = mistakes(&format!("{DECTHINGS}{text}"), &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!told[0].contains("s3cret"), "{told:?}");
    told.into_iter().next().unwrap()
}

#[test]
fn only_the_key_is_needed_and_it_is_not_shown() {
    let settings = settings("");
    assert_eq!(settings.http_url.to_string(), "https://api.decthings.com/v0");
    assert_eq!(settings.ws_url.to_string(), "wss://api.decthings.com/v0/ws");
    assert_eq!((settings.writes, settings.api_key.expose()), (Writes::WebSocket, "s3cret"));
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn the_socket_is_where_the_calls_are_unless_it_is_elsewhere() {
    let near = settings("http_url = \"http://127.0.0.1:8080/v0/\"\nallow_private = true\nwrites = \"http\"\n");
    assert_eq!(near.ws_url.to_string(), "ws://127.0.0.1:8080/v0/ws");
    assert_eq!(near.writes, Writes::Http);
    let far = settings("ws_url = \"wss://events.example/ws\"\n");
    assert_eq!(far.http_url.to_string(), "https://api.decthings.com/v0");
    assert_eq!(far.ws_url.to_string(), "wss://events.example/ws");
}

#[test]
fn a_mistake_says_what_would_be_right() {
    for (text, expected) in [
        (
            "http_url = \"http://a.example\"",
            "10:12: providers.d.http_url: expected an https URL; http is for simulated",
        ),
        ("ws_url = \"ws://a.example\"", "10:10: providers.d.ws_url: expected a wss URL; ws is for simulated"),
        ("ws_url = \"https://a.example\"", "10:10: providers.d.ws_url: expected a URL such as wss://"),
        ("http_url = \"wss://a.example\"", "10:12: providers.d.http_url: expected a URL such as https://"),
        ("http_url = \"https://a.example?key=s3cret\"", "10:12: providers.d.http_url: expected a URL such as https://"),
        ("writes = \"htp\"", "10:10: providers.d.writes: expected \"websocket\" or \"http\""),
        ("apikey = \"x\"", "10:1: providers.d.apikey: unknown key, did you mean api_key?"),
    ] {
        let told = mistake(text);
        assert!(told.starts_with(&format!("proxy.toml:{expected}")), "{text}: {told}");
    }
    let told = mistakes("[[providers]]\nname = \"d\"\nkind = \"decthings\"\n", &[]);
    assert!(told[0].contains("providers.d.api_key: required: expected an API key of Decthings"), "{told:?}");
    for key in ["s3cret key", "schlüssel-s3cret"] {
        let told = mistakes(&DECTHINGS.replace("s3cret", key), &[]);
        assert!(told.len() == 1 && told[0].contains("an API key: ASCII") && !told[0].contains("s3cret"), "{told:?}");
    }
}
