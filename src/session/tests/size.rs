//! What a session takes that does nothing: it is there thousands of times.

use super::super::attachment::Attachment;
use super::super::pump::Pump;
use super::super::task::Task;
use super::super::{Command, Spec};
use crate::tls::ServerStream;

/// How large the future is that a function makes.
fn future<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn what_there_is_once_a_session_stays_small() {
    for (what, size, most) in [
        ("the task, while a part of its life is boxed", future(Task::run), 256),
        ("what it was created from", size_of::<Spec>(), 192),
        ("the pump, with its client", size_of::<Pump<'_>>(), 1536),
        ("the client alone", size_of::<Attachment>(), 768),
        ("the client's TLS, its keys apart", size_of::<ServerStream<tokio::net::TcpStream>>(), 1408),
        // A queue takes room for 32 of them.
        ("a command", size_of::<Command>(), 16),
    ] {
        assert!(size <= most, "{what}: {size} bytes");
    }
}
