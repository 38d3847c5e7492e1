//! The calls, their signatures, and the links that they make.

use std::time::{Duration, SystemTime};

use polytty_simulator::{ManualClock, eci::Credential, eci::Options};

use crate::support::{
    ApiCall, Carrier, Scheme, Session, exchange, options, sh, start, until, upgrade, upgrade_request,
};

const BASH: &str = r#"["/bin/bash"]"#;

#[tokio::test]
async fn a_link_has_the_documented_shape() {
    let simulator = start(options()).await;
    let reply = ApiCall::exec(&simulator, BASH).tty().send().await;
    assert_eq!(reply.status, 200);
    let answer = reply.json();
    let uri = answer["WebSocketUri"].as_str().unwrap();
    let token = uri.strip_prefix(&format!("ws://{}/exec/?s=", simulator.authority())).unwrap();
    assert_eq!(token.len(), 43, "256 bits");
    assert!(answer["HttpUrl"].as_str().unwrap().contains("/terminal?param="));
    assert_eq!(answer["RequestId"].as_str().unwrap().len(), 36);
    assert_eq!(answer.as_object().unwrap().len(), 3, "no SyncResponse: {answer}");
    assert_ne!(ApiCall::exec(&simulator, BASH).tty().link().await, uri);
}

#[tokio::test]
async fn parameters_travel_in_the_query_or_in_a_form_under_both_signatures_and_both_keys() {
    let simulator = start(options()).await;
    let command = sh("printf '%s' 'a b*c~你'");
    for credential in [simulator.credential(), simulator.sts_credential()] {
        for scheme in [Scheme::Acs3, Scheme::Sha1] {
            for carrier in [Carrier::Query, Carrier::Form, Carrier::Get] {
                let call = ApiCall::exec(&simulator, &command).with(credential).by(carrier, scheme);
                let mut session = Session::open(&call).await;
                session.expect("a b*c~你").await;
            }
        }
    }
    assert_eq!(simulator.counters().calls_answered, 12);
}

#[tokio::test]
async fn whoever_cannot_sign_is_refused() {
    let simulator = start(options()).await;
    for scheme in [Scheme::Acs3, Scheme::Sha1] {
        let call = || ApiCall::exec(&simulator, BASH).tty().by(Carrier::Query, scheme);
        let good = simulator.credential();
        let wrong = Credential { access_key_secret: "wrong".to_owned(), ..good.clone() };
        assert_eq!(call().with(&wrong).refusal().await, (400, "SignatureDoesNotMatch".to_owned()));
        let nobody = Credential { access_key_id: "nobody".to_owned(), ..good.clone() };
        assert_eq!(call().with(&nobody).refusal().await, (404, "InvalidAccessKeyId.NotFound".to_owned()));
        let uncalled = Credential { security_token: Some("token/+=".to_owned()), ..good.clone() };
        assert_eq!(call().with(&uncalled).refusal().await, (403, "InvalidSecurityToken.Malformed".to_owned()));
        let tokenless = Credential { security_token: None, ..simulator.sts_credential().clone() };
        assert_eq!(call().with(&tokenless).refusal().await, (400, "MissingSecurityToken".to_owned()));
        let old = ApiCall { version: "2014-05-26", ..call() };
        assert_eq!(old.refusal().await, (400, "InvalidVersion".to_owned()));
    }
    let unsigned = format!("GET /?Action=ExecContainerCommand HTTP/1.1\r\nHost: {}\r\n\r\n", simulator.authority());
    assert_eq!(exchange(&simulator.authority(), &unsigned).await.code(), "MissingAccessKeyId");
    assert_eq!(simulator.counters().links_minted, 0);
}

#[tokio::test]
async fn a_changed_parameter_is_noticed() {
    let simulator = start(options()).await;
    for scheme in [Scheme::Acs3, Scheme::Sha1] {
        for carrier in [Carrier::Query, Carrier::Form] {
            let request = ApiCall::exec(&simulator, BASH).tty().by(carrier, scheme).request();
            let changed = request.replacen("TTY=true", "TTY=fals", 1);
            assert_ne!(changed, request);
            let reply = exchange(&simulator.authority(), &changed).await;
            assert_eq!((reply.status, reply.code().as_str()), (400, "SignatureDoesNotMatch"), "{scheme:?} {carrier:?}");
        }
    }
}

#[tokio::test]
async fn a_nonce_is_good_once_and_a_date_for_a_quarter_of_an_hour() {
    let clock = ManualClock::new(SystemTime::now());
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    for scheme in [Scheme::Acs3, Scheme::Sha1] {
        let call = ApiCall { at: clock.now(), ..ApiCall::exec(&simulator, BASH).tty().by(Carrier::Query, scheme) };
        call.link().await;
        assert_eq!(call.refusal().await, (400, "SignatureNonceUsed".to_owned()));
        for (minutes, good) in [(14, true), (16, false)] {
            for at in [clock.now() - Duration::from_secs(minutes * 60), clock.now() + Duration::from_secs(minutes * 60)]
            {
                let call = ApiCall { at, ..ApiCall::exec(&simulator, BASH).tty().by(Carrier::Query, scheme) };
                if good {
                    call.link().await;
                } else {
                    assert_eq!(call.refusal().await, (400, "InvalidTimeStamp.Expired".to_owned()));
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_missing_or_unknown_is_named() {
    let simulator = start(options()).await;
    for name in ["RegionId", "ContainerGroupId", "ContainerName", "Command"] {
        let refusal = ApiCall::exec(&simulator, BASH).tty().set(name, "").refusal().await;
        assert_eq!(refusal, (400, format!("Missing{name}")));
    }
    for (name, value) in
        [("RegionId", "cn-nowhere"), ("ContainerGroupId", "eci-none"), ("ContainerName", "none"), ("TTY", "maybe")]
    {
        let refusal = ApiCall::exec(&simulator, BASH).set(name, value).refusal().await;
        assert_eq!(refusal, (400, "InvalidParameter.ValueExceeded".to_owned()), "{name}");
    }
    for scheme in [Scheme::Acs3, Scheme::Sha1] {
        let call = ApiCall::new(&simulator, "DeleteContainerGroup").by(Carrier::Query, scheme);
        assert_eq!(call.refusal().await, (404, "InvalidAction.NotFound".to_owned()));
        let call = ApiCall { path: "/exec", ..ApiCall::exec(&simulator, BASH).tty().by(Carrier::Query, scheme) };
        assert_eq!(call.refusal().await, (404, "InvalidAction.NotFound".to_owned()));
    }
}

#[tokio::test]
async fn only_a_running_container_of_a_running_group_takes_commands() {
    let simulator = start(options()).await;
    let (mut good, mut refused) = (0, 0);
    for group in simulator.container_groups() {
        for container in &group.containers {
            let call =
                ApiCall::exec(&simulator, "ls").set("ContainerGroupId", &group.id).set("ContainerName", container.name);
            let reply = call.send().await;
            if (group.status, container.state) == ("Running", "Running") {
                assert_eq!(reply.status, 200);
                good += 1;
            } else {
                assert_eq!((reply.status, reply.code().as_str()), (400, "IncorrectStatus"), "{group:?} {container:?}");
                refused += 1;
            }
        }
    }
    assert!(good >= 3 && refused >= 5, "{good} {refused}");
}

#[tokio::test]
async fn a_command_is_bounded_and_does_not_contradict_itself() {
    let simulator = start(options()).await;
    let refused = (400, "InvalidParameter.ValueExceeded".to_owned());
    let items = |count: usize| serde_json::to_string(&vec!["x"; count]).unwrap();
    ApiCall::exec(&simulator, &items(20)).link().await;
    assert_eq!(ApiCall::exec(&simulator, &items(21)).refusal().await, refused);
    let bytes = |length: usize| format!(r#"["{}"]"#, "x".repeat(length - 4));
    ApiCall::exec(&simulator, &bytes(2_048)).link().await;
    assert_eq!(ApiCall::exec(&simulator, &bytes(2_049)).refusal().await, refused);
    assert_eq!(ApiCall::exec(&simulator, "[not json").refusal().await, refused);
    assert_eq!(ApiCall::exec(&simulator, BASH).refusal().await, refused, "bash without a terminal");
    assert_eq!(ApiCall::exec(&simulator, BASH).set("Sync", "true").refusal().await, refused);
    assert_eq!(ApiCall::exec(&simulator, "ls").set("Sync", "true").tty().refusal().await, refused);
}

#[tokio::test]
async fn a_synchronous_command_is_answered_with_its_output() {
    let simulator = start(options()).await;
    let sync = |script: &str| ApiCall::exec(&simulator, &sh(script)).set("Sync", "True");
    let answer = sync("echo Hello; echo oh >&2; exit 3").send().await.json();
    let output = answer["SyncResponse"].as_str().unwrap();
    assert!(output.contains("Hello\n") && output.contains("oh\n"), "{answer}");
    assert!(answer.get("WebSocketUri").is_none() && answer.get("HttpUrl").is_none());
    let answer = sync("yes").send().await.json();
    assert_eq!(answer["SyncResponse"].as_str().unwrap().len(), 64 * 1024);
    let answer = sync("cat").send().await.json();
    assert_eq!(answer["SyncResponse"], "", "there is no input to wait for");
    let reply = ApiCall::exec(&simulator, "/no/such/program").set("Sync", "true").send().await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "InvalidParameter.ValueExceeded"));
    until("nothing is left", || simulator.sessions() == 0).await;
}

#[tokio::test]
async fn container_groups_are_listed_filtered_and_paged() {
    let simulator = start(options()).await;
    let describe = || ApiCall::new(&simulator, "DescribeContainerGroups");
    let groups = simulator.container_groups();
    let all = describe().send().await.json();
    assert_eq!(all["TotalCount"], groups.len());
    let first = &all["ContainerGroups"][0];
    assert_eq!(first["ContainerGroupId"], groups[0].id.as_str());
    assert_eq!((&first["Status"], &first["ContainerGroupName"]), (&"Running".into(), &"web".into()));
    assert_eq!(first["Containers"][0]["Name"], groups[0].containers[0].name);
    assert_eq!(first["Containers"][0]["CurrentState"]["State"], "Running");
    assert!(all.get("NextToken").is_none());

    let ids = serde_json::to_string(&[&groups[1].id, "eci-none"]).unwrap();
    let some = describe().set("ContainerGroupIds", &ids).send().await.json();
    assert_eq!((&some["TotalCount"], &some["ContainerGroups"][0]["Status"]), (&1.into(), &"Pending".into()));
    let running = describe().set("Status", "Running").by(Carrier::Form, Scheme::Sha1).send().await.json();
    assert_eq!(running["TotalCount"], 2);

    let (mut token, mut seen) = (String::new(), Vec::new());
    loop {
        let page = describe().set("Limit", "3").set("NextToken", &token).send().await.json();
        let ids = page["ContainerGroups"].as_array().unwrap();
        seen.extend(ids.iter().map(|group| group["ContainerGroupId"].as_str().unwrap().to_owned()));
        match page["NextToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen, groups.iter().map(|group| group.id.clone()).collect::<Vec<_>>());

    let many = serde_json::to_string(&vec!["eci-x"; 21]).unwrap();
    for (name, value) in [
        ("Limit", "0"),
        ("Limit", "21"),
        ("NextToken", "none"),
        ("ContainerGroupIds", "eci-1"),
        ("ContainerGroupIds", &many),
    ] {
        let refusal = describe().set(name, value).refusal().await;
        assert_eq!(refusal, (400, "InvalidParameter.ValueExceeded".to_owned()), "{name}={value}");
    }
}

#[tokio::test]
async fn a_link_opens_once_and_within_thirty_seconds() {
    let clock = ManualClock::new(SystemTime::now());
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let call = || ApiCall { at: clock.now(), ..ApiCall::exec(&simulator, BASH).tty() };
    let link = call().link().await;
    clock.advance(Duration::from_secs(29));
    assert_eq!(upgrade(&link).await.0.status, 101);
    assert_eq!(upgrade(&link).await.0.status, 404, "spent");
    let link = call().link().await;
    clock.advance(Duration::from_secs(30));
    assert_eq!(upgrade(&link).await.0.status, 404, "expired");
    let authority = simulator.authority();
    assert_eq!(upgrade(&format!("ws://{authority}/exec/?s=none")).await.0.status, 404);
    assert_eq!(upgrade(&format!("ws://{authority}/exec/")).await.0.status, 404);
    let counters = simulator.counters();
    assert_eq!((counters.links_minted, counters.upgrades_taken, counters.upgrades_refused), (2, 1, 4));
}

#[tokio::test]
async fn only_a_handshake_spends_a_link() {
    let simulator = start(options()).await;
    let link = ApiCall::exec(&simulator, BASH).tty().link().await;
    let path = link.strip_prefix(&format!("ws://{}", simulator.authority())).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", simulator.authority());
    let reply = exchange(&simulator.authority(), &request).await;
    assert_eq!((reply.status, reply.header("sec-websocket-version")), (426, Some("13")));
    assert_eq!(upgrade(&link).await.0.status, 101);
}

#[tokio::test]
async fn pages_of_other_origins_and_names_that_were_rebound_get_nowhere() {
    let simulator = start(options()).await;
    let call = ApiCall { extra: "Origin: http://evil.example\r\n", ..ApiCall::exec(&simulator, BASH).tty() };
    assert_eq!(call.refusal().await.0, 403);
    let link = ApiCall::exec(&simulator, BASH).tty().link().await;
    let (authority, request) = upgrade_request(&link, "Origin: null\r\n");
    assert_eq!(exchange(&authority, &request).await.status, 403);
    let (authority, request) = upgrade_request(&link, "");
    let rebound = request.replacen(&format!("Host: {authority}"), "Host: rebound.example", 1);
    assert_eq!(exchange(&authority, &rebound).await.status, 421);
    let own = format!("Origin: http://{}\r\n", simulator.authority());
    let (authority, request) = upgrade_request(&link, &own);
    assert_eq!(exchange(&authority, &request).await.status, 101, "none of them has spent the link");
}

#[tokio::test]
async fn the_ready_line_says_how_to_reach_it() {
    let simulator = start(options()).await;
    let line = simulator.ready_line();
    let url = format!("http://{}", simulator.authority());
    assert_eq!((&line["kind"], line["url"].as_str()), (&"eci".into(), Some(url.as_str())));
    let provider = line["provider"].as_object().unwrap();
    let mut keys: Vec<_> = provider.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected =
        ["access_key_id", "access_key_secret", "allow_private", "endpoint", "kind", "region", "websocket_hosts"];
    assert_eq!(keys, expected);
    assert_eq!(line["target"]["container_group_id"], simulator.container_groups()[0].id.as_str());
    assert_eq!(line["target"]["container_name"], "nginx");
    let sts = simulator.ready_line_with(simulator.sts_credential());
    assert_eq!(sts["provider"]["security_token"].as_str(), simulator.sts_credential().security_token.as_deref());
    let other = start(options()).await;
    assert_ne!(other.ready_line()["provider"]["access_key_secret"], line["provider"]["access_key_secret"]);
}

#[tokio::test]
async fn it_listens_on_loopback_only_unless_told_otherwise() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let error = polytty_simulator::eci::start(Options { listen, ..options() }).await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
}
