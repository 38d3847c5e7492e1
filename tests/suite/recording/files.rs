//! What lies on the disk: parts, what is deleted, and what many small writes come to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use polytty::recording::cast::Code;
use polytty::recording::parts_of;
use serde_json::json;

use super::{of, open, play, read, recording, recording_with, seen, until_recorded};
use crate::common::{World, eventually};

/// The files of a recording.
fn parts(home: &Path, session: &str) -> Vec<PathBuf> {
    parts_of(&home.join("recordings").join(session)).unwrap()
}

/// Runs a session that prints so many numbers and ends; its id and what was seen.
async fn numbers(world: &World, count: u32) -> (String, String) {
    let mut client = open(world, "local").await;
    client.type_text(&format!("stty -echo; exec seq {count}\r")).await;
    let seen = seen(&mut client).await;
    until_recorded(world, &client.session).await;
    (client.session.clone(), seen)
}

#[tokio::test]
async fn a_long_recording_lies_in_parts_and_is_played_as_one() {
    let world = recording_with(|config| config["recording"]["part_size"] = json!("4KiB")).await;
    let (session, seen) = numbers(&world, 20_000).await;
    let parts = parts(world.home(), &session);
    assert!(parts.len() > 10, "{} parts", parts.len());
    for part in &parts {
        assert_eq!(fs::metadata(part).unwrap().permissions().mode() & 0o777, 0o600);
        // Each is a whole cast.
        let (header, events) = read(&fs::read_to_string(part).unwrap());
        assert_eq!((header.cols, header.rows), (100, 30));
        assert!(!events.is_empty());
    }
    let (_, events) = play(&world, &session).await;
    assert_eq!(of(&events, &Code::Output), seen);
    assert_eq!(of(&events, &Code::Exit), "0");
}

#[tokio::test]
async fn what_is_over_the_cap_is_deleted_the_oldest_first() {
    let world = recording_with(|config| {
        config["recording"]["max_total"] = json!("64KiB");
        config["recording"]["part_size"] = json!("4KiB");
    })
    .await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(numbers(&world, 2500).await);
    }
    let held = |(session, _): &(String, String)| -> u64 {
        parts(world.home(), session).iter().map(|part| fs::metadata(part).unwrap().len()).sum()
    };
    let held: Vec<_> = sessions.iter().map(held).collect();
    assert!(held.iter().sum::<u64>() <= 64 << 10, "{held:?}");
    assert_eq!((held[0], held[1]), (0, 0), "{held:?}");
    let (session, seen) = sessions.last().unwrap();
    assert_eq!(of(&play(&world, session).await.1, &Code::Output), *seen);
    assert_eq!(super::ask(&world, &sessions[0].0, "").await.status, 404);
    let metrics = world.metrics().await;
    assert!(metrics.contains("polytty_recording_parts_deleted_total{reason=\"cap\"}"), "{metrics}");
    let used = metrics.lines().find_map(|line| line.strip_prefix("polytty_recording_disk_bytes "));
    assert_eq!(used.unwrap().parse::<u64>().unwrap(), held.iter().sum::<u64>());
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_a_mistake_of_the_configuration() {
    let world = recording().await;
    fs::write(world.home().join("file"), "").unwrap();
    for (directory, status) in [("file", 78), ("no/parent", 78), ("new", 0), ("recordings", 0)] {
        let checked = tokio::process::Command::new(env!("CARGO_BIN_EXE_polytty"))
            .args(["check", "--config"])
            .arg(world.home().join("proxy.toml"))
            .env("POLYTTY__RECORDING__DIRECTORY", directory)
            .output()
            .await
            .unwrap();
        let told = String::from_utf8_lossy(&checked.stderr);
        assert_eq!(checked.status.code(), Some(status), "{directory}: {told}");
        assert_eq!(told.contains("recording.directory: "), status != 0, "{directory}: {told}");
    }
    assert!(!world.home().join("new").exists());
}

#[tokio::test]
async fn what_is_too_old_is_deleted_by_itself() {
    let world = recording_with(|config| config["recording"]["keep"] = json!("1s")).await;
    let mut live = open(&world, "local").await;
    live.run("echo alive").await;
    let (session, _) = numbers(&world, 10).await;
    eventually(async || (super::ask(&world, &session, "").await.status == 404).then_some(())).await;
    assert!(!world.home().join("recordings").join(&session).exists());
    let (_, events) = play(&world, &live.session).await;
    assert!(of(&events, &Code::Output).contains("alive\r\n"), "one that is written stays");
}

#[tokio::test]
async fn ten_thousand_small_writes_a_second_are_seen_and_recorded_whole() {
    const WRITES: u32 = 50_000;
    let world = recording().await;
    let mut client = open(&world, "local").await;
    // One write each; bash buffers nothing.
    let started = Instant::now();
    client.type_text(&format!("stty -echo; for ((n = 0; n < {WRITES}; n++)); do echo $n; done; exit 3\r")).await;
    let seen = seen(&mut client).await;
    let rate = f64::from(WRITES) / started.elapsed().as_secs_f64();
    println!("{rate:.0} writes a second");
    let expected: String = (0..WRITES).map(|n| format!("{n}\r\n")).collect();
    assert!(seen.contains(&expected), "the terminal's output is complete");
    until_recorded(&world, &client.session).await;
    let (_, events) = play(&world, &client.session).await;
    assert!(of(&events, &Code::Output) == seen);
    assert_eq!((of(&events, &Code::Marker), of(&events, &Code::Exit)), (String::new(), "3".to_owned()));
    assert!(rate >= 10_000.0, "the test itself is too slow: {rate:.0} writes a second");
}
