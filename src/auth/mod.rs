//! Who is asking: API keys, and the cookie of the demo page.

mod door;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Key;

pub use door::{COOKIE, Door};

/// What every API key begins with, so that people and secret scanners recognise one.
pub const KEY_PREFIX: &str = "polytty_";

/// Somebody whose credentials were good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
}

impl Identity {
    /// The key's name, for logs, rates and lists.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The keys that are accepted; only their hashes are known.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Takes the keys of the configuration.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Finds whose key this is. Every known hash is compared, each in constant time, so that the time taken tells
    /// nothing about any of them.
    #[must_use]
    pub fn identify(&self, presented: &str) -> Option<Identity> {
        let hash = digest(&SHA256, presented.as_bytes());
        let mut found = None;
        for key in &self.0 {
            if verify_slices_are_equal(&key.hash, hash.as_ref()).is_ok() {
                found = Some(Identity { name: key.name.clone() });
            }
        }
        found
    }
}

/// A new API key: 256 random bits behind [`KEY_PREFIX`], and the hash that goes into the configuration.
///
/// # Errors
///
/// When the operating system yields no random bytes.
pub fn new_key() -> Result<(String, [u8; 32]), NoRandomness> {
    let key = format!("{KEY_PREFIX}{}", random_token()?);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    Ok((key, hash))
}

/// The operating system yields no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system yields no random bytes")]
pub struct NoRandomness;

/// 256 random bits in base64url.
pub(crate) fn random_token() -> Result<String, NoRandomness> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_key_is_known_and_each_of_several_is() {
        let (first, first_hash) = new_key().unwrap();
        let (second, second_hash) = new_key().unwrap();
        let keys = Keys::new(vec![
            Key { name: "ci".to_owned(), hash: first_hash },
            Key { name: "portal".to_owned(), hash: second_hash },
        ]);
        assert_eq!(keys.identify(&first).unwrap().name(), "ci");
        assert_eq!(keys.identify(&second).unwrap().name(), "portal");
        for wrong in ["", KEY_PREFIX, &first[1..], &format!("{first} "), &first.to_uppercase()] {
            assert_eq!(keys.identify(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_new_key_can_be_recognised_and_carries_256_bits() {
        let (key, _) = new_key().unwrap();
        let token = key.strip_prefix(KEY_PREFIX).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(token).unwrap().len(), 32);
        assert_ne!(key, new_key().unwrap().0);
    }
}
