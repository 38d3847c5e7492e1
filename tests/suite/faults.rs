//! Everything that a provider can do wrong, and what the person at the terminal is told: the table in
//! `docs/faults.md` is made by this test. `POLYTTY_WRITE_DOCS=1 cargo test --test suite faults` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use crate::common::{Client, Connect, World};
use polytty_simulator::{Description, Fault};
use serde_json::json;

/// What came of one fault.
struct Row {
    fault: &'static Description,
    told: String,
    close: u16,
}

/// Faults that are no faults: the protocols allow them, and the terminal has to work.
const LEGAL: [&str; 3] = ["upgrade-early-frame", "fragments", "unknown-operation"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_provider_is_told_by_its_code_and_in_words() {
    let rows = futures_util::future::join_all(Fault::ALL.iter().map(provoke)).await;
    let mut table = String::from(
        "# What a provider can do wrong, and what is told\n\n\
         Made by `tests/suite/faults.rs`: each line is a simulated PAI-DLC that misbehaves in one way (`polytty simulate \
         pai-dlc --fault NAME`), and what a client of `polytty.v1` then heard. The sentence is the `message` of the \
         final `error`; provider texts, URLs and secrets are never in it.\n\n\
         | fault | what the provider does | what the client is told | Close |\n|---|---|---|---|\n",
    );
    for Row { fault, told, close } in &rows {
        let _ = writeln!(table, "| `{}` | {} | {told} | {close} |", fault.name, fault.about);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    if std::env::var_os("POLYTTY_WRITE_DOCS").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    for (now, before) in table.lines().zip(written.lines()) {
        assert_eq!(now, before, "docs/faults.md tells something else; see this test's first lines");
    }
    assert_eq!(table.lines().count(), written.lines().count());
    for Row { fault, told, close } in &rows {
        let legal = LEGAL.contains(&fault.name);
        assert_eq!(legal, told == WORKS, "{}: {told}", fault.name);
        let clean = legal || fault.name == "fin";
        assert_eq!(clean, *close == 1000, "{}: {close}", fault.name);
    }
}

const WORKS: &str = "nothing: the terminal works";

async fn provoke(fault: &'static Description) -> Row {
    let world = World::with(|config| config["providers"][0]["open_timeout"] = json!("3s")).await;
    world.simulator.faults().always(fault.name.parse().unwrap());
    let link = world.mint("pai").await;
    let mut client = Client::connect(&world, &link, Connect::default()).await.unwrap();
    if LEGAL.contains(&fault.name) {
        client.ready().await;
        assert_eq!(client.run("echo fine").await, "fine\r\n", "{}", fault.name);
        client.type_text("exit\r").await;
        let close = client.drain().await.code;
        return Row { fault, told: WORKS.to_owned(), close };
    }
    let close = client.drain().await;
    let last = client.said.last().unwrap_or_else(|| panic!("{}: nothing was said: {close:?}", fault.name));
    let told = match last["operation"].as_str() {
        Some("exit") => format!("`exit`, code `{}`", last["code"]),
        Some("error") => {
            assert_eq!(last["final"], true, "{}", fault.name);
            let code = last["code"].as_str().unwrap();
            assert!(close.reason.starts_with(code), "{}: {close:?}", fault.name);
            let job = world.target("pai")["job_id"].as_str().unwrap().to_owned();
            format!("`{code}`: {}", last["message"].as_str().unwrap().replace(&job, "JOB"))
        }
        _ => panic!("{}: {last}", fault.name),
    };
    for secret in [&world.simulator.credential().access_key_secret, &world.simulator.authority()] {
        assert!(!client.said.iter().any(|said| said.to_string().contains(secret.as_str())), "{}", fault.name);
    }
    Row { fault, told, close: close.code }
}
