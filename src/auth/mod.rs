//! Who is asking: API keys, tokens, and the cookie of the demo page.

mod certificate;
mod door;
mod identity;
mod jwt;
mod keys;
mod presented;

use crate::live::Live;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

pub use certificate::{CertificateName, ClientCertificate};
pub use door::{COOKIE, Door};
pub use identity::{Identity, Rights, Scope, Scopes};
pub use jwt::{Jwks, JwksError, Tokens};
pub use keys::{KEY_PREFIX, Keys, new_key};
pub use presented::{bearer, cookie};

/// Everybody who may call.
pub struct Identities {
    keys: Live<Keys>,
    tokens: Option<Tokens>,
}

/// Why a credential is not good. Its holder is told, and nobody else learns anything by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such key, or nobody known has signed it.
    Unknown,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is another service's, or another issuer's.
    NotForUs,
    /// It is no key and no token, or one that lacks what it needs.
    Malformed,
    /// It does not say whose it is.
    NoSubject,
    /// The keys that would verify it have not been had yet.
    NoKeys,
}

impl Refused {
    /// A sentence for whoever presented it.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Unknown => "the credential is not known here",
            Self::Expired => "the credential has expired",
            Self::NotYet => "the credential is not valid yet",
            Self::NotForUs => "the token is of another issuer, or for another audience",
            Self::Malformed => "the credential is neither an API key nor a token that has all it needs",
            Self::NoSubject => "the token does not name a subject",
            Self::NoKeys => "tokens cannot be verified at the moment; try again in a while",
        }
    }
}

impl Refused {
    /// Whether it may have been made up. One that was good once, or will be, is none: a page that keeps on showing it must not
    /// count against everybody behind its address.
    #[must_use]
    pub fn is_guess(self) -> bool {
        match self {
            Self::Unknown | Self::NotForUs | Self::Malformed => true,
            Self::Expired | Self::NotYet | Self::NoSubject | Self::NoKeys => false,
        }
    }
}

impl Identities {
    /// Keys, and tokens where they are configured.
    #[must_use]
    pub fn new(keys: Keys, tokens: Option<Tokens>) -> Self {
        Self { keys: Live::new(keys), tokens }
    }

    /// Finds out who presents this.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub async fn identify(&self, presented: &str) -> Result<Identity, Refused> {
        match &self.tokens {
            Some(tokens) if !presented.starts_with(KEY_PREFIX) && presented.contains('.') => {
                tokens.identify(presented).await
            }
            _ => self.keys.get().identify(presented, Timestamp::now()),
        }
    }
}

impl Identities {
    /// Finds out who shows this certificate; `None` when no key names it.
    ///
    /// # Errors
    ///
    /// [`Refused::Expired`]
    pub fn certificate(&self, shown: &ClientCertificate) -> Option<Result<Identity, Refused>> {
        self.keys.get().certificate(shown, Timestamp::now())
    }

    /// Takes other keys from now on. Sessions that were made by those before go on.
    pub fn replace_keys(&self, keys: Keys) {
        self.keys.set(keys);
    }
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
