//! A network that breaks all the time costs neither a session nor a byte nor a keystroke.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use polytty::client::{Client, Event, Options, Outcome};
use polytty::provider::Dialer;
use polytty_dialect::{Exit, Size};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::common::{PROVIDERS, Relay, World};

/// Cuts of all providers together.
const CUTS: u32 = 1000;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Prints numbered lines, now and then many at once, and looks whether the numbered lines that are typed come each
/// once and in order. Waiting takes no process.
const SCRIPT: &str = r#"
stty -echo
exec 8<> <(:)
count() {
    n=0
    turn=0
    while [ ! -e "$0.stop" ]; do
        turn=$((turn + 1))
        lines=1
        [ $((turn % 50)) = 0 ] && lines=500
        while [ $lines -gt 0 ]; do
            n=$((n + 1))
            lines=$((lines - 1))
            echo "o $n"
        done
        read -rt 0.005 -u 8
    done
}
echo begin
count &
seen=0
while IFS= read -r line && [ "$line" != stop ]; do
    seen=$((seen + 1))
    [ "$line" = "i $seen" ] || echo "BAD: $line instead of i $seen"
done
# Not by a signal: it would interrupt a write that waits for the network.
: > "$0.stop"
wait $!
echo "end $seen"
exit 7
"#;

/// What stands before the numbered lines.
const BEGIN: &str = "begin\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cuts_in_the_middle_of_frames_lose_and_repeat_nothing_in_either_direction() {
    let cuts = CUTS.div_ceil(u32::try_from(PROVIDERS.len()).unwrap());
    let stories = PROVIDERS.iter().zip(1..).map(|(provider, seed)| tokio::spawn(story(provider, seed, cuts)));
    for story in stories.collect::<Vec<_>>() {
        story.await.unwrap();
    }
}

/// Sessions of each provider that end while the network breaks. Oblien takes ten in a workspace.
const ENDINGS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_terminal_is_heard_to_the_last_byte_through_a_network_that_breaks() {
    for (provider, seed) in PROVIDERS.iter().zip(100..) {
        let (relay, world) = behind_a_relay(seed).await;
        let mut travellers = Vec::new();
        for _ in 0..ENDINGS {
            let mut traveller = Traveller::set_out(&world, provider).await;
            // A first link cannot be used twice, so what breaks before this is lost.
            while traveller.client.conversation().resume().is_none() {
                traveller.step().await;
            }
            travellers.push(traveller);
        }
        relay.cut(true);
        let ends = travellers.into_iter().map(|mut traveller| {
            traveller.client.type_bytes(b"exec sh -c 'seq 20000; exit 7'\r");
            tokio::spawn(async move { (timeout(PATIENCE, traveller.end()).await.expect("it ends"), traveller.text()) })
        });
        let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
        for end in ends.collect::<Vec<_>>() {
            let (outcome, text) = end.await.unwrap();
            assert_eq!(outcome, Outcome::Exit(exit_of(provider)), "{provider}");
            assert!(text.ends_with(&expected), "{provider}: {} bytes of {}", text.len(), expected.len());
        }
        let cuts = relay.count();
        println!("{provider}: {ENDINGS} endings, {cuts:?}");
        assert!(cuts.inside > 0);
    }
}

/// Cuts of each provider while `polytty connect` is there.
const PROGRAM_CUTS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polytty_connect_in_a_pipe_loses_and_repeats_nothing_either() {
    let stories = PROVIDERS.iter().zip(200..).map(|(provider, seed)| tokio::spawn(piped(provider, seed)));
    for story in stories.collect::<Vec<_>>() {
        story.await.unwrap();
    }
}

async fn piped(provider: &str, seed: u64) {
    let (relay, world) = behind_a_relay(seed).await;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, SCRIPT).unwrap();
    let link = world.mint(provider).await;
    let (mut child, mut stdin, mut stdout) = connect(&link.url, &world.ca());
    stdin.write_all(format!("exec /bin/bash {}\n", script.display()).as_bytes()).await.unwrap();
    let mut output = Vec::new();
    while !String::from_utf8_lossy(&output).contains(BEGIN) {
        assert!(timeout(PATIENCE, stdout.read_buf(&mut output)).await.expect("it begins").unwrap() > 0);
    }

    relay.cut(true);
    let reading = tokio::spawn(async move {
        stdout.read_to_end(&mut output).await.unwrap();
        output
    });
    let begin = Instant::now();
    let mut typed = 0;
    let mut clock = interval(Duration::from_millis(5));
    while relay.count().all() < PROGRAM_CUTS {
        assert!(begin.elapsed() < PATIENCE, "{provider}: {:?} by now", relay.count());
        clock.tick().await;
        typed += 1;
        stdin.write_all(format!("i {typed}\n").as_bytes()).await.unwrap();
    }
    let made = relay.count();
    relay.cut(false);
    stdin.write_all(b"stop\n").await.unwrap();
    let output = timeout(PATIENCE, reading).await.expect("it ends").unwrap();
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    let text = String::from_utf8(output).unwrap();
    let printed = is_complete(provider, &text[text.find(BEGIN).unwrap() + BEGIN.len()..], typed);
    assert_eq!(status.code(), Some(exit_of(provider).code.unwrap_or(0)), "{provider}");
    println!("{provider}: {made:?}; {printed} lines printed, {typed} typed; {:.1} s", begin.elapsed().as_secs_f64());
}

/// `polytty connect` in a pipe.
fn connect(link: &str, ca: &Path) -> (Child, ChildStdin, ChildStdout) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_polytty"))
        .arg("connect")
        .env("POLYTTY_LINK", link)
        .env("POLYTTY_CA", ca)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, stdout)
}

/// Whether what the script says behind its beginning is every line once and in order, and that it has read as many as
/// were typed. How many lines it printed.
fn is_complete(provider: &str, text: &str, typed: usize) -> usize {
    let mut lines = text.split("\r\n");
    let mut printed = 0;
    let end = loop {
        let line = lines.next().expect("the output has its end");
        if line != format!("o {}", printed + 1) {
            break line;
        }
        printed += 1;
    };
    assert_eq!(end, format!("end {typed}"), "{provider}: behind line {printed}");
    assert_eq!(lines.next(), Some(""));
    printed
}

async fn behind_a_relay(seed: u64) -> (Relay, World) {
    let relay = Relay::start(seed).await;
    let world =
        World::with(|config| config["server"]["public_url"] = json!(format!("https://{}", relay.address))).await;
    relay.lead_to(world.proxy);
    (relay, world)
}

/// PAI-DLC and Dockhand tell no status.
fn exit_of(provider: &str) -> Exit {
    Exit { code: (!["pai", "dockhand"].contains(&provider)).then_some(7), ..Exit::default() }
}

async fn story(provider: &str, seed: u64, cuts: u32) {
    let (relay, world) = behind_a_relay(seed).await;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, SCRIPT).unwrap();

    let mut traveller = Traveller::set_out(&world, provider).await;
    traveller.client.type_bytes(format!("exec /bin/bash {}\r", script.display()).as_bytes());
    let begin = Instant::now();
    let before = loop {
        traveller.step().await;
        if let Some(at) = traveller.text().find(BEGIN) {
            break at + BEGIN.len();
        }
    };

    relay.cut(true);
    let (mut ticks, mut typed) = (0, 0);
    let mut clock = interval(Duration::from_millis(5));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while relay.count().all() < cuts {
        assert!(begin.elapsed() < PATIENCE, "{provider}: {:?} by now", relay.count());
        tokio::select! {
            () = traveller.step() => {}
            _ = clock.tick() => {
                ticks += 1;
                // Sometimes a pile of lines, so that a cut finds more than one message on its way.
                for _ in 0..if ticks % 50 == 0 { 500 } else { 1 } {
                    let line = format!("i {}\n", typed + 1);
                    if traveller.client.room() >= line.len() {
                        traveller.client.type_bytes(line.as_bytes());
                        typed += 1;
                    }
                }
            }
        }
    }
    let made = relay.count();
    traveller.client.type_bytes(b"stop\n");
    let outcome = traveller.end().await;

    let printed = is_complete(provider, &traveller.text()[before..], typed);
    assert_eq!(outcome, Outcome::Exit(exit_of(provider)));
    assert!(10 * made.before_ready() >= made.all(), "a tenth between redeeming and ready, but {made:?}");
    assert!(25 * made.upgrades.min(made.readies) >= made.all(), "as many of either kind, but {made:?}");
    println!(
        "{provider}: {made:?}; {} times lost, {} times back; {printed} lines printed, {typed} typed; {:.1} s",
        traveller.lost,
        traveller.back,
        begin.elapsed().as_secs_f64()
    );
}

/// A client and what it has seen.
struct Traveller {
    client: Client,
    output: Vec<u8>,
    lost: u32,
    back: u32,
}

impl Traveller {
    async fn set_out(world: &World, provider: &str) -> Self {
        let link = world.mint(provider).await.url.parse().unwrap();
        let dialer = Dialer::new(Some(&world.ca()), true).unwrap();
        // Quick, so that many cuts fit into a test.
        let options = Options {
            first_wait: Duration::from_millis(2),
            longest_wait: Duration::from_millis(50),
            give_up_after: Some(Duration::from_secs(60)),
        };
        let client = Client::new(dialer, link, Size::new(100, 30), options);
        Self { client, output: Vec::new(), lost: 0, back: 0 }
    }

    async fn step(&mut self) {
        match self.client.next().await {
            Event::Output(output) => {
                assert!(output.synthetic.is_empty() && output.replayed.is_empty(), "nothing but what follows");
                self.client.consumed(output.counted());
                self.output.extend_from_slice(&output.live);
            }
            Event::Ready { again, missing, .. } => {
                assert_eq!(missing, 0);
                self.back += u32::from(again);
            }
            Event::Lost(_) => self.lost += 1,
            Event::Over(outcome) => panic!("{outcome}: {:?}", self.text()),
            _ => {}
        }
    }

    async fn end(&mut self) -> Outcome {
        loop {
            match self.client.next().await {
                Event::Over(outcome) => return outcome,
                Event::Output(output) => {
                    self.client.consumed(output.counted());
                    self.output.extend_from_slice(&output.live);
                }
                _ => {}
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}
