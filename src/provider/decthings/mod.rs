//! Decthings: a terminal in a model's launcher, by `Terminal / launchTerminalSession`.
//!
//! All terminals of one provider entry share one WebSocket, which belongs to the [hub](hub).

mod hub;
mod service;
mod target;
mod words;

use std::sync::Arc;

use polytty_dialect::decthings::Launch;
use polytty_dialect::{Code, Size};
use serde_json::Value;
use tokio::sync::oneshot;

use self::hub::{Desk, Order};
use self::service::Service;
use super::dial::Dialer;
use super::{BoxFuture, Failure, Provider, Target, Upstream};
use crate::config::Decthings;

/// The provider `kind = "decthings"`.
pub struct DecthingsProvider {
    service: Arc<Service>,
    desk: Arc<Desk>,
}

impl DecthingsProvider {
    /// A provider that dials by `dialer`. Touches no network.
    pub fn new(name: String, settings: Decthings, dialer: Dialer) -> Self {
        Self { service: Arc::new(Service::new(name, settings, dialer)), desk: Arc::default() }
    }
}

impl Provider for DecthingsProvider {
    fn target(&self, target: &Value) -> Result<Target, String> {
        target::read(target).map(Arc::new).map(Target::new)
    }

    /// Cancelled, it leaves the launch to the hub, which ends the terminal when it hears of it.
    fn open<'a>(&'a self, target: &'a Target, size: Size) -> BoxFuture<'a, Result<Box<dyn Upstream>, Failure>> {
        Box::pin(async move {
            let launch = target
                .get::<Arc<Launch>>()
                .ok_or_else(|| Failure::new(Code::Internal, "The terminal's target belongs to another provider."))?;
            let (opener, opened) = oneshot::channel();
            self.desk.place(&self.service, Order { launch: Arc::clone(launch), size, opener })?;
            let upstream = opened.await.unwrap_or_else(|_| {
                Err(Failure::new(Code::Internal, "The connection to the provider broke down.")
                    .detail("the hub is gone"))
            })?;
            Ok(Box::new(upstream) as Box<dyn Upstream>)
        })
    }
}

impl std::fmt::Debug for DecthingsProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecthingsProvider").field("name", &self.service.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
