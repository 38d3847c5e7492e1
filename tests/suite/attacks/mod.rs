//! Attacks that were tried on the running program, over TLS, and what came back: `docs/security-tests.md` is made of
//! this table, and each of its rows is played here. `POLYTTY_WRITE_DOCS=1 cargo test --test suite attacks` writes it anew.

mod arena;
mod frames;
mod http;
mod inside;
mod links;
mod names;
mod slow;
mod tokens;

use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use tokio::sync::Semaphore;
use tokio::task::{LocalSet, spawn_local};

use arena::Arena;

/// Attacks that are made at once.
const AT_ONCE: usize = 12;

/// What is done, and returns what came of it.
type Play = Box<dyn for<'a> Fn(&'a Arena) -> LocalBoxFuture<'a, String>>;

/// One attack.
struct Row {
    attack: &'static str,
    sent: &'static str,
    /// What has to come back. Where an attack gets through, the program is mended, not this.
    expected: &'static str,
    play: Play,
}

/// A row of the table; `play` is an async block's worth of code over the arena.
fn row(
    attack: &'static str,
    sent: &'static str,
    expected: &'static str,
    play: impl for<'a> Fn(&'a Arena) -> LocalBoxFuture<'a, String> + 'static,
) -> Row {
    Row { attack, sent, expected, play: Box::new(play) }
}

/// Attacks of one kind.
struct Section {
    title: &'static str,
    about: &'static str,
    rows: Vec<Row>,
}

const PREFACE: &str = "# Attacks, and what came back\n\n\
    Made by `tests/suite/attacks`: each row is played by a test against the running program, over TLS, and the test fails \
    when anything else comes back. Rows that begin with *sound* are no attacks: they show that what is refused beside \
    them is refused for what is wrong with it. A number is an HTTP status or, behind Close, the code of a WebSocket's \
    end. [security.md](security.md) says what is defended and why; [SECURITY.md](../SECURITY.md) has the threat model.\n";

fn sections() -> Vec<Section> {
    vec![
        links::tickets(),
        links::origins(),
        tokens::section(),
        names::scopes(),
        http::section(),
        frames::section(),
        slow::section(),
        inside::section(),
        names::section(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_comes_to_nothing_and_the_document_says_so() {
    let arena = Rc::new(Arena::start().await);
    let sections: Rc<[Section]> = sections().into();
    let played = LocalSet::new().run_until(play(&arena, &sections)).await;
    let through: Vec<_> = played
        .into_iter()
        .filter(|(_, expected, came)| came != expected)
        .map(|(row, expected, came)| format!("{row}\n    expected {expected}\n    but got  {came}"))
        .collect();
    assert!(through.is_empty(), "{} rows:\n{}", through.len(), through.join("\n"));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security-tests.md");
    let table = table(&sections);
    if std::env::var_os("POLYTTY_WRITE_DOCS").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    for (now, before) in table.lines().zip(written.lines()) {
        assert_eq!(now, before, "docs/security-tests.md tells something else; see this test's first lines");
    }
    assert_eq!(table.lines().count(), written.lines().count());
    // Whoever is there has not noticed any of it.
    let mut client = arena.world.open("local").await;
    assert_eq!(client.run("echo fine").await, "fine\r\n");
}

/// Plays every row, and returns what came of each. A row is a task of its own: a flood in one of them, within the task of
/// all, would use up the others' share of it.
async fn play(arena: &Rc<Arena>, sections: &Rc<[Section]>) -> Vec<(String, &'static str, String)> {
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let all = sections.iter().enumerate().flat_map(|(at, section)| (0..section.rows.len()).map(move |row| (at, row)));
    let playing: Vec<_> = all
        .map(|(section, row)| {
            let (arena, sections, places) = (arena.clone(), sections.clone(), places.clone());
            spawn_local(async move {
                let _place = places.acquire().await.unwrap();
                let row = &sections[section].rows[row];
                (format!("{}: {}", row.attack, row.sent), row.expected, (row.play)(&arena).await)
            })
        })
        .collect();
    let mut played = Vec::new();
    for row in playing {
        played.push(row.await.unwrap());
    }
    played
}

fn table(sections: &[Section]) -> String {
    let mut table = PREFACE.to_owned();
    for Section { title, about, rows } in sections {
        let _ = write!(table, "\n## {title}\n\n{about}| attack | what was sent | what came back |\n|---|---|---|\n");
        for Row { attack, sent, expected, .. } in rows {
            let _ = writeln!(table, "| {attack} | {} | {expected} |", sent.replace('|', "\\|"));
        }
    }
    table
}
