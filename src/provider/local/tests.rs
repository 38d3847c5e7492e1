use std::future::poll_fn;

use rustix::process::{Pid, test_kill_process};
use serde_json::json;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A terminal with everything that it said.
struct Terminal {
    upstream: Box<LocalUpstream>,
    output: Vec<u8>,
}

impl Terminal {
    fn run(command: &[&str]) -> Self {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let size = Size::new(120, 40).unwrap();
        let (pty, process) = process::spawn(&command, &Environment::inherited(), size).unwrap();
        Self { upstream: Box::new(LocalUpstream::new(pty, process)), output: Vec::new() }
    }

    fn sh(script: &str) -> Self {
        Self::run(&["sh", "-c", script])
    }

    /// Types, then reads until `done` is content with the output. `None` when it was content before the end.
    async fn until(&mut self, input: &[u8], budget: usize, done: impl Fn(&[u8]) -> bool) -> Option<Exit> {
        self.upstream.input(input);
        let Self { upstream, output } = self;
        let reading = poll_fn(|cx| {
            let _ = upstream.poll_flushed(cx);
            loop {
                if done(output) {
                    return Poll::Ready(None);
                }
                match upstream.poll_output(cx, output, budget) {
                    Poll::Ready(Happened::Output) => {}
                    Poll::Ready(Happened::Exit(exit)) => return Poll::Ready(Some(exit)),
                    Poll::Ready(other) => panic!("{other:?}"),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        match tokio::time::timeout(DEADLINE, reading).await {
            Ok(exit) => exit,
            Err(_) => {
                let tail = self.output.len().saturating_sub(200);
                panic!("nothing more came after {:?}", String::from_utf8_lossy(&self.output[tail..]));
            }
        }
    }

    async fn says(&mut self, words: &str) {
        let exit =
            self.until(b"", 4096, |output| output.windows(words.len()).any(|window| window == words.as_bytes())).await;
        assert_eq!(exit, None, "ended without {words:?}: {:?}", self.text());
    }

    async fn exit(&mut self) -> Exit {
        self.until(b"", 64 << 10, |_| false).await.unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The number behind `pid=` in the output.
    async fn pid(&mut self) -> Pid {
        self.says("\r\n").await;
        let text = self.text();
        let number = text.split("pid=").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
        Pid::from_raw(number).unwrap()
    }
}

fn code(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

async fn gone(pid: Pid) {
    let vanishing = async {
        while test_kill_process(pid).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, vanishing).await.expect("the process was killed and reaped");
}

#[tokio::test]
async fn every_byte_of_output_comes_before_the_exit() {
    let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    for run in 0..50 {
        let mut terminal = Terminal::sh("seq 1 20000; exit 3");
        let budget = [16, 100, 4096, 64 << 10][run % 4] + run;
        let exit = terminal.until(b"", budget, |_| false).await;
        assert_eq!(exit, Some(code(3)), "run {run}");
        assert!(
            terminal.output == expected.as_bytes(),
            "run {run}: {} bytes of {}",
            terminal.output.len(),
            expected.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminals_do_not_disturb_each_other() {
    let runs: Vec<_> = (0..40)
        .map(|run| {
            tokio::spawn(async move {
                let mut terminal = Terminal::sh(&format!("seq 1 2000; exit {run}"));
                assert_eq!(terminal.exit().await, code(run));
                assert!(terminal.text().ends_with("1999\r\n2000\r\n"), "run {run}");
            })
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
}

#[tokio::test]
async fn no_output_is_taken_without_room_and_none_is_lost_for_it() {
    let mut terminal = Terminal::sh("seq 1 200; exit 5");
    let started = Instant::now();
    while started.elapsed() < LINGER + Duration::from_millis(200) {
        let happened = poll_fn(|cx| Poll::Ready(terminal.upstream.poll_output(cx, &mut terminal.output, 0))).await;
        assert!(happened.is_pending(), "{happened:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(terminal.output.is_empty());
    assert_eq!(terminal.exit().await, code(5));
    assert!(terminal.text().starts_with("1\r\n2\r\n") && terminal.text().ends_with("\r\n200\r\n"));
}

#[tokio::test]
async fn a_signal_is_told_by_its_name() {
    let mut terminal = Terminal::sh("echo before; kill -KILL $$");
    let exit = terminal.exit().await;
    assert_eq!(exit, Exit { signal: Some("SIGKILL".to_owned()), ..Exit::default() });
    assert_eq!(terminal.text(), "before\r\n");
}

#[tokio::test]
async fn a_command_sees_five_variables_of_ours_and_its_terminal() {
    let allowed = ["PATH", "HOME", "LANG", "USER", "SHELL", "TERM"];
    let ours = std::env::vars_os().any(|(name, _)| !allowed.iter().any(|allowed| name == *allowed));
    assert!(ours, "the test has nothing to hide");
    let mut terminal = Terminal::run(&["env"]);
    assert_eq!(terminal.exit().await, code(0));
    let text = terminal.text();
    let names: Vec<_> = text.lines().map(|line| line.split('=').next().unwrap()).collect();
    assert!(names.iter().all(|name| allowed.contains(name)), "{text}");
    assert!(names.contains(&"PATH") && text.contains("TERM=xterm-256color"), "{text}");
}

#[tokio::test]
async fn the_size_is_there_from_the_start_and_a_change_is_noticed() {
    let mut terminal = Terminal::sh("trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.05; done");
    terminal.says("40 120\r\n").await;
    terminal.upstream.resize(Size::new(99, 33).unwrap());
    terminal.says("33 99\r\n").await;
    assert_eq!(terminal.exit().await, code(0));
}

#[tokio::test]
async fn the_terminal_is_the_controlling_one() {
    let mut terminal = Terminal::sh("echo ready; exec sleep 60 </dev/tty");
    terminal.says("ready").await;
    let exit = terminal.until(b"\x03", 4096, |_| false).await.unwrap();
    assert_eq!(exit.signal.as_deref(), Some("SIGINT"));
}

#[tokio::test]
async fn a_shell_has_job_control() {
    let mut terminal = Terminal::run(&["sh", "-i"]);
    terminal.upstream.input(b"sh -c 'echo up; exec sleep 60'\r");
    terminal.says("up\r\n").await;
    // Ctrl-Z stops what is in the foreground, and nothing else.
    terminal.upstream.input(b"\x1a");
    terminal.says("Stopped").await;
    let exit = terminal.until(b"kill -KILL %1; wait\rexit 9\rexit 9\r", 4096, |_| false).await;
    assert_eq!(exit, Some(code(9)), "{}", terminal.text());
}

#[tokio::test]
async fn an_end_of_input_ends_a_program_that_reads_lines() {
    for typed in ["", "whole line\r", "half a line"] {
        let mut terminal = Terminal::sh("stty -echo; echo ready; cat; echo over; exit 6");
        terminal.says("ready\r\n").await;
        terminal.upstream.input(typed.as_bytes());
        assert!(terminal.upstream.eof());
        assert_eq!(terminal.exit().await, code(6), "{typed:?}");
        assert!(terminal.text().contains(typed.trim_end()) && terminal.text().ends_with("over\r\n"), "{typed:?}");
    }
}

#[tokio::test]
async fn a_terminal_without_an_end_of_input_says_so() {
    let mut terminal = Terminal::sh("stty eof undef; echo ready; cat");
    terminal.says("ready").await;
    assert!(!terminal.upstream.eof());
}

#[tokio::test]
async fn a_long_paste_arrives_whole_and_leaves_no_memory_behind() {
    let mut terminal = Terminal::sh("stty raw -echo; echo ready; head -c 65536 | cksum; exit 0");
    terminal.says("ready").await;
    let paste: Vec<u8> = (0..65_536_u32).map(|n| b'a' + (n % 23) as u8).collect();
    assert_eq!(terminal.until(&paste, 4096, |_| false).await, Some(code(0)));
    let sum = std::process::Command::new("sh")
        .args([
            "-c",
            "i=0; while [ $i -lt 65536 ]; do printf abcdefghijklmnopqrstuvw; i=$((i+23)); done | head -c 65536 | cksum",
        ])
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert!(terminal.text().contains(sum.trim_end()), "{} without {sum}", terminal.text());
    assert!(terminal.upstream.pending.is_empty() && terminal.upstream.pending.capacity() <= KEEP);
}

#[tokio::test]
async fn who_is_left_behind_does_not_keep_a_terminal_open() {
    let started = Instant::now();
    let mut terminal = Terminal::sh("trap '' HUP; (sleep 8) & echo over; exit 7");
    assert_eq!(terminal.exit().await, code(7));
    assert_eq!(terminal.text(), "over\r\n");
    assert!(started.elapsed() >= LINGER && started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

#[tokio::test]
async fn who_is_left_behind_cannot_talk_forever() {
    let started = Instant::now();
    let mut terminal = Terminal::sh("trap '' HUP; (timeout 15 yes) & sleep 0.1; exit 8");
    assert_eq!(terminal.exit().await, code(8));
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_command_that_closes_its_terminal_is_waited_for_and_may_open_it_again() {
    let script = "t=$(tty); echo bye; exec >/dev/null 2>&1 </dev/null; sleep 0.3; echo late >$t; exit 11";
    let mut terminal = Terminal::sh(script);
    assert_eq!(terminal.exit().await, code(11));
    assert_eq!(terminal.text(), "bye\r\nlate\r\n");
}

#[tokio::test]
async fn an_end_hangs_up_and_leaves_nobody_behind() {
    let mut terminal = Terminal::sh("echo pid=$$; exec sleep 60");
    let pid = terminal.pid().await;
    let started = Instant::now();
    terminal.upstream.end().await;
    // Not the time after which it would have been killed.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    gone(pid).await;
}

#[tokio::test]
async fn a_command_may_tidy_up_when_it_is_hung_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidied");
    let script = format!("trap 'echo yes >{}; exit 0' HUP; echo pid=$$; while :; do sleep 0.05; done", file.display());
    let mut terminal = Terminal::sh(&script);
    let pid = terminal.pid().await;
    terminal.upstream.end().await;
    assert_eq!(std::fs::read_to_string(file).unwrap(), "yes\n");
    gone(pid).await;
}

#[tokio::test]
async fn who_does_not_hear_the_hang_up_is_killed_with_its_group() {
    let mut terminal = Terminal::sh("trap '' HUP; sleep 60 & echo pid=$!; wait");
    let child = terminal.pid().await;
    let started = Instant::now();
    terminal.upstream.end().await;
    assert!((Duration::from_secs(2)..DEADLINE).contains(&started.elapsed()), "{:?}", started.elapsed());
    // An orphan now; whoever adopted it reaps it.
    gone_or_zombie(child).await;
}

#[tokio::test]
async fn to_end_after_the_exit_is_a_matter_of_course() {
    let mut terminal = Terminal::sh("exit 0");
    assert_eq!(terminal.exit().await, code(0));
    let started = Instant::now();
    terminal.upstream.end().await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_terminal_that_is_let_go_takes_its_command_along() {
    let mut terminal = Terminal::sh("trap '' HUP; echo pid=$$; while :; do sleep 0.05; done");
    let pid = terminal.pid().await;
    drop(terminal);
    gone(pid).await;
}

#[tokio::test]
async fn a_terminal_that_is_let_go_takes_the_group_along() {
    let mut terminal = Terminal::sh("trap '' HUP; sleep 60 & echo pid=$!; wait");
    let child = terminal.pid().await;
    drop(terminal);
    gone_or_zombie(child).await;
}

/// Like [`gone`], for a process that is not our child: it may stay a zombie where nobody reaps orphans.
async fn gone_or_zombie(pid: Pid) {
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let vanishing = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, vanishing).await.expect("the process was killed");
}

fn provider(commands: &[&[&str]]) -> LocalProvider {
    let commands = commands.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect();
    LocalProvider::new("here".to_owned(), Local { commands })
}

#[tokio::test]
async fn only_configured_commands_are_run_and_the_first_by_default() {
    let provider = provider(&[&["sh", "-c", "exit 1"], &["sh", "-c", "exit 2"]]);
    for (target, expected) in
        [(json!({}), 1), (json!({"command": null}), 1), (json!({"command": ["sh", "-c", "exit 2"]}), 2)]
    {
        let target = provider.target(&target).unwrap();
        let mut upstream = provider.open(&target, Size::DEFAULT).await.unwrap();
        let mut output = Vec::new();
        let happened = tokio::time::timeout(DEADLINE, poll_fn(|cx| upstream.poll_output(cx, &mut output, 4096))).await;
        assert!(
            matches!(happened, Ok(Happened::Exit(Exit { code: Some(code), .. })) if code == expected),
            "{happened:?}"
        );
    }
    let wrong = [
        (json!({"command": ["sh"]}), "none of those"),
        (json!({"command": ["sh", "-c", "exit 2", ""]}), "none of those"),
        (json!({"command": []}), "none of those"),
        (json!({"command": "sh -c 'exit 1'"}), "not an array of strings"),
        (json!({"command": ["sh", 1]}), "not an array of strings"),
        (json!({"comand": ["sh"]}), "\"comand\""),
        (json!("sh"), "not an object"),
    ];
    for (target, words) in wrong {
        let told = provider.target(&target).unwrap_err();
        assert!(told.contains(words), "{target}: {told}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_without_its_path() {
    let provider = provider(&[&["/nonexistent/program"]]);
    let target = provider.target(&json!({})).unwrap();
    let failure = provider.open(&target, Size::DEFAULT).await.err().unwrap();
    assert_eq!(failure.code, Code::ProviderUnavailable);
    assert!(!failure.message.contains("nonexistent"), "{failure:?}");
}
