//! The API and the terminal's proxy are one listener here, which answers by a script and writes down what it heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use aws_lc_rs::digest;
use base64::Engine as _;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::HostPattern;
use crate::config::secret::Secret;
use crate::provider::Happened;

/// Longer than a link lives.
const DEADLINE: Duration = Duration::from_secs(60);
const SIZE: (u16, u16) = (120, 40);

/// Stands before an answer that comes after 20 s.
const SLOWLY: &str = "slowly ";

/// Picks the answer to a request by its path, the how-manieth it is for that path (from 1), and the server's address.
/// An empty answer is silence.
type Script = fn(path: &str, nth: u32, address: &str) -> String;

struct Cloud {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Cloud {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let cloud = Self { address: address.clone(), heads: Arc::clone(&heads) };
        tokio::spawn(async move {
            let mut seen = HashMap::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, script, &address, &heads, &mut seen).await;
            }
        });
        cloud
    }

    fn provider(&self) -> PaiDlcProvider {
        let settings = PaiDlc {
            region: "cn-test".to_owned(),
            endpoint: format!("http://{}", self.address).parse().unwrap(),
            access_key_id: "key-id".to_owned(),
            access_key_secret: Secret::new("s3cret-key".to_owned()),
            security_token: Some(Secret::new("s3cret-token".to_owned())),
            websocket_hosts: vec![HostPattern::Exact(self.address.parse().unwrap())],
        };
        let clock = || "2026-11-22T00:25:27Z".parse().unwrap();
        PaiDlcProvider::new("pai".to_owned(), settings, Dialer::new(None, true).unwrap(), clock)
    }

    async fn open(&self) -> Result<Box<dyn Upstream>, Failure> {
        let provider = self.provider();
        let target = provider.target(&json!({"job_id": "dlc1", "pod_id": "dlc1-w-0", "pod_uid": "u-1"})).unwrap();
        let size = Size::new(SIZE.0.into(), SIZE.1.into()).unwrap();
        tokio::time::timeout(DEADLINE, provider.open(&target, size)).await.expect("an end in time")
    }

    async fn failure(&self) -> Failure {
        let failure = self.open().await.err().expect("a failure");
        let told = format!("{failure:?}");
        assert!(!told.contains("s3cret") && !told.contains("Token="), "{told}");
        failure
    }

    /// The request lines so far, without the version.
    fn requests(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|head| head.split(" HTTP/1.1\r\n").next().unwrap().to_owned()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Script,
    address: &str,
    heads: &Arc<Mutex<Vec<String>>>,
    seen: &mut HashMap<String, u32>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
    let nth = seen.entry(path.clone()).or_default();
    *nth += 1;
    let mut answer = script(&path, *nth, address);
    if let Some(key) = head.split("sec-websocket-key: ").nth(1) {
        let key = key.split("\r\n").next().unwrap();
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        answer = answer.replace("{accept}", &base64::engine::general_purpose::STANDARD.encode(hash));
    }
    heads.lock().unwrap().push(head);
    if let Some(later) = answer.strip_prefix(SLOWLY) {
        tokio::time::sleep(Duration::from_secs(20)).await;
        answer = later.to_owned();
    }
    if answer.is_empty() {
        tokio::spawn(async move { stream.read_u8().await });
        return;
    }
    let mut answer = answer.into_bytes();
    let upgraded = answer.starts_with(b"HTTP/1.1 101");
    if upgraded {
        answer.extend([0x81, u8::try_from(MESSAGE.len()).unwrap()]);
        answer.extend(MESSAGE.as_bytes());
    }
    let _ = stream.write_all(&answer).await;
    if upgraded {
        let heads = Arc::clone(heads);
        tokio::spawn(async move {
            while let Ok(frame) = read_frame(&mut stream).await {
                heads.lock().unwrap().push(frame);
            }
        });
    }
}

/// The payload of a short masked frame (RFC 6455, section 5.2).
async fn read_frame(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).await?;
    let [_, len, mask @ ..] = head;
    let mut payload = vec![0; usize::from(len & 0x7f)];
    stream.read_exact(&mut payload).await?;
    let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(String::from_utf8(unmasked).unwrap())
}

const MINT: &str = "/api/v1/jobs/dlc1/pods/dlc1-w-0/webterminal";
/// What the terminal says in one write with its 101.
const MESSAGE: &str = r#"{"operation":"stdout","data":"hi"}"#;
const JOB: &str = "/api/v1/jobs/dlc1";

fn answer(status: u16, body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn link(nth: u32, address: &str) -> String {
    answer(
        200,
        &json!({"RequestId": "R", "WebTerminalUrl": format!("ws://{address}/terminal/{nth}?Token=s3cret{nth}")}),
    )
}

fn terminal() -> String {
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: {accept}\r\n\r\n"
        .to_owned()
}

#[tokio::test]
async fn a_terminal_is_minted_signed_and_dialled_once() {
    let cloud = Cloud::start(|path, nth, address| if path == MINT { link(nth, address) } else { terminal() }).await;
    cloud.open().await.unwrap();
    let requests = cloud.requests();
    assert_eq!(requests, [&format!("GET {MINT}?IsShared=true&PodUid=u-1"), "GET /terminal/1?Token=s3cret1"]);
    let heads = cloud.heads.lock().unwrap();
    for line in [
        "x-acs-action: GetWebTerminal",
        "x-acs-version: 2020-12-03",
        "x-acs-date: 2026-11-22T00:25:27Z",
        "x-acs-security-token: s3cret-token",
        "authorization: ACS3-HMAC-SHA256 Credential=key-id,SignedHeaders=accept;host;user-agent;x-acs-accesskey-id;",
        &format!("host: {}", cloud.address),
    ] {
        assert!(heads[0].contains(&format!("\r\n{line}")), "{line} in {}", heads[0]);
    }
    assert!(!heads[1].contains("origin") && !heads[1].contains("x-acs"), "{}", heads[1]);
}

#[tokio::test]
async fn a_link_that_fails_before_the_101_is_replaced_once() {
    for dead in [403, 404, 410, 500, 503] {
        // The status has no way into the script but its text.
        let script: Script = match dead {
            403 => |path, nth, address| again(path, nth, address, 403),
            404 => |path, nth, address| again(path, nth, address, 404),
            410 => |path, nth, address| again(path, nth, address, 410),
            500 => |path, nth, address| again(path, nth, address, 500),
            _ => |path, nth, address| again(path, nth, address, 503),
        };
        let cloud = Cloud::start(script).await;
        cloud.open().await.unwrap();
        assert_eq!(cloud.requests().len(), 4, "{dead}: {:?}", cloud.requests());
        assert_eq!(cloud.requests()[3], "GET /terminal/2?Token=s3cret2");
    }
}

fn again(path: &str, nth: u32, address: &str, dead: u16) -> String {
    match path {
        MINT => link(nth, address),
        "/terminal/1" => answer(dead, &json!({})),
        _ => terminal(),
    }
}

#[tokio::test]
async fn a_second_dead_link_is_the_end() {
    let cloud =
        Cloud::start(|path, nth, address| if path == MINT { link(nth, address) } else { answer(404, &json!({})) })
            .await;
    let failure = cloud.failure().await;
    assert_eq!(failure.code, Code::ProviderRefused);
    assert_eq!(cloud.requests().len(), 4, "{:?}", cloud.requests());
}

#[tokio::test]
async fn what_a_fresh_link_cannot_mend_is_not_tried_again() {
    let cases: [Script; 3] = [
        |path, nth, address| if path == MINT { link(nth, address) } else { answer(401, &json!({})) },
        |path, nth, address| if path == MINT { link(nth, address) } else { answer(302, &json!({})) },
        // A 101 that is none: whatever was opened there, it was opened.
        |path, nth, address| if path == MINT { link(nth, address) } else { terminal().replace("{accept}", "AAAA") },
    ];
    for script in cases {
        let cloud = Cloud::start(script).await;
        cloud.failure().await;
        assert_eq!(cloud.requests().len(), 2, "{:?}", cloud.requests());
    }
}

#[tokio::test]
async fn a_link_to_another_place_is_not_dialled() {
    let cloud =
        Cloud::start(|_, _, _| answer(200, &json!({"WebTerminalUrl": "ws://169.254.169.254/latest?Token=s3cret"})))
            .await;
    let failure = cloud.failure().await;
    assert_eq!(failure.code, Code::ProviderUnavailable);
    assert!(failure.detail.contains("websocket_hosts"), "{failure:?}");
    assert_eq!(cloud.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_is_given_up_when_its_30_seconds_are_over() {
    let cloud = Cloud::start(
        |path, nth, address| {
            if path == MINT { SLOWLY.to_owned() + &link(nth, address) } else { String::new() }
        },
    )
    .await;
    let started = Instant::now();
    let failure = cloud.failure().await;
    assert_eq!(failure.code, Code::ProviderTimeout);
    // The clock runs from before the link was asked for.
    assert!((30..31).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(cloud.requests().len(), 2);
}

#[tokio::test]
async fn an_answer_without_a_link_is_no_terminal() {
    let cases: [Script; 4] = [
        |_, _, _| answer(200, &json!({"RequestId": "R"})),
        |_, _, _| answer(200, &json!({"WebTerminalUrl": 7})),
        |_, _, _| answer(200, &json!([])),
        |_, _, _| "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_owned(),
    ];
    for script in cases {
        let cloud = Cloud::start(script).await;
        assert_eq!(cloud.failure().await.code, Code::ProviderUnavailable);
        assert_eq!(cloud.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_target_is_explained_by_its_job() {
    let cases: [(Script, &str); 4] = [
        (
            |path, _, _| match path {
                JOB => answer(200, &json!({"JobId": "dlc1", "Status": "Stopped"})),
                _ => answer(400, &json!({"Code": "BadRequest", "RequestId": "R"})),
            },
            "Job dlc1 is Stopped, and has no terminal any more.",
        ),
        (
            |path, _, _| match path {
                JOB => answer(200, &json!({"Status": "Running", "Pods": [{"PodId": "dlc1-w-1", "Status": "Running"}]})),
                _ => answer(404, &json!({"Code": "NotFound", "RequestId": "R"})),
            },
            "Pod dlc1-w-0 is not part of job dlc1; the job's running pod is dlc1-w-1.",
        ),
        (
            |_, _, _| answer(404, &json!({"Code": "NotFound", "RequestId": "R"})),
            "There is no job dlc1 in region cn-test.",
        ),
        // The job cannot be asked: then the first answer has to do.
        (
            |path, _, _| match path {
                JOB => answer(403, &json!({"Code": "Forbidden.RAM"})),
                _ => answer(400, &json!({"Code": "BadRequest", "RequestId": "R"})),
            },
            "PAI-DLC opens no terminal there: the target is not running.",
        ),
    ];
    for (script, message) in cases {
        let cloud = Cloud::start(script).await;
        let failure = cloud.failure().await;
        assert_eq!((failure.code, failure.message.as_str()), (Code::ProviderNotRunning, message));
        assert!(failure.detail.contains("request id R"), "{failure:?}");
        assert_eq!(cloud.requests()[1..], [format!("GET {JOB}?NeedDetail=true")]);
    }
}

#[tokio::test]
async fn a_refused_key_is_not_blamed_on_the_target() {
    let cloud = Cloud::start(|_, _, _| answer(403, &json!({"Code": "Forbidden.RAM", "Message": "s3cret"}))).await;
    let failure = cloud.failure().await;
    assert_eq!(failure.code, Code::ProviderRefused);
    assert!(failure.message.contains("paidlc:GetWebTerminal"), "{failure:?}");
    assert_eq!(cloud.requests().len(), 1);
}

#[tokio::test]
async fn output_behind_the_handshake_is_the_terminals_first() {
    let cloud = Cloud::start(|path, nth, address| if path == MINT { link(nth, address) } else { terminal() }).await;
    let mut upstream = cloud.open().await.unwrap();
    let mut output = Vec::new();
    let reading = std::future::poll_fn(|cx| {
        while !output.ends_with(b"hi") {
            match upstream.poll_output(cx, &mut output, 4096) {
                Poll::Ready(Happened::Output) => {}
                Poll::Ready(other) => panic!("{other:?}"),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    });
    tokio::time::timeout(DEADLINE, reading).await.expect("output in time");
}

#[tokio::test]
async fn the_size_is_the_first_that_a_terminal_hears() {
    let cloud = Cloud::start(|path, nth, address| if path == MINT { link(nth, address) } else { terminal() }).await;
    let mut upstream = cloud.open().await.unwrap();
    let hearing = async {
        while cloud.heads.lock().unwrap().len() < 3 {
            std::future::poll_fn(|cx| upstream.poll_flushed(cx)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, hearing).await.expect("a message in time");
    let message: Value = serde_json::from_str(&cloud.heads.lock().unwrap()[2]).unwrap();
    assert_eq!(message, json!({"operation": "resize", "cols": SIZE.0, "rows": SIZE.1}));
}

#[tokio::test]
async fn a_link_without_tls_is_taken_on_a_private_plain_network_only() {
    let cloud = Cloud::start(|_, _, _| String::new()).await;
    for (endpoint, allow_private, plain) in
        [("http://h", true, true), ("http://h", false, false), ("https://h", true, false), ("https://h", false, false)]
    {
        let mut provider = cloud.provider();
        provider.settings.endpoint = endpoint.parse().unwrap();
        provider.dialer = Dialer::new(None, allow_private).unwrap();
        assert_eq!(provider.takes_plain(), plain, "{endpoint}, {allow_private}");
    }
}

#[tokio::test]
async fn nobody_else_looks_into_a_target() {
    let cloud = Cloud::start(|_, _, _| String::new()).await;
    let failure = cloud.provider().open(&Target::new(7_u8), Size::DEFAULT).await.err().unwrap();
    assert_eq!(failure.code, Code::Internal);
    assert!(!format!("{:?}", cloud.provider()).contains("s3cret"));
}
