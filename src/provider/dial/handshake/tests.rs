//! A real listener on the other side, which tells the truth once and lies in every other way.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

const HONEST: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: {accept}\r\n\r\n";

/// Answers one connection with `answer`, in which `{accept}` and `{key}` are filled in, then repeats `more` for as
/// long as it is taken, and holds the connection if `hold`. Gives back the request's head.
async fn server(answer: String, more: &'static str, hold: bool) -> (Authority, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string().parse().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.split("sec-websocket-key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let answer = answer.replace("{accept}", &accept(key)).replace("{key}", key);
        let _ = stream.write_all(answer.as_bytes()).await;
        while !more.is_empty() && stream.write_all(more.as_bytes()).await.is_ok() {}
        if hold {
            let _ = stream.read_u8().await;
        }
        head
    });
    (authority, served)
}

async fn ask(authority: &Authority, subprotocol: Option<&str>) -> Result<(Stream, Bytes), WebSocketRefusal> {
    let dialer = Dialer::new(None, true).unwrap();
    let headers = HeaderMap::new();
    let path_and_query = "/terminal/t1?Token=s3cret%2B%2f=";
    let request = WebSocketRequest { tls: false, authority, path_and_query, subprotocol, headers };
    tokio::time::timeout(DEADLINE, dialer.websocket(request)).await.expect("an answer in time")
}

#[tokio::test]
async fn a_server_that_tells_the_truth_is_believed() {
    let (authority, served) = server(HONEST.to_owned(), "", true).await;
    let (stream, behind) = ask(&authority, None).await.unwrap();
    assert!(behind.is_empty());
    drop(stream);
    let head = served.await.unwrap();
    assert!(head.starts_with("GET /terminal/t1?Token=s3cret%2B%2f= HTTP/1.1\r\n"), "{head}");
    for line in
        [&format!("host: {authority}"), "upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13"]
    {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    for name in ["origin:", "sec-websocket-protocol:", "sec-websocket-extensions:"] {
        assert!(!head.to_ascii_lowercase().contains(name), "{name} in {head}");
    }
}

#[tokio::test]
async fn bytes_right_behind_the_head_belong_to_the_terminal() {
    let (authority, _served) = server(format!("{HONEST}\u{1}\u{2}hello"), "", true).await;
    let (mut stream, behind) = ask(&authority, None).await.unwrap();
    let mut all = behind.to_vec();
    while all.len() < 7 {
        all.push(stream.read_u8().await.unwrap());
    }
    assert_eq!(all, b"\x01\x02hello");
}

#[tokio::test]
async fn the_truth_may_be_told_in_other_words() {
    let honest = [
        ("other case", HONEST.replace("websocket\r", "WebSocket\r").replace(": Upgrade", ": upGRADE")),
        ("a list", HONEST.replace("Connection: ", "Connection: keep-alive, ")),
        ("two fields", HONEST.replace("Connection: ", "Connection: keep-alive\r\nConnection: ")),
        ("no reason", HONEST.replace("101 Switching Protocols", "101 ")),
        ("after a 103", format!("HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n{HONEST}")),
        ("a needless zero", HONEST.replace("Upgrade: ", "Content-Length: 0\r\nUpgrade: ")),
        ("no subprotocol", HONEST.to_owned()),
        ("the offered subprotocol", HONEST.replace("Upgrade: ", "Sec-WebSocket-Protocol: v4.example\r\nUpgrade: ")),
    ];
    for (name, answer) in honest {
        let (authority, _served) = server(answer, "", true).await;
        let told = ask(&authority, Some("v4.example")).await;
        assert!(told.is_ok(), "{name}: {:?}", told.err());
    }
}

/// Everything below differs from [`HONEST`] in the one thing it is named after.
fn lies() -> Vec<(&'static str, String)> {
    let change = |from: &str, to: &str| {
        assert!(HONEST.contains(from), "{from}");
        HONEST.replacen(from, to, 1)
    };
    let add = |field: &str| change("Upgrade: ", &format!("{field}\r\nUpgrade: "));
    let status = |line: &str| change("101 Switching Protocols", line);
    vec![
        ("200", status("200 OK")),
        ("204", status("204 No Content")),
        ("206", status("206 Partial Content")),
        ("301", change("101 Switching Protocols\r\n", "301 Moved\r\nLocation: /\r\n")),
        ("307", change("101 Switching Protocols\r\n", "307 Temporary\r\nLocation: /\r\n")),
        ("400", status("400 Bad Request")),
        ("401", status("401 Unauthorized")),
        ("403", status("403 Forbidden")),
        ("404", status("404 Not Found")),
        ("410", status("410 Gone")),
        ("426", status("426 Upgrade Required")),
        ("500", status("500 Internal Server Error")),
        ("503", status("503 Service Unavailable")),
        ("only a 100", status("100 Continue")),
        ("only a 199", status("199 Nearly")),
        ("status of four digits", status("1010 Switching")),
        ("status with letters", status("101x Switching")),
        ("HTTP/1.0", change("HTTP/1.1", "HTTP/1.0")),
        ("HTTP/2.0", change("HTTP/1.1", "HTTP/2.0")),
        ("no accept", change("Sec-WebSocket-Accept: {accept}\r\n", "")),
        ("empty accept", change("{accept}", "")),
        ("wrong accept", change("{accept}", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        ("accept for another key", change("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        ("the key itself", change("{accept}", "{key}")),
        ("accept and more", change("{accept}", "{accept}x")),
        ("accept in a list", change("{accept}", "{accept}, {accept}")),
        ("accept twice", add("Sec-WebSocket-Accept: {accept}")),
        ("a wrong accept first", add("Sec-WebSocket-Accept: AAAA")),
        ("no upgrade", change("Upgrade: websocket\r\n", "")),
        ("upgrade to h2c", change("websocket\r", "h2c\r")),
        ("upgrade to two", change("websocket\r", "websocket, h2c\r")),
        ("upgrade twice", add("Upgrade: h2c")),
        ("upgrade twice, the right one first", change("Connection: ", "Upgrade: h2c\r\nConnection: ")),
        ("no connection", change("Connection: Upgrade\r\n", "")),
        ("connection keep-alive", change("Connection: Upgrade", "Connection: keep-alive")),
        ("connection close", change("Connection: Upgrade", "Connection: close")),
        ("connection nearly upgrade", change("Connection: Upgrade", "Connection: Upgraded, up-grade")),
        ("extension", add("Sec-WebSocket-Extensions: permessage-deflate")),
        ("empty extension", add("Sec-WebSocket-Extensions:")),
        ("subprotocol", add("Sec-WebSocket-Protocol: chat")),
        ("empty subprotocol", add("Sec-WebSocket-Protocol:")),
        ("chunked", add("Transfer-Encoding: chunked")),
        ("a body", add("Content-Length: 7")),
        ("space before the colon", change("Sec-WebSocket-Accept:", "Sec-WebSocket-Accept :")),
        ("folded line", change("Connection: Upgrade", "Connection: Upgrade\r\n more")),
        ("field without colon", add("nonsense")),
        ("line feed in a value", change("{accept}", "{accept}\nx")),
        ("a head of 20 KiB", add(&format!("x: {}", "x".repeat(20 << 10)))),
        ("a head of 70 fields", add(&["x: y"; 70].join("\r\n"))),
        ("half a head", HONEST[..HONEST.len() - 4].to_owned()),
        ("nothing", String::new()),
        ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned()),
        ("a frame at once", "\u{1}\u{5}hello".to_owned()),
    ]
}

#[tokio::test]
async fn no_lie_passes() {
    let lies = lies();
    assert!(lies.len() >= 27);
    for (name, lie) in lies {
        let (authority, _served) = server(lie, "", false).await;
        let Err(refusal) = ask(&authority, None).await else { panic!("{name} passed as a handshake") };
        let failure = Failure::from(refusal);
        let told = format!("{failure:?}");
        assert!(!told.contains("s3cret"), "{name}: {told}");
        assert!(matches!(failure.code, Code::ProviderRefused | Code::ProviderUnavailable), "{name}: {told}");
    }
}

#[tokio::test]
async fn a_subprotocol_other_than_the_offered_one_is_a_lie() {
    for chosen in ["chat", "V4.example", "v4.example, chat", "v4.example\r\nSec-WebSocket-Protocol: v4.example"] {
        let lie = HONEST.replace("Upgrade: ", &format!("Sec-WebSocket-Protocol: {chosen}\r\nUpgrade: "));
        let (authority, _served) = server(lie, "", false).await;
        let told = ask(&authority, Some("v4.example")).await;
        assert!(matches!(told, Err(WebSocketRefusal::Lie(_))), "{chosen}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let endless = [
        ("head", "HTTP/1.1 101 Switching Protocols\r\nx: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("fields", "HTTP/1.1 101 Switching Protocols\r\n", "a: b\r\n"),
        ("body of a 200", "HTTP/1.1 200 OK\r\n\r\n", "<html>"),
    ];
    for (name, answer, more) in endless {
        let (authority, served) = server(answer.to_owned(), more, false).await;
        assert!(ask(&authority, None).await.is_err(), "{name}");
        // The server notices that we have gone.
        tokio::time::timeout(DEADLINE, served).await.expect(name).unwrap();
    }
}

#[tokio::test]
async fn a_silent_server_waits_for_the_callers_deadline_and_is_then_let_go() {
    let (authority, served) = server(String::new(), "", true).await;
    let dialer = Dialer::new(None, true).unwrap();
    let request = WebSocketRequest {
        tls: false,
        authority: &authority,
        path_and_query: "/",
        subprotocol: None,
        headers: HeaderMap::new(),
    };
    assert!(tokio::time::timeout(Duration::from_millis(100), dialer.websocket(request)).await.is_err());
    tokio::time::timeout(DEADLINE, served).await.expect("the connection was closed").unwrap();
}

#[test]
fn the_example_of_the_rfc_is_answered_as_printed_there() {
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
