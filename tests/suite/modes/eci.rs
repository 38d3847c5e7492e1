//! ECI, where nobody knows how the service takes sizes and tells an end.

use polytty_simulator::eci::{self, Eci, Options, Resize};
use serde_json::{Value, json};

use super::{Mode, Sizes, shell, simulated};
use crate::common::{Client, Connect, Proxy, Served};

pub(super) async fn modes() -> Vec<Mode> {
    let mut modes = vec![
        Mode {
            sizes: Sizes::MeanNothing,
            ..Mode::of("eci without a TTY: pipes, no echo, no size", start(options()).await).at("tty", false)
        },
        Mode {
            sizes: Sizes::Typed,
            ..Mode::of(
                "eci with sizes that are typed, at a service that takes none",
                start(Options { resize: Resize::Unsupported, ..options() }).await,
            )
            .configured("resize_mode", "stty")
        },
        Mode {
            sizes: Sizes::AreIgnored,
            ..Mode::of("eci whose sizes are kept back, at a service that would take them", start(options()).await)
                .configured("resize_mode", "off")
        },
        Mode {
            sizes: Sizes::AreIgnored,
            ..Mode::of(
                "eci with sizes on channel 4, at a service that takes them on channel 3",
                start(Options { resize: Resize::Channel3, ..options() }).await,
            )
        },
        Mode::of(
            "eci with v4.channel.k8s.io offered and accepted, so that success is told, too",
            start(Options { accept_v4: true, ..options() }).await,
        )
        .configured("subprotocol", "v4.channel.k8s.io")
        .and(|proxy, _, _| Box::pin(succeeds(proxy, json!(0)))),
        Mode::of("eci with v4.channel.k8s.io offered and not accepted", start(options()).await)
            .configured("subprotocol", "v4.channel.k8s.io")
            .and(|proxy, _, _| Box::pin(succeeds(proxy, json!(null)))),
        Mode {
            exit: json!(null),
            ..Mode::of(
                "eci at a service that tells no exit status",
                start(Options { silent_errors: true, ..options() }).await,
            )
        },
        Mode::of(
            "eci at a service whose output is text without a channel",
            start(Options { text_output: true, ..options() }).await,
        ),
    ];
    let simulator = start(options()).await;
    let line = simulator.ready_line_with(simulator.sts_credential());
    modes.push(Mode::with("eci with a temporary AccessKey", simulator, line));
    let counted = Mode::of("eci without a TTY, where a size is not even sent", start(options()).await);
    modes.push(Mode {
        sizes: Sizes::MeanNothing,
        ..counted.at("tty", false).at("command", json!(["/bin/sh", "-s"])).and(|_, simulator, _| {
            Box::pin(async move { assert_eq!(simulated::<Eci>(simulator).counters().ignored_messages, 0) })
        })
    });
    modes
}

/// The service documents 256 characters for an item of a command, and other clients send longer ones: so does polytty, and the
/// log says so. It holds the item, which may be a secret, back.
#[tokio::test]
async fn an_item_of_a_command_that_is_longer_than_documented_leaves_a_warning_and_is_sent() {
    let simulator = start(options()).await;
    let line = simulator.ready_line();
    let served = Served::start(
        |_| Vec::new(),
        |config| {
            let mut entry = line["provider"].clone();
            entry["name"] = json!("eci");
            config["providers"].as_array_mut().unwrap().push(entry);
        },
    )
    .await;
    for (length, warnings) in [(256, 0), (257, 1)] {
        let item = format!("{:x<length$}", "#");
        let link = served
            .mint_with("eci", |body| {
                body["target"] = line["target"].clone();
                body["target"]["command"] = json!(["/bin/sh", "-c", "read line; exit", item]);
            })
            .await;
        let log = served.log();
        assert_eq!(log.matches("a command has an item of more than 256 characters").count(), warnings, "{log}");
        assert!(!log.contains("xxxxxxxx"), "{log}");
        let mut client = Client::connect(&served, &link, Connect::default()).await.unwrap();
        client.ready().await;
        client.type_text("and that is it\r").await;
        assert_eq!(client.drain().await.code, 1000);
    }
}

/// What an exit without an error is told as.
async fn succeeds(proxy: &Proxy, code: Value) {
    let mut client = proxy.open("it").await;
    client.type_text("exit 0\r").await;
    assert_eq!(client.hear("exit").await["code"], code);
    assert_eq!(client.drain().await.code, 1000);
}

async fn start(options: Options) -> Eci {
    eci::start(options).await.unwrap()
}

fn options() -> Options {
    Options { shell: shell(), ..Options::default() }
}
