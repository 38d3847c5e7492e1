//! What lies on the disk: parts, the cap, the age, and whose it is.

use super::*;

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
