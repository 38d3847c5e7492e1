//! `polytty connect`: the program at a terminal, and in a pipe.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command as Process, Output, Stdio};
use std::time::Duration;

use http::Method;
use pty_process::Command;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::common::{Client, Connect, Demo, Link, PROVIDERS, Relay, Terminal, World, eventually};

const POLYTTY: &str = env!("CARGO_BIN_EXE_polytty");

/// What stands in front of the settings of the terminal, before and after.
const SETTINGS: &str = "settings=";

/// A shell script that shows the settings of its terminal, runs `polytty connect` with more arguments, and shows them
/// again, with the exit status.
fn attended(link: &Link, ca: &Path, arguments: &str) -> Command {
    let script = format!(
        "echo {SETTINGS}$(stty -g); '{POLYTTY}' connect {arguments}; status=$?; echo {SETTINGS}$(stty -g); echo status=$status"
    );
    Command::new("/bin/sh")
        .args(["-c", &script])
        .env("POLYTTY_LINK", &link.url)
        .env("POLYTTY_CA", ca)
        .env("TERM", "xterm")
}

/// Sits down at a session's terminal of 99 by 33.
fn sit(link: &Link, ca: &Path, arguments: &str) -> Terminal {
    Terminal::run(attended(link, ca, arguments), 99, 33)
}

/// Waits for the end: its status, after the settings were looked at.
async fn status(terminal: &mut Terminal) -> i32 {
    terminal.end().await;
    let shown = String::from_utf8_lossy(&terminal.all).into_owned();
    let mut settings = shown.split(SETTINGS).skip(1).map(|rest| rest.split_whitespace().next().unwrap());
    let (before, after) = (settings.next().unwrap(), settings.next().unwrap());
    assert!(before.contains(':'), "{before:?}");
    assert_eq!(before, after, "the terminal is as it was");
    shown.rsplit("status=").next().unwrap().trim().parse().unwrap()
}

/// The `polytty connect` that runs on a terminal.
async fn pid_on(terminal: &Terminal) -> Pid {
    let shell = terminal.child.id().unwrap();
    let pid = eventually(async || {
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let mut children = children.split_whitespace().map(str::to_owned);
        children.find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "polytty\n"))
    })
    .await;
    Pid::from_raw(pid.parse().unwrap()).unwrap()
}

fn secret(link: &Link) -> &str {
    link.path().rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_person_types_sees_has_a_size_and_gets_the_status_of_the_remote_shell() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let link = world.mint(provider).await;
        let mut terminal = sit(&link, &world.ca(), "");
        // Dockhand passes a size on whenever it comes to it.
        let wait = "until [ \"$(stty size)\" = '33 99' ]; do sleep 0.01; done; ";
        let wait = if provider == "dockhand" { wait } else { "" };
        terminal.press(&format!("{wait}echo $((6*7)); stty size\r")).await;
        terminal.see("42\r\n33 99\r\n").await;
        terminal.resize(120, 40);
        // A signal takes its time.
        terminal.press("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.01; done; echo resi''zed\r").await;
        terminal.see("resized\r\n").await;
        terminal.press("sh -c 'echo slee\"\"ping; exec sleep 1000'\r").await;
        terminal.see("sleeping\r\n").await;
        terminal.press("\u{3}").await;
        terminal.see("^C").await;
        terminal.press("printf 'z\\303\\244hl\\342\\202\\254 \\360\\237\\246\\200\\n'\r").await;
        terminal.see("zähl€ 🦀\r\n").await;
        terminal.press("exit 7\r").await;
        let is_told = !["pai", "dockhand"].contains(&provider);
        assert_eq!(status(&mut terminal).await, if is_told { 7 } else { 0 }, "{provider}");
        let shown = String::from_utf8_lossy(&terminal.all).into_owned();
        assert!(!shown.contains(secret(&link)));
    }
    let link = world.mint("local").await;
    let mut terminal = sit(&link, &world.ca(), "");
    terminal.press("kill -KILL $$\r").await;
    terminal.see("polytty: the process was ended by SIGKILL").await;
    assert_eq!(status(&mut terminal).await, 137);
}

#[tokio::test]
async fn who_leaves_finds_the_session_again_and_a_tilde_elsewhere_is_a_tilde() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let mut terminal = sit(&link, &world.ca(), "");
    terminal.press("kept=this; echo ~.; echo se''t\r").await;
    terminal.see("set\r\n").await;
    terminal.press("~?").await;
    terminal.see("~~   type ~\r\n").await;
    terminal.press("~~nosuch\r").await;
    terminal.see("~nosuch: command not found").await;
    terminal.press("\r~.").await;
    assert_eq!(status(&mut terminal).await, 0);
    world.until(&link.session, "detached").await;
    let mut back = world.reconnect(&link.session).await;
    back.ready().await;
    back.catch_up().await;
    assert_eq!(back.run("echo $kept").await, "this\r\n");

    let link = world.mint("local").await;
    let mut terminal = sit(&link, &world.ca(), "--escape none");
    terminal.press("~.\r").await;
    terminal.see("~.: ").await;
    terminal.press("exit 0\r").await;
    assert_eq!(status(&mut terminal).await, 0);
}

#[tokio::test]
async fn a_signal_ends_it_with_the_terminal_as_it_was_and_the_session_still_there() {
    let world = World::start().await;
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let link = world.mint("local").await;
        let mut terminal = sit(&link, &world.ca(), "");
        // Some full-screen program: alternate screen, mouse, no cursor.
        terminal.press("printf '\\033[?1049h\\033[?1002h\\033[?25l'; echo rea''dy\r").await;
        terminal.see("ready\r\n").await;
        kill_process(pid_on(&terminal).await, signal).unwrap();
        let undone = terminal.see(SETTINGS).await;
        for mode in ["\x1b[?1049l", "\x1b[?1002l", "\x1b[?25h"] {
            assert!(undone.contains(mode), "{mode:?} in {undone:?}");
        }
        assert_eq!(status(&mut terminal).await, expected);
        world.until(&link.session, "detached").await;
    }
}

#[tokio::test]
async fn it_stops_and_goes_on_as_a_job_of_the_shell_that_started_it() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let shell = Command::new("/bin/bash")
        .args(["--norc", "--noprofile", "--noediting", "-i"])
        .env("POLYTTY_LINK", &link.url)
        .env("POLYTTY_CA", world.ca())
        .env("PS1", "here> ");
    let mut terminal = Terminal::run(shell, 80, 24);
    terminal.see("here> ").await;
    terminal.press("stty -g > /dev/null; before=$(stty -g)\n").await;
    terminal.see("here> ").await;
    terminal.press(&format!("'{POLYTTY}' connect; echo status=$?\n")).await;
    terminal.press("echo remo''te\r").await;
    terminal.see("remote\r\n").await;
    for _ in 0..3 {
        terminal.press("\r~\u{1a}").await;
        terminal.see("Stopped").await;
        terminal.press("[ \"$(stty -g)\" = \"$before\" ] && echo sa''me\n").await;
        terminal.see("same\r\n").await;
        terminal.resize(70, 20);
        terminal.press("fg\n").await;
        terminal.see("connect").await;
        terminal.press("until [ \"$(stty size)\" = '20 70' ]; do sleep 0.01; done; echo ba''ck\r").await;
        terminal.see("back\r\n").await;
    }
    terminal.press("exit 3\r").await;
    terminal.see("here> ").await;
    terminal.press("[ \"$(stty -g)\" = \"$before\" ] && echo al''so\n").await;
    terminal.see("also\r\n").await;
    terminal.press("exit\n").await;
    terminal.end().await;
}

#[tokio::test]
async fn a_viewer_sees_what_is_on_the_screen_and_what_comes_and_types_nothing() {
    let world = World::start().await;
    let mut writer = world.open("local").await;
    writer.type_text("clear; echo befo''re\r").await;
    writer.see("before\r\n").await;
    let path = format!("/v1/sessions/{}/links", writer.session);
    let answer = world.api(Method::POST, &path, Some(json!({ "role": "viewer" }))).await;
    let link = Link { session: writer.session.clone(), url: answer.body["url"].as_str().unwrap().to_owned() };
    let mut terminal = sit(&link, &world.ca(), "");
    terminal.see("before").await;
    terminal.press("echo ty''ped\r").await;
    assert_eq!(writer.run("echo af''ter").await, "after\r\n");
    terminal.see("after\r\n").await;
    terminal.press("~.").await;
    assert_eq!(status(&mut terminal).await, 0);
    assert_eq!(writer.run("echo untouched").await, "untouched\r\n");
    assert!(!String::from_utf8_lossy(&terminal.all).contains("typed"));
}

fn pipe(link: &Link, ca: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Process::new(POLYTTY)
        .arg("connect")
        .args(arguments)
        .arg("--ca")
        .arg(ca)
        .arg(&link.url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let typing = std::thread::spawn(move || {
        // Who has heard enough reads no more.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    typing.join().unwrap();
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pipe_it_sends_what_it_reads_then_the_end_and_writes_what_it_hears() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let input = format!("stty -echo; exec sha256sum\n{text}");
    let output = pipe(&link, &world.ca(), &[], input.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&sum), "all of it arrived, and then its end");
    assert!(output.stderr.is_empty(), "{output:?}");

    let link = world.mint("local").await;
    let output = pipe(&link, &world.ca(), &[], b"exec sh -c 'seq 100000; exit 9'\n");
    assert_eq!(output.status.code(), Some(9));
    let expected: String = (1..=100_000).map(|n| format!("{n}\r\n")).collect();
    assert!(String::from_utf8_lossy(&output.stdout).ends_with(&expected), "to the last byte");

    // A provider that has no end of input says so, and the session goes on to its own.
    let link = world.mint("pai").await;
    let output = pipe(&link, &world.ca(), &[], b"sleep 0.3; exit\n");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("polytty: unsupported: "), "{told}");
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_255_and_one_line_that_tells_no_secret() {
    let world = World::start().await;
    let good = world.mint("local").await;
    drop(Client::connect(&world, &good, Connect::default()).await.unwrap());
    let ca = world.ca();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let link = |url: String| Link { session: String::new(), url };
    let nobody = link(format!("wss://{closed}{}", good.path()));
    let never = link(format!("wss://{}/t/{}", world.address, "A".repeat(43)));
    let fresh = world.mint("local").await;
    let elsewhere = Path::new("/nonexistent/ca.pem");
    for (what, link, ca, expected, words) in [
        ("spent", &good, &*ca, 255, "link_gone: "),
        ("unknown", &never, &*ca, 255, "not_found: "),
        ("nobody there", &nobody, &*ca, 255, "cannot be reached"),
        ("no roots", &fresh, elsewhere, 255, "/nonexistent/ca.pem"),
        ("no link", &link(good.url.replace("wss://", "https://")), &*ca, 2, "expected a link"),
    ] {
        let output = pipe(link, ca, &[], b"");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{what}: {told}");
        assert!(told.starts_with("polytty: ") && told.contains(words), "{what}: {told}");
        assert_eq!(told.lines().count(), 1, "{what}: {told}");
        assert!(!told.contains(secret(link)), "{what}: {told}");
    }
    let output = pipe(&fresh, &ca, &["--escape", "ab"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(!String::from_utf8(output.stderr).unwrap().contains(secret(&fresh)));
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("ca.pem");
    fs::write(&other, stranger.cert.pem()).unwrap();
    let output = pipe(&fresh, &other, &[], b"");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(told.contains("no secure connection"), "{told}");

    let mut terminal = sit(&fresh, &ca, "");
    terminal.press("echo he''re\r").await;
    terminal.see("here\r\n").await;
    let mut other = world.reconnect(&fresh.session).await;
    other.ready().await;
    terminal.see("polytty: replaced: ").await;
    assert_eq!(status(&mut terminal).await, 255, "who was replaced does not fight for its place");
    assert_eq!(other.run("echo mine").await, String::new() + "mine\r\n");
}

#[tokio::test]
async fn a_proxy_that_is_killed_is_waited_for_and_then_given_up() {
    let demo = Demo::start().await;
    let link = demo.mint("local").await;
    let ca = demo.line["ca"].as_str().unwrap().to_owned();
    let mut terminal = sit(&link, Path::new(&ca), "--give-up-after 3s");
    terminal.press("echo he''re\r").await;
    terminal.see("here\r\n").await;
    kill_process(Pid::from_raw(demo.pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
    terminal.see("the connection is lost").await;
    terminal.see("polytty: the connection was lost and did not come back in time").await;
    assert_eq!(status(&mut terminal).await, 255);
    assert!(!String::from_utf8_lossy(&terminal.all).contains(secret(&link)));

    let link = Link { url: link.url.clone(), ..link };
    let mut terminal = sit(&link, Path::new(&ca), "");
    terminal.see("cannot be reached").await;
    assert_eq!(status(&mut terminal).await, 255, "what never was is not waited for");
}

#[tokio::test]
async fn an_outage_is_told_of_and_forgotten_and_what_was_typed_meanwhile_is_run_once() {
    let relay = Relay::start(7).await;
    let world =
        World::with(|config| config["server"]["public_url"] = json!(format!("https://{}", relay.address))).await;
    relay.lead_to(world.proxy);
    let link = world.mint("local").await;
    let mut terminal = sit(&link, &world.ca(), "");
    terminal.press("echo he''re\r").await;
    terminal.see("here\r\n").await;
    relay.close(true);
    relay.cut(true);
    // Whatever goes over the line next breaks it.
    terminal.press("echo $((6*7))\r").await;
    terminal.see("the connection is lost; trying to come back").await;
    terminal.press("echo $((7*7))\r").await;
    relay.cut(false);
    relay.close(false);
    terminal.see("\x1b[2K\x1b8").await;
    terminal.see("49\r\n").await;
    terminal.press("exit 5\r").await;
    assert_eq!(status(&mut terminal).await, 5);
    let all = String::from_utf8_lossy(&terminal.all).into_owned();
    for once in ["\r42\r\n", "\r49\r\n"] {
        assert_eq!(all.matches(once).count(), 1, "{once:?} in {all:?}");
    }
}

#[tokio::test]
async fn old_questions_are_not_asked_again_and_new_ones_are_and_every_key_arrives_meanwhile() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let mut first = Client::connect(&world, &link, Connect::default()).await.unwrap();
    first.ready().await;
    // A program that asks where the cursor is, what the terminal is, which colour it has, and how it is.
    let asks = "\\033[6n\\033[c\\033]11;?\\033\\\\\\033[5n";
    first.type_text(&format!("stty -echo; printf 'as''king{asks}'; read -rsd n x; stty echo; echo as''ked\r")).await;
    first.see("\x1b[5n").await;
    first.type_text("\x1b[5;1R\x1b[?62c\x1b[0n").await;
    first.see("asked\r\n").await;
    drop(first);
    let link = world.another_link(&link.session).await;
    let mut terminal = sit(&link, &world.ca(), "");
    // What looks like a report of the cursor is a key here: Shift and F3.
    terminal.press("stty -echo; printf 'go\\033[6n'; IFS= read -rsd R x; IFS= read -rsd R y; stty echo; echo \"got${x#*[},${y#*[}\"\r").await;
    terminal.press("\x1b[1;2R").await;
    let shown = terminal.see("go\x1b[6n").await;
    assert!(shown.contains("asking") && shown.contains("asked"), "{shown:?}");
    for question in ["\x1b[c", "\x1b]11;?", "\x1b[5n"] {
        assert!(!shown.contains(question), "{question:?} is asked again in {shown:?}");
    }
    assert_eq!(shown.matches("\x1b[6n").count(), 1, "{shown:?}");
    terminal.press("\x1b[12;34R").await;
    terminal.see("got1;2,12;34\r\n").await;
    terminal.press("exit\r").await;
    assert_eq!(status(&mut terminal).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_again_goes_on_however_much_of_it_is_left_out() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let mut first = Client::connect(&world, &link, Connect::default()).await.unwrap();
    first.ready().await;
    // More questions than polytty has under way at once.
    first.type_text("stty -echo; printf '\\033[6n%.0s' {1..60000}; echo as''ked; stty echo\r").await;
    first.see("asked\r\n").await;
    drop(first);
    let link = world.another_link(&link.session).await;
    let mut terminal = sit(&link, &world.ca(), "");
    let shown = terminal.see("asked\r\n").await;
    assert!(!shown.contains("\x1b[6n"), "{} bytes", shown.len());
    terminal.press("echo no''thing; exit\r").await;
    terminal.see("nothing\r\n").await;
    assert_eq!(status(&mut terminal).await, 0);

    let link = world.mint("local").await;
    let mut first = Client::connect(&world, &link, Connect::default()).await.unwrap();
    first.ready().await;
    first.type_text("printf 'a\\033[6nb\\n'\r").await;
    first.see("b\r\n").await;
    drop(first);
    let output = pipe(&world.another_link(&link.session).await, &world.ca(), &[], b"exit\n");
    assert!(String::from_utf8_lossy(&output.stdout).contains("a\x1b[6nb"), "a pipe gets what there was: {output:?}");
}

#[tokio::test]
async fn a_screen_that_stands_still_holds_the_remote_program_back_and_can_be_left() {
    let world = World::start().await;
    let link = world.mint("local").await;
    let mut terminal = sit(&link, &world.ca(), "");
    terminal.press("echo he''re; yes\r").await;
    terminal.see("here\r\n").await;
    // Nobody reads: the window fills, and nothing comes any more.
    let mut before = 0;
    eventually(async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = world.session(&link.session).await["bytes_out"].as_u64().unwrap();
        (std::mem::replace(&mut before, now) == now).then_some(())
    })
    .await;
    assert!(before < 2 << 20, "{before} bytes for a screen that takes none");
    terminal.press("\r~.").await;
    world.until(&link.session, "detached").await;
    assert_eq!(status(&mut terminal).await, 0);
}
