//! The log: lines for people or JSON for machines, on standard error.
//!
//! A field that came from outside is logged with `?`, never with `%`: only the former escapes control characters
//! (RUSTSEC-2025-0055).

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::{Log, LogFormat};

/// The filter of a log that runs.
pub struct LogFilter(reload::Handle<Targets, Registry>);

impl LogFilter {
    /// Logs by another filter from now on.
    ///
    /// # Errors
    ///
    /// When the filter cannot be read; says why, and nothing is changed.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        self.0.reload(read(filter)?).map_err(|error| format!("log.filter: {error}"))
    }
}

fn read(filter: &str) -> Result<Targets, String> {
    filter.parse().map_err(|error| format!("log.filter: {error}"))
}

/// Starts logging. A second call in one process changes nothing, nor does the filter that it returns.
///
/// # Errors
///
/// When the filter cannot be read; says why.
pub fn init(settings: &Log) -> Result<LogFilter, String> {
    let (filter, handle) = reload::Layer::new(read(&settings.filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let log = tracing_subscriber::registry().with(filter);
    let _ = match settings.format {
        LogFormat::Text => log.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init(),
        LogFormat::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
    Ok(LogFilter(handle))
}
