//! With which status the command ends.

use polytty_dialect::Exit;
use rustix::process::Signal;

use crate::client::Outcome;

/// The connection or the session failed; as for ssh.
pub(super) const FAILED: u8 = 255;

/// The names of signals as providers tell them (POSIX, `<signal.h>`).
const SIGNALS: [(&str, Signal); 30] = [
    ("SIGHUP", Signal::HUP),
    ("SIGINT", Signal::INT),
    ("SIGQUIT", Signal::QUIT),
    ("SIGILL", Signal::ILL),
    ("SIGTRAP", Signal::TRAP),
    ("SIGABRT", Signal::ABORT),
    ("SIGBUS", Signal::BUS),
    ("SIGFPE", Signal::FPE),
    ("SIGKILL", Signal::KILL),
    ("SIGUSR1", Signal::USR1),
    ("SIGSEGV", Signal::SEGV),
    ("SIGUSR2", Signal::USR2),
    ("SIGPIPE", Signal::PIPE),
    ("SIGALRM", Signal::ALARM),
    ("SIGTERM", Signal::TERM),
    ("SIGSTKFLT", Signal::STKFLT),
    ("SIGCHLD", Signal::CHILD),
    ("SIGCONT", Signal::CONT),
    ("SIGSTOP", Signal::STOP),
    ("SIGTSTP", Signal::TSTP),
    ("SIGTTIN", Signal::TTIN),
    ("SIGTTOU", Signal::TTOU),
    ("SIGURG", Signal::URG),
    ("SIGXCPU", Signal::XCPU),
    ("SIGXFSZ", Signal::XFSZ),
    ("SIGVTALRM", Signal::VTALARM),
    ("SIGPROF", Signal::PROF),
    ("SIGWINCH", Signal::WINCH),
    ("SIGIO", Signal::IO),
    ("SIGSYS", Signal::SYS),
];

/// The exit status for an outcome, and what there is to be said about it.
pub(super) fn of(outcome: &Outcome) -> (u8, Option<String>) {
    match outcome {
        Outcome::Exit(exit) => {
            let is_explained = exit.reason.is_some() || exit.signal.is_some();
            (of_exit(exit), is_explained.then(|| outcome.to_string()))
        }
        Outcome::Closed(Some(1000)) => (0, None),
        failed => (FAILED, Some(failed.to_string())),
    }
}

/// The status of a process that a signal ends, as shells tell it.
pub(super) fn of_signal(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(FAILED)
}

/// A status that does not fit into eight bits is not cut to one that may mean success.
fn of_exit(exit: &Exit) -> u8 {
    match (&exit.signal, exit.code) {
        (Some(name), _) => {
            let known = SIGNALS.iter().find(|(other, _)| other == name);
            known.map_or(FAILED, |(_, signal)| of_signal(*signal))
        }
        (None, Some(code)) => u8::try_from(code).unwrap_or(FAILED),
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: Option<i32>, signal: Option<&str>) -> (u8, Option<String>) {
        of(&Outcome::Exit(Exit { code, signal: signal.map(str::to_owned), reason: None }))
    }

    #[test]
    fn the_status_is_that_of_the_remote_process() {
        assert_eq!(exit(Some(0), None), (0, None));
        assert_eq!(exit(Some(7), None), (7, None));
        assert_eq!(exit(Some(255), None), (255, None));
        assert_eq!(exit(None, None), (0, None));
        for strange in [256, -1, i32::MAX] {
            assert_eq!(exit(Some(strange), None).0, FAILED);
        }
        let (status, words) = exit(None, Some("SIGKILL"));
        assert_eq!((status, words.as_deref()), (137, Some("the process was ended by SIGKILL")));
        assert_eq!(exit(None, Some("SIGNOSUCH")).0, FAILED);
    }

    #[test]
    fn a_failure_is_255_and_said() {
        for outcome in [
            Outcome::Closed(Some(4409)),
            Outcome::Lost("reset".to_owned()),
            Outcome::Failed { code: "link_gone".to_owned(), message: "spent".to_owned() },
        ] {
            let (status, words) = of(&outcome);
            assert_eq!((status, words.is_some()), (FAILED, true));
        }
    }
}
