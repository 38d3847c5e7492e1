//! A terminal end to end: TLS, a link, a provider, a real shell.

use crate::common::{Client, Connect, PROVIDERS, World};
use http::Method;
use serde_json::json;

#[tokio::test]
async fn what_is_typed_is_run_and_what_is_printed_arrives() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let mut client = world.open(provider).await;
        assert_eq!(client.run("echo $((6*7))").await, "42\r\n");
        client.type_bytes(b"echo by''tes\r").await;
        client.see("bytes\r\n").await;
        assert!(client.run("tty").await.starts_with("/dev/pts/"), "a real terminal device");
        // Printed by the job itself, so that it is in the foreground by then.
        client.type_text("sh -c 'echo slee\"\"ping; exec sleep 1000'\r").await;
        client.see("sleeping\r\n").await;
        client.type_text("\u{3}").await;
        client.see("^C").await;
        assert_eq!(client.run("echo alive").await, "alive\r\n", "Ctrl-C reaches the foreground job");
        assert_eq!(client.run("printf 'z\\303\\244hl\\342\\202\\254 \\360\\237\\246\\200\\n'").await, "zähl€ 🦀\r\n");
    }
}

#[tokio::test]
async fn the_size_is_there_from_the_start_and_follows_the_client() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let link = world.mint_with(provider, |body| body["size"] = json!({ "cols": 99, "rows": 33 })).await;
        let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
        let ready = client.ready().await;
        assert_eq!((&ready["cols"], &ready["rows"]), (&json!(99), &json!(33)));
        assert_eq!(client.run(&stty(provider, "33 99")).await, "33 99\r\n");
        client.say(json!({ "operation": "resize", "cols": 120, "rows": 40 })).await;
        assert_eq!(client.run(&stty(provider, "40 120")).await, "40 120\r\n");
        for none in [json!({ "operation": "resize", "cols": 0, "rows": 0 }), json!({ "operation": "resize" })] {
            client.say(none).await;
        }
        assert_eq!(client.run(&stty(provider, "40 120")).await, "40 120\r\n");
        client.say(json!({ "operation": "resize", "cols": 5000, "rows": 10 })).await;
        let size = client.hear("size").await;
        assert_eq!((&size["cols"], &size["rows"]), (&json!(1000), &json!(10)), "a clamped size is told");
        assert_eq!(client.run(&stty(provider, "10 1000")).await, "10 1000\r\n");
        assert_eq!(client.run("trap 'echo winch' WINCH; echo set").await, "set\r\n");
        client.say(json!({ "operation": "resize", "cols": 80, "rows": 24 })).await;
        client.type_text("\r").await;
        client.see("winch\r\n").await;
    }
}

#[tokio::test]
async fn pings_are_answered_unknown_words_are_ignored_and_nonsense_ends_the_attachment_only() {
    let world = World::start().await;
    let mut client = world.open("local").await;
    client.say(json!({ "operation": "ping", "id": 7 })).await;
    assert_eq!(client.hear("pong").await["id"], 7);
    client.say(json!({ "operation": "dance", "with": "me" })).await;
    assert_eq!(client.run("echo still").await, "still\r\n");
    client.say(json!([1, 2])).await;
    let error = client.hear("error").await;
    assert_eq!(error["code"], "bad_message");
    assert_eq!(client.drain().await.code, 4400);
    assert_eq!(world.session(&client.session).await["state"], "detached");
    let mut client = world.open("local").await;
    client.type_bytes(&vec![b'x'; 1024 * 1024 + 1]).await;
    assert_eq!(client.hear("error").await["code"], "too_large");
    assert_eq!(client.drain().await.code, 1009);
}

#[tokio::test]
async fn a_client_that_leaves_while_the_terminal_opens_finds_it_when_it_comes_back() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let link = world.mint(provider).await;
        drop(Client::connect(&world, &link, Connect::default()).await.unwrap());
        world.until(&link.session, "detached").await;
        let mut back = world.reconnect(&link.session).await;
        back.ready().await;
        assert_eq!(back.run("echo here").await, "here\r\n");
    }
}

#[tokio::test]
async fn a_link_that_is_minted_in_the_last_moment_of_the_grace_still_finds_its_session() {
    let world = World::with(|config| config["sessions"] = json!({ "detach_grace": "500ms" })).await;
    let client = world.open("local").await;
    let session = client.session.clone();
    drop(client);
    world.until(&session, "detached").await;
    let link = world.another_link(&session).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let mut back = Client::connect(&world, &link, Connect::default()).await.unwrap();
    back.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_one_byte_of_the_tail_is_missing_in_two_hundred_rounds_and_every_end_is_1000() {
    let world = World::start().await;
    let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    let tells = |provider| !["pai", "dockhand"].contains(&provider);
    for round in 0..200 {
        // Two of them bear the brunt; the others have other wires, but the same end.
        for provider in PROVIDERS.into_iter().take(if round < 100 { 6 } else { 2 }) {
            let mut client = world.open(provider).await;
            client.type_text("exec sh -c 'echo rea\"\"dy; seq 1 20000; exit 3'\r").await;
            client.see("ready\r\n").await;
            let closed = client.drain().await;
            assert_eq!(closed.code, 1000, "{provider}, round {round}: {closed:?}");
            let output = String::from_utf8_lossy(&client.output);
            assert!(
                output == expected,
                "{provider}, round {round}: {} of {} bytes, ends in {:?}",
                output.len(),
                expected.len(),
                &output[output.len().saturating_sub(40)..]
            );
            let code = if tells(provider) { json!(3) } else { json!(null) };
            assert_eq!(client.hear("exit").await["code"], code, "{provider}");
        }
    }
}

/// Pastes 200 kB in lines of this length, behind a command that makes the terminal fit for them, and sees their sum.
pub(crate) async fn paste(client: &mut Client, mode: &str, line: usize) {
    let text: String =
        (0..200_000).map(|n| if (n + 1) % line == 0 { '\n' } else { char::from(b'a' + (n % 26) as u8) }).collect();
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    client.run(mode).await;
    client.type_text(&format!("echo go''ing; head -c {} | sha256sum\r", text.len())).await;
    client.see("going\r\n").await;
    for piece in text.as_bytes().chunks(50_000) {
        client.type_bytes(piece).await;
    }
    client.see(&sum).await;
}

#[tokio::test]
async fn a_paste_of_200_kilobytes_arrives_whole_whether_in_lines_or_in_one() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let mut client = world.open(provider).await;
        for (mode, line) in [("stty -echo", 80), ("stty -icanon -echo", usize::MAX)] {
            paste(&mut client, mode, line).await;
        }
    }
}

#[tokio::test]
async fn a_session_ends_by_the_word_close_by_the_api_and_by_its_shell_and_its_shell_goes_with_it() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let mut client = world.open(provider).await;
        let shell = client.run("echo $$").await.trim().to_owned();
        client.say(json!({ "operation": "close" })).await;
        assert_eq!(client.drain().await.code, 1000);
        gone(provider, &shell).await;

        let mut client = world.open(provider).await;
        let shell = client.run("echo $$").await.trim().to_owned();
        let path = format!("/v1/sessions/{}", client.session);
        assert_eq!(world.api(Method::DELETE, &path, None).await.status, 204);
        assert!(client.hear("exit").await["reason"].is_string());
        let closed = client.drain().await;
        assert_eq!(closed.code, 1000, "{closed:?}");
        gone(provider, &shell).await;
        assert_eq!(world.session(&client.session).await["state"], "ended");
    }
    let mut client = world.open("local").await;
    client.type_text("kill -KILL $$\r").await;
    let exit = client.hear("exit").await;
    assert_eq!((&exit["code"], &exit["signal"]), (&json!(null), &json!("SIGKILL")));
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_the_session_for_its_grace_and_nothing_behind_it() {
    let world = World::with(|config| config["sessions"] = json!({ "detach_grace": "1s" })).await;
    for provider in PROVIDERS {
        let mut client = world.open(provider).await;
        let shell = client.run("echo $$").await.trim().to_owned();
        let session = client.session.clone();
        drop(client);
        world.until(&session, "detached").await;
        let ended = world.until(&session, "ended").await;
        assert_eq!(ended["code"], json!(null));
        gone(provider, &shell).await;
    }
}

#[tokio::test]
async fn an_idle_session_and_one_that_lives_too_long_are_ended_with_4408() {
    let world = World::with(|config| config["sessions"] = json!({ "idle_timeout": "1s" })).await;
    let mut client = world.open("local").await;
    assert_eq!(client.hear("error").await["code"], "idle_timeout");
    assert_eq!(client.drain().await.code, 4408);
    let world = World::with(|config| config["sessions"] = json!({ "max_lifetime": "1s" })).await;
    let mut client = world.open("local").await;
    client.type_text("yes\r").await;
    assert_eq!(client.hear("error").await["code"], "lifetime_over");
    assert_eq!(client.drain().await.code, 4408);
}

#[tokio::test]
async fn on_shutdown_every_client_is_told_1001_and_every_shell_is_gone() {
    let world = World::start().await;
    let mut clients = Vec::new();
    let mut shells = Vec::new();
    for provider in PROVIDERS {
        let mut client = world.open(provider).await;
        shells.push((provider, client.run("echo $$").await.trim().to_owned()));
        clients.push(client);
    }
    let (draining, simulators) = world.drain();
    for mut client in clients {
        assert_eq!(client.hear("error").await["code"], "draining");
        assert_eq!(client.drain().await.code, 1001);
    }
    assert!(draining.await.unwrap(), "everybody left in time");
    for (provider, shell) in shells {
        gone(provider, &shell).await;
    }
    for simulator in simulators {
        simulator.shutdown().await;
    }
}

#[tokio::test]
async fn the_operation_dialect_says_stdout_and_nothing_else_and_raw_says_bytes_and_nothing_else() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let plain = Connect { subprotocol: None, origin: None, field: None };
        let link = world.mint(provider).await;
        let mut client = Client::connect(&world, &link, plain).await.unwrap();
        client.type_text("exec env PS1= sh -c 'printf \"\\303\"; sleep 0.1; printf \"\\244\\n\"; exit'\r").await;
        let closed = client.drain().await;
        assert_eq!(closed.code, 1000);
        assert!(client.output.is_empty(), "no binary in this dialect");
        let text: String = client
            .said
            .iter()
            .map(|said| {
                assert_eq!(said["operation"], "stdout", "{said}");
                said["data"].as_str().unwrap()
            })
            .collect();
        let shown = if provider == "dockhand" { "\u{fffd}\u{fffd}\r\n" } else { "ä\r\n" };
        assert!(text.ends_with(shown), "a character split by the shell is whole again: {provider} {text:?}");

        let link = world.mint_with(provider, |body| body["dialect"] = json!("raw")).await;
        let mut client = Client::connect(&world, &link, plain).await.unwrap();
        client.type_bytes(b"echo ra''w\r").await;
        client.see("raw\r\n").await;
        client.ws.close(None).await.unwrap();
        assert_ne!(client.drain().await.code, 1006, "a Close is answered");
        let ended = world.until(&link.session, "ended").await;
        assert_eq!(ended["code"], json!(null), "leaving with 1005 ends a session without a word for it");
        assert!(client.said.is_empty());
    }
}

#[tokio::test]
async fn acknowledged_output_never_runs_further_ahead_than_the_window() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let mut client = world.open(provider).await;
        let window = client.said[0]["window"].as_u64().unwrap();
        client.say(json!({ "operation": "ack", "bytes": 0 })).await;
        client.type_text("stty -echo; echo sta''rt; seq 1 100000; echo d''one\r").await;
        // The offset of everything read so far, and the offset that was acknowledged last.
        let (mut offset, mut acked) = (0, 0);
        let mut seen = Vec::new();
        while !seen.ends_with(b"done\r\n") {
            if offset - acked >= window / 2 {
                acked = offset;
                client.say(json!({ "operation": "ack", "bytes": acked })).await;
            }
            assert!(client.read().await);
            offset += client.output.len() as u64;
            assert!(offset - acked <= window, "{offset} - {acked} > {window}");
            seen.append(&mut client.output);
            if let Some(at) = seen.windows(6).position(|w| w == b"done\r\n") {
                seen.truncate(at + 6);
            }
        }
        client.say(json!({ "operation": "ack", "bytes": offset + 1_000_000 })).await;
        assert_eq!(client.hear("error").await["code"], "bad_message");
    }
}

#[tokio::test]
async fn one_giant_message_reaches_a_program_that_reads_late_whole_and_costs_no_session() {
    let world = World::start().await;
    for provider in PROVIDERS {
        let mut client = world.open(provider).await;
        let script = "stty raw -echo; for n in 300000 1000000; do echo rea\"\"dy; sleep 0.5; \
                      head -c $n | tr -d \"\\001\" | wc -c; done";
        client.type_text(&format!("exec sh -c '{script}'\r")).await;
        for count in [300_000, 1_000_000] {
            client.see("ready\n").await;
            // Every byte of it is written as six in JSON.
            client.type_bytes(&vec![1; count]).await;
            client.see("0\n").await;
        }
        assert_eq!(client.drain().await.code, 1000);
    }
}

/// What asks for the size. Dockhand passes sizes on whenever it comes to it, so there it is asked until it is right.
fn stty(provider: &str, size: &str) -> String {
    match provider {
        "dockhand" => format!("until [ \"$(stty size)\" = \"{size}\" ]; do sleep 0.02; done; stty size"),
        _ => "stty size".to_owned(),
    }
}

/// Waits until there is no such process, not even a zombie. Dockhand leaves it where it is.
async fn gone(provider: &str, pid: &str) {
    if provider == "dockhand" {
        return;
    }
    let path = std::path::PathBuf::from(format!("/proc/{pid}"));
    assert!(pid.parse::<u32>().is_ok(), "{pid:?} is no process id");
    crate::common::eventually(async || (!path.exists()).then_some(())).await;
}
