//! Decthings: input over HTTP, and every part of a target.

use std::time::{Duration, SystemTime};

use polytty_simulator::decthings::{self, Decthings, Options, SocketCalls};
use polytty_simulator::{ManualClock, Simulator};
use serde_json::json;

use super::{Mode, shell, simulated};
use crate::common::{Client, Connect, Proxy};

pub(super) async fn modes() -> Vec<Mode> {
    let mut modes = vec![
        Mode::of(
            "decthings with input over HTTP, at a service that takes none over its WebSocket",
            start(Options { socket_calls: SocketCalls::Subscriptions, ..options() }).await,
        )
        .configured("writes", "http")
        .and(|_, simulator, _| {
            Box::pin(async move {
                let calls = simulated::<Decthings>(simulator).counters();
                assert!(calls.http_calls > 10 && calls.calls_refused == 0, "{calls:?}");
            })
        }),
        Mode::of("decthings on a launcher of its own", start(options()).await).at(
            "execution_location",
            json!({
                "type": "temporaryLauncher",
                "spec": {
                    "cpus": 0.5, "memoryMebibytes": 512, "diskMebibytes": 2048, "swapMebibytes": 0,
                    "gpus": { "model": "L4", "count": 1 },
                },
            }),
        ),
        Mode::of(
            "decthings at a service whose terminals have another size unless they are told",
            start(Options { default_size: (132, 50), ..options() }).await,
        ),
    ];
    let simulator = start(options()).await;
    let further = simulator.models()[1..].to_vec();
    let asked = json!([further[0], { "modelId": further[1] }]);
    let mode = Mode::of("decthings with the files of further models", simulator).at("add_filesystem_access", asked);
    modes.push(mode.and(move |_, simulator, _| {
        Box::pin(async move {
            let decthings = simulated::<Decthings>(simulator);
            let terminal = decthings.terminals().remove(0);
            assert_eq!(decthings.filesystem_access(&terminal), Some(further));
        })
    }));
    let clock = ManualClock::new(SystemTime::now());
    let simulator = start(Options { clock: clock.clock(), ..options() }).await;
    let mode = Mode::of("decthings with a limit to how long nothing is typed", simulator);
    modes.push(mode.at("terminate_after_inactive_seconds", 90).and(move |proxy, simulator, client| {
        Box::pin(async move { inactive(proxy, simulator, client, &clock).await })
    }));
    modes
}

/// Who types lives on, who does not is ended, and is told why.
async fn inactive(proxy: &Proxy, simulator: &dyn Simulator, client: &mut Client, clock: &ManualClock) {
    let link = proxy.mint("it").await;
    let mut silent = Client::connect(proxy, &link, Connect::default()).await.unwrap();
    silent.ready().await;
    assert_eq!(silent.run("echo here").await, "here\r\n");
    clock.advance(Duration::from_secs(60));
    assert_eq!(client.run("echo typing").await, "typing\r\n");
    clock.advance(Duration::from_secs(60));
    let error = silent.hear("error").await;
    assert_eq!((&error["code"], &error["final"]), (&json!("idle_timeout"), &json!(true)), "{error}");
    assert_eq!(silent.drain().await.code, 4408);
    assert_eq!(client.run("echo on").await, "on\r\n");
    assert_eq!(simulated::<Decthings>(simulator).counters().alive, 1);
}

async fn start(options: Options) -> Decthings {
    decthings::start(options).await.unwrap()
}

fn options() -> Options {
    Options { shell: shell(), ..Options::default() }
}
