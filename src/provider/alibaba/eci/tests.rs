//! The API and the terminal's gateway are one scripted peer here.

use polytty_dialect::Exit;
use polytty_dialect::channel::ResizeMode;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::config::HostPattern;
use crate::config::secret::Secret;
use crate::provider::scripted::{Answer, Asked, Peer, flush, in_time, read_to_end, read_until};

const EXEC: &str = "ExecContainerCommand";
const DESCRIBE: &str = "DescribeContainerGroups";

fn settings(address: &str) -> Eci {
    Eci {
        region: "cn-test".to_owned(),
        endpoint: format!("http://{address}").parse().unwrap(),
        access_key_id: "key-id".to_owned(),
        access_key_secret: Secret::new("s3cret-key".to_owned()),
        security_token: Some(Secret::new("s3cret-token".to_owned())),
        websocket_hosts: vec![HostPattern::Exact(address.parse().unwrap())],
        resize_mode: ResizeMode::K8s4,
        subprotocol: None,
    }
}

fn provider(settings: Eci) -> EciProvider {
    let clock = || "2026-11-22T00:25:27Z".parse().unwrap();
    EciProvider::new("eci".to_owned(), settings, Dialer::new(None, true).unwrap(), clock)
}

async fn open_target(provider: &EciProvider, target: Value) -> Result<Box<dyn Upstream>, Failure> {
    let target = provider.target(&target).unwrap();
    in_time(provider.open(&target, Size::new(120, 40).unwrap())).await
}

async fn open(peer: &Peer) -> Result<Box<dyn Upstream>, Failure> {
    let target = json!({"container_group_id": "eci-1", "container_name": "nginx"});
    open_target(&provider(settings(&peer.address)), target).await
}

async fn failure(peer: &Peer) -> Failure {
    let failure = open(peer).await.err().expect("a failure");
    let told = format!("{failure:?}");
    assert!(!told.contains("s3cret") && !told.contains("/exec/"), "{told}");
    failure
}

fn link(address: &str) -> Answer {
    Answer::Json(200, json!({"RequestId": "R", "WebSocketUri": format!("ws://{address}/exec/?s=s3cret")}))
}

/// An account in which everything works.
fn works(asked: &Asked, address: &str) -> Answer {
    if asked.line.starts_with("POST ") { link(address) } else { Answer::Terminal(None) }
}

/// What is called, or `exec` for a terminal.
fn actions(peer: &Peer) -> Vec<String> {
    let asked = peer.asked();
    asked.iter().map(|asked| asked.field("x-acs-action").unwrap_or("dial").to_owned()).collect()
}

#[tokio::test]
async fn a_command_is_called_for_and_its_link_dialled_once() {
    let mut peer = Peer::start(works).await;
    let target = json!({
        "container_group_id": "eci-1", "container_name": "nginx", "command": ["/bin/sh", "-c", "ls -a *~"], "tty": false
    });
    open_target(&provider(settings(&peer.address)), target).await.unwrap();
    peer.terminal().await;
    let [call, dial] = &peer.asked()[..] else { panic!("two requests") };
    assert!(call.line.starts_with("POST /?Command=%5B%22%2Fbin%2Fsh%22%2C%22-c%22%2C%22ls%20-a%20%2A~%22%5D&"));
    for (name, value) in [
        ("RegionId", "cn-test"),
        ("ContainerGroupId", "eci-1"),
        ("ContainerName", "nginx"),
        ("Command", r#"["/bin/sh","-c","ls -a *~"]"#),
        ("TTY", "false"),
        ("Stdin", "true"),
    ] {
        assert_eq!(call.query(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(call.query("Sync"), None);
    for (name, value) in [
        ("x-acs-action", EXEC),
        ("x-acs-version", "2018-08-08"),
        ("x-acs-date", "2026-11-22T00:25:27Z"),
        ("x-acs-security-token", "s3cret-token"),
        ("content-length", "0"),
        ("host", &peer.address),
    ] {
        assert_eq!(call.field(name), Some(value), "{name}");
    }
    assert!(call.field("authorization").unwrap().starts_with("ACS3-HMAC-SHA256 Credential=key-id,SignedHeaders="));
    assert_eq!(dial.line, "GET /exec/?s=s3cret");
    for absent in ["origin", "authorization", "sec-websocket-protocol", "x-acs-action"] {
        assert_eq!(dial.field(absent), None);
    }
}

#[tokio::test]
async fn a_terminal_hears_its_size_and_keys_and_shows_all_of_its_output() {
    let mut peer = Peer::start(works).await;
    let mut upstream = open(&peer).await.unwrap();
    let mut terminal = peer.terminal().await;
    terminal.binary(&[1]).await;
    terminal.binary(b"\x01# \xff").await;
    assert_eq!(read_until(&mut upstream, b"\xff").await, b"# \xff");
    upstream.input(b"ls\r");
    upstream.resize(Size::new(80, 24).unwrap());
    assert!(upstream.eof());
    flush(&mut upstream).await;
    for expected in
        [&b"\x04{\"Width\":120,\"Height\":40}"[..], b"\0ls\r", b"\x04{\"Width\":80,\"Height\":24}", b"\0\x04"]
    {
        assert_eq!(terminal.heard().await, expected);
    }
    terminal.binary(b"\x07?").await;
    terminal.text("bye\n").await;
    terminal.close(Some(1000)).await;
    assert_eq!(read_to_end(&mut upstream).await, (b"bye\n".to_vec(), Ok(Exit::default())));
    assert_eq!(upstream.ignored(), 1);
    upstream.end().await;
}

#[tokio::test]
async fn without_a_tty_there_is_neither_size_nor_end_of_input_and_stderr_is_shown() {
    let mut peer = Peer::start(works).await;
    let target = json!({"container_group_id": "eci-1", "container_name": "nginx", "tty": false});
    let mut upstream = open_target(&provider(settings(&peer.address)), target).await.unwrap();
    let mut terminal = peer.terminal().await;
    assert_eq!(peer.asked()[0].query("TTY").as_deref(), Some("false"));
    assert!(!upstream.eof());
    upstream.input(b"ls\r");
    flush(&mut upstream).await;
    assert_eq!(terminal.heard().await, b"\0ls\n");
    terminal.binary(b"\x02sh: x: not found\n").await;
    read_until(&mut upstream, b"sh: x: not found\r\n").await;
}

#[tokio::test]
async fn what_the_error_channel_says_is_told_behind_the_last_output() {
    let status = br#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
    let cases: [(&[u8], Result<i32, &str>); 4] = [
        (status, Ok(7)),
        (br#"{"metadata":{},"status":"Success"}"#, Ok(0)),
        (b"command terminated with exit code 3", Ok(3)),
        (b"container s3cret not found", Err("ECI reported that the terminal failed.")),
    ];
    for (words, expected) in cases {
        let mut peer = Peer::start(|asked, address| match works(asked, address) {
            Answer::Terminal(_) => Answer::Terminal(Some("v4.channel.k8s.io")),
            other => other,
        })
        .await;
        let settings = Eci { subprotocol: Some("v4.channel.k8s.io"), ..settings(&peer.address) };
        let target = json!({"container_group_id": "eci-1", "container_name": "nginx"});
        let mut upstream = open_target(&provider(settings), target).await.unwrap();
        let mut terminal = peer.terminal().await;
        assert_eq!(peer.asked()[1].field("sec-websocket-protocol"), Some("v4.channel.k8s.io"));
        terminal.binary(&[b"\x03", words].concat()).await;
        terminal.binary(b"\x01tail").await;
        terminal.close(None).await;
        let (output, ending) = read_to_end(&mut upstream).await;
        assert_eq!(output, b"tail");
        match (ending, expected) {
            (Ok(exit), Ok(code)) => assert_eq!(exit.code, Some(code)),
            (Err(failure), Err(message)) => {
                assert_eq!((failure.code, failure.message.as_str()), (Code::ProviderLost, message));
                assert_eq!(failure.detail, "container s3cret not found");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_closes_does_not_keep_the_exit_to_itself() {
    let mut peer = Peer::start(works).await;
    let mut upstream = open(&peer).await.unwrap();
    let mut terminal = peer.terminal().await;
    terminal.binary(b"\x03command terminated with exit code 1").await;
    let started = Instant::now();
    let (_, ending) = read_to_end(&mut upstream).await;
    assert_eq!(ending.unwrap().code, Some(1));
    assert!((2..10).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_end_that_is_none_is_a_loss() {
    let mut peer = Peer::start(works).await;
    let mut upstream = open(&peer).await.unwrap();
    let mut terminal = peer.terminal().await;
    terminal.binary(b"\x01tail").await;
    terminal.close(Some(1011)).await;
    let (output, ending) = read_to_end(&mut upstream).await;
    assert_eq!((&output[..], ending.unwrap_err().code), (&b"tail"[..], Code::ProviderLost));
}

#[tokio::test(start_paused = true)]
async fn a_silent_terminal_is_pinged_well_within_30_seconds_and_lost_when_it_does_not_answer() {
    let mut peer = Peer::start(works).await;
    let mut upstream = open(&peer).await.unwrap();
    // It is held and never read, so nothing answers.
    let _terminal = peer.terminal().await;
    let started = Instant::now();
    let (_, ending) = read_to_end(&mut upstream).await;
    assert_eq!(ending.unwrap_err().code, Code::ProviderLost);
    assert!((20..=60).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn leaving_is_a_close() {
    let mut peer = Peer::start(works).await;
    let upstream = open(&peer).await.unwrap();
    let mut terminal = peer.terminal().await;
    let left = tokio::spawn(upstream.end());
    assert_eq!(terminal.heard().await, b"\x04{\"Width\":120,\"Height\":40}");
    let Some(Message::Close(Some(frame))) = terminal.next().await else { panic!("a Close") };
    assert_eq!(u16::from(frame.code), 1000);
    drop(terminal);
    in_time(left).await.unwrap();
}

#[tokio::test]
async fn a_dead_link_is_replaced_once_unless_its_command_may_have_run() {
    for (status, requests) in [(403, 4), (404, 4), (410, 4), (500, 4), (503, 4), (401, 2), (302, 2), (0, 2)] {
        let mut peer = Peer::start(move |asked, address| match works(asked, address) {
            Answer::Terminal(_) if status == 0 => Answer::Hangup,
            Answer::Terminal(_) => Answer::Json(status, json!({})),
            other => other,
        })
        .await;
        failure(&peer).await;
        assert_eq!(peer.asked().len(), requests, "{status}");
        assert!(tokio::time::timeout(Duration::ZERO, peer.terminal()).await.is_err());
    }
    let mut dials = 0;
    let mut peer = Peer::start(move |asked, address| match works(asked, address) {
        Answer::Terminal(_) if std::mem::replace(&mut dials, 1) == 0 => Answer::Json(410, json!({})),
        other => other,
    })
    .await;
    open(&peer).await.unwrap();
    peer.terminal().await;
    assert_eq!(actions(&peer), [EXEC, "dial", EXEC, "dial"]);
}

#[tokio::test(start_paused = true)]
async fn a_link_is_given_up_when_its_30_seconds_are_over() {
    let peer = Peer::start(|asked, address| match works(asked, address) {
        Answer::Terminal(_) => Answer::Silence,
        other => other,
    })
    .await;
    let started = Instant::now();
    assert_eq!(failure(&peer).await.code, Code::ProviderTimeout);
    assert!((30..31).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_answer_without_a_proper_link_is_no_terminal() {
    for body in [
        json!({"RequestId": "R"}),
        json!({"WebSocketUri": 7}),
        json!([]),
        json!({"WebSocketUri": "ws://169.254.169.254/exec/?s=s3cret"}),
        json!({"WebSocketUri": "https://eci.console.aliyun.com/terminal?param=s3cret"}),
    ] {
        let peer = Peer::start(move |_, _| Answer::Json(200, body.clone())).await;
        assert_eq!(failure(&peer).await.code, Code::ProviderUnavailable);
        assert_eq!(peer.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_target_is_explained_by_its_group() {
    let group = |status: &str, container: &str, state: &str| {
        json!({"RequestId": "D", "TotalCount": 1, "ContainerGroups": [{
            "ContainerGroupId": "eci-1", "Status": status,
            "Containers": [{"Name": container, "CurrentState": {"State": state}}]
        }]})
    };
    let refused = |code: &str| json!({"Code": code, "RequestId": "R", "Message": "s3cret"});
    let cases = [
        (
            400,
            refused("IncorrectStatus"),
            200,
            group("Succeeded", "nginx", "Terminated"),
            "and has no terminal any more.",
        ),
        (
            400,
            refused("IncorrectStatus"),
            200,
            group("Running", "nginx", "Waiting"),
            "Container nginx of container group eci-1 is Waiting.",
        ),
        (
            404,
            refused("ContainerNotFound"),
            200,
            group("Running", "web", "Running"),
            "Container group eci-1 has no container nginx; it has web.",
        ),
        (
            400,
            refused("SomethingNew"),
            200,
            json!({"ContainerGroups": []}),
            "Region cn-test has no container group eci-1 that the configured AccessKey may see.",
        ),
        // The group cannot be asked, or knows no more: then the first answer has to do.
        (
            400,
            refused("IncorrectStatus"),
            403,
            refused("Forbidden.RAM"),
            "ECI opens no terminal there: the target is not running.",
        ),
        (400, refused("IncorrectStatus"), 200, json!([]), "ECI opens no terminal there: the target is not running."),
    ];
    for (status, refusal, then, groups, words) in cases {
        let peer = Peer::start(move |asked, _| match asked.field("x-acs-action") {
            Some(EXEC) => Answer::Json(status, refusal.clone()),
            _ => Answer::Json(then, groups.clone()),
        })
        .await;
        let failure = failure(&peer).await;
        assert_eq!(failure.code, Code::ProviderNotRunning, "{failure:?}");
        assert!(failure.message.ends_with(words), "{failure:?}");
        assert!(failure.detail.contains("request id R"), "{failure:?}");
        assert_eq!(actions(&peer), [EXEC, DESCRIBE]);
        assert_eq!(peer.asked()[1].query("ContainerGroupIds").as_deref(), Some(r#"["eci-1"]"#));
    }
}

#[tokio::test]
async fn what_is_not_about_the_target_is_told_as_it_is() {
    for (status, code, expected, words) in [
        (403, "Forbidden.RAM", Code::ProviderRefused, "it needs eci:ExecContainerCommand"),
        (400, "SignatureDoesNotMatch", Code::ProviderRefused, "secret"),
        (404, "InvalidAccessKeyId.NotFound", Code::ProviderRefused, "AccessKey id"),
        (400, "Throttling.User", Code::ProviderUnavailable, "slow down"),
        (503, "ServiceUnavailable", Code::ProviderUnavailable, "out of order"),
    ] {
        let peer = Peer::start(move |_, _| Answer::Json(status, json!({"Code": code, "Message": "s3cret"}))).await;
        let failure = failure(&peer).await;
        assert_eq!(failure.code, expected);
        assert!(failure.message.contains(words), "{failure:?}");
        assert_eq!(actions(&peer), [EXEC]);
    }
}

#[tokio::test]
async fn a_long_item_is_sent_and_blamed_only_when_the_service_does() {
    let peer =
        Peer::start(|_, _| Answer::Json(400, json!({"Code": "InvalidParameter.ValueExceeded", "RequestId": "R"})))
            .await;
    let target =
        json!({"container_group_id": "eci-1", "container_name": "nginx", "command": ["sh", "-c", "x".repeat(300)]});
    let failure = open_target(&provider(settings(&peer.address)), target).await.err().unwrap();
    assert_eq!(failure.code, Code::ProviderRefused);
    assert_eq!(failure.message, "ECI refused the command: it has an item of more than 256 characters.");
    assert_eq!(actions(&peer), [EXEC]);
}

#[tokio::test]
async fn a_client_that_leaves_while_we_dial_leaves_no_connection() {
    let peer = Peer::start(|asked, address| match works(asked, address) {
        Answer::Terminal(_) => Answer::Silence,
        other => other,
    })
    .await;
    let provider = provider(settings(&peer.address));
    let target = provider.target(&json!({"container_group_id": "eci-1", "container_name": "nginx"})).unwrap();
    let mut opening = provider.open(&target, Size::DEFAULT);
    in_time(async {
        while peer.asked().len() < 2 {
            tokio::select! {
                _ = &mut opening => panic!("nothing opens this"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    })
    .await;
    drop(opening);
    // What was dialled ends with the future: nothing more is asked, and the link has run nothing.
    tokio::task::yield_now().await;
    assert_eq!(actions(&peer), [EXEC, "dial"]);
}

#[tokio::test]
async fn nobody_else_looks_into_a_target_and_nothing_prints_a_secret() {
    let provider = provider(settings("127.0.0.1:1"));
    let failure = provider.open(&Target::new(7_u8), Size::DEFAULT).await.err().unwrap();
    assert_eq!(failure.code, Code::Internal);
    assert!(!format!("{provider:?}").contains("s3cret"));
    for (endpoint, allow_private, plain) in
        [("http://h", true, true), ("http://h", false, false), ("https://h", true, false)]
    {
        let mut provider = self::provider(settings("127.0.0.1:1"));
        provider.settings.endpoint = endpoint.parse().unwrap();
        provider.dialer = Dialer::new(None, allow_private).unwrap();
        assert_eq!(provider.takes_plain(), plain, "{endpoint}, {allow_private}");
    }
}

#[test]
fn a_fresh_link_is_asked_for_only_where_the_command_has_certainly_not_run() {
    for (status, may_help) in
        [(401, false), (403, true), (404, true), (410, true), (500, true), (502, false), (503, true), (504, false)]
    {
        let refusal = WebSocketRefusal::Status(http::StatusCode::from_u16(status).unwrap());
        assert_eq!(fresh_link_may_help(&refusal), may_help, "{status}");
    }
}
