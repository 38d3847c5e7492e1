//! Where openers find the hub, and start it when there is none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polytty_dialect::decthings::Launch;
use polytty_dialect::{Code, Size};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::super::service::Service;
use super::Hub;
use crate::provider::Failure;
use crate::provider::shared::SharedUpstream;

/// Orders that may wait for the hub to take them. At the bound, opening fails at once.
const ORDERS: usize = 256;

/// A terminal that somebody waits for.
pub(in super::super) struct Order {
    pub(in super::super) launch: Arc<Launch>,
    pub(in super::super) size: Size,
    pub(in super::super) opener: oneshot::Sender<Result<SharedUpstream, Failure>>,
}

/// The way to the one hub of a provider.
#[derive(Default)]
pub(in super::super) struct Desk(Mutex<Option<mpsc::Sender<Order>>>);

impl Desk {
    /// Hands an order to the hub, which is started if there is none.
    ///
    /// # Errors
    ///
    /// Too many orders wait already.
    pub(in super::super) fn place(self: &Arc<Self>, service: &Arc<Service>, order: Order) -> Result<(), Failure> {
        let mut hub = self.lock();
        let order = match &*hub {
            None => order,
            Some(hub) => match hub.try_send(order) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => return Err(busy()),
                // It panicked, or its runtime is gone.
                Err(TrySendError::Closed(order)) => order,
            },
        };
        let (sender, orders) = mpsc::channel(ORDERS);
        tokio::spawn(Hub::new(Arc::clone(service), Arc::clone(self), orders).run());
        let placed = sender.try_send(order).map_err(|_| busy());
        *hub = Some(sender);
        placed
    }

    /// Closes the desk for a hub that wants to leave, unless an order has come in. Whether it may leave.
    pub(super) fn close(&self, orders: &mpsc::Receiver<Order>) -> bool {
        let mut hub = self.lock();
        let closes = orders.is_empty();
        if closes {
            *hub = None;
        }
        closes
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<Order>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy() -> Failure {
    Failure::new(Code::ProviderUnavailable, "Too many terminals are being opened at Decthings at once.")
        .detail(format!("{ORDERS} orders wait"))
}
