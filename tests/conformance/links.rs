//! The same cases over TLS, each through a one-time link of its own and a whole running proxy.
//!
//! The fuzzing client speaks plain TCP to a relay, which mints a link, dials the proxy by TLS, puts the link into the
//! request, and carries bytes. Behind the proxy is `cat`, in a container of the simulated ECI without a TTY, spoken to in
//! the dialect `raw`. So a message comes back as bytes: as binary, and split or joined as they happened to arrive. What
//! the cases say of an echo's kind and shape is therefore not asked of it, but listed with a reason; all else is.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

use super::common::World;
use super::{PATIENCE, is_right, kosoku, read_head};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_and_through_one_time_links_every_case_ends_as_expected() {
    let kosoku = kosoku().await;
    let world = std::sync::Arc::new(World::with(|config| config["sessions"] = json!({ "max_message": "16MiB" })).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let minting = world.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(relay(minting.clone(), stream));
        }
    });
    let reports = TempDir::new().unwrap();
    let mut client = Command::new(kosoku);
    client.args(["-m", "fuzzingclient"]).args(EXCLUDED.iter().flat_map(|(cases, _)| ["-x", cases]));
    client.arg("-o").arg(reports.path()).arg(format!("ws://{address}"));
    client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // Its status is of an echo's kind; what it has written is judged here.
    timeout(PATIENCE, client.status()).await.expect("all cases are run").unwrap();
    let index = read(&reports.path().join("index.json"));
    let cases = index.as_object().unwrap().values().next().unwrap().as_object().unwrap();
    let (mut right, mut shown) = (0, 0);
    for (id, case) in cases {
        let report = read(&reports.path().join(case["reportfile"].as_str().unwrap()).with_extension("json"));
        if is_right(case) {
            right += 1;
        } else {
            assert!(ECHOES.iter().any(|section| id.starts_with(section)), "{id}: {report:#}");
            assert_eq!(came(&report["received"]), came(&report["expected"]["OK"]), "{id}: {report:#}");
            let code = &report["remoteCloseCode"];
            assert!(*code == json!(1000) || code.is_null() && report["droppedByMe"] == true, "{id}: {report:#}");
            shown += 1;
        }
    }
    assert_eq!((right, shown), (RIGHT, SHOWN));
}

/// What is not run, and why. The other tests of this file's folder run all of it.
const EXCLUDED: [(&str, &str); 10] = [
    ("9.*", "measures an echo in messages of the shape that was sent"),
    ("10.*", "measures the fragments of an echo"),
    ("12.*", "compression, which is not offered"),
    ("13.*", "compression, which is not offered"),
    ("1.1.6", "an echo of some 64 KiB may come in several messages, for whose rest it waits 10 s"),
    ("1.1.7", "the same"),
    ("1.1.8", "the same"),
    ("1.2.6", "the same"),
    ("1.2.7", "the same"),
    ("1.2.8", "the same"),
];

/// Sections with cases that want text back as text, or an empty message back at all. Of these, every byte has to come
/// back, and every pong in its place; all that breaks a rule has to end exactly as the standard says, here as elsewhere.
const ECHOES: [&str; 4] = ["1.", "5.", "6.", "7.1.1"];

/// Cases that come out right, and cases whose echo is only of another kind.
const RIGHT: usize = 155;
const SHOWN: usize = 85;

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// What came, in order: pongs, and the bytes between them, whatever messages they came in. The report has text as its
/// UTF-8 bytes and binary as if each byte were a character, each byte of both as a character; it cuts long ones short.
fn came(events: &Value) -> Vec<(String, String)> {
    let mut came: Vec<(String, String)> = Vec::new();
    for event in events.as_array().unwrap() {
        let (kind, text) = (event[0].as_str().unwrap(), event[1].as_str().unwrap());
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let text = match bytes.map(String::from_utf8) {
            Some(Ok(text)) if event[2] == true => text,
            _ => text.to_owned(),
        };
        match came.last_mut() {
            Some((last, before)) if kind == "message" && last == kind => before.push_str(&text),
            _ if kind == "message" && text.is_empty() => {}
            _ => came.push((kind.to_owned(), text)),
        }
    }
    came
}

/// Carries one connection to the proxy, by a link of its own.
async fn relay(world: std::sync::Arc<World>, mut near: TcpStream) {
    let Some((head, rest)) = read_head(&mut near).await else { return };
    let link = world
        .mint_with("eci", |body| {
            body["target"]["command"] = json!(["cat"]);
            body["target"]["tty"] = json!(false);
            body["dialect"] = json!("raw");
        })
        .await;
    let mut far = world.dial().await;
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    lines[0] = format!("GET {} HTTP/1.1", link.path());
    for line in &mut lines {
        if line.to_ascii_lowercase().starts_with("host:") {
            *line = format!("Host: {}", world.address);
        }
    }
    lines.retain(|line| !line.to_ascii_lowercase().starts_with("origin:"));
    if far.write_all(lines.join("\r\n").as_bytes()).await.is_ok() && far.write_all(&rest).await.is_ok() {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
