//! `polytty replay`, at a terminal and in a pipe.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use polytty::recording::cast::Code;
use pty_process::Command;
use serde_json::json;

use super::{of, open, play, recording_with, seen, until_recorded};
use crate::common::Terminal;

const POLYTTY: &str = env!("CARGO_BIN_EXE_polytty");

/// Runs `polytty replay` with its output in a pipe.
async fn pour(arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(POLYTTY);
    command.arg("replay").args(arguments).stdin(Stdio::null());
    command.output().await.unwrap()
}

/// A terminal that plays a file, and shows its settings before and after.
fn watch(arguments: &str) -> Terminal {
    let script = format!("stty -g; '{POLYTTY}' replay {arguments}; echo status=$?; stty -g");
    Terminal::run(Command::new("/bin/sh").args(["-c", &script]).env("TERM", "xterm"), 80, 24)
}

/// What is shown in the end: the status, and whether the settings are what they were.
async fn left(terminal: &mut Terminal) -> (String, String) {
    terminal.end().await;
    let all = String::from_utf8_lossy(&terminal.all).into_owned();
    let settings: Vec<_> = all.lines().filter(|line| line.matches(':').count() > 20).map(str::trim).collect();
    assert!(settings.len() == 2 && settings[0] == settings[1], "{all:?}");
    let status = all.split("status=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    (all, status)
}

fn cast(home: &Path, events: &str) -> String {
    let path = home.join("some.cast");
    fs::write(&path, format!("{{\"version\": 2, \"width\": 80, \"height\": 24}}\n{events}")).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_recording_is_poured_into_a_pipe_from_its_parts_its_directory_and_what_is_served() {
    let world = recording_with(|config| config["recording"]["part_size"] = json!("4KiB")).await;
    let mut client = open(&world, "eci").await;
    client.type_text("stty -echo; seq 5000; printf 'gr\\303\\274\\303\\237e \\377'; exit 0\r").await;
    let seen = seen(&mut client).await;
    until_recorded(&world, &client.session).await;
    assert_eq!(of(&play(&world, &client.session).await.1, &Code::Output), seen);
    let directory = world.home().join("recordings").join(&client.session);
    let served = world.home().join("served.cast");
    let answer = super::ask(&world, &client.session, "?format=v2").await;
    fs::write(&served, answer.body.as_str().unwrap()).unwrap();
    let parts: Vec<_> = polytty::recording::parts_of(&directory).unwrap();
    assert!(parts.len() > 2);
    let parts: Vec<_> = parts.iter().map(|part| part.to_str().unwrap()).collect();
    for files in [&[directory.to_str().unwrap()][..], &[served.to_str().unwrap()], &parts] {
        let poured = pour(files).await;
        assert_eq!(String::from_utf8(poured.stdout).unwrap(), seen, "{files:?}");
        assert!(poured.status.success() && poured.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_is_no_cast_is_told_with_its_line_and_what_would_be_right() {
    let home = tempfile::tempdir().unwrap();
    let bad = cast(home.path(), "[0.1, \"o\", \"shown\"]\n[0.2, \"o\"]\n");
    let poured = pour(&[&bad]).await;
    let told = String::from_utf8(poured.stderr).unwrap();
    assert_eq!((poured.status.code(), poured.stdout.as_slice()), (Some(1), &b"shown"[..]));
    assert!(told.contains("some.cast: line 3: expected an event such as [1.5, \"o\", \"text\"]"), "{told}");
    for (arguments, status, says) in [
        (vec!["/nowhere.cast"], 1, "/nowhere.cast"),
        (vec![home.path().to_str().unwrap()], 1, "no parts"),
        (vec![], 2, "FILE"),
        (vec!["--speed", "0", &bad], 2, "0.01 to 1000"),
        (vec!["--speed", "NaN", &bad], 2, "0.01 to 1000"),
        (vec!["--idle-limit", "2", &bad], 2, "a duration such as"),
    ] {
        let poured = pour(&arguments).await;
        let told = String::from_utf8(poured.stderr).unwrap();
        assert_eq!(poured.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn at_a_terminal_it_plays_in_time_and_the_terminal_is_left_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let editor = "\\u001b[?1049h\\u001b[?25l\\u001b[?2004h\\u001b[31m";
    let file = cast(home.path(), &format!("[0.5, \"o\", \"one {editor}\"]\n[60.5, \"o\", \"two\"]\n"));
    // At its own speed, but without the long pause.
    let started = Instant::now();
    let mut terminal = watch(&format!("--idle-limit 1s {file}"));
    terminal.see("two").await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(30), "{took:?}");
    let (all, status) = left(&mut terminal).await;
    assert_eq!(status, "0");
    let behind = all.split("two").nth(1).unwrap();
    for undone in ["\u{1b}[?1049l", "\u{1b}[?25h", "\u{1b}[?2004l", "\u{1b}[m"] {
        assert!(behind.contains(undone), "{undone:?} in {behind:?}");
    }
    // Faster, and left in the middle.
    for (key, status) in [("q", "0"), ("\u{3}", "0")] {
        let mut terminal = watch(&file);
        terminal.see("one").await;
        terminal.press(key).await;
        let (all, left_with) = left(&mut terminal).await;
        assert!(!all.contains("two") && all.contains("\u{1b}[?1049l"), "{all:?}");
        assert_eq!(left_with, status);
    }
}

#[tokio::test]
async fn space_pauses_and_goes_on_and_answers_of_the_terminal_are_no_keys() {
    let home = tempfile::tempdir().unwrap();
    let file = cast(home.path(), "[0.0, \"o\", \"one\"]\n[50.0, \"o\", \"two\"]\n[100.0, \"o\", \"three\"]\n");
    let mut terminal = watch(&format!("--speed 50 {file}"));
    terminal.see("one").await;
    // With q, space and Ctrl-C in them.
    terminal.press("\u{1b}P>|quick \u{3}\u{1b}\\").await;
    terminal.see("two").await;
    terminal.press(" ").await;
    let paused = Instant::now();
    let waiting = tokio::time::timeout(Duration::from_secs(3), terminal.see("three")).await;
    assert!(waiting.is_err(), "it goes on by itself");
    terminal.press(" ").await;
    terminal.see("three").await;
    assert!(paused.elapsed() >= Duration::from_secs(3));
    assert_eq!(left(&mut terminal).await.1, "0");
}
