//! Which fault strikes next.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Fault, Stage};

/// How many faults may wait for their turn. At the bound the oldest is forgotten.
const MAX_QUEUED: usize = 1_024;

/// Turns faults on and off while a simulator runs. Clones turn the same switch.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: VecDeque<Fault>,
    always: Vec<Fault>,
    /// There are no more than a kind has faults.
    met: BTreeSet<String>,
}

impl FaultSwitch {
    /// The next call or connection that reaches the fault's [`Stage`] meets it, once. Several queue up in order, each
    /// for its own stage; at most 1,024 wait, then the oldest is forgotten.
    pub fn next(&self, fault: Fault) {
        let mut state = self.lock();
        if state.next.len() >= MAX_QUEUED {
            state.next.pop_front();
        }
        state.next.push_back(fault);
    }

    /// Every call or connection that reaches the fault's [`Stage`] meets it, unless [`next`](Self::next) has another
    /// one for it. It replaces what was set for the same stage before.
    pub fn always(&self, fault: Fault) {
        let stage = fault.stage();
        let mut state = self.lock();
        state.always.retain(|other| other.stage() != stage);
        state.always.push(fault);
    }

    /// No faults any more, from the next call or connection on.
    pub fn clear(&self) {
        let mut state = self.lock();
        (state.next, state.always) = (VecDeque::new(), Vec::new());
    }

    /// The faults that [`next`](Self::next) was given and that nobody has met yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().next.len()
    }

    /// The names of all faults that somebody has met so far.
    #[must_use]
    pub fn met(&self) -> BTreeSet<String> {
        self.lock().met.clone()
    }

    pub(crate) fn take(&self, stage: Stage) -> Option<Fault> {
        self.take_where(stage, |_| true)
    }

    /// The same for a call that only some faults of the stage concern: the others wait on.
    pub(crate) fn take_where(&self, stage: Stage, concerns: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let strikes = |fault: &Fault| fault.stage() == stage && concerns(fault);
        let mut state = self.lock();
        let fault = match state.next.iter().position(strikes) {
            Some(at) => state.next.remove(at),
            None => state.always.iter().find(|fault| strikes(fault)).cloned(),
        };
        if let Some(fault) = &fault {
            let text = fault.to_string();
            state.met.insert(text.split_once('=').map_or(&*text, |(name, _)| name).to_owned());
        }
        fault
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_faults_strike_once_in_order_and_at_their_own_stage() {
        let switch = FaultSwitch::default();
        switch.next(Fault::ApiReset);
        switch.next(Fault::Fin { after: 1 });
        switch.next(Fault::ApiStalled);
        assert_eq!(switch.take(Stage::Session), Some(Fault::Fin { after: 1 }));
        assert_eq!(switch.take(Stage::Api), Some(Fault::ApiReset));
        assert_eq!(switch.met().into_iter().collect::<Vec<_>>(), ["api-reset", "fin"]);
        assert_eq!(switch.waiting(), 1);
        assert_eq!(switch.take(Stage::Api), Some(Fault::ApiStalled));
        assert_eq!(switch.take(Stage::Api), None);
    }

    #[test]
    fn a_standing_fault_strikes_until_it_is_replaced_or_cleared() {
        let switch = FaultSwitch::default();
        switch.always(Fault::ApiReset);
        switch.always(Fault::ApiNotJson);
        switch.next(Fault::ApiNoUrl);
        assert_eq!(switch.take(Stage::Api), Some(Fault::ApiNoUrl));
        assert_eq!(switch.take(Stage::Api), Some(Fault::ApiNotJson));
        assert_eq!(switch.take(Stage::Api), Some(Fault::ApiNotJson));
        switch.clear();
        assert_eq!(switch.take(Stage::Api), None);
    }

    #[test]
    fn the_queue_is_bounded() {
        let switch = FaultSwitch::default();
        for after in 0..=MAX_QUEUED as u64 {
            switch.next(Fault::Fin { after });
        }
        assert_eq!(switch.waiting(), MAX_QUEUED);
        assert_eq!(switch.take(Stage::Session), Some(Fault::Fin { after: 1 }));
    }
}
