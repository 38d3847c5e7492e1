//! The log: lines for people or JSON for machines, on standard error.
//!
//! A field that came from outside is logged with `?`, never with `%`: only the former escapes control characters
//! (RUSTSEC-2025-0055).

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging. A second call in one process changes nothing.
///
/// # Errors
///
/// When the filter cannot be read; says why.
pub fn init(settings: &Log) -> Result<(), String> {
    let filter: Targets = settings.filter.parse().map_err(|error| format!("log.filter: {error}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let log = tracing_subscriber::registry().with(filter);
    let _ = match settings.format {
        LogFormat::Text => log.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init(),
        LogFormat::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
    Ok(())
}
