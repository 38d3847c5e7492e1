//! API keys: 256 random bits, of which only a hash is known here.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;

use super::{ClientCertificate, Identity, NoRandomness, Refused, random_token};
use crate::config::Key;

/// What every API key begins with, so that people and secret scanners recognise one.
pub const KEY_PREFIX: &str = "polytty_";

/// The keys that are accepted; only their hashes are known.
#[derive(Clone, Debug)]
pub struct Keys(Vec<(Key, Identity)>);

impl Keys {
    /// Takes the keys of the configuration.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        let known = |key: Key| {
            let identity = Identity::new(key.name.clone(), key.rights.clone());
            (key, identity)
        };
        Self(keys.into_iter().map(known).collect())
    }

    /// Finds whose key this is. Every known hash is compared, each in constant time, so that the time taken tells
    /// nothing about any of them.
    ///
    /// # Errors
    ///
    /// [`Refused`]: there is no such key, or its time is over at `now`.
    pub fn identify(&self, presented: &str, now: Timestamp) -> Result<Identity, Refused> {
        let hash = digest(&SHA256, presented.as_bytes());
        let mut found = None;
        for (key, identity) in &self.0 {
            let is_known = key.hash.is_some_and(|known| verify_slices_are_equal(&known, hash.as_ref()).is_ok());
            if is_known {
                found = Some((key, identity));
            }
        }
        match found {
            None => Err(Refused::Unknown),
            Some((key, identity)) => good(key, identity, now),
        }
    }

    /// Finds whose certificate this is: of several keys that name it, the first whose time is not over. `None` when
    /// there is no such key.
    ///
    /// # Errors
    ///
    /// [`Refused::Expired`]: the time of all of them is over at `now`.
    pub fn certificate(&self, shown: &ClientCertificate, now: Timestamp) -> Option<Result<Identity, Refused>> {
        let names_it = |(key, _): &&(Key, Identity)| key.certificate.as_ref().is_some_and(|name| name.is(shown));
        let mut named = self.0.iter().filter(names_it).map(|(key, identity)| good(key, identity, now));
        let first = named.next()?;
        Some(first.or_else(|refused| named.find_map(Result::ok).ok_or(refused)))
    }
}

fn good(key: &Key, identity: &Identity, now: Timestamp) -> Result<Identity, Refused> {
    match key.expires_at {
        Some(at) if at <= now => Err(Refused::Expired),
        _ => Ok(identity.clone()),
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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::super::Rights;
    use super::*;

    fn key(name: &str, hash: [u8; 32], expires_at: Option<&str>) -> Key {
        let expires_at = expires_at.map(|at| at.parse().unwrap());
        Key { name: name.to_owned(), hash: Some(hash), certificate: None, rights: Rights::all(), expires_at }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_very_key_is_known_and_each_of_several_is() {
        let (first, first_hash) = new_key().unwrap();
        let (second, second_hash) = new_key().unwrap();
        let keys = Keys::new(vec![key("ci", first_hash, None), key("portal", second_hash, None)]);
        let now = at("2026-01-01T00:00:00Z");
        assert_eq!(keys.identify(&first, now).unwrap().name(), "ci");
        assert_eq!(keys.identify(&second, now).unwrap().name(), "portal");
        for wrong in ["", KEY_PREFIX, &first[1..], &format!("{first} "), &first.to_uppercase()] {
            assert_eq!(keys.identify(wrong, now), Err(Refused::Unknown), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_good_until_it_expires() {
        let (secret, hash) = new_key().unwrap();
        let keys = Keys::new(vec![key("ci", hash, Some("2026-01-01T00:00:00Z"))]);
        assert!(keys.identify(&secret, at("2025-12-31T23:59:59Z")).is_ok());
        assert_eq!(keys.identify(&secret, at("2026-01-01T00:00:00Z")), Err(Refused::Expired));
    }

    #[test]
    fn a_new_key_can_be_recognised_and_carries_256_bits() {
        let (key, _) = new_key().unwrap();
        let token = key.strip_prefix(KEY_PREFIX).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(token).unwrap().len(), 32);
        assert_ne!(key, new_key().unwrap().0);
    }
}
