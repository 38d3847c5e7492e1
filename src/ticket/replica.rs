//! Which of several processes that share a store.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::auth::NoRandomness;

/// One run of polytty among those that share a store. It shows itself as 8 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId([u8; 4]);

impl ReplicaId {
    /// 32 random bits.
    ///
    /// # Errors
    ///
    /// When the operating system yields no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut id = [0; 4];
        SystemRandom::new().fill(&mut id).map_err(|_| NoRandomness)?;
        Ok(Self(id))
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
    fn an_id_is_eight_lower_case_hexadecimal_digits() {
        let id = ReplicaId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("00c0ffee".parse::<ReplicaId>().map(|id| id.to_string()), Ok("00c0ffee".to_owned()));
        for bad in ["", "00c0ffe", "00c0ffee0", "00C0FFEE", "+0c0ffee", "00c0ffeg"] {
            assert_eq!(bad.parse::<ReplicaId>(), Err(()), "{bad}");
        }
    }
}
