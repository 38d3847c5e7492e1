//! Dockhand: as it is documented, behind an agent, by login, and with an ending that is typed.

use http::Method;
use polytty_simulator::dockhand::{self, Auth, Connection, Dockhand, Flow, Options};
use serde_json::json;

use super::{Mode, shell, simulated};
use crate::common::{Client, Connect, Proxy, Served, eventually};

pub(super) async fn modes() -> Vec<Mode> {
    let documented = || Options { flow: Flow::Documented, ..options() };
    let mut modes = vec![
        Mode {
            // The WebSocket is all that holds this shell.
            ends: true,
            ..Mode::of("dockhand as documented: a call creates, another resizes", start(documented()).await).and(
                |_, simulator, _| {
                    Box::pin(async move {
                        let calls = simulated::<Dockhand>(simulator).counters();
                        assert!(calls.resize_calls >= 2 && calls.execs_created >= 1, "{calls:?}");
                    })
                },
            )
        },
        Mode {
            ends: true,
            ..Mode::of("dockhand as documented, with another path", start(documented()).await)
                .configured("attach_path", "/api/containers/web/exec?execId={exec_id}")
        },
        Mode {
            // Nothing but the typed words could have ended it.
            ends: true,
            ..Mode::of("dockhand with an ending that is typed", start(options()).await).configured("typed_ending", true)
        },
        Mode::of("dockhand that asks nobody who they are", start(Options { auth: Auth::Off, ..options() }).await),
    ];
    let simulator = start(options()).await;
    let line = simulator.ready_line_with_login();
    modes.push(Mode::with("dockhand by name and password", simulator, line));
    let edge = |simulator: &Dockhand| {
        let edge = simulator.environments().iter().find(|environment| environment.connection == Connection::Edge);
        edge.unwrap().id
    };
    let simulator = start(options()).await;
    let environment = edge(&simulator);
    modes.push(Mode::of("dockhand by an agent at the edge", simulator).at("environment", environment));
    let simulator = start(options()).await;
    let environment = edge(&simulator);
    modes.push(Mode {
        ends: true,
        ..Mode::of("dockhand by an agent at the edge, with an ending that is typed", simulator)
            .at("environment", environment)
            .configured("typed_ending", true)
    });
    modes
}

/// A server that asks nobody who they are is found out by asking as nobody, once, and the log says so.
#[tokio::test]
async fn a_server_that_gives_terminals_to_strangers_is_warned_of_once() {
    for (auth, is_warned_of) in [(Auth::Off, true), (Auth::Required, false)] {
        let simulator = start(Options { auth, ..options() }).await;
        let line = simulator.ready_line();
        let served = Served::start(
            |_| Vec::new(),
            |config| {
                config["log"] = json!({ "filter": "info,polytty::provider::dockhand=debug" });
                let mut entry = line["provider"].clone();
                entry["name"] = json!("docks");
                config["providers"].as_array_mut().unwrap().push(entry);
            },
        )
        .await;
        for _ in 0..2 {
            let link = served.mint_with("docks", |body| body["target"] = line["target"].clone()).await;
            let mut client = Client::connect(&served, &link, Connect::default()).await.unwrap();
            client.ready().await;
            assert_eq!(client.run("echo fine").await, "fine\r\n");
        }
        let said = |log: &str, what| log.matches(what).count();
        let (told, log) = eventually(async || {
            let log = served.log();
            let told = (said(&log, "to whoever asks"), said(&log, "no terminal to strangers"));
            (told.0 + told.1 > 0).then_some((told, log))
        })
        .await;
        assert_eq!(told, if is_warned_of { (1, 0) } else { (0, 1) }, "{log}");
        // It was the first terminal's opening that asked, and the second one's did not.
        eventually(async || (simulator.counters().attached == 2).then_some(())).await;
        assert_eq!(simulator.openings().iter().filter(|opening| opening.container == "none").count(), told.0);
    }
}

/// Docker never ends a shell by itself, so each of these would be there for good.
#[tokio::test]
async fn however_a_session_ends_a_typed_ending_leaves_no_shell_but_behind_a_full_screen_program() {
    let mode = Mode::of("", start(options()).await).configured("typed_ending", true);
    let Mode { simulator, entry, target, .. } = mode;
    let dockhand = simulated::<Dockhand>(&*simulator);
    let targets = vec![("it".to_owned(), target)];
    let proxy = Proxy::start(vec![entry], targets, |config| config["sessions"] = json!({ "detach_grace": "0s" }));
    let open = async |line: &str| {
        let mut client = proxy.open("it").await;
        assert_eq!(client.run("echo here").await, "here\r\n");
        client.type_text(line).await;
        client
    };
    // Printed by the job itself, so that it is in the foreground by then: until it is, Ctrl-C is not for it.
    let running = async |program: &str| {
        let mut client = open(&format!("sh -c 'echo run\"\"ning; exec {program}'\r")).await;
        client.see("running\r\n").await;
        client
    };
    let mut closes = open("echo half a li").await;
    closes.say(json!({ "operation": "close" })).await;
    let mut deleted = running("sleep 1000").await;
    let path = format!("/v1/sessions/{}", deleted.session);
    assert_eq!(proxy.api(Method::DELETE, &path, None).await.status, 204);
    let mut leaves = running("cat").await;
    leaves.ws.close(None).await.unwrap();
    drop(running("sed p").await);
    let mut exits = open("exit\r").await;
    for client in [&mut closes, &mut deleted, &mut leaves, &mut exits] {
        client.drain().await;
    }
    eventually(async || ((dockhand.sessions(), dockhand.counters().attached) == (0, 0)).then_some(())).await;

    // Nobody knows what an editor makes of those keys.
    let mut full_screen = open("").await;
    full_screen.run("printf '\\033[?1049h'").await;
    full_screen.say(json!({ "operation": "close" })).await;
    assert_eq!(full_screen.drain().await.code, 1000);
    proxy.until(&full_screen.session, "ended").await;
    assert!(proxy.drain().await, "all leave in time");
    eventually(async || (dockhand.counters().orphans == 1).then_some(())).await;
    assert_eq!(dockhand.sessions(), 1);
}

async fn start(options: Options) -> Dockhand {
    dockhand::start(options).await.unwrap()
}

fn options() -> Options {
    Options { shell: shell(), ..Options::default() }
}
