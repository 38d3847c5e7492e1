//! What was on a terminal can be seen again, whatever becomes of the session, the process and the disk.

mod disk;
mod files;
mod replaying;

use http::Method;
use polytty::recording::cast::{Code, Decoder, Event, Format, Header};
use serde_json::{Value, json};

use crate::common::{Answer, Client, Connect, PROVIDERS, Site, World, eventually};

/// A world that records into `recordings` beside its configuration.
async fn recording() -> World {
    recording_with(|_| {}).await
}

async fn recording_with(change: impl FnOnce(&mut Value)) -> World {
    World::with(|config| {
        config["recording"] = json!({ "directory": "recordings", "enabled": true });
        change(config);
    })
    .await
}

/// Asks for a recording.
async fn ask(site: &Site, session: &str, query: &str) -> Answer {
    site.api(Method::GET, &format!("/v1/sessions/{session}/recording{query}"), None).await
}

/// A recording as it is served.
async fn play(site: &Site, session: &str) -> (Header, Vec<Event>) {
    let answer = ask(site, session, "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/x-asciicast");
    read(answer.body.as_str().unwrap())
}

fn read(cast: &str) -> (Header, Vec<Event>) {
    let mut decoder = Decoder::open(cast.as_bytes()).unwrap();
    let mut events = Vec::new();
    while let Some(event) = decoder.next_event().unwrap() {
        events.push(event);
    }
    (decoder.header().clone(), events)
}

/// All that was recorded of one kind.
fn of(events: &[Event], code: &Code) -> String {
    events.iter().filter(|event| event.code == *code).map(|event| event.data.as_str()).collect()
}

/// Attaches, and keeps all that is seen.
async fn open(site: &Site, provider: &str) -> Client {
    let link = site.mint_with(provider, |body| body["size"] = json!({ "cols": 100, "rows": 30 })).await;
    let mut client = Client::connect(site, &link, Connect::default()).await.unwrap();
    client.ready().await;
    client
}

/// Waits until a session and its recording have ended.
async fn until_recorded(site: &Site, session: &str) {
    site.until(session, "ended").await;
    eventually(async || (site.session(session).await["recording"]["state"] == "ended").then_some(())).await;
}

/// Reads to the end; all that was seen.
async fn seen(client: &mut Client) -> String {
    client.drain().await;
    String::from_utf8_lossy(&client.output).into_owned()
}

#[tokio::test]
async fn at_every_provider_the_text_of_the_cast_is_the_text_that_was_seen_bytes_that_are_no_text_too() {
    let world = recording().await;
    for provider in PROVIDERS {
        let mut client = open(&world, provider).await;
        // Euro sign in two writes, nonsense, a control sequence, and a character that is never finished.
        let script = r"printf 'a\342'; sleep 0.1; printf '\202\254 \377\300\257 \033[1mbold\033[m \001\177\r\n'";
        client.type_text(&format!("stty -echo; exec sh -c \"{script}; printf 'bye \\360\\237'; exit 7\"\r")).await;
        let seen = seen(&mut client).await;
        assert!(seen.contains("a\u{20ac} ") || provider == "dockhand", "{provider}: {seen:?}");
        assert!(seen.contains("\u{1b}[1mbold") && seen.contains("bye "), "{provider}: {seen:?}");
        until_recorded(&world, &client.session).await;
        let (header, events) = play(&world, &client.session).await;
        assert_eq!(of(&events, &Code::Output), seen, "{provider}");
        assert_eq!((header.cols, header.rows), (100, 30));
        let origin = header.origin.unwrap();
        assert_eq!((origin.session.as_str(), origin.provider.as_str()), (client.session.as_str(), provider));
        assert_eq!(of(&events, &Code::Input), "", "what is typed is nobody's business");
        let last = events.last().unwrap();
        match provider {
            "pai" | "dockhand" => {
                assert_eq!(last.code, Code::Marker);
                assert!(last.data.starts_with("exit: "), "{provider}: {last:?}");
            }
            _ => assert_eq!((&last.code, last.data.as_str()), (&Code::Exit, "7"), "{provider}"),
        }
        let shown = world.session(&client.session).await;
        assert_eq!(shown["recording"], json!({ "state": "ended", "missing": 0 }), "{provider}");
    }
}

#[tokio::test]
async fn a_session_that_lives_is_played_up_to_now_and_with_its_sizes() {
    let world = recording().await;
    let mut client = open(&world, "local").await;
    client.run("echo one").await;
    client.say(json!({ "operation": "resize", "cols": 91, "rows": 31 })).await;
    assert_eq!(client.run("stty size").await, "31 91\r\n");
    let (_, events) = play(&world, &client.session).await;
    let text = of(&events, &Code::Output);
    assert!(text.contains("one\r\n") && text.contains("31 91\r\n"), "{text:?}");
    assert_eq!(of(&events, &Code::Resize), "91x31");
    assert!(!events.iter().any(|event| event.code == Code::Exit));
    assert_eq!(world.session(&client.session).await["recording"], json!({ "state": "on", "missing": 0 }));
    let resize = events.iter().position(|event| event.code == Code::Resize).unwrap();
    assert!(
        of(&events[..resize], &Code::Output).contains("one") && of(&events[resize..], &Code::Output).contains("31")
    );
    // A client that comes back is the same session, and what it is shown again is not recorded again.
    drop(client.ws);
    world.until(&client.session, "detached").await;
    let mut back = world.reconnect(&client.session).await;
    back.ready().await;
    back.catch_up().await;
    back.run("echo two").await;
    let (_, events) = play(&world, &client.session).await;
    let text = of(&events, &Code::Output);
    assert_eq!(text.matches("one\r\n").count(), 1, "{text:?}");
    assert!(text.contains("two\r\n") && !text.contains("\u{1b}[!p"), "{text:?}");
}

#[tokio::test]
async fn a_recording_is_served_in_either_version_and_only_to_those_who_may() {
    let world = recording_with(|config| config["recording"]["format"] = json!("v2")).await;
    let mut client = open(&world, "local").await;
    client.type_text("exit 5\r").await;
    client.drain().await;
    until_recorded(&world, &client.session).await;
    let id = &client.session;
    let as_it_is = ask(&world, id, "").await;
    assert!(as_it_is.body.as_str().unwrap().starts_with("{\"version\":2,\"width\":100,\"height\":30,"));
    assert!(as_it_is.body.as_str().unwrap().ends_with("\"m\", \"exit 5\"]\n"));
    assert_eq!(as_it_is.headers["content-disposition"], format!("attachment; filename=\"{id}.cast\""));
    assert_eq!(as_it_is.headers["cache-control"], "no-store");
    let v3 = ask(&world, id, "?format=v3").await;
    let v3 = v3.body.as_str().unwrap();
    assert_eq!(Decoder::open(v3.as_bytes()).unwrap().format(), Format::V3);
    assert_eq!(read(v3), read(as_it_is.body.as_str().unwrap()));
    assert!(v3.ends_with("\"x\", \"5\"]\n"), "{v3}");
    for (query, status) in [("?format=v1", 422), ("?speed=2", 422)] {
        assert_eq!(ask(&world, id, query).await.status, status);
    }
    for id in ["00000000000000000000000000000000", "..%2f..%2fproxy", "../../proxy.toml", "%2e%2e", ""] {
        let answer = ask(&world, id, "").await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (404, &json!("not_found")), "{id:?}");
    }
    let stranger = world.http(Method::GET, &format!("/v1/sessions/{id}/recording"), None, &[]).await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn who_is_recorded_is_said_by_the_session_then_its_provider_then_all() {
    const LOCAL: usize = 5;
    let world = recording_with(|config| {
        config["recording"]["enabled"] = json!(false);
        config["providers"][LOCAL]["record"] = json!(true);
    })
    .await;
    for (provider, record, is_recorded) in
        [("local", None, true), ("local", Some(false), false), ("eci", None, false), ("eci", Some(true), true)]
    {
        let link = world.mint_with(provider, |body| body["record"] = json!(record)).await;
        let before = world.session(&link.session).await;
        let pending = if is_recorded { json!({ "state": "pending", "missing": 0 }) } else { json!(null) };
        assert_eq!(before["recording"], pending, "{provider} {record:?}");
        assert_eq!(ask(&world, &link.session, "").await.status, 404);
        let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
        client.ready().await;
        client.run("echo hello").await;
        let answer = ask(&world, &link.session, "").await;
        assert_eq!(answer.status == 200, is_recorded, "{provider} {record:?}: {}", answer.body);
    }
    let nowhere = World::start().await;
    let body = json!({ "provider": "local", "target": {}, "record": true });
    let refused = nowhere.api(Method::POST, "/v1/sessions", Some(body)).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (422, &json!("unsupported")));
    assert!(refused.body["detail"].as_str().unwrap().contains("recording.directory"));
}

#[tokio::test]
async fn what_is_typed_is_recorded_only_where_that_was_asked_for() {
    let world = recording_with(|config| config["recording"]["input"] = json!(true)).await;
    let mut client = open(&world, "local").await;
    client.type_text("stty -echo; echo re''ady; read password; stty echo; echo it was ${#password} long\r").await;
    client.see("ready").await;
    client.type_text("t\u{fc}r\r").await;
    client.see("it was 3 long").await;
    let (_, events) = play(&world, &client.session).await;
    let typed = of(&events, &Code::Input);
    assert!(typed.ends_with("long\rt\u{fc}r\r"), "{typed:?}");
    assert!(!of(&events, &Code::Output).contains("t\u{fc}r"));
}
