//! Limits: how often somebody may do something (rates, by governor) and how much of something they may have at once
//! (counts, by permits).
//!
//! Whoever is refused is told by an [`Exceeded`], which knows the limit's name, its figures and when to come back. The name
//! is the configuration's key, and the label of the metric. Every map here has a bound and is swept.

mod address;
mod clock;
mod count;
mod exceeded;
mod gate;
mod lockout;
mod memory;
mod opens;
mod pace;
mod quota;
mod rate;

pub use address::Address;
pub use count::{Counts, Held};
pub use exceeded::{Exceeded, Limit};
pub use gate::Gate;
pub use lockout::Lockouts;
pub use memory::Memory;
pub use opens::Opens;
pub use pace::{InputPace, OutputPace, PaceSettings};
pub use quota::{Claim, NoPlace, Place, Quotas};
pub use rate::{KeyedRate, Rate};

use aws_lc_rs::digest::{SHA256, digest};

/// A name of any length as the key of a map: half of its SHA-256, so that no name makes an entry larger, and nobody finds
/// two that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey([u8; 16]);

impl NameKey {
    /// The key of names in their order; (`a`, `bc`) is another one than (`ab`, `c`).
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let mut all = Vec::new();
        for name in names {
            all.extend_from_slice(&(name.len() as u64).to_le_bytes());
            all.extend_from_slice(name.as_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&digest(&SHA256, &all).as_ref()[..16]);
        Self(key)
    }
}
