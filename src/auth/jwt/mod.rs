//! JSON Web Tokens (RFC 7519) of one issuer, signed by keys of its JWK set (RFC 7517).
//!
//! What a token may be is fixed by the configuration (RFC 8725, "JSON Web Token Best Current Practices"): the algorithm
//! is one of a list and fits the key's type (section 3.1), issuer and audience are ours (3.8, 3.9), it expires. Nothing in
//! its header leads anywhere: `kid` picks among the keys that are there; `jku`, `x5u`, `jwk` and `x5c` are not looked at
//! (3.10), and what `crit` lists is not known here (RFC 7515, section 4.1.11).

mod jwks;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::{Identity, Refused, Rights, Scope, Scopes};
use crate::config;

pub use jwks::{Jwks, JwksError};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// The longest subject, in bytes; as for the subject of a session.
const MAX_SUBJECT: usize = 256;

/// How far the issuer's clock and ours may be apart, in seconds.
const LEEWAY: u64 = 60;

/// Tokens of one issuer.
pub struct Tokens {
    settings: config::Jwt,
    keys: Arc<Jwks>,
}

impl Tokens {
    /// Tokens as the configuration has them, signed by `keys`.
    #[must_use]
    pub fn new(settings: config::Jwt, keys: Arc<Jwks>) -> Self {
        Self { settings, keys }
    }

    /// Finds out whose token this is.
    ///
    /// # Errors
    ///
    /// [`Refused`]. A `kid` that is not known has the key set fetched anew first, at a limited rate.
    pub async fn identify(&self, token: &str) -> Result<Identity, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::Malformed);
        }
        let header = decode_header(token).map_err(|_| Refused::Malformed)?;
        if !self.settings.algorithms.contains(&header.alg) {
            return Err(Refused::Unknown);
        }
        if header.crit.is_some() {
            return Err(Refused::Malformed);
        }
        let mut keys = self.keys.find(header.kid.as_deref(), header.alg);
        if keys.is_empty() {
            self.keys.refresh().await;
            keys = self.keys.find(header.kid.as_deref(), header.alg);
        }
        if keys.is_empty() {
            return Err(if self.keys.is_loaded() { Refused::Unknown } else { Refused::NoKeys });
        }
        let validation = self.validation(header.alg);
        let mut refused = Refused::Unknown;
        for key in keys {
            match decode::<Map<String, Value>>(token, &key, &validation) {
                Ok(token) => return self.identity(&token.claims),
                Err(error) => refused = why(&error),
            }
        }
        Err(refused)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, Refused> {
        let subject = claims.get(&self.settings.subject_claim).and_then(Value::as_str);
        let is_one =
            |subject: &&str| !subject.is_empty() && subject.len() <= MAX_SUBJECT && !subject.contains(char::is_control);
        let subject = subject.filter(is_one);
        let subject: Arc<str> = subject.ok_or(Refused::NoSubject)?.into();
        // Who is to be told apart by this claim and has none may use none.
        let listed = |claim: &String| words(claims.get(claim)).map(str::to_owned).collect();
        let providers = self.settings.providers_claim.as_ref().map(listed);
        let rights = Rights { scopes: self.scopes(claims), providers, subject: Some(subject.clone()) };
        Ok(Identity::new(format!("jwt:{subject}"), rights))
    }

    fn scopes(&self, claims: &Map<String, Value>) -> Scopes {
        let granted: Vec<&str> = words(claims.get(&self.settings.scope_claim)).collect();
        let is_granted = |scope: &Scope| {
            let values = &self.settings.scopes.iter().find(|(other, _)| other == scope);
            values.is_some_and(|(_, values)| values.iter().any(|value| granted.contains(&value.as_str())))
        };
        Scope::NAMES.iter().map(|(_, scope)| *scope).filter(is_granted).collect()
    }
}

/// The words of a claim: between spaces (RFC 8693, section 4.2), or the strings of a list.
fn words(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let (text, list) = match claim {
        Some(Value::String(text)) => (text.as_str(), &[][..]),
        Some(Value::Array(list)) => ("", list.as_slice()),
        _ => ("", &[][..]),
    };
    text.split_ascii_whitespace().chain(list.iter().filter_map(Value::as_str))
}

fn why(error: &jsonwebtoken::errors::Error) -> Refused {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::NotYet,
        ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => Refused::NotForUs,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            Refused::Malformed
        }
        _ => Refused::Unknown,
    }
}

#[cfg(test)]
mod tests;
