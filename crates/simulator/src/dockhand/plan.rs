//! What becomes of a WebSocket behind its 101.

use std::time::Duration;

use super::{
    Server,
    docker::Size,
    session::Wanted,
    world::{Connection, Environment, has_shell, no_such_shell},
};
use crate::{Fault, random, web::Stop};

/// The terminal that an agent starts, in columns and rows. Elsewhere it has no size at all.
const EDGE_SIZE: Size = (120, 30);
/// Docker's answer when it refuses to start what it has created.
const START_REFUSED: &str = r#"{"message":"container is not running"}"#;
/// How long a creation that never returns takes.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is to come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Time until the process is created, or until that fails.
    pub(super) delay: Duration,
    /// Whether what the client says meanwhile counts.
    pub(super) keeps_early: bool,
    /// The size that the terminal starts with.
    pub(super) size: Size,
    pub(super) course: Course,
}

/// How it goes on when the delay is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// There is a shell.
    Runs { hex_lines_lost: bool },
    /// An `error` unless it is `None`, and the end.
    Refused { message: Option<String>, stop: Stop },
    /// This output, and the end.
    Ends { output: String },
    /// This output, and silence.
    Silent { output: &'static str },
}

impl Course {
    fn error(message: impl Into<String>) -> Self {
        Self::Refused { message: Some(message.into()), stop: Stop::EmptyClose }
    }
}

impl Plan {
    /// The plan for what was wanted, and the fault if it is one that strikes later.
    pub(super) fn of(server: &Server, wanted: &Wanted, fault: Option<Fault>) -> (Self, Option<Fault>) {
        let mut plan = match wanted {
            Wanted::New { container, .. } if container.is_empty() => Self::at_once(Course::error("No container ID")),
            Wanted::New { environment, container, shell, user } => match server.world.environment(*environment) {
                Ok(environment) => Self::within(server, environment, container, shell, user),
                Err(message) => Self::at_once(Course::error(message)),
            },
            Wanted::Exec(started) => Self {
                size: started.sizes.borrow().unwrap_or_default(),
                keeps_early: true,
                ..Self::at_once(course_of(&started.process.shell))
            },
        };
        let shell = match wanted {
            Wanted::New { shell, .. } => shell,
            Wanted::Exec(started) => &started.process.shell,
        };
        let course = match &fault {
            Some(Fault::NoSuchContainer) => match wanted {
                Wanted::New { container, .. } => Course::error(format!("No such container: {container}")),
                Wanted::Exec(started) => Course::error(format!("No such container: {}", started.process.container)),
            },
            Some(Fault::DockerDown) => Course::error("Docker socket not accessible"),
            Some(Fault::EnvironmentDenied) => Course::Refused {
                message: Some("Access denied for this environment".to_owned()),
                stop: Stop::Close(1008, "env access denied"),
            },
            Some(Fault::InternalError) => Course::Refused { message: None, stop: Stop::Close(1011, "internal error") },
            Some(Fault::StartRefused) => Course::Silent { output: START_REFUSED },
            Some(Fault::BadShell) => Course::Ends { output: no_such_shell(shell) },
            Some(Fault::HexLinesLost) if plan.course == (Course::Runs { hex_lines_lost: false }) => {
                Course::Runs { hex_lines_lost: true }
            }
            Some(Fault::CreateStalled) => {
                (plan.delay, plan.keeps_early) = (NEVER, false);
                Course::Refused { message: None, stop: Stop::EmptyClose }
            }
            _ => return (plan, fault),
        };
        plan.course = course;
        (plan, None)
    }

    /// Nothing is asked of Docker first.
    fn at_once(course: Course) -> Self {
        Self { delay: Duration::ZERO, keeps_early: false, size: Size::default(), course }
    }

    fn within(server: &Server, environment: &Environment, container: &str, shell: &str, user: &str) -> Self {
        if environment.connection == Connection::EdgeOffline {
            return Self::at_once(Course::error("Edge agent not connected"));
        }
        let course = match environment.exec_target(container, user) {
            Ok(_) => course_of(shell),
            Err(message) => Course::error(message),
        };
        let edge = environment.is_edge();
        Self {
            delay: server.create_delay.unwrap_or_else(random_delay),
            keeps_early: edge,
            size: if edge { EDGE_SIZE } else { Size::default() },
            course,
        }
    }
}

fn course_of(shell: &str) -> Course {
    if has_shell(shell) {
        Course::Runs { hex_lines_lost: false }
    } else {
        Course::Ends { output: no_such_shell(shell) }
    }
}

/// 5 to 50 ms.
fn random_delay() -> Duration {
    let random = random::bytes::<2>().map_or(0, u16::from_be_bytes);
    Duration::from_micros(5_000 + u64::from(random) * 45_000 / u64::from(u16::MAX))
}
