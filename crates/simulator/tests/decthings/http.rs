//! Calls over HTTP.

use polytty_simulator::decthings::Options;
use serde_json::{Value, json};

use crate::support::{
    Client, body, exchange, good_headers, launch_params, of, options, post, request, script, start, until,
};

#[tokio::test]
async fn a_session_is_launched_written_to_resized_listed_and_terminated() {
    let simulator = start(options()).await;
    let mut params = launch_params(&simulator);
    params["subscribeToEvents"] = json!(false);
    let launched = post(&simulator, "launchTerminalSession", &params, &[]).await;
    let id = launched["result"]["terminalSessionId"].as_str().unwrap().to_owned();
    // Its output goes to whoever subscribes, which only a WebSocket can.
    let mut client = Client::open(&simulator).await;
    assert_eq!(client.call("subscribeToEvents", &of(&id), &[]).await, json!({"result": {}}));

    // As the official client for Python writes: the input stands in the JSON as well, and does not count.
    let write = json!({"terminalSessionId": id, "data": "echo not''this\r"});
    assert_eq!(post(&simulator, "writeToTerminalSession", &write, &[b"echo an''swer\r"]).await, json!({"result": {}}));
    client.expect(&id, "answer").await;
    assert!(!client.text(&id).contains("notthis"));

    let size = json!({"terminalSessionId": id, "size": {"cols": 101, "rows": 37}});
    assert_eq!(post(&simulator, "resizeTerminalSession", &size, &[]).await, json!({"result": {}}));
    post(&simulator, "writeToTerminalSession", &of(&id), &[b"stty size\r"]).await;
    client.expect(&id, "37 101").await;

    let listed = post(&simulator, "getTerminalSessions", &json!({}), &[]).await;
    let sessions = listed["result"]["terminalSessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0]["id"], id);
    assert_eq!(sessions[0]["modelId"], params["modelId"]);
    assert!(sessions[0]["startedAt"].is_u64());
    let location = &sessions[0]["executionLocation"];
    assert_eq!(location["persistentLauncherId"], params["executionLocation"]["persistentLauncherId"]);
    assert!(location["spec"]["cpus"].is_number() && location["spec"]["memoryMebibytes"].is_u64(), "{location}");

    assert_eq!(post(&simulator, "terminateTerminalSession", &of(&id), &[]).await, json!({"result": {}}));
    assert_eq!(client.exit(&id).await, json!({"code": "terminated_on_request"}));
    let gone = json!({"error": {"code": "terminal_session_not_found"}});
    assert_eq!(post(&simulator, "terminateTerminalSession", &of(&id), &[]).await, gone);
    assert_eq!(post(&simulator, "writeToTerminalSession", &of(&id), &[b"x"]).await, gone);
    let listed = post(&simulator, "getTerminalSessions", &json!({}), &[]).await;
    assert_eq!(listed, json!({"result": {"terminalSessions": []}}));
    until("the shell is gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn some_of_the_sessions_can_be_listed_and_unknown_ones_are_absent() {
    let simulator = start(script("sleep 1000")).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let reply = post(&simulator, "launchTerminalSession", &launch_params(&simulator), &[]).await;
        ids.push(reply["result"]["terminalSessionId"].clone());
    }
    let listed = |reply: Value| -> Vec<Value> {
        let sessions = reply["result"]["terminalSessions"].as_array().unwrap();
        sessions.iter().map(|session| session["id"].clone()).collect()
    };
    let wanted = json!({"terminalSessionIds": [ids[2], "nobody", ids[0]]});
    let some = listed(post(&simulator, "getTerminalSessions", &wanted, &[]).await);
    assert!(some.len() == 2 && some.contains(&ids[0]) && some.contains(&ids[2]), "{some:?}");
    assert_eq!(listed(post(&simulator, "getTerminalSessions", &json!({}), &[]).await).len(), 3);
    let reply = post(&simulator, "getTerminalSessions", &json!([]), &[]).await;
    assert_eq!(reply["error"]["code"], "invalid_parameter");
}

#[tokio::test]
async fn who_has_no_key_is_told_so_with_status_200() {
    let simulator = start(options()).await;
    let octets = "Content-Type: application/octet-stream\r\n";
    for authorization in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic eA==\r\n"] {
        let body = body(&launch_params(&simulator).to_string(), &[]);
        let request =
            request(&simulator, "/v0/Terminal/launchTerminalSession", &format!("{octets}{authorization}"), &body);
        let reply = exchange(&simulator, &request).await.json();
        assert_eq!(reply, json!({"error": {"code": "bad_credentials"}}), "{authorization:?}");
    }
    assert_eq!(simulator.counters().launched, 0);
}

#[tokio::test]
async fn the_name_of_the_api_has_any_case_and_the_rest_is_404() {
    let simulator = start(options()).await;
    let headers = good_headers(&simulator);
    for (path, status) in [
        ("/v0/Terminal/getTerminalSessions", 200),
        ("/v0/terminal/getTerminalSessions", 200),
        ("/v0/Terminal/getterminalsessions", 404),
        ("/v0/Terminal/attachToTerminalSession", 404),
        ("/v0/Model/getModels", 404),
        ("/v0/Terminal", 404),
        ("/v1/Terminal/getTerminalSessions", 404),
        ("/", 404),
    ] {
        assert_eq!(
            exchange(&simulator, &request(&simulator, path, &headers, &body("{}", &[]))).await.status,
            status,
            "{path}"
        );
    }
    let get = format!("GET /v0/Terminal/getTerminalSessions HTTP/1.1\r\nHost: {}\r\n\r\n", simulator.authority());
    assert_eq!(exchange(&simulator, get.as_bytes()).await.status, 405);
    let json = "Content-Type: application/json\r\n";
    let typed = request(&simulator, "/v0/Terminal/getTerminalSessions", json, b"{}");
    assert_eq!(exchange(&simulator, &typed).await.status, 415);
}

#[tokio::test]
async fn a_body_that_is_no_call_is_refused() {
    let simulator = start(options()).await;
    let headers = good_headers(&simulator);
    let good = body("{}", &[b"blob"]);
    let hostile = |length: u64| [&[0, 0xFF][..], &length.to_be_bytes(), b"{}"].concat();
    for bad in [
        Vec::new(),
        b"{}".to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"x"].concat(),
        body("{", &[]),
        hostile(3),
        hostile(1 << 63),
        hostile(u64::MAX),
    ] {
        let reply =
            exchange(&simulator, &request(&simulator, "/v0/Terminal/getTerminalSessions", &headers, &bad)).await;
        assert_eq!(reply.status, 400, "{bad:?}");
    }
    let large = vec![0; 4 * 1024 * 1024 + 1];
    let path = "/v0/Terminal/writeToTerminalSession";
    assert_eq!(exchange(&simulator, &request(&simulator, path, &headers, &large)).await.status, 413);
}

#[tokio::test]
async fn other_hosts_and_pages_of_other_origins_are_refused() {
    let simulator = start(options()).await;
    let key = good_headers(&simulator);
    let body = body("{}", &[]);
    let good = request(&simulator, "/v0/Terminal/getTerminalSessions", &key, &body);
    assert_eq!(exchange(&simulator, &good).await.status, 200);
    let other = String::from_utf8(good).unwrap().replace(&simulator.authority(), "rebound.example");
    assert_eq!(exchange(&simulator, other.as_bytes()).await.status, 421);
    let foreign = request(
        &simulator,
        "/v0/Terminal/getTerminalSessions",
        &format!("{key}Origin: http://evil.example\r\n"),
        &body,
    );
    assert_eq!(exchange(&simulator, &foreign).await.status, 403);
}

#[tokio::test]
async fn what_a_launch_names_has_to_exist() {
    let simulator = start(options()).await;
    let code = async |change: &dyn Fn(&mut Value)| {
        let mut params = launch_params(&simulator);
        change(&mut params);
        post(&simulator, "launchTerminalSession", &params, &[]).await["error"]["code"].clone()
    };
    assert_eq!(code(&|params| params["modelId"] = json!("none")).await, "model_not_found");
    let access = json!({"addFilesystemAccess": [{"modelId": "none"}]});
    assert_eq!(code(&|params| params["options"] = access.clone()).await, "model_not_found");
    let none = |params: &mut Value| params["executionLocation"]["persistentLauncherId"] = json!("none");
    assert_eq!(code(&none).await, "persistent_launcher_not_found");
    assert_eq!(code(&|params| params["modelId"] = json!(7)).await, "invalid_parameter");
    let mut params = launch_params(&simulator);
    params["options"] = json!({"cols": 0, "rows": 24});
    let error = &post(&simulator, "launchTerminalSession", &params, &[]).await["error"];
    assert_eq!((error["parameterName"].as_str(), error["reason"].is_string()), (Some("options.cols"), true));
    assert_eq!(simulator.sessions(), 0);
}

#[tokio::test]
async fn a_temporary_launcher_is_shown_with_the_spec_that_was_asked_for() {
    let simulator = start(script("sleep 1000")).await;
    let spec = json!({"cpus": 0.5, "memoryMebibytes": 512, "gpus": {"model": "L4", "count": 1}});
    let mut params = launch_params(&simulator);
    params["executionLocation"] = json!({"type": "temporaryLauncher", "spec": spec});
    assert!(post(&simulator, "launchTerminalSession", &params, &[]).await["result"].is_object());
    let listed = post(&simulator, "getTerminalSessions", &json!({}), &[]).await;
    let location = &listed["result"]["terminalSessions"][0]["executionLocation"];
    assert_eq!(*location, json!({"type": "temporaryLauncher", "spec": spec}));
}

#[tokio::test]
async fn sessions_are_bounded_by_a_quota() {
    let simulator = start(Options { max_sessions: 2, ..script("sleep 1000") }).await;
    let launch = async || post(&simulator, "launchTerminalSession", &launch_params(&simulator), &[]).await;
    let first = launch().await["result"].clone();
    launch().await;
    assert_eq!(launch().await, json!({"error": {"code": "quota_exceeded"}}));
    post(&simulator, "terminateTerminalSession", &first, &[]).await;
    until("there is room again", || simulator.sessions() == 1).await;
    assert!(launch().await["result"].is_object());
}

#[tokio::test]
async fn filesystem_access_can_be_had_at_the_launch_and_later() {
    let simulator = start(script("sleep 1000")).await;
    let models = simulator.models();
    let mut params = launch_params(&simulator);
    params["options"] = json!({"addFilesystemAccess": [{"modelId": models[1]}]});
    let launched = post(&simulator, "launchTerminalSession", &params, &[]).await;
    let id = launched["result"]["terminalSessionId"].as_str().unwrap();
    assert_eq!(simulator.filesystem_access(id).unwrap(), [models[1].clone()]);
    let add = async |id: &str, model: &str| {
        let params = json!({"terminalSessionId": id, "modelId": model});
        post(&simulator, "addFilesystemAccessForTerminalSession", &params, &[]).await
    };
    assert_eq!(add(id, &models[2]).await, json!({"result": {}}));
    assert_eq!(add(id, &models[2]).await, json!({"result": {}}));
    assert_eq!(simulator.filesystem_access(id).unwrap(), models[1..]);
    assert_eq!(add(id, "none").await, json!({"error": {"code": "model_not_found"}}));
    assert_eq!(add("none", &models[2]).await, json!({"error": {"code": "terminal_session_not_found"}}));
}

#[tokio::test]
async fn nobody_subscribes_over_http() {
    let simulator = start(script("sleep 1000")).await;
    let launched = post(&simulator, "launchTerminalSession", &launch_params(&simulator), &[]).await;
    assert_eq!(post(&simulator, "subscribeToEvents", &launched["result"], &[]).await["error"]["code"], "unknown");
    let reply = post(&simulator, "unsubscribeFromEvents", &launched["result"], &[]).await;
    assert_eq!(reply["error"]["code"], "not_subscribed");
    assert_eq!(simulator.counters().subscriptions, 0);
}

#[tokio::test]
async fn a_write_needs_its_blob_and_a_resize_a_size() {
    let simulator = start(script("sleep 1000")).await;
    let launched = post(&simulator, "launchTerminalSession", &launch_params(&simulator), &[]).await;
    let mut params = launched["result"].clone();
    let error = post(&simulator, "writeToTerminalSession", &params, &[]).await["error"].clone();
    assert_eq!((&error["code"], &error["parameterName"]), (&json!("invalid_parameter"), &json!("data")));
    for size in
        [json!({"cols": 80}), json!({"cols": 0, "rows": 24}), json!({"cols": 70_000, "rows": 24}), json!("80x24")]
    {
        params["size"] = size;
        let error = post(&simulator, "resizeTerminalSession", &params, &[]).await["error"].clone();
        assert_eq!((&error["code"], &error["parameterName"]), (&json!("invalid_parameter"), &json!("size")));
    }
}
