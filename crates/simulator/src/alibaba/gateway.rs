//! Who may call: access keys, the clock window, and each nonce once.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Result;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};

use super::{
    error::ApiError,
    signature::{Claim, SignedRequest, Style},
};
use crate::{Clock, random};

/// How far a request's date may be off, either way.
const CLOCK_WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long a nonce is remembered: a date from the far end of the window stays good for twice the window.
const NONCE_LIFE: Duration = Duration::from_secs(2 * 15 * 60);
/// Nonces remembered, at about 60 bytes each. At the bound calls are refused with 503 rather than one forgotten.
const MAX_NONCES: usize = 1_000_000;

/// An access key, and with it the STS token if it is a temporary one.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The AccessKey id.
    pub access_key_id: String,
    /// The AccessKey secret.
    pub access_key_secret: String,
    /// The STS token that every call must carry beside a temporary key. A permanent key has none, and a call with one
    /// is refused.
    pub security_token: Option<String>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Credential {
    /// A permanent key, new and random.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn random() -> Result<Self> {
        Ok(Self { access_key_id: random::word(24)?, access_key_secret: random::token()?, security_token: None })
    }

    /// A temporary key with its token, new and random.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn random_sts() -> Result<Self> {
        let id = format!("STS.{}", random::word(24)?);
        Ok(Self { access_key_id: id, access_key_secret: random::token()?, security_token: Some(random::token()?) })
    }
}

/// Decides whether a request is from who it says.
#[derive(Debug)]
pub(crate) struct Gateway {
    credentials: Vec<Credential>,
    style: Style,
    version: &'static str,
    clock: Clock,
    nonces: Mutex<Nonces>,
}

impl Gateway {
    pub(crate) fn new(credentials: Vec<Credential>, style: Style, version: &'static str, clock: Clock) -> Self {
        Self { credentials, style, version, clock, nonces: Mutex::default() }
    }

    /// Checks version, action, key, date, signature, token and nonce, in this order, and returns the action that the
    /// request names. A nonce counts as used only once the signature has proved who used it.
    ///
    /// # Errors
    /// The first thing that is wrong. `knows` says which actions there are.
    pub(crate) fn authorize(
        &self,
        request: SignedRequest<'_>,
        knows: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, ApiError> {
        let claim = Claim::of(request, self.style)?;
        match &claim.version {
            None => return Err(ApiError::missing("Version")),
            Some(version) if version != self.version => return Err(ApiError::invalid_version()),
            Some(_) => {}
        }
        if claim.action.as_deref().is_some_and(|named| !knows(named)) {
            return Err(ApiError::unknown_action());
        }
        let credential = self
            .credentials
            .iter()
            .find(|credential| credential.access_key_id == claim.access_key_id)
            .ok_or_else(ApiError::unknown_access_key)?;
        let now = self.clock.now();
        let off = now.duration_since(claim.date).unwrap_or_else(|error| error.duration());
        if off > CLOCK_WINDOW {
            return Err(ApiError::expired_date());
        }
        claim.verify(request, &credential.access_key_secret)?;
        match (&credential.security_token, &claim.security_token) {
            (None, None) => {}
            (Some(_), None) => return Err(ApiError::missing("SecurityToken")),
            (Some(token), Some(claimed)) if verify_slices_are_equal(token.as_bytes(), claimed.as_bytes()).is_ok() => {}
            (_, Some(_)) => return Err(ApiError::malformed_token()),
        }
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.take(&claim.access_key_id, &claim.nonce, now)?;
        Ok(claim.action)
    }
}

/// The nonces of the last half hour, by the first half of their SHA-256, in the order in which they came.
#[derive(Debug, Default)]
struct Nonces {
    seen: HashSet<[u8; 16]>,
    order: VecDeque<(SystemTime, [u8; 16])>,
}

impl Nonces {
    fn take(&mut self, access_key_id: &str, nonce: &str, now: SystemTime) -> Result<(), ApiError> {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.order.pop_front() {
                self.seen.remove(&key);
            }
        }
        if self.seen.len() >= MAX_NONCES {
            return Err(ApiError::unavailable());
        }
        let hash = digest::digest(&digest::SHA256, format!("{access_key_id}\n{nonce}").as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_ref()[..16]);
        if !self.seen.insert(key) {
            return Err(ApiError::used_nonce());
        }
        self.order.push_back((now + NONCE_LIFE, key));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_per_key_and_again_when_no_date_could_still_carry_it() {
        let mut nonces = Nonces::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        nonces.take("a", "n", start).unwrap();
        assert_eq!(nonces.take("a", "n", start).unwrap_err().code, "SignatureNonceUsed");
        nonces.take("b", "n", start).unwrap();
        let almost = start + NONCE_LIFE - Duration::from_secs(1);
        assert_eq!(nonces.take("a", "n", almost).unwrap_err().code, "SignatureNonceUsed");
        nonces.take("a", "n", start + NONCE_LIFE).unwrap();
        assert_eq!((nonces.seen.len(), nonces.order.len()), (1, 1));
    }

    #[test]
    fn credentials_are_never_printed() {
        let credential = Credential::random_sts().unwrap();
        let printed = format!("{credential:?}");
        assert!(!printed.contains(&credential.access_key_secret));
        assert!(!printed.contains(credential.security_token.as_deref().unwrap()));
    }
}
