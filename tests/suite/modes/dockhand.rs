//! Dockhand: as it is documented, behind an agent, by login, and with an ending that is typed.

use polytty_simulator::dockhand::{self, Auth, Connection, Dockhand, Flow, Options};

use super::{Mode, shell, simulated};

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

async fn start(options: Options) -> Dockhand {
    dockhand::start(options).await.unwrap()
}

fn options() -> Options {
    Options { shell: shell(), ..Options::default() }
}
