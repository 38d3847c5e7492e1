//! The command line: what it prints, and with which status it ends.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{Client, Connect, Demo, Link};
use polytty_simulator::Kind;
use serde_json::Value;

fn polytty(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polytty"));
    command.args(arguments).env_remove("POLYTTY_CONFIG").current_dir(std::env::temp_dir());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn usage_mistakes_end_with_2_configuration_mistakes_with_78_and_running_mistakes_with_1() {
    assert_eq!(polytty(&["dance"]).status.code(), Some(2));
    assert_eq!(polytty(&["demo", "--listen", "0.0.0.0:0"]).status.code(), Some(2));
    assert_eq!(polytty(&["check", "--config", "/nonexistent/proxy.toml"]).status.code(), Some(78));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let demo = polytty(&["demo", "--listen", &address]);
    assert_eq!(demo.status.code(), Some(1));
    assert!(text(&demo.stderr).contains("--listen"), "{}", text(&demo.stderr));
    let version = polytty(&["version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), format!("polytty {}\n", env!("CARGO_PKG_VERSION")));
}

/// The line of a simulator that is started with these arguments and then stopped.
fn simulated(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polytty"));
    let mut child = command.arg("simulate").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_simulator_is_what_its_modes_say_and_names_them() {
    for kind in Kind::ALL {
        let list = polytty(&["simulate", kind.as_str(), "--list-modes"]);
        assert_eq!(list.status.code(), Some(0));
        let names: Vec<_> = kind.modes().into_iter().map(|(name, _)| name).collect();
        let listed = text(&list.stdout);
        let listed: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(listed, names);
        for name in names {
            assert_eq!(simulated(&[kind.as_str(), "--mode", name])["kind"], kind.as_str(), "{name}");
        }
    }
    assert_eq!(simulated(&["dockhand"])["provider"]["flow"], Value::Null);
    assert_eq!(simulated(&["dockhand", "--mode", "documented"])["provider"]["flow"], "documented");
    let unknown = polytty(&["simulate", "eci", "--mode", "documented"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("eci has no mode"), "{}", text(&unknown.stderr));
}

#[test]
fn check_tells_every_mistake_with_its_place_and_a_good_file_is_fine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.toml");
    std::fs::write(
        &file,
        "[server]\npublic_url = \"http://example.com\"\n[sessions]\nidle_timeout = 30\nidel = 1\n[tls]\ncert = \"c\"\nkey = \"k\"\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let bad = polytty(&["check", "--config", path]);
    assert_eq!(bad.status.code(), Some(78));
    let told = text(&bad.stderr);
    for mention in ["proxy.toml:2:", "public_url", "proxy.toml:4:", "idle_timeout", "\"30s\"", "proxy.toml:5:", "idel"]
    {
        assert!(told.contains(mention), "{mention} in {told}");
    }

    let pair = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("c"), pair.cert.pem()).unwrap();
    std::fs::write(folder.path().join("k"), pair.signing_key.serialize_pem()).unwrap();
    let good = "[server]\npublic_url = \"https://example.com\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n";
    std::fs::write(&file, good).unwrap();
    let fine = polytty(&["check", "--config", path]);
    assert_eq!(fine.status.code(), Some(0), "{}", text(&fine.stderr));

    let other = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("k"), other.signing_key.serialize_pem()).unwrap();
    let mismatched = polytty(&["check", "--config", path]);
    assert_eq!(mismatched.status.code(), Some(78), "{}", text(&mismatched.stderr));
}

#[test]
fn a_new_key_is_shown_once_with_the_entry_that_lets_it_in() {
    let made = polytty(&["key", "new", "--json", "--name", "ci"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(made["hash"], format!("sha256:{hash}"));
    let shown = text(&polytty(&["key", "new", "--name", "ci"]).stdout);
    let entry = &shown[shown.find("[[keys]]").unwrap()..];
    let entry: toml::Table = entry.parse().unwrap();
    assert_eq!(entry["keys"][0]["name"].as_str(), Some("ci"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_gets_ready_hands_out_links_and_leaves_nothing_behind() {
    let demo = Demo::start().await;
    let ca = demo.line["ca"].as_str().unwrap().to_owned();
    assert!(Path::new(&ca).is_absolute());
    assert!(demo.line["page"].as_str().unwrap().starts_with(&format!("{}/#", demo.line["url"].as_str().unwrap())));
    let names: Vec<_> =
        demo.line["providers"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pai", "eci", "dockhand", "oblien", "decthings", "local"]);

    let mut arguments = vec!["link".to_owned(), "--provider".to_owned(), "pai".to_owned()];
    for (name, value) in demo.target("pai").as_object().unwrap() {
        arguments.extend(["--target".to_owned(), format!("{name}={}", value.as_str().unwrap())]);
    }
    let run = |arguments: Vec<String>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polytty"));
        command
            .args(arguments)
            .env("POLYTTY_URL", demo.line["url"].as_str().unwrap())
            .env("POLYTTY_API_KEY", &demo.key)
            .env("POLYTTY_CA", &ca);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let link = run(arguments).await.unwrap();
    assert_eq!(link.status.code(), Some(0), "{}", text(&link.stderr));
    let link = Link { session: String::new(), url: text(&link.stdout).trim().to_owned() };
    let mut client = Client::connect(&demo, &link, Connect::default()).await.unwrap();
    client.ready().await;
    assert_eq!(client.run("echo hello").await, "hello\r\n");

    let refused = run(vec!["link".to_owned(), "--provider".to_owned(), "nobody".to_owned()]).await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("known are pai, eci, dockhand, oblien, decthings, local"),
        "{}",
        text(&refused.stderr)
    );

    let shell = client.run("echo $$").await.trim().to_owned();
    assert_eq!(demo.terminate().await, 0);
    assert!(!Path::new(&ca).exists(), "the certificate goes with the demo");
    crate::common::eventually(async || (!Path::new(&format!("/proc/{shell}")).exists()).then_some(())).await;
}
