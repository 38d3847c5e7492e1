//! Both planes' doors: who may call, what is answered, and what is refused.

use std::time::{Duration, SystemTime};

use polytty_simulator::{ManualClock, oblien::Options};
use serde_json::json;

use crate::support::{Data, access, control, exchange, key, options, request, send, start, until};

#[tokio::test]
async fn the_ready_line_tells_a_program_all_it_needs() {
    let simulator = start(options()).await;
    let line = simulator.ready_line();
    let url = format!("http://{}", simulator.addr());
    assert_eq!((&line["kind"], &line["url"], &line["target"]), (&json!("oblien"), &json!(url), &json!({})));
    let keys = |line: &serde_json::Value| {
        let provider = line["provider"].as_object().unwrap();
        assert_eq!((&provider["api_url"], &provider["gateway_url"]), (&json!(url), &json!(url)));
        assert_eq!((&provider["workspace"], &provider["allow_private"]), (&json!(simulator.workspace()), &json!(true)));
        let mut keys: Vec<_> = provider.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(keys(&line), "allow_private api_url client_id client_secret gateway_url kind workspace");
    let (scoped, workspace) = (simulator.ready_line_scoped().unwrap(), simulator.ready_line_workspace().unwrap());
    for line in [&scoped, &workspace] {
        assert_eq!(keys(line), "allow_private api_url gateway_url kind token workspace");
    }
    // Each token opens its own plane and nothing else.
    let authority = simulator.authority();
    let path = format!("/workspace/{}/runtime-api-access", simulator.workspace());
    for (line, control, data) in [(&scoped, 200, 401), (&workspace, 401, 200)] {
        let token = line["provider"]["token"].as_str().unwrap();
        let bearer = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(exchange(&authority, &request(&authority, "GET", &path, &bearer, "")).await.status, control);
        assert_eq!(exchange(&authority, &request(&authority, "GET", "/terminals", &bearer, "")).await.status, data);
    }
    let another = start(options()).await;
    assert_ne!(another.credential(), simulator.credential(), "credentials are made anew");
}

#[tokio::test]
async fn a_workspace_is_enabled_and_its_token_opens_the_data_plane() {
    let simulator = start(options()).await;
    let workspace = simulator.workspace_not_enabled();
    let status = access(&simulator, "GET", workspace, "").await;
    assert_eq!(status.json(), json!({"success": true, "enabled": false, "running": false}));
    assert_eq!(access(&simulator, "GET", workspace, "/token").await.refusal(), (409, "not_enabled".to_owned()));
    let first = access(&simulator, "POST", workspace, "/enable").await.json();
    assert_eq!((&first["success"], &first["enabled"]), (&json!(true), &json!(true)));
    let again = access(&simulator, "POST", workspace, "/enable").await.json();
    assert_ne!(first["token"], again["token"], "a fresh token each time");
    let status = access(&simulator, "GET", workspace, "").await;
    assert_eq!(status.json(), json!({"success": true, "enabled": true, "running": true}));
    let read = access(&simulator, "GET", workspace, "/token").await.json();
    // Older documents have another name for the same thing.
    let old = control(&simulator, "GET", &format!("/workspace/{workspace}/internal-api-access/token"), "").await.json();
    let long = access(&simulator, "POST", workspace, "/workspace").await.json();
    let raw = access(&simulator, "GET", workspace, "/token/raw").await.json();
    assert_eq!((&raw["ip"], &raw["port"]), (&json!("127.0.0.1"), &json!(simulator.addr().port())));
    let data = Data::of(&simulator).await;
    for body in [&first, &again, &read, &old, &long, &raw] {
        let data = data.with(body["token"].as_str().unwrap());
        assert_eq!(data.list().await, Vec::<serde_json::Value>::new());
    }
    assert_eq!(raw["token"].as_str().unwrap().len(), 64);
    assert!(simulator.counters().tokens_issued >= 6);
    let stopped = access(&simulator, "POST", simulator.workspace_stopped(), "/enable").await;
    assert_eq!(stopped.refusal(), (409, "workspace_not_running".to_owned()));
}

#[tokio::test]
async fn a_token_of_the_data_plane_lives_for_an_hour() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000));
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let data = Data::of(&simulator).await;
    let long = access(&simulator, "POST", simulator.workspace(), "/workspace").await.json();
    let long = data.with(long["token"].as_str().unwrap());
    clock.advance(Duration::from_secs(3_599));
    assert_eq!(data.call("GET", "/terminals", "").await.status, 200);
    let mut socket = data.connect().await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(data.call("GET", "/terminals", "").await.refusal(), (401, "unauthorized".to_owned()));
    assert_eq!(data.upgrade().await.0.status, 401);
    assert!(socket.is_silent().await, "what is open stays open");
    assert_eq!(long.call("GET", "/terminals", "").await.status, 200);
    clock.advance(Duration::from_secs(30 * 24 * 60 * 60 - 3_600));
    assert_eq!(long.call("GET", "/terminals", "").await.status, 401);
    assert_eq!(Data::of(&simulator).await.call("GET", "/terminals", "").await.status, 200);
}

#[tokio::test]
async fn a_rotated_token_is_refused_from_then_on() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let raw = access(&simulator, "GET", simulator.workspace(), "/token/raw").await.json();
    let rotated = access(&simulator, "POST", simulator.workspace(), "/token").await.json();
    for old in [&data.token, raw["token"].as_str().unwrap()] {
        assert_eq!(data.with(old).call("GET", "/terminals", "").await.status, 401);
    }
    assert_eq!(data.with(rotated["token"].as_str().unwrap()).call("GET", "/terminals", "").await.status, 200);
}

#[tokio::test]
async fn scoped_tokens_reach_as_far_as_their_scope_and_life() {
    let clock = ManualClock::new(SystemTime::now());
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let (own, other) = (simulator.workspace(), simulator.workspace_not_enabled());
    let authority = simulator.authority();
    let status = |token: &str, workspace: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n");
        let path = format!("/workspace/{workspace}/runtime-api-access");
        let (authority, request) = (authority.clone(), request(&authority, "GET", &path, &headers, ""));
        async move { exchange(&authority, &request).await.status }
    };
    let body = json!({"scope": "workspace", "workspaceId": own, "ttl": 60, "label": "test"});
    let reply = control(&simulator, "POST", "/tokens", &body.to_string()).await.json();
    assert_eq!((&reply["success"], &reply["scope"], &reply["ttl"]), (&json!(true), &json!("workspace"), &json!(60)));
    let narrow = reply["token"].as_str().unwrap();
    assert_eq!((status(narrow, own).await, status(narrow, other).await), (200, 403));
    let body = json!({"scope": "namespace", "namespace": simulator.namespace()});
    let reply = control(&simulator, "POST", "/tokens", &body.to_string()).await.json();
    assert_eq!(reply["ttl"], 900);
    let wide = reply["token"].as_str().unwrap();
    assert_eq!((status(wide, own).await, status(wide, other).await), (200, 200));

    let headers = format!("Authorization: Bearer {wide}\r\n");
    let more = exchange(&authority, &request(&authority, "POST", "/tokens", &headers, &body.to_string())).await;
    assert_eq!(more.status, 403, "a token makes no tokens");
    for (bad, expected) in [
        (json!({"scope": "workspace"}), 400),
        (json!({"scope": "everything"}), 400),
        (json!({"scope": "namespace", "ttl": 3601}), 400),
        (json!({"scope": "namespace", "ttl": 0}), 400),
        (json!({"scope": "workspace", "workspaceId": "ws_none"}), 404),
        (json!({"scope": "namespace", "namespace": "none"}), 404),
        (json!([]), 400),
    ] {
        assert_eq!(control(&simulator, "POST", "/tokens", &bad.to_string()).await.refusal().0, expected, "{bad}");
    }
    clock.advance(Duration::from_secs(60));
    assert_eq!((status(narrow, own).await, status(wide, own).await), (401, 200));
    clock.advance(Duration::from_secs(840));
    assert_eq!(status(wide, own).await, 401);
}

#[tokio::test]
async fn whoever_has_no_good_credential_is_refused_on_both_planes() {
    let simulator = start(options()).await;
    let authority = simulator.authority();
    let own = simulator.credential().clone();
    let path = format!("/workspace/{}/runtime-api-access/token", simulator.workspace());
    let data = Data::of(&simulator).await;
    for headers in [
        String::new(),
        format!("X-Client-ID: {}\r\n", own.client_id),
        format!("X-Client-ID: {}\r\nX-Client-Secret: {}x\r\n", own.client_id, own.client_secret),
        format!("X-Client-ID: x\r\nX-Client-Secret: {}\r\n", own.client_secret),
        "Authorization: Bearer none\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", data.token),
        format!("Authorization: Basic {}\r\n", data.token),
    ] {
        let reply = exchange(&authority, &request(&authority, "GET", &path, &headers, "")).await;
        assert_eq!(reply.refusal(), (401, "unauthorized".to_owned()), "{headers}");
    }
    let issued = simulator.counters().tokens_issued;
    for headers in [String::new(), "Authorization: Bearer x.y.z\r\n".to_owned(), key(&simulator)] {
        for (method, path) in [("GET", "/terminals"), ("POST", "/terminals"), ("DELETE", "/terminals/1")] {
            let reply = exchange(&authority, &request(&authority, method, path, &headers, "")).await;
            assert_eq!(reply.refusal().0, 401, "{method} {path} {headers}");
        }
        assert_eq!(exchange(&authority, &data.upgrade_with("", &headers)).await.refusal().0, 401);
    }
    // A query's token is for the WebSocket alone.
    let path = format!("/terminals?token={}", data.token);
    assert_eq!(exchange(&authority, &request(&authority, "GET", &path, "", "")).await.status, 401);
    let counters = simulator.counters();
    assert_eq!((counters.tokens_issued, counters.terminals_created, counters.sockets_opened), (issued, 0, 0));
    assert_eq!(counters.upgrades_refused, 3);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_not_meant_not_allowed() {
    let simulator = start(options()).await;
    for (method, path, status) in [
        ("GET", "/workspace/ws_none/runtime-api-access".to_owned(), 404),
        ("GET", format!("/workspace/{}/other", simulator.workspace()), 404),
        ("GET", format!("/workspace/{}/runtime-api-access/none", simulator.workspace()), 404),
        ("GET", format!("/workspace/{}/runtime-api-access/enable", simulator.workspace()), 405),
        ("DELETE", format!("/workspace/{}/runtime-api-access/token", simulator.workspace()), 405),
        ("GET", "/tokens".to_owned(), 405),
    ] {
        assert_eq!(control(&simulator, method, &path, "").await.refusal().0, status, "{method} {path}");
    }
    let data = Data::of(&simulator).await;
    for (method, path, status) in [
        ("GET", "/terminals/", 400),
        ("DELETE", "/terminals/", 400),
        ("DELETE", "/terminals/1", 404),
        ("DELETE", "/terminals/sess_def456", 404),
        ("GET", "/terminals/1/scrollback", 404),
        ("PUT", "/terminals", 405),
        ("PATCH", "/terminals/1", 405),
        ("POST", "/terminals/1/scrollback", 405),
        ("GET", "/none", 404),
    ] {
        assert_eq!(data.call(method, path, "").await.refusal().0, status, "{method} {path}");
    }
    assert_eq!(data.call("POST", "/terminals", "{").await.refusal().0, 400);
    assert_eq!(data.call("POST", "/terminals", r#"{"cols":"80"}"#).await.refusal().0, 400);
    assert_eq!(data.runtime("none").call("GET", "/terminals", "").await.refusal().0, 404);
    assert_eq!(data.runtime("None").call("GET", "/terminals", "").await.refusal().0, 400);
    let health = exchange(&data.authority, &request(&data.authority, "GET", "/health", "", "")).await;
    assert_eq!(health.json(), json!({"status": "ok"}));
    let large = data.call("POST", "/terminals", &" ".repeat(64 * 1024 + 1)).await;
    assert_eq!(large.refusal().0, 400);
}

#[tokio::test]
async fn a_page_of_another_origin_or_a_rebound_name_gets_nowhere() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let requests = [
        request(
            &data.authority,
            "POST",
            &format!("/workspace/{}/runtime-api-access/enable", simulator.workspace()),
            &key(&simulator),
            "",
        ),
        data.request("POST", "/terminals", ""),
        data.upgrade_request(),
    ];
    for request in requests {
        for origin in ["http://evil.example", "null", "https://127.0.0.1"] {
            let foreign = request.replacen("Host:", &format!("Origin: {origin}\r\nHost:"), 1);
            let reply = exchange(&data.authority, &foreign).await;
            assert_eq!(reply.refusal().0, 403, "{foreign}");
            assert_eq!(reply.header("connection"), Some("close"));
        }
        let rebound = request.replacen(&format!("Host: {}", data.authority), "Host: evil.example", 1);
        assert_eq!(exchange(&data.authority, &rebound).await.refusal().0, 421);
    }
    let own = format!("Origin: http://{}\r\nHost:", data.authority);
    let reply = exchange(&data.authority, &data.request("POST", "/terminals", "").replacen("Host:", &own, 1)).await;
    assert_eq!(reply.status, 201);
    assert_eq!(simulator.counters().terminals_created, 1);
}

#[tokio::test]
async fn a_broken_handshake_is_refused_and_evicts_nobody() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let mut socket = data.connect().await;
    let request = data.upgrade_request();
    for (broken, status) in [
        (request.replace("Version: 13", "Version: 8"), 426),
        (request.replace("Upgrade: websocket\r\n", ""), 426),
        (request.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        (request.replace("GET /ws", "GET /runtimes/none/ws"), 404),
        (request.replace("GET /ws", "GET /runtimes/M/ws"), 400),
    ] {
        assert_ne!(broken, request);
        assert_eq!(exchange(&data.authority, &broken).await.refusal().0, status, "{broken}");
    }
    assert!(socket.is_silent().await);
    assert_eq!(simulator.counters().sockets_open, 1);
}

#[tokio::test]
async fn beyond_loopback_it_listens_only_with_leave() {
    let open = Options { listen: "0.0.0.0:0".parse().unwrap(), ..options() };
    let error = polytty_simulator::oblien::start(open.clone()).await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    let simulator = start(Options { allow_remote: true, ..open }).await;
    assert!(simulator.authority().starts_with("127.0.0.1:"));
    for bad in [
        Options { max_terminals: 0, ..options() },
        Options { max_terminals: 256, ..options() },
        Options { targets: vec!["Mac".to_owned()], ..options() },
        Options { replay_chunk: 0, ..options() },
        Options { limit_status: 99, ..options() },
        Options { shell: Vec::new(), ..options() },
    ] {
        assert!(polytty_simulator::oblien::start(bad.clone()).await.is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn connections_are_counted_and_end_with_the_simulator() {
    let simulator = start(options()).await;
    let data = Data::of(&simulator).await;
    let idle = send(&data.authority, "").await;
    let mut socket = data.connect().await;
    until("both are there", || simulator.connections() == 2).await;
    drop(idle);
    until("one is left", || simulator.connections() == 1).await;
    simulator.shutdown().await;
    assert!(socket.step().await.is_err());
}
