//! Recordings without a session: real files, and a disk that is a pipe where it has to be slow.

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

/// Makes a part look as though it was last written to so long ago.
fn age(path: &Path, age: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

fn first_part(home: &TempDir, id: SessionId) -> PathBuf {
    home.path().join(id.to_string()).join("000001.cast")
}

#[test]
fn parts_turn_over_by_size_and_by_age_each_plays_alone_and_together_they_are_whole() {
    let home = TempDir::new().unwrap();
    let shelf = shelf(&home, 1 << 30, None);
    let id = id();
    let mut pen = pen(&shelf, id, 4096);
    pen.begin().unwrap();
    let text: Vec<String> = (0..1000).map(|n| format!("line {n}\r\n")).collect();
    let pieces: Vec<_> = text.iter().zip(0..).map(|(line, n)| (n * 1000, line.as_bytes())).collect();
    pen.write(&batch(&pieces)).unwrap();
    // An hour later, by the clock of the recording.
    pen.write(&batch(&[(3_600_000_000, b"late")])).unwrap();
    drop(pen);
    let parts = parts_of(&home.path().join(id.to_string())).unwrap();
    assert!(parts.len() > 5, "{parts:?}");
    let mut alone = String::new();
    for (part, number) in parts.iter().zip(1..) {
        assert!(part.ends_with(format!("{number:06}.cast")));
        let cast = fs::read_to_string(part).unwrap();
        assert!(cast.len() <= 4096, "{}", cast.len());
        let decoder = Decoder::open(cast.as_bytes()).unwrap();
        let origin = decoder.header().origin.as_ref().unwrap();
        assert_eq!((decoder.header().cols, origin.part), (80, number));
        assert_eq!(decoder.header().timestamp, Some((1_700_000_000_500_000 + origin.offset_us) / 1_000_000));
        let events = events(&cast);
        assert_eq!(events[0].at, 0, "it begins with its first event");
        alone += &of(&events, &Code::Output);
    }
    assert_eq!(alone, text.concat() + "late");
    let together = recorded(home.path(), id);
    assert_eq!(of(&together, &Code::Output), alone);
    let times: Vec<_> = together.iter().map(|event| event.at).collect();
    let expected: Vec<_> = (0..1000).map(|n| n * 1000).chain([3_600_000_000]).collect();
    assert_eq!(times, expected, "no time is lost between parts");
    assert_eq!(events(&fs::read_to_string(parts.last().unwrap()).unwrap()).len(), 1, "its age turned the page");
}

#[test]
fn parts_that_were_deleted_or_hardly_begun_are_passed_over() {
    let home = TempDir::new().unwrap();
    let shelf = shelf(&home, 1 << 30, None);
    let id = id();
    let mut pen = pen(&shelf, id, 4096);
    pen.begin().unwrap();
    pen.write(&batch(&[(1_000_000, &[b'x'; 20_000])])).unwrap();
    drop(pen);
    let folder = home.path().join(id.to_string());
    let parts = parts_of(&folder).unwrap();
    let all = of(&recorded(home.path(), id), &Code::Output).len();
    let second = of(&events(&fs::read_to_string(&parts[1]).unwrap()), &Code::Output).len();
    fs::write(folder.join("000099.cast"), "{\"version\":2,").unwrap();
    let mut joined = Joined::open(parts_of(&folder).unwrap()).unwrap().unwrap();
    fs::remove_file(&parts[1]).unwrap();
    let rest: Vec<_> = std::iter::from_fn(|| joined.next_event().unwrap()).collect();
    assert_eq!(of(&rest, &Code::Output).len(), all - second);
    assert!(Joined::open(vec![parts[1].clone()]).is_err() && Joined::open(vec![folder.join("000099.cast")]).is_err());
}

#[test]
fn over_the_cap_the_recording_that_ended_first_goes_first_and_one_that_is_written_stays() {
    let home = TempDir::new().unwrap();
    let shelf = shelf(&home, 100_000, None);
    let ids: Vec<_> = (0..4).map(|_| ended(&shelf, 20_000)).collect();
    for (id, hours) in ids.iter().zip([3, 4, 2, 1]) {
        age(&first_part(&home, *id), Duration::from_secs(hours * 3600));
    }
    let live = id();
    let mut live_pen = pen(&shelf, live, 4096);
    live_pen.begin().unwrap();
    live_pen.write(&batch(&[(1, &[b'y'; 30_000])])).unwrap();
    let there: Vec<_> = ids.iter().map(|id| lies(&home, *id)).collect();
    assert_eq!(there, [true, false, true, true], "the oldest by its last word");
    let total = |home: &TempDir| -> u64 {
        let folders = fs::read_dir(home.path()).unwrap();
        folders.flat_map(|folder| parts_of(&folder.unwrap().path()).unwrap()).map(|p| p.metadata().unwrap().len()).sum()
    };
    // Many small ones: the cap holds at every moment, and the own completed parts go when nothing else is left.
    for n in 2..400_u64 {
        live_pen.write(&batch(&[(n, &[b'z'; 1000])])).unwrap();
        assert!(total(&home) <= 100_000, "{}", total(&home));
    }
    assert!(ids.iter().all(|id| !lies(&home, *id)));
    let parts = parts_of(&home.path().join(live.to_string())).unwrap();
    assert!(!parts[0].ends_with("000001.cast"), "{parts:?}");
    assert!(of(&recorded(home.path(), live), &Code::Output).ends_with("zzz"));
}

#[test]
fn a_recording_that_fills_everything_alone_ends() {
    let home = TempDir::new().unwrap();
    let shelf = shelf(&home, 50_000, None);
    let id = id();
    let mut pen = pen(&shelf, id, 1 << 20);
    pen.begin().unwrap();
    let full = (1..100).find_map(|n| pen.write(&batch(&[(n, &[b'x'; 1000])])).err());
    assert_eq!(full, Some(Failure::Cap));
    let text = of(&recorded(home.path(), id), &Code::Output);
    assert!((45_000..50_000).contains(&text.len()), "{}", text.len());
    // What it holds is given back when it is deleted behind our back, too.
    drop(pen);
    fs::remove_dir_all(home.path().join(id.to_string())).unwrap();
    ended(&shelf, 30_000);
}

#[test]
fn what_is_too_old_is_deleted_but_never_what_is_written_here_or_by_another_process() {
    let home = TempDir::new().unwrap();
    let day = Duration::from_secs(86_400);
    let shelf = shelf(&home, 1 << 30, Some(day));
    let (old, young, theirs, live) = (ended(&shelf, 10), ended(&shelf, 10), ended(&shelf, 10), id());
    let mut live_pen = pen(&shelf, live, 1 << 20);
    live_pen.begin().unwrap();
    for id in [old, theirs, live] {
        age(&first_part(&home, id), 2 * day);
    }
    age(&first_part(&home, young), day / 2);
    // Another process writes it.
    let lock = File::options().append(true).open(first_part(&home, theirs)).unwrap();
    lock.lock().unwrap();
    // What is not ours is left alone, whatever its age.
    let foreign = home.path().join("notes.txt");
    fs::write(&foreign, "keep").unwrap();
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("000001.cast"), "keep").unwrap();
    std::os::unix::fs::symlink(outside.path(), home.path().join("0".repeat(32))).unwrap();
    age(&outside.path().join("000001.cast"), 9 * day);
    shelf.sweep(SystemTime::now()).unwrap();
    assert_eq!([old, young, theirs, live].map(|id| lies(&home, id)), [false, true, true, true]);
    assert!(foreign.exists() && outside.path().join("000001.cast").exists());
    drop(lock);
    shelf.sweep(SystemTime::now() + day).unwrap();
    assert_eq!([young, theirs, live].map(|id| lies(&home, id)), [false, false, true]);
}

#[test]
fn a_link_in_the_way_is_not_followed_and_a_file_in_the_way_not_written_over() {
    let home = TempDir::new().unwrap();
    let shelf = shelf(&home, 1 << 30, None);
    let outside = TempDir::new().unwrap();
    let target = outside.path().join("target");
    for n in 0..2 {
        let id = id();
        fs::create_dir(home.path().join(id.to_string())).unwrap();
        if n == 0 {
            std::os::unix::fs::symlink(&target, first_part(&home, id)).unwrap();
        } else {
            fs::write(first_part(&home, id), "mine").unwrap();
        }
        assert!(matches!(pen(&shelf, id, 4096).begin(), Err(Failure::Io(_))));
        assert!(!target.exists());
        let there = fs::read_to_string(first_part(&home, id)).ok();
        assert_eq!(there.as_deref(), (n == 1).then_some("mine"));
    }
}

#[test]
fn a_directory_is_looked_at_before_it_is_relied_on() {
    let home = TempDir::new().unwrap();
    check(&home.path().join("new")).unwrap();
    assert!(!home.path().join("new").exists(), "looking changes nothing");
    assert!(check(&home.path().join("no/parent")).is_err());
    fs::write(home.path().join("file"), "").unwrap();
    assert!(check(&home.path().join("file")).is_err());
    let metrics: Arc<Metrics> = Arc::default();
    assert!(Shelf::open(&home.path().join("file"), 1 << 20, None, metrics.clone()).is_err());
    assert!(Shelf::open(&home.path().join("no/parent"), 1 << 20, None, metrics.clone()).is_err());
    // What lies there from before counts.
    let shelf = shelf(&home, 50_000, None);
    let first = ended(&shelf, 30_000);
    let again = Shelf::open(home.path(), 50_000, None, metrics).unwrap();
    ended(&again, 30_000);
    assert!(!lies(&home, first));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn however_output_is_split_over_writes_and_parts_its_text_is_that_of_the_whole(
        pieces in prop::collection::vec(
            prop_oneof![
                "\\PC{0,6}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..5),
                Just(vec![b'-'; 700]),
            ],
            0..40,
        ),
    ) {
        let home = TempDir::new().unwrap();
        let shelf = shelf(&home, 1 << 30, None);
        let id = id();
        let mut pen = pen(&shelf, id, 1000);
        pen.begin().unwrap();
        for (piece, at) in pieces.iter().zip(0..) {
            pen.write(&batch(&[(at, piece)])).unwrap();
        }
        let end = Entry { at: 100, what: What::End(End { status: Some(0), words: String::new() }) };
        let mut last = batch(&[]);
        last.entries.push(end);
        pen.write(&last).unwrap();
        let events = recorded(home.path(), id);
        let whole = pieces.concat();
        prop_assert_eq!(of(&events, &Code::Output), String::from_utf8_lossy(&whole));
    }
}
