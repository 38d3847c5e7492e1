//! Everything that a provider can do wrong, and what the person at the terminal is told: the tables in
//! `docs/faults.md` are made by this test. `POLYTTY_WRITE_DOCS=1 cargo test --test suite faults` writes them anew.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use polytty_simulator::{Description, Kind, Simulator, Stage, dockhand};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::common::{Client, Closed, Connect, Proxy, SHELL, simulate};

/// Faults that are provoked at once, each in a world of its own. Most of them wait.
const AT_ONCE: usize = 24;

/// How long the provider has to open a terminal.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// What a loaded machine, or a connection that is made anew, may add.
const LEEWAY: Duration = Duration::from_secs(17);

/// How long after that somebody who has no terminal knows it, on a machine that is not busy with all the others.
const PROMPT: Duration = Duration::from_secs(4);

/// What a ping waits for silence, and for its pong.
const SILENCE: Duration = Duration::from_secs(40);

/// Of the calls that Decthings never answers, each one's time: a size is sent, and then what was typed.
const CALLS: Duration = Duration::from_secs(60);

/// Faults with arguments that what is told depends on.
const FURTHER: [(Kind, &str); 20] = [
    (Kind::PaiDlc, "close=1000@0"),
    (Kind::Eci, "close=1000@0"),
    (Kind::Dockhand, "docker-lost=1"),
    (Kind::Dockhand, "process-gone=1"),
    (Kind::Dockhand, "reset=1"),
    (Kind::Dockhand, "fin=1"),
    (Kind::Dockhand, "close=1011@1"),
    (Kind::Dockhand, "garbage=1"),
    (Kind::Oblien, "evict=5@1"),
    (Kind::Decthings, "rpc-error=bad_credentials@any"),
    (Kind::Decthings, "rpc-error=payment_required@any"),
    (Kind::Decthings, "rpc-error=quota_exceeded@any"),
    (Kind::Decthings, "rpc-error=server_overloaded@any"),
    (Kind::Decthings, "rpc-error=too_many_requests@any"),
    (Kind::Decthings, "rpc-error=model_not_found@any"),
    (Kind::Decthings, "exit=inactive_timeout@1"),
    (Kind::Decthings, "exit=terminated_on_request@1"),
    (Kind::Decthings, "exit=unknown@1"),
    (Kind::Decthings, "exit=oom@1"),
    (Kind::Decthings, "exit=SIGKILL@1"),
];

/// What has to be known to read a kind's table.
fn remarks(kind: Kind) -> &'static str {
    match kind {
        Kind::PaiDlc | Kind::Eci => "",
        Kind::Dockhand => {
            "The API's faults and `upgrade-logged-out` strike a configuration with `username` and `password`; a token \
             needs no call. `silence_timeout` is 10 s for `create-stalled` and `agent-lost`.\n\n"
        }
        Kind::Oblien => {
            "All terminals of a workspace share one connection. It is made anew as long as somebody is attached, and \
             what is typed meanwhile waits.\n\n"
        }
        Kind::Decthings => {
            "All terminals share one connection. It is made anew as long as somebody is attached. The API's faults \
             strike a configuration with `writes = \"http\"`.\n\n"
        }
    }
}

const PREFACE: &str = "# What a provider can do wrong, and what is told\n\n\
    Made by `tests/suite/faults.rs`: in each line a simulated provider misbehaves in one way (`polytty simulate KIND \
    --fault NAME`), and a client of `polytty.v1` types a line into the terminal. A fault of an API call, or of the \
    upgrade to a WebSocket, strikes whenever it can, one within a connection or terminal once. The sentence is the \
    `message` of an `error`, which is final where the Close is not 1000; provider texts, URLs and secrets are never in \
    it. What opens at all has to open within `open_timeout`.\n";

/// One way in which a provider of a kind misbehaves.
#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    fault: String,
    about: &'static str,
    stage: Stage,
}

/// What came of it.
struct Row {
    case: Case,
    told: String,
    close: u16,
    /// From the use of the link to the Close, where there never was a terminal.
    refused_after: Option<Duration>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_every_provider_is_told_in_time_by_its_code_and_in_words() {
    let mut cases = cases();
    // What takes longest goes first.
    cases.sort_by_key(|(_, case)| std::cmp::Reverse(patience(case)));
    let provoked = cases.into_iter().map(|(at, case)| async move { (at, provoke(case).await) });
    let mut rows: Vec<_> = stream::iter(provoked).buffer_unordered(AT_ONCE).collect().await;
    rows.sort_by_key(|(at, _)| *at);
    let slowest = rows.iter().max_by_key(|(_, row)| row.refused_after).unwrap();
    println!("slowest refusal: {:?} of {:?}", slowest.1.refused_after, slowest.1.case);
    for (_, row) in &rows {
        is_refused_in_time(row).await;
    }
    let tables = tables(rows.into_iter().map(|(_, row)| row));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    if std::env::var_os("POLYTTY_WRITE_DOCS").is_some() {
        std::fs::write(&file, &tables).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    for (now, before) in tables.lines().zip(written.lines()) {
        assert_eq!(now, before, "docs/faults.md tells something else; see this test's first lines");
    }
    assert_eq!(tables.lines().count(), written.lines().count());
}

/// Whoever gets no terminal is told within `open_timeout` and little more. Who was told too late among so many others is
/// asked again alone: what is late by itself is late every time.
async fn is_refused_in_time(row: &Row) {
    let is_late = |row: &Row| row.refused_after.is_some_and(|after| after > OPEN_TIMEOUT + PROMPT);
    let mut late = vec![row.refused_after];
    while is_late(row) && late.len() < 4 {
        let again = provoke(row.case.clone()).await;
        if !is_late(&again) {
            return;
        }
        late.push(again.refused_after);
    }
    assert!(late.len() == 1, "{:?}: {late:?}", row.case);
}

/// Every case with its place in the document.
fn cases() -> Vec<(usize, Case)> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        for line in kind.faults() {
            let same = |text: &&str| text.split_once('=').is_some_and(|(name, _)| name == line.name);
            let further = FURTHER.iter().filter(|(of, _)| *of == kind).map(|(_, text)| *text).filter(same);
            let case = |fault| Case { kind, fault, about: line.about, stage: line.stage };
            cases.extend([usual(kind, line)].into_iter().chain(further.map(str::to_owned)).map(case));
        }
    }
    cases.into_iter().enumerate().collect()
}

/// A fault without an argument, but for one of a connection that is there before its terminals: that waits until a
/// terminal has spoken, or else nobody could tell whether it comes before or behind the call that makes one.
fn usual(kind: Kind, line: &Description) -> String {
    let full = kind.fault(line.name).unwrap().to_string();
    let at_once = full.strip_suffix('0').filter(|rest| rest.ends_with(['=', '@']));
    match at_once {
        Some(rest) if matches!(kind, Kind::Oblien | Kind::Decthings) => format!("{rest}1"),
        _ => line.name.to_owned(),
    }
}

fn tables(rows: impl Iterator<Item = Row>) -> String {
    let mut tables = PREFACE.to_owned();
    let mut last = None;
    for Row { case, told, close, .. } in rows {
        if last.replace(case.kind) != Some(case.kind) {
            let _ = write!(
                tables,
                "\n## {}\n\n{}| fault | what the provider does | what the client is told | Close |\n|---|---|---|---|\n",
                case.kind,
                remarks(case.kind)
            );
        }
        let _ = writeln!(tables, "| `{}` | {} | {told} | {close} |", case.fault, case.about);
    }
    tables
}

async fn provoke(case: Case) -> Row {
    let (simulator, line) = start(&case).await;
    let name = case.kind.as_str();
    let mut entry = line["provider"].clone();
    entry["name"] = json!(name);
    entry["open_timeout"] = json!(format!("{}s", OPEN_TIMEOUT.as_secs()));
    let proxy = Proxy::start(vec![entry], vec![(name.to_owned(), line["target"].clone())], |_| {});
    if case.fault == "create-stale" {
        let mut before = proxy.open(name).await;
        before.say(json!({ "operation": "close" })).await;
        before.drain().await;
    }
    let fault = case.kind.fault(&case.fault).unwrap();
    if is_once(&case) {
        simulator.faults().next(fault);
    } else {
        simulator.faults().always(fault);
    }
    let link = proxy.mint(name).await;
    let asked = Instant::now();
    let until = asked + patience(&case);
    let mut client = Client::connect(&proxy, &link, Connect::default()).await.unwrap();
    let opened_by = Instant::now() + OPEN_TIMEOUT + LEEWAY;
    let works = try_out(&mut client, opened_by, until).await.unwrap_or_else(|| {
        panic!("{case:?}: neither in time: {:?} {:?}", client.said, String::from_utf8_lossy(&client.output))
    });
    if works {
        client.try_typing("exit 3\r").await;
    }
    let closed = client.drain().await;
    let refused_after = (!is_ready(&client)).then(|| asked.elapsed());
    assert_eq!(simulator.faults().waiting(), 0, "{case:?} never came to it");
    assert!(works || !case.about.ends_with("(legal)."), "{case:?}: {:?}", client.said);
    for secret in secrets(&line) {
        let told = |text: &str| assert!(!text.contains(&secret), "{case:?} gives away {secret:?}: {text}");
        client.said.iter().filter(|said| said["operation"] != "ready").for_each(|said| told(&said.to_string()));
        told(&closed.reason);
    }
    proxy.until(&link.session, "ended").await;
    let told = told(&case, &client.said, works, &closed);
    Row { told: anonymous(told, &line), close: closed.code, refused_after, case }
}

/// A fault of a shared connection that struck every time would keep it from ever coming to rest.
fn is_once(case: &Case) -> bool {
    matches!(case.stage, Stage::Session | Stage::Terminal | Stage::Token) || case.fault == "upgrade-logged-out"
}

/// How long it may be until the terminal works, or the client knows that it does not.
fn patience(case: &Case) -> Duration {
    let name = case.fault.split('=').next().unwrap_or_default();
    LEEWAY
        + match (case.kind, name) {
            (Kind::Decthings, "api-stalled" | "rpc-error") => CALLS,
            (_, "stall") => SILENCE,
            (_, "create-stalled" | "agent-lost" | "evict") => Duration::from_secs(20),
            _ => OPEN_TIMEOUT,
        }
}

async fn start(case: &Case) -> (Box<dyn Simulator>, Value) {
    if case.kind == Kind::Dockhand && (case.stage == Stage::Api || case.fault == "upgrade-logged-out") {
        let shell = SHELL.map(str::to_owned).into();
        let simulator = dockhand::start(dockhand::Options { shell, ..dockhand::Options::default() }).await.unwrap();
        let line = simulator.ready_line_with_login();
        return (Box::new(simulator), line);
    }
    let simulator = simulate(case.kind).await;
    let mut line = simulator.ready_line();
    match (case.kind, case.fault.as_str()) {
        (Kind::Dockhand, "create-stalled" | "agent-lost") => line["provider"]["silence_timeout"] = json!("10s"),
        (Kind::Decthings, _) if case.stage == Stage::Api => line["provider"]["writes"] = json!("http"),
        _ => {}
    }
    (simulator, line)
}

/// Types a line until it is run; `false` when the connection is over before that, `None` when neither is in time.
async fn try_out(client: &mut Client, opened_by: Instant, until: Instant) -> Option<bool> {
    while !is_ready(client) {
        if !timeout_at(opened_by, client.read()).await.ok()? {
            return Some(false);
        }
    }
    loop {
        client.try_typing("echo fi''ne\r").await;
        // What was typed into a connection that was just lost may be lost with it.
        let again = until.min(Instant::now() + Duration::from_secs(2));
        while let Ok(goes_on) = timeout_at(again, client.read()).await {
            if client.output.windows(6).any(|seen| seen == b"fine\r\n") {
                return Some(true);
            }
            if !goes_on {
                return Some(false);
            }
        }
        if again == until {
            return None;
        }
    }
}

fn is_ready(client: &Client) -> bool {
    client.said.iter().any(|said| said["operation"] == "ready")
}

/// Everything that was said beside output, as a cell of the table.
fn told(case: &Case, said: &[Value], works: bool, closed: &Closed) -> String {
    let mut told = Vec::new();
    for said in said {
        match said["operation"].as_str().unwrap() {
            "error" => {
                let (code, message) = (said["code"].as_str().unwrap(), said["message"].as_str().unwrap());
                let is_final = said["final"] == true;
                assert_eq!(is_final, closed.reason.starts_with(code), "{case:?}: {said} {closed:?}");
                assert!(!is_final || closed.code >= 4400, "{case:?}: {closed:?}");
                told.push(format!("`{code}`: {message}"));
            }
            "exit" => {
                assert_eq!(closed.code, 1000, "{case:?}: {said}");
                // These two have no word for it.
                let tells = !matches!(case.kind, Kind::PaiDlc | Kind::Dockhand);
                let words = match (works, &said["code"]) {
                    (true, code) if code.is_null() == tells => {
                        "the terminal works, but its `exit` has no code".to_owned()
                    }
                    (true, _) => "the terminal works".to_owned(),
                    (false, code) => {
                        let more = [&said["signal"], &said["reason"]].map(|more| more.as_str().map(str::to_owned));
                        let more: Vec<_> = more.into_iter().flatten().map(|more| format!(", {more}")).collect();
                        format!("`exit`, code `{code}`{}", more.concat())
                    }
                };
                told.push(words);
            }
            "ready" | "resume" => {}
            _ => panic!("{case:?}: {said}"),
        }
    }
    match told.as_slice() {
        [works] if works == "the terminal works" => "nothing: the terminal works".to_owned(),
        _ => told.join(" Then "),
    }
}

/// What nobody may be told: credentials, and where the provider is.
fn secrets(line: &Value) -> Vec<String> {
    const PUBLIC: [&str; 5] = ["kind", "region", "workspace", "writes", "username"];
    let keys = line["provider"].as_object().unwrap().iter();
    let texts = keys.filter(|(key, _)| !PUBLIC.contains(&key.as_str())).filter_map(|(_, value)| value.as_str());
    let authority = |text: &str| text.split("://").last().and_then(|rest| rest.split('/').next()).map(str::to_owned);
    texts.filter_map(authority).filter(|secret| secret.len() > 3).collect()
}

/// The same for every run.
fn anonymous(told: String, line: &Value) -> String {
    fn ids(value: &Value, key: &str, found: &mut Vec<(String, String)>) {
        match value {
            Value::String(id) if id.len() >= 12 => found.push((id.clone(), key.to_uppercase())),
            Value::Object(keys) => keys.iter().for_each(|(key, value)| ids(value, key, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    ids(&line["target"], "", &mut found);
    ids(&line["provider"]["workspace"], "workspace", &mut found);
    let told = found.iter().fold(told, |told, (id, key)| told.replace(id, key));
    let Some((before, after)) = told.split_once("for about ") else { return told };
    format!("{before}for about N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}
