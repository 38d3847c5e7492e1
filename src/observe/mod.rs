//! What polytty shows of itself: log, metrics, health.

mod admin;
mod log;
mod metrics;

pub use admin::{Admin, Readiness};
pub use log::{LogFilter, init as init_log};
pub use metrics::Metrics;
