//! The calls around a terminal.

use serde_json::json;

use crate::support::{call, call_as, options, start};

#[tokio::test]
async fn health_is_public_and_the_rest_is_not() {
    let simulator = start(options()).await;
    let health = call_as(&simulator, "GET /api/health", "", "").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    assert!(health.json()["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    for line in [
        "GET /api/environments",
        "GET /api/containers/web/shells?env=1",
        "POST /api/containers/web/exec?envId=1",
        "POST /api/auth/tokens",
        "GET /api/anything",
    ] {
        let reply = call_as(&simulator, line, "", "").await;
        let unauthorized = json!({"error": "Unauthorized", "message": "Authentication required"});
        assert_eq!((reply.status, reply.json()), (401, unauthorized), "{line}");
    }
    let counters = simulator.counters();
    assert_eq!((counters.calls_answered, counters.calls_refused), (1, 5));
}

#[tokio::test]
async fn environments_of_every_kind_are_listed() {
    let simulator = start(options()).await;
    let list = call(&simulator, "GET /api/environments", "").await.json();
    let kinds: Vec<_> = list.as_array().unwrap().iter().map(|item| item["connectionType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["socket", "hawser-edge", "hawser-edge", "socket", "direct"]);
    assert_eq!(list[0]["id"], 1);
    assert_eq!(list[0]["socketPath"], "/var/run/docker.sock");
    assert_eq!((&list[4]["port"], &list[4]["protocol"]), (&json!(2376), &json!("https")));
}

#[tokio::test]
async fn shells_are_listed_and_a_failure_is_a_good_status_too() {
    let simulator = start(options()).await;
    let reply = call(&simulator, "GET /api/containers/web/shells?env=1", "").await;
    let body = reply.json();
    assert_eq!(body["shells"], json!(["/bin/bash", "/bin/sh"]));
    assert_eq!(body["defaultShell"], "/bin/bash");
    assert_eq!(body["allShells"][2], json!({"path": "/bin/zsh", "label": "Zsh", "available": false}));
    for (line, error) in [
        ("GET /api/containers/web/shells?envId=1", "No environment specified"),
        ("GET /api/containers/nope/shells?env=1", "No such container: nope"),
        ("GET /api/containers/web/shells?env=4", "Docker socket not accessible"),
    ] {
        let reply = call(&simulator, line, "").await;
        let empty = json!({"shells": [], "defaultShell": null, "allShells": [], "error": error});
        assert_eq!((reply.status, reply.json()), (200, empty));
    }
}

#[tokio::test]
async fn an_exec_is_created_and_leads_nowhere() {
    let simulator = start(options()).await;
    for (environment, info) in [
        (1, json!({"type": "socket"})),
        (2, json!({"type": "http", "host": "localhost", "port": 2375})),
        (5, json!({"type": "https", "host": "docker.internal.example", "port": 2376})),
    ] {
        let line = format!("POST /api/containers/web/exec?envId={environment}");
        for body in ["", "{bad", r#"{"shell":"/bin/bash","user":"root"}"#] {
            let reply = call(&simulator, &line, body).await;
            let json = reply.json();
            assert_eq!((reply.status, &json["connectionInfo"]), (200, &info), "{body}");
            let id = json["execId"].as_str().unwrap();
            assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
    assert_eq!((simulator.counters().execs_created, simulator.sessions()), (9, 0));
    // There is no call that gives an exec a size.
    let id = "0".repeat(64);
    let reply = call(&simulator, &format!("POST /api/exec/{id}/resize?h=24&w=80&envId=1"), "").await;
    assert_eq!(reply.status, 404);
    assert!(reply.header("content-type").unwrap().starts_with("text/html"));
}

#[tokio::test]
async fn execs_are_refused_in_the_servers_and_in_dockers_words() {
    let simulator = start(options()).await;
    for (path, status, error) in [
        ("web/exec", 500, "No environment specified"),
        ("web/exec?envId=99", 500, "Environment 99 not found"),
        ("nope/exec?envId=1", 500, "No such container: nope"),
        ("web/exec?envId=3", 500, "Hawser Edge agent is not connected"),
        ("web/exec?envId=4", 500, "Docker socket not accessible"),
        ("a..b/exec?envId=1", 400, "Invalid container ID"),
        ("a%2Fb/exec?envId=1", 400, "Invalid container ID"),
        ("a%25/exec?envId=1", 400, "Invalid container ID"),
    ] {
        let reply = call(&simulator, &format!("POST /api/containers/{path}"), "").await;
        assert_eq!((reply.status, reply.error().as_str()), (status, error), "{path}");
    }
    for (container, part) in [("stopped", "is not running"), ("paused", "is paused, unpause the container before exec")]
    {
        let reply = call(&simulator, &format!("POST /api/containers/{container}/exec?envId=1"), "").await;
        assert!(reply.status == 500 && reply.error().ends_with(part), "{}", reply.error());
    }
}

#[tokio::test]
async fn wrong_methods_and_places_are_told_apart() {
    let simulator = start(options()).await;
    let reply = call(&simulator, "GET /api/containers/web/exec?envId=1", "").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    assert_eq!(call(&simulator, "POST /api/environments", "{}").await.header("allow"), Some("GET"));
    for line in ["GET /", "GET /api", "GET /api/nothing", "POST /api/containers/web"] {
        assert_eq!(call(&simulator, line, "").await.status, 404, "{line}");
    }
    let long = "x".repeat(64 * 1024 + 1);
    assert_eq!(call(&simulator, "POST /api/containers/web/exec?envId=1", &long).await.status, 400);
}
