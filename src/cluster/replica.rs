//! Which of several processes that share a store.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::auth::NoRandomness;

/// Identifies a running replica: 32 random bits, drawn at every start. It shows as eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId([u8; 4]);

impl ReplicaId {
    /// Draws one.
    ///
    /// # Errors
    ///
    /// When the operating system yields no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut id = [0; 4];
        SystemRandom::new().fill(&mut id).map_err(|_| NoRandomness)?;
        Ok(Self(id))
    }

    /// Its bytes, with which the ids of its sessions begin.
    #[must_use]
    pub fn bytes(self) -> [u8; 4] {
        self.0
    }
}

impl From<[u8; 4]> for ReplicaId {
    fn from(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReplicaId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 8 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(());
        }
        u32::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let id = ReplicaId::from([0, 0xab, 1, 2]);
        assert_eq!(id.to_string(), "00ab0102");
        assert_eq!("00ab0102".parse(), Ok(id));
        for wrong in ["", "0ab0102", "00AB0102", "00ab01022", "+0ab0102", "00ab010g"] {
            assert!(wrong.parse::<ReplicaId>().is_err(), "{wrong:?}");
        }
    }
}
