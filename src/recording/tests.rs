//! Recordings without a session: real files, and a disk that is a pipe where it has to be slow.

mod shelf;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use polytty_dialect::Size;
use proptest::prelude::*;
use tempfile::TempDir;

use super::cast::{Code, Decoder, Event, Format};
use super::pen::{Pen, Plan};
use super::queue::{Batch, Entry, What};
use super::shelf::{Shelf, check};
use super::{End, Failure, Joined, Recorder, Stage, Tap, WhenFull, parts_of};
use crate::config::{Recording as Settings, WhenDiskFull};
use crate::observe::Metrics;
use crate::session::SessionId;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is configured when nothing is.
pub(crate) fn settings() -> Settings {
    Settings {
        directory: None,
        enabled: true,
        format: Format::V3,
        input: false,
        queue: 1 << 20,
        when_full: WhenFull::Gap,
        part_size: 64 << 20,
        part_age: Duration::from_secs(3600),
        keep: None,
        max_total: 1 << 40,
        when_disk_full: WhenDiskFull::Continue,
    }
}

/// A part that is a pipe: it takes 64 KiB, and no more until somebody reads.
pub(super) fn pipe(path: &Path) -> io::Result<File> {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600))?;
    OpenOptions::new().read(true).write(true).open(path)
}

/// Reads what comes through the pipe of a recording's first part, to its end.
pub(crate) async fn drain_pipe(directory: &Path, id: SessionId) -> String {
    let path = directory.join(id.to_string()).join("000001.cast");
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        // It is made by the writer, as soon as that has its turn.
        while !path.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        File::open(path)?.read_to_string(&mut text)?;
        io::Result::Ok(text)
    });
    tokio::time::timeout(DEADLINE, reading).await.expect("the recording ends").unwrap().unwrap()
}

pub(crate) fn events(cast: &str) -> Vec<Event> {
    let mut decoder = Decoder::open(cast.as_bytes()).unwrap();
    std::iter::from_fn(|| decoder.next_event().unwrap()).collect()
}

/// All of one kind.
pub(crate) fn of(events: &[Event], code: &Code) -> String {
    events.iter().filter(|event| event.code == *code).map(|event| event.data.as_str()).collect()
}

fn id() -> SessionId {
    SessionId::random().unwrap()
}

fn begin(recorder: &Arc<Recorder>, id: SessionId) -> Tap {
    let (tap, writing) = recorder.begin(id, "local", Size::DEFAULT);
    tokio::spawn(writing);
    tap
}

async fn over(tap: Tap) -> super::Report {
    let queue = tap.queue();
    drop(tap);
    tokio::time::timeout(DEADLINE, queue.over()).await.expect("the recording ends");
    queue.report()
}

/// All events of a recording that lies on the disk.
fn recorded(directory: &Path, id: SessionId) -> Vec<Event> {
    let mut joined = Joined::open(parts_of(&directory.join(id.to_string())).unwrap()).unwrap().unwrap();
    std::iter::from_fn(|| joined.next_event().unwrap()).collect()
}

fn sample(text: &str, label: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn what_happens_is_in_the_file_in_its_order_and_there_for_its_owner_alone() {
    let home = TempDir::new().unwrap();
    let directory = home.path().join("recordings");
    let recorder = Recorder::open(&directory, Settings { input: true, ..settings() }, Arc::default()).unwrap();
    let id = id();
    let tap = begin(&recorder, id);
    tap.output(b"pass\xe2\x82");
    tap.input(b"\xc3\xbc\r");
    tap.output(b"\xac\xff");
    tap.resize(Size::new(100, 30).unwrap());
    tap.output(b"bye\xf0\x9f");
    tap.end(End { status: Some(7), words: String::new() });
    tap.output(b"too late");
    assert_eq!(over(tap).await.state, Stage::Ended);
    let story: Vec<_> = recorded(&directory, id).into_iter().map(|event| (event.code, event.data)).collect();
    let told: Vec<_> = story.iter().map(|(code, data)| (code.as_str(), data.as_str())).collect();
    let expected = [
        ("o", "pass"),
        ("i", "\u{fc}\r"),
        ("o", "\u{20ac}\u{fffd}"),
        ("r", "100x30"),
        ("o", "bye"),
        ("o", "\u{fffd}"),
        ("x", "7"),
    ];
    assert_eq!(told, expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = directory.join(id.to_string());
    assert_eq!((mode(&directory), mode(&folder), mode(&folder.join("000001.cast"))), (0o700, 0o700, 0o600));
}

#[tokio::test]
async fn a_flush_has_written_everything_by_then_and_an_idle_recording_is_flushed_by_itself() {
    let home = TempDir::new().unwrap();
    let recorder = Recorder::open(home.path(), settings(), Arc::default()).unwrap();
    let id = id();
    let tap = begin(&recorder, id);
    for round in 0..20 {
        tap.output(format!("{round};").as_bytes());
        tap.flush().await;
        assert!(of(&recorded(home.path(), id), &Code::Output).ends_with(&format!("{round};")));
    }
    let started = std::time::Instant::now();
    tap.output(b"by itself");
    while !of(&recorded(home.path(), id), &Code::Output).ends_with("by itself") {
        assert!(started.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("written after {:?}", started.elapsed());
    assert_eq!(over(tap).await.state, Stage::Ended);
}

#[tokio::test]
async fn a_full_queue_leaves_a_gap_that_is_counted_and_marked_and_nothing_else_is_lost() {
    let home = TempDir::new().unwrap();
    let metrics = Arc::new(Metrics::default());
    let limits = Settings { queue: 16 << 10, ..settings() };
    let recorder = Recorder::on_pipes(home.path(), limits, metrics.clone());
    let id = id();
    let tap = begin(&recorder, id);
    // The pipe takes 64 KiB, and the queue a quarter of that: far more comes while nobody reads.
    let lines: Vec<String> = (0..20_000).map(|n| format!("line {n:06}\r\n")).collect();
    for line in &lines {
        tap.output(line.as_bytes());
        tokio::task::yield_now().await;
    }
    tap.resize(Size::new(90, 20).unwrap());
    tap.resize(Size::new(91, 21).unwrap());
    let missing = tap.queue().report().missing;
    assert!(missing > 100_000, "{missing}");
    let (cast, report) = tokio::join!(drain_pipe(home.path(), id), async {
        // When all of that is written, there is room again.
        tap.flush().await;
        tap.flush().await;
        tap.output(b"the end");
        over(tap).await
    });
    let events = events(&cast);
    let text = of(&events, &Code::Output);
    let all = lines.concat() + "the end";
    let gaps = events.iter().filter(|event| event.data.ends_with("bytes of output are missing here"));
    let counted: u64 = gaps.map(|gap| gap.data.split(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(counted, report.missing);
    assert_eq!(text.len() as u64 + counted, all.len() as u64);
    // What is there is the truth, in its order.
    let mut rest = lines.iter();
    let seen = text.strip_suffix("the end").unwrap();
    assert!(seen.split_inclusive('\n').all(|line| rest.any(|other| other == line)));
    assert_eq!(of(&events, &Code::Resize), "91x21", "of sizes there was no room for, the latest counts");
    let told = metrics.render(0);
    assert_eq!(sample(&told, "polytty_recording_missing_bytes_total"), Some(counted));
    assert!(sample(&told, "polytty_recording_gaps_total") >= Some(1), "{told}");
}

#[tokio::test]
async fn a_flood_of_sizes_that_nobody_writes_down_takes_no_memory() {
    let home = TempDir::new().unwrap();
    for when_full in [WhenFull::Gap, WhenFull::Pause] {
        let limits = Settings { queue: 16 << 10, when_full, ..settings() };
        let recorder = Recorder::on_pipes(home.path(), limits, Arc::default());
        let id = id();
        let tap = begin(&recorder, id);
        tap.output(&[b'x'; 200_000]);
        for n in 1..=100_000 {
            tap.resize(Size::new(n % 999 + 1, 24).unwrap());
        }
        let (cast, report) = tokio::join!(drain_pipe(home.path(), id), over(tap));
        let events = events(&cast);
        assert_eq!(of(&events, &Code::Output).len(), 200_000);
        let sizes = events.iter().filter(|event| event.code == Code::Resize).count();
        assert!((1..1000).contains(&sizes), "{sizes} sizes");
        assert_eq!((report.missing, report.state), (0, Stage::Ended));
    }
}

#[tokio::test]
async fn ten_thousand_small_writes_a_second_lose_nothing() {
    let home = TempDir::new().unwrap();
    let recorder = Recorder::open(home.path(), settings(), Arc::default()).unwrap();
    let id = id();
    let tap = begin(&recorder, id);
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    let mut written = String::new();
    let (mut longest, started) = (Duration::ZERO, std::time::Instant::now());
    for n in 0..30_000 {
        if n % 10 == 0 {
            clock.tick().await;
        }
        let write = format!("{n} ");
        let before = std::time::Instant::now();
        tap.output(write.as_bytes());
        longest = longest.max(before.elapsed());
        written.push_str(&write);
    }
    println!("30,000 writes in {:?}, the slowest took {longest:?}", started.elapsed());
    let report = over(tap).await;
    assert_eq!((report.state, report.missing), (Stage::Ended, 0));
    let events = recorded(home.path(), id);
    assert!(of(&events, &Code::Output) == written);
    let times = events.iter().map(|event| event.at).collect::<Vec<_>>();
    // On a busy machine many of them come within one millisecond, and are one event.
    assert!(times.is_sorted() && times.len() > 10, "{} events", times.len());
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_ends_the_recording_and_says_why() {
    let home = TempDir::new().unwrap();
    let metrics = Arc::new(Metrics::default());
    let recorder = Recorder::open(home.path(), settings(), metrics.clone()).unwrap();
    let id = id();
    // A real error: somebody has put a file where the recording's folder goes.
    fs::write(home.path().join(id.to_string()), "").unwrap();
    let tap = begin(&recorder, id);
    tap.output(b"hello");
    let report = over(tap).await;
    assert_eq!(report.state, Stage::Failed);
    assert!(report.reason.as_ref().unwrap().contains("cannot be written"), "{report:?}");
    let told = metrics.render(0);
    assert_eq!(sample(&told, "polytty_recordings_failed_total{reason=\"io\"}"), Some(1));
    assert_eq!(sample(&told, "polytty_recordings"), Some(0));
}

/// A pen of its own for `id`, with parts of so many bytes.
fn pen(shelf: &Arc<Shelf>, id: SessionId, part_size: u64) -> Pen {
    let plan = Plan {
        id,
        provider: "local".to_owned(),
        format: Format::V2,
        began: 1_700_000_000_500_000,
        part_size,
        part_age: 60_000_000,
    };
    Pen::new(plan, shelf.clone(), Size::DEFAULT)
}

fn batch(pieces: &[(u64, &[u8])]) -> Batch {
    let mut batch = Batch::default();
    for (at, bytes) in pieces {
        batch.bytes.extend_from_slice(bytes);
        batch.entries.push(Entry { at: *at, what: What::Output(bytes.len()) });
    }
    batch
}

fn shelf(home: &TempDir, cap: u64, keep: Option<Duration>) -> Arc<Shelf> {
    Shelf::open(home.path(), cap, keep, Arc::default()).unwrap()
}

/// Writes a recording of about so many bytes, which has ended.
fn ended(shelf: &Arc<Shelf>, bytes: usize) -> SessionId {
    let id = id();
    let mut pen = pen(shelf, id, 1 << 30);
    pen.begin().unwrap();
    pen.write(&batch(&[(1, &vec![b'x'; bytes])])).unwrap();
    id
}

fn lies(home: &TempDir, id: SessionId) -> bool {
    home.path().join(id.to_string()).exists()
}
