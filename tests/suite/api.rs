//! The HTTP API and the edge in front of it.

use std::time::Duration;

use crate::common::{Client, Connect, World};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_session_is_minted_listed_shown_and_ended() {
    let world = World::start().await;
    let body = json!({
        "provider": "local", "target": {}, "size": { "cols": 100, "rows": 30 },
        "subject": "ada", "labels": { "ticket": "OPS-1" },
    });
    let created = world.api(Method::POST, "/v1/sessions", Some(body)).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.body["expires_in"], 30);
    let id = created.body["id"].as_str().unwrap();
    assert_eq!(created.headers["location"], format!("/v1/sessions/{id}"));
    assert!(created.body["url"].as_str().unwrap().starts_with(&format!("wss://{}/t/", world.address)));
    let shown = world.session(id).await;
    for (field, value) in [
        ("state", json!("pending")),
        ("provider", json!("local")),
        ("subject", json!("ada")),
        ("labels", json!({ "ticket": "OPS-1" })),
        ("size", json!({ "cols": 100, "rows": 30 })),
        ("code", json!(null)),
    ] {
        assert_eq!(shown[field], value, "{field} in {shown}");
    }
    let listed = world.api(Method::GET, "/v1/sessions", None).await;
    assert_eq!(listed.body["sessions"], json!([shown]));
    assert_eq!(world.api(Method::DELETE, &format!("/v1/sessions/{id}"), None).await.status, 204);
    let ended = world.until(id, "ended").await;
    assert!(ended["ended_at"].is_string());
    assert_eq!(world.api(Method::DELETE, &format!("/v1/sessions/{id}"), None).await.status, 404);
}

/// Where `local` stands in the configuration.
const LOCAL: usize = 5;

#[tokio::test]
async fn providers_show_their_health_and_how_full_they_are() {
    let world = World::with(|config| config["providers"][LOCAL]["max_sessions"] = json!(1)).await;
    let listed = world.api(Method::GET, "/v1/providers", None).await;
    let local = &listed.body["providers"][LOCAL];
    assert_eq!((&local["health"], &local["sessions"]), (&json!("unknown"), &json!({ "in_use": 0, "allowed": 1 })));
    let client = world.open("local").await;
    let listed = world.api(Method::GET, "/v1/providers", None).await;
    let local = &listed.body["providers"][LOCAL];
    assert_eq!((&local["health"], &local["sessions"]), (&json!("ok"), &json!({ "in_use": 1, "allowed": 1 })));
    let body = json!({ "provider": "local", "target": {} });
    let full = world.api(Method::POST, "/v1/sessions", Some(body)).await;
    assert_eq!((full.status.as_u16(), &full.body["code"]), (429, &json!("quota_exceeded")));
    assert!(full.headers.contains_key("retry-after"));
    drop(client);
}

#[tokio::test]
async fn without_a_good_key_nothing_is_told() {
    let world = World::start().await;
    let basic = format!("Basic {}", world.key);
    let half = format!("Bearer {}", &world.key[..20]);
    for fields in [&[][..], &[("authorization", basic.as_str())], &[("authorization", half.as_str())]] {
        for (method, path) in [
            (Method::GET, "/v1/sessions"),
            (Method::POST, "/v1/sessions"),
            (Method::GET, "/v1/providers"),
            (Method::DELETE, "/v1/sessions/00000000000000000000000000000000"),
            (Method::GET, "/v1/nothing"),
        ] {
            let answer = world.http(method, path, None, fields).await;
            assert_eq!((answer.status.as_u16(), &answer.body["code"]), (401, &json!("unauthenticated")), "{path}");
            assert!(answer.headers.contains_key("www-authenticate"));
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
    }
}

#[tokio::test]
async fn every_mistake_in_a_request_is_named_and_nothing_is_made() {
    let world = World::start().await;
    let good = || json!({ "provider": "local", "target": {} });
    let with = |name: &str, value: Value| {
        let mut body = good();
        body[name] = value;
        body
    };
    for (body, status, mention) in [
        (with("provider", json!("nobody")), 422, "local"),
        (with("colour", json!("red")), 422, "colour"),
        (with("target", json!({ "pod": 1 })), 422, "pod"),
        (with("target", json!({ "command": ["/bin/false"] })), 422, "command"),
        (with("size", json!({ "cols": 0, "rows": 1 })), 422, "size"),
        (with("size", json!({ "cols": 1.5, "rows": 1 })), 422, "1.5"),
        (with("shared", json!(false)), 422, "needs a subject"),
        (with("record", json!(true)), 422, "record"),
        (with("dialect", json!("klingon")), 422, "dialect"),
        (with("subject", json!("")), 422, "subject"),
        (with("labels", json!({ "a": 1 })), 422, "labels"),
        (json!({ "provider": "pai", "target": {} }), 422, "job_id"),
        (json!([]), 422, "sequence"),
        (json!(["local", {}, null, null, true, null, null, {}]), 422, "sequence"),
        (with("size", json!([80, 24])), 422, "sequence"),
        (with("target", json!([])), 422, "sequence"),
    ] {
        let answer = world.api(Method::POST, "/v1/sessions", Some(body.clone())).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(mention), "{body}: {detail}");
    }
    let key = format!("Bearer {}", world.key);
    let host = world.address;
    for (request, status) in [
        (
            format!(
                "POST /v1/sessions HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{{"
            ),
            400,
        ),
        (
            format!(
                "POST /v1/sessions HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"
            ),
            415,
        ),
        (
            format!(
                "POST /v1/sessions HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 70000\r\n\r\n{}",
                " ".repeat(70000)
            ),
            413,
        ),
        (
            format!(
                "PUT /v1/sessions HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            ),
            405,
        ),
        (format!("GET /v1/sessions HTTP/1.1\r\nHost: other\r\nAuthorization: {key}\r\n\r\n"), 421),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n"), 400),
    ] {
        let answer = world.raw(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.80}: {answer}");
    }
    // Refused by its length alone, without asking for it.
    let head = "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 65537";
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: {host}\r\nAuthorization: {key}\r\nConnection: close\r\n{head}\r\n\r\n"
    );
    let answer = world.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let listed = world.api(Method::GET, "/v1/sessions", None).await;
    assert_eq!(listed.body["sessions"], json!([]));
}

#[tokio::test]
async fn minting_has_a_rate_and_says_when_to_come_back() {
    let world = World::with(|config| config["limits"] = json!({ "mints_per_second": 1, "mint_burst": 3 })).await;
    for _ in 0..3 {
        world.mint("local").await;
    }
    let body = json!({ "provider": "local", "target": {} });
    let refused = world.api(Method::POST, "/v1/sessions", Some(body)).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("rate_limited")));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["ratelimit-policy"], "\"mints_per_second\";q=3;w=3");
    assert_eq!(refused.headers["ratelimit"], "\"mints_per_second\";r=0;t=1");
}

#[tokio::test]
async fn clients_that_are_slow_at_every_stage_are_cut_and_make_room_for_others() {
    let world = World::with(|config| {
        config["limits"]["connections"] = json!(6);
        config["limits"]["handshake_timeout"] = json!("500ms");
        config["limits"]["request_timeout"] = json!("500ms");
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(tokio::net::TcpStream::connect(world.address).await.unwrap());
    }
    let mut headless = world.dial().await;
    headless.write_all(b"GET / HTTP/1.1\r\nHost: a").await.unwrap();
    let mut bodiless = world.dial().await;
    let host = world.address;
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n",
        world.key
    );
    bodiless.write_all(head.as_bytes()).await.unwrap();
    for stream in &mut silent {
        assert_eq!(within(stream.read(&mut [0; 16])).await.unwrap_or(0), 0);
    }
    for mut stream in [headless, bodiless] {
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    // There is room again for more than ever fitted at once.
    for _ in 0..12 {
        assert_eq!(world.api(Method::GET, "/v1/sessions", None).await.status, 200);
    }
}

#[tokio::test]
async fn the_description_names_every_call_and_every_call_it_names_is_there() {
    let world = World::start().await;
    let description = world.http(Method::GET, "/openapi.json", None, &[]).await.body;
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 8);
    for (path, calls) in paths {
        let path = path.replace("{id}", "00000000000000000000000000000000").replace("{name}", "oblien");
        for method in ["get", "post", "delete", "put"] {
            let answer = world.api(method.to_uppercase().parse().unwrap(), &path, None).await;
            let described = calls.get(method).is_some();
            assert_eq!(answer.status != 405, described, "{method} {path}: {}", answer.status);
            if described {
                let statuses = calls[method]["responses"].as_object().unwrap();
                assert!(statuses.contains_key(answer.status.as_str()), "{method} {path}: {}", answer.status);
            }
        }
    }
}

#[tokio::test]
async fn the_admin_listener_tells_health_and_turns_pages_and_strangers_away() {
    let world = World::start().await;
    let ask = async |request: String| {
        let mut stream = tokio::net::TcpStream::connect(world.admin).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let admin = world.admin;
    for path in ["/healthz", "/readyz", "/version", "/metrics"] {
        let answer = ask(format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let rebound = ask(format!("GET /metrics HTTP/1.1\r\nHost: evil.example:{}\r\n\r\n", admin.port())).await;
    assert!(rebound.starts_with("HTTP/1.1 421 "), "{rebound}");
    let page = ask(format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nOrigin: https://evil.example\r\n\r\n")).await;
    assert!(page.starts_with("HTTP/1.1 403 "), "{page}");
}

#[tokio::test]
async fn what_a_provider_refuses_is_told_in_words_and_shows_in_its_health() {
    let world = World::start().await;
    let link = world
        .mint_with("pai", |body| body["target"] = json!({ "job_id": "dlc-that-never-was", "pod_id": "x-worker-0" }))
        .await;
    let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
    let error = client.hear("error").await;
    assert_eq!((&error["code"], &error["final"]), (&json!("provider_not_running"), &json!(true)), "{error}");
    let closed = client.drain().await;
    assert_eq!(closed.code, 4502);
    let ended = world.until(&link.session, "ended").await;
    assert_eq!(ended["code"], "provider_not_running");
}

async fn within<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), doing).await.expect("the server acts in time")
}
