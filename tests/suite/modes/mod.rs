//! What is not tried elsewhere: settings and services that are other than the default, each with a terminal in it that is
//! opened, typed into, resized, pasted into and ended. A [`Mode`] says what has to be different, and why.

mod decthings;
mod dockhand;
mod eci;
mod oblien;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use polytty_simulator::{Kind, Simulator};
use serde_json::{Value, json};

use crate::common::{Client, Connect, Proxy, SHELL, eventually};

/// Modes that are played at once, each in a world of its own.
const AT_ONCE: usize = 6;

/// A way to configure polytty, in front of a way to run a service.
struct Mode {
    about: &'static str,
    simulator: Box<dyn Simulator>,
    entry: Value,
    target: Value,
    sizes: Sizes,
    /// What the shell's `exit 3` is told as.
    exit: Value,
    /// Whether the shell is gone once its session is.
    ends: bool,
    /// What only this mode has.
    more: Option<More>,
}

/// Looks at a terminal that is open, and at what the simulator has to say about it.
type More = Box<dyn for<'a> FnOnce(&'a Proxy, &'a dyn Simulator, &'a mut Client) -> LocalBoxFuture<'a, ()>>;

/// What becomes of a client's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    /// The terminal has it.
    Arrive,
    /// The terminal has it, by a command that the person sees.
    Typed,
    /// There is a terminal, which keeps its own.
    AreIgnored,
    /// There is no terminal that could have one.
    MeanNothing,
}

impl Mode {
    /// The service as `simulator` runs it, as it wants to be configured.
    fn of(about: &'static str, simulator: impl Simulator) -> Self {
        let line = simulator.ready_line();
        Self::with(about, simulator, line)
    }

    /// The same, configured by another line of the simulator's.
    fn with(about: &'static str, simulator: impl Simulator, mut line: Value) -> Self {
        let kind: Kind = line["kind"].as_str().unwrap().parse().unwrap();
        let mut entry = line["provider"].take();
        entry["name"] = json!("it");
        // These have no word for it.
        let tells = !matches!(kind, Kind::PaiDlc | Kind::Dockhand);
        Self {
            about,
            simulator: Box::new(simulator),
            entry,
            target: line["target"].take(),
            sizes: Sizes::Arrive,
            exit: if tells { json!(3) } else { json!(null) },
            ends: kind != Kind::Dockhand,
            more: None,
        }
    }

    fn configured(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.entry[key] = value.into();
        self
    }

    fn at(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.target[key] = value.into();
        self
    }

    fn and(
        mut self,
        more: impl for<'a> FnOnce(&'a Proxy, &'a dyn Simulator, &'a mut Client) -> LocalBoxFuture<'a, ()> + 'static,
    ) -> Self {
        self.more = Some(Box::new(more));
        self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_mode_a_terminal_opens_takes_what_is_typed_and_pasted_has_its_size_and_ends() {
    let mut modes = eci::modes().await;
    modes.extend(dockhand::modes().await);
    modes.extend(oblien::modes().await);
    modes.extend(decthings::modes().await);
    let played: Vec<(&str, bool)> = stream::iter(modes)
        .map(async |mode| (mode.about, AssertUnwindSafe(play(mode)).catch_unwind().await.is_ok()))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let broken: Vec<_> = played.iter().filter(|(_, is_fine)| !is_fine).map(|(about, _)| about).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

async fn play(mode: Mode) {
    let Mode { about, simulator, entry, target, sizes, exit, ends, more } = mode;
    let proxy = Proxy::start(vec![entry], vec![("it".to_owned(), target)], |_| {});
    let link = proxy.mint_with("it", |body| body["size"] = json!({ "cols": 99, "rows": 33 })).await;
    let mut client = Client::connect(&proxy, &link, Connect::default()).await.unwrap();
    client.ready().await;
    assert_eq!(client.run("echo $((6*7))").await, "42\r\n", "{about}");
    resize(&mut client, sizes, about).await;
    paste(&mut client, sizes != Sizes::MeanNothing).await;
    if let Some(more) = more {
        more(&proxy, &*simulator, &mut client).await;
    }
    client.type_text("exit 3\r").await;
    let closed = client.drain().await;
    assert_eq!(closed.code, 1000, "{about}: {closed:?}");
    assert_eq!(client.hear("exit").await["code"], exit, "{about}");

    let mut client = proxy.open("it").await;
    let shell = client.run("echo $$").await.trim().to_owned();
    assert!(shell.parse::<u32>().is_ok(), "{about}: {shell:?} is no process id");
    client.say(json!({ "operation": "close" })).await;
    assert_eq!(client.drain().await.code, 1000, "{about}");
    proxy.until(&client.session, "ended").await;
    let process = Path::new("/proc").join(&shell);
    if ends {
        eventually(async || (!process.exists()).then_some(())).await;
    } else {
        assert!(process.exists(), "{about}: if it is gone by itself, the documents are wrong about it");
    }
    simulator.shutdown().await;
}

async fn resize(client: &mut Client, sizes: Sizes, about: &str) {
    let is = |size: &str| format!("until [ \"$(stty size)\" = \"{size}\" ]; do sleep 0.02; done; stty size");
    match sizes {
        Sizes::Arrive | Sizes::Typed => {
            assert_eq!(client.run(&is("33 99")).await, "33 99\r\n", "{about}");
            client.say(json!({ "operation": "resize", "cols": 120, "rows": 40 })).await;
            if sizes == Sizes::Typed {
                client.see("stty rows 40 cols 120\r\n").await;
            }
            assert_eq!(client.run(&is("40 120")).await, "40 120\r\n", "{about}");
        }
        Sizes::AreIgnored | Sizes::MeanNothing => {
            let size = "stty size 2>&1; echo $?";
            let before = client.run(size).await;
            client.say(json!({ "operation": "resize", "cols": 120, "rows": 40 })).await;
            assert_eq!(client.run(size).await, before, "{about}");
            assert_eq!(before.ends_with("0\r\n"), sizes == Sizes::AreIgnored, "{about}: {before}");
        }
    }
}

/// 200 kB in lines, and where there is a terminal, in one line.
async fn paste(client: &mut Client, is_terminal: bool) {
    let modes =
        if is_terminal { vec![("stty -echo", 80), ("stty -icanon -echo", usize::MAX)] } else { vec![("true", 80)] };
    for (mode, line) in modes {
        crate::terminal::paste(client, mode, line).await;
    }
    if is_terminal {
        client.run("stty sane").await;
    }
}

/// The simulator by its type, for what only its kind has.
fn simulated<S: Simulator>(simulator: &dyn Simulator) -> &S {
    let simulator: &dyn Any = simulator;
    simulator.downcast_ref().expect("a mode looks at a simulator of its own kind")
}

/// A shell without anybody's profile: what it prints is known.
fn shell() -> Vec<String> {
    SHELL.map(str::to_owned).into()
}
