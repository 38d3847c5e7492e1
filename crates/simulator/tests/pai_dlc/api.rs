//! The API: who may call, what is answered, and what is refused.
use std::time::{Duration, SystemTime};

use crate::support::{ApiCall, exchange, options, roa_request, start, terminal_path, until, upgrade, upgrade_request};
use polytty_simulator::{ManualClock, pai_dlc::Options};
use serde_json::Value;

#[tokio::test]
async fn the_ready_line_tells_a_program_all_it_needs() {
    let simulator = start(options()).await;
    let line = simulator.ready_line();
    let authority = simulator.addr().to_string();
    assert_eq!(line["kind"], "pai-dlc");
    assert_eq!(line["url"], format!("http://{authority}"));
    assert_eq!(line["target"]["job_id"], simulator.jobs()[0].id.as_str());
    assert_eq!(line["target"]["pod_id"], simulator.jobs()[0].pods[0].id.as_str());
    let provider = line["provider"].as_object().unwrap();
    let keys: Vec<_> = provider.keys().map(String::as_str).collect();
    let expected =
        ["access_key_id", "access_key_secret", "allow_private", "endpoint", "kind", "region", "websocket_hosts"];
    assert_eq!(keys, expected);
    assert_eq!(provider["websocket_hosts"][0], authority.as_str());
    let temporary = simulator.ready_line_with(simulator.sts_credential());
    assert_eq!(temporary["provider"]["security_token"].as_str(), simulator.sts_credential().security_token.as_deref());
    let another = start(options()).await;
    assert_ne!(another.credential(), simulator.credential(), "credentials are made anew");
}

#[tokio::test]
async fn a_signed_call_is_answered_with_a_link() {
    let simulator = start(options()).await;
    let link = ApiCall::terminal(&simulator, "IsShared=True").link().await;
    let job = &simulator.jobs()[0];
    let rest = link.strip_prefix(&format!("ws://{}/terminal/t1", simulator.authority())).unwrap();
    let (tenant, rest) = rest.split_once('/').unwrap();
    assert!(tenant.bytes().all(|byte| byte.is_ascii_digit()), "{link}");
    let token = rest.strip_prefix(&format!("{}/{}?Token=", job.id, job.pods[0].id)).unwrap();
    assert_eq!(token.len(), 43, "{link}");
    let counters = simulator.counters();
    assert_eq!((counters.calls_answered, counters.links_minted, counters.upgrades_taken), (1, 1, 0));
}

#[tokio::test]
async fn temporary_keys_need_their_token_and_permanent_ones_have_none() {
    let simulator = start(options()).await;
    let sts = simulator.sts_credential().clone();
    ApiCall::terminal(&simulator, "").with(&sts).link().await;
    let mut without = sts.clone();
    without.security_token = None;
    assert_eq!(ApiCall::terminal(&simulator, "").with(&without).send().await.code(), "MissingSecurityToken");
    let mut wrong = sts.clone();
    wrong.security_token = Some("another".to_owned());
    let reply = ApiCall::terminal(&simulator, "").with(&wrong).send().await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "InvalidSecurityToken.Malformed"));
    let mut permanent = simulator.credential().clone();
    permanent.security_token = sts.security_token;
    let reply = ApiCall::terminal(&simulator, "").with(&permanent).send().await;
    assert_eq!(reply.code(), "InvalidSecurityToken.Malformed");
}

#[tokio::test]
async fn the_older_signature_is_good_too() {
    let simulator = start(options()).await;
    let mut call = ApiCall::terminal(&simulator, "IsShared=true");
    let request = roa_request(&call);
    let reply = exchange(&call.authority, &request).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(exchange(&call.authority, &request).await.code(), "SignatureNonceUsed");
    call.credential.access_key_secret = "wrong".to_owned();
    let reply = exchange(&call.authority, &roa_request(&call)).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "SignatureDoesNotMatch"));
    assert!(reply.json()["Message"].as_str().unwrap().contains("server string to sign is:GET\n"));
}

#[tokio::test]
async fn whoever_cannot_prove_who_they_are_is_refused_in_the_gateways_words() {
    let simulator = start(options()).await;
    let call = || ApiCall::terminal(&simulator, "IsShared=true");
    let mut wrong = simulator.credential().clone();
    wrong.access_key_secret.push('x');
    let reply = call().with(&wrong).send().await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "SignatureDoesNotMatch"));
    let body = reply.json();
    let mut members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["Code", "HostId", "Message", "Recommend", "RequestId"]);
    assert_eq!(reply.header("x-acs-request-id"), body["RequestId"].as_str());
    assert!(body["Message"].as_str().unwrap().contains("server StringToSign is [ACS3-HMAC-SHA256\n"));

    wrong.access_key_id = "nobody".to_owned();
    let reply = call().with(&wrong).send().await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "InvalidAccessKeyId.NotFound"));
    let mut other_version = call().request();
    other_version = other_version.replace("x-acs-version: 2020-12-03", "x-acs-version: 2018-08-08");
    assert_eq!(exchange(&simulator.authority(), &other_version).await.code(), "InvalidVersion");
    let mut other_action = call();
    other_action.action = "GetJob";
    assert_eq!(other_action.send().await.code(), "InvalidAction.NotFound");
    let reply = ApiCall::new(&simulator, "StopJob", "/api/v1/stop", "").send().await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "InvalidAction.NotFound"));
    assert_eq!(simulator.counters().links_minted, 0);
}

#[tokio::test]
async fn a_nonce_is_good_once_and_a_forger_cannot_spend_it() {
    let simulator = start(options()).await;
    let call = ApiCall::terminal(&simulator, "IsShared=true");
    let mut forged = call.clone();
    forged.credential.access_key_secret = "guess".to_owned();
    assert_eq!(forged.send().await.code(), "SignatureDoesNotMatch");
    assert_eq!(call.send().await.status, 200);
    let reply = call.send().await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "SignatureNonceUsed"));
}

#[tokio::test]
async fn dates_are_good_for_a_quarter_of_an_hour_either_way() {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000));
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for at in [clock.now(), clock.now() - minutes(15), clock.now() + minutes(15)] {
        assert_eq!(ApiCall::terminal(&simulator, "").at(at).send().await.status, 200);
    }
    let second = Duration::from_secs(1);
    for at in [clock.now() - minutes(15) - second, clock.now() + minutes(15) + second] {
        let reply = ApiCall::terminal(&simulator, "").at(at).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "InvalidTimeStamp.Expired"));
    }
}

#[tokio::test]
async fn only_a_running_pod_of_a_running_job_has_a_terminal() {
    let simulator = start(options()).await;
    let terminal = |job: &str, pod: &str, query: &str| {
        let call = ApiCall::new(&simulator, "GetWebTerminal", &terminal_path(job, pod), query);
        async move {
            let reply = call.send().await;
            let code = if reply.status == 200 { String::new() } else { reply.code() };
            (reply.status, code)
        }
    };
    let error = |status: u16, code: &str| (status, code.to_owned());
    let mut running = 0;
    for job in simulator.jobs() {
        for pod in &job.pods {
            let expected = if (job.status, pod.status) == ("Running", "Running") {
                running += 1;
                error(200, "")
            } else {
                error(400, "BadRequest")
            };
            assert_eq!(terminal(&job.id, &pod.id, "IsShared=true").await, expected, "{job:?} {pod:?}");
        }
    }
    assert_eq!(running, 3);
    let (job, other) = (&simulator.jobs()[0], &simulator.jobs()[1]);
    let pod = &job.pods[0];
    assert_eq!(terminal("dlcnone", &pod.id, "").await, error(404, "NotFound"));
    assert_eq!(terminal(&job.id, "none", "").await, error(404, "NotFound"));
    assert_eq!(terminal(&job.id, &other.pods[1].id, "").await, error(404, "NotFound"));
    assert_eq!(terminal(&job.id, &pod.id, &format!("PodUid={}", pod.uid)).await, error(200, ""));
    assert_eq!(terminal(&job.id, &pod.id, &format!("PodUid={}", pod.history[0])).await, error(404, "NotFound"));
    assert_eq!(terminal(&job.id, &pod.id, "IsShared=maybe").await, error(400, "InvalidParameter"));
}

#[tokio::test]
async fn jobs_are_listed_filtered_and_shown() {
    let simulator = start(options()).await;
    let list = |query: &str| {
        let call = ApiCall::new(&simulator, "ListJobs", "/api/v1/jobs", query);
        async move {
            let reply = call.send().await;
            assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
            let body = reply.json();
            let names: Vec<_> = body["Jobs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|job| job["DisplayName"].as_str().unwrap().to_owned())
                .collect();
            (names.join(" "), body["TotalCount"].as_u64().unwrap())
        }
    };
    assert_eq!(list("").await, ("training evaluation cancelled waiting finished".to_owned(), 5));
    assert_eq!(list("Status=Running").await, ("training evaluation".to_owned(), 2));
    assert_eq!(list("PageNumber=2&PageSize=2").await, ("cancelled waiting".to_owned(), 5));
    assert_eq!(list("DisplayName=fin").await, ("finished".to_owned(), 1));
    assert_eq!(list("WorkspaceId=1").await, (String::new(), 0));
    let bad = ApiCall::new(&simulator, "ListJobs", "/api/v1/jobs", "PageSize=0").send().await;
    assert_eq!((bad.status, bad.code().as_str()), (400, "InvalidParameter"));

    let job = &simulator.jobs()[1];
    let path = format!("/api/v1/jobs/{}", job.id);
    let shown: Value = ApiCall::new(&simulator, "GetJob", &path, "NeedDetail=True").send().await.json();
    assert_eq!((&shown["JobId"], &shown["Status"]), (&job.id.as_str().into(), &"Running".into()));
    let pods: Vec<_> = shown["Pods"].as_array().unwrap().iter().map(|pod| pod["Status"].as_str().unwrap()).collect();
    assert_eq!(pods, ["Succeeded", "Running", "Pending"]);
    let reply = ApiCall::new(&simulator, "GetJob", "/api/v1/jobs/none", "").send().await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "NotFound"));
}

#[tokio::test]
async fn a_shared_link_opens_one_terminal_and_only_while_it_lives() {
    let clock = ManualClock::new(SystemTime::now());
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let mint = || async { ApiCall::terminal(&simulator, "IsShared=true").at(clock.now()).link().await };
    let link = mint().await;
    let plain = link.replacen("ws://", "", 1);
    let (authority, path) = plain.split_once('/').unwrap();
    for method in ["GET", "POST", "OPTIONS"] {
        let request = format!("{method} /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let reply = exchange(authority, &request).await;
        assert!(reply.status == 426 || reply.status == 400, "{method}: {}", reply.status);
    }
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let link = link.clone();
        tries.spawn(async move {
            let (reply, stream) = upgrade(&link).await;
            (reply.status, stream)
        });
    }
    let mut answers: Vec<_> = tries.join_all().await;
    answers.sort_by_key(|(status, _)| *status);
    let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses[0], 101);
    assert!(statuses[1..].iter().all(|status| *status == 404), "{statuses:?}");
    assert_eq!(simulator.counters().upgrades_taken, 1);

    let link = mint().await;
    clock.advance(Duration::from_millis(29_999));
    assert_eq!(upgrade(&link).await.0.status, 101);
    let link = mint().await;
    clock.advance(Duration::from_secs(30));
    assert_eq!(upgrade(&link).await.0.status, 404);
    drop(answers);
    until("the shells are gone", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn a_common_link_is_refused_without_an_identity() {
    let simulator = start(options()).await;
    for query in ["IsShared=false", "IsShared=False", ""] {
        let link = ApiCall::terminal(&simulator, query).link().await;
        assert_eq!(upgrade(&link).await.0.status, 403, "{query}");
    }
    assert_eq!(simulator.counters().upgrades_taken, 0);
}

#[tokio::test]
async fn a_page_of_another_origin_or_a_rebound_name_gets_nowhere() {
    let simulator = start(options()).await;
    let call = ApiCall::terminal(&simulator, "IsShared=true");
    for origin in ["http://evil.example", "null", "https://127.0.0.1"] {
        let reply = call.clone().extra(&format!("Origin: {origin}")).send().await;
        assert_eq!(reply.status, 403, "{origin}");
    }
    let own = format!("Origin: http://{}", simulator.authority());
    let link = call.extra(&own).link().await;
    let (authority, request) = upgrade_request(&link, "Origin: http://evil.example\r\n");
    let reply = exchange(&authority, &request).await;
    assert_eq!((reply.status, reply.header("connection")), (403, Some("close")));
    let (_, request) = upgrade_request(&link, "");
    let rebound = request.replacen(&format!("Host: {authority}"), "Host: evil.example", 1);
    assert_eq!(exchange(&authority, &rebound).await.status, 421);
    let doubled = request.replacen("Host:", &format!("Host: {authority}\r\nHost:"), 1);
    assert_eq!(exchange(&authority, &doubled).await.status, 400);
    // None of this has spent the link.
    assert_eq!(upgrade(&link).await.0.status, 101);
}

#[tokio::test]
async fn a_broken_handshake_is_refused_and_spends_nothing() {
    let simulator = start(options()).await;
    let link = ApiCall::terminal(&simulator, "IsShared=true").link().await;
    let (authority, request) = upgrade_request(&link, "");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (broken, status) in [
        (request.replace("Version: 13", "Version: 8"), 426),
        (request.replace("Upgrade: websocket\r\n", ""), 426),
        (request.replace("Connection: Upgrade\r\n", ""), 426),
        (request.replace(key, ""), 400),
        (request.replace(key, &key.repeat(2)), 400),
        (request.replace(key, "Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        (request.replace("HTTP/1.1", "HTTP/1.0"), 400),
        (request.replace("Host:", "Content-Length: 1\r\nHost:") + "x", 400),
        (request.replace("Host:", "Transfer-Encoding: chunked\r\nHost:") + "0\r\n\r\n", 400),
        (request.replace("?Token=", "?Token=x"), 404),
        (request.replace("/terminal/t1", "/terminal/t2"), 404),
    ] {
        assert_ne!(broken, request);
        let reply = exchange(&authority, &broken).await;
        assert_eq!(reply.status, status, "{broken}");
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(upgrade(&link).await.0.status, 101);
    assert_eq!(simulator.counters().upgrades_refused, 11);
}

#[tokio::test]
async fn shells_are_bounded() {
    let simulator = start(Options { max_sessions: 1, ..options() }).await;
    let mint = || async { ApiCall::terminal(&simulator, "IsShared=true").link().await };
    let (first, second) = (mint().await, mint().await);
    let (reply, open) = upgrade(&first).await;
    assert_eq!(reply.status, 101);
    assert_eq!(upgrade(&second).await.0.status, 503);
    drop(open);
    until("the first shell is gone", || simulator.sessions() == 0).await;
    assert_eq!(upgrade(&second).await.0.status, 101, "a refusal for want of room spends nothing");
}
