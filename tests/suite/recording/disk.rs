//! The process is killed, and the disk is full: real processes, a real file system of a few kilobytes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use polytty::recording::cast::{Code, Decoder};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{of, open, play};
use crate::common::{Served, eventually};

fn recorded(config: &mut Value) {
    config["recording"] = json!({ "directory": "recordings", "enabled": true });
}

/// The text of a recording as it lies on the disk, and its file.
fn on_disk(served: &Served, session: &str) -> (String, String) {
    let file = std::fs::read_to_string(served.home().join("recordings").join(session).join("000001.cast")).unwrap();
    let mut decoder = Decoder::open(file.as_bytes()).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| decoder.next_event().unwrap()).collect();
    (of(&events, &Code::Output), file)
}

#[tokio::test]
async fn what_was_recorded_up_to_a_second_before_sigkill_is_there_and_served_after_a_restart() {
    let mut served = Served::start(|_| Vec::new(), recorded).await;
    let mut client = open(&served, "local").await;
    client.type_text("stty -echo; n=0; while :; do echo line $((n++)); done\r").await;
    client.see("line 0\r\n").await;
    // Reads for a while, and remembers what was seen when.
    let started = Instant::now();
    let mut seen = Vec::new();
    while started.elapsed() < Duration::from_secs(3) {
        let next = timeout(Duration::from_secs(60), client.read()).await.unwrap();
        assert!(next);
        seen.push((Instant::now(), client.output.len()));
    }
    let killed = Instant::now();
    served.kill().await;
    let safe = seen.iter().rev().find(|(at, _)| killed - *at > Duration::from_secs(1)).unwrap().1;
    let safe = String::from_utf8_lossy(&client.output[..safe]).into_owned();
    let safe = safe.rsplit_once("\r\n").unwrap().0.rsplit_once("\r\n").unwrap().1.to_owned();

    let (text, file) = on_disk(&served, &client.session);
    let (_, lines) = text.split_once("line 0\r\n").unwrap();
    let mut expected = 1;
    for line in lines.split_inclusive("\r\n").filter(|line| line.ends_with('\n')) {
        assert_eq!(line, format!("line {expected}\r\n"));
        expected += 1;
    }
    assert!(text.contains(&format!("{safe}\r\n")), "{safe:?} was seen a second before, the last was {expected}");
    println!("{} bytes; the last line recorded is {expected}, seen a second before was {safe:?}", file.len());

    served.restart().await;
    assert_eq!(served.session(&client.session).await["code"], "not_found", "the session is gone");
    let (_, events) = play(&served, &client.session).await;
    assert_eq!(of(&events, &Code::Output), text);
    // A line that was cut is left out.
    let path = served.home().join("recordings").join(&client.session).join("000001.cast");
    std::fs::write(&path, format!("{file}[0.5, \"o\", \"half a li")).unwrap();
    assert_eq!(of(&play(&served, &client.session).await.1, &Code::Output), text);
}

/// What makes a file system of 256 KiB for recordings that only the process behind it sees.
fn small_disk(home: &Path) -> Vec<String> {
    let directory = home.join("recordings");
    std::fs::create_dir(&directory).unwrap();
    let script = format!("mount -t tmpfs -o size=256k,mode=700 none '{}' && exec \"$@\"", directory.display());
    let mut refused = String::new();
    // Without rights, in a namespace in which one has them; with rights, where such namespaces are forbidden.
    for unshare in ["-rm", "-m"] {
        let words = ["unshare", unshare, "/bin/sh", "-c", &script, "sh"].map(str::to_owned);
        let tried = Command::new(&words[0]).args(&words[1..]).arg("true").output().unwrap();
        if tried.status.success() {
            return words.to_vec();
        }
        refused += &String::from_utf8_lossy(&tried.stderr);
    }
    panic!("this test needs a file system of its own, by unshare -rm or as root: {refused}");
}

async fn on_a_small_disk(change: impl FnOnce(&mut Value)) -> Served {
    Served::start(small_disk, |config| {
        recorded(config);
        change(config);
    })
    .await
}

#[tokio::test]
async fn a_full_disk_ends_the_recording_with_an_alarm_and_the_terminal_goes_on() {
    let served = on_a_small_disk(|_| {}).await;
    let mut client = open(&served, "local").await;
    let shown = client.run("seq 60000").await;
    assert_eq!(shown.lines().count(), 60_000, "the terminal does not feel it");
    let failed = eventually(async || {
        let session = served.session(&client.session).await;
        (session["recording"]["state"] == "failed").then_some(session)
    })
    .await;
    assert_eq!((&failed["recording"]["reason"], &failed["state"]), (&json!("the disk is full"), &json!("attached")));
    assert_eq!(client.run("echo still here").await, "still here\r\n");
    let metrics = served.metrics().await;
    assert!(metrics.contains("polytty_recordings_failed_total{reason=\"disk_full\"} 1\n"), "{metrics}");
    let log = served.log();
    let alarms: Vec<_> = log.lines().filter(|line| line.contains("a recording ended before its session")).collect();
    assert!(alarms.len() == 1 && alarms[0].contains("ERROR") && alarms[0].contains("free space"), "{alarms:?}");
    // What was written by then is whole, and true.
    let (_, events) = play(&served, &client.session).await;
    let text = of(&events, &Code::Output);
    assert!(text.len() > 100_000, "{}", text.len());
    let (_, numbers) = text.split_once("1\r\n2\r\n").unwrap();
    let numbers: Vec<u32> = numbers.lines().map_while(|line| line.parse().ok()).collect();
    assert!(numbers.len() > 10_000 && numbers[..numbers.len() - 1].iter().zip(3..).all(|(n, expected)| *n == expected));
    // A session that comes now has no recording, and is none the worse for it.
    let mut other = open(&served, "local").await;
    assert_eq!(other.run("echo hello").await, "hello\r\n");
}

#[tokio::test]
async fn a_full_disk_ends_the_session_where_it_may_not_go_on_without() {
    let served = on_a_small_disk(|config| config["recording"]["when_disk_full"] = json!("end")).await;
    let mut client = open(&served, "local").await;
    client.type_text("seq 60000; sleep 1000\r").await;
    let closed = client.drain().await;
    assert_eq!(closed.code, 4500);
    assert!(closed.reason.contains("has to be recorded"), "{closed:?}");
    let error = client.said.last().unwrap();
    assert_eq!(
        (&error["operation"], &error["code"], &error["final"]),
        (&json!("error"), &json!("internal"), &json!(true))
    );
    let ended = served.until(&client.session, "ended").await;
    assert_eq!((&ended["code"], &ended["recording"]["state"]), (&json!("internal"), &json!("failed")));
}
