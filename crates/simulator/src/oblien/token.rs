//! JSON Web Tokens signed with HMAC-SHA256 (RFC 7515, RFC 7519).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::random;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Use {
    /// The control plane, within a scope.
    Scoped,
    /// The data plane of one workspace: what the control plane gives out for about an hour.
    Gateway,
    /// The same for 30 days.
    Workspace,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "use")]
    pub(super) for_use: Use,
    /// The workspace; empty for a scoped token of a whole namespace.
    pub(super) sub: String,
    /// Seconds since 1970, the first at which the token is no longer good.
    pub(super) exp: u64,
    /// The generation of the workspace's tokens that this one belongs to.
    #[serde(rename = "gen")]
    pub(super) generation: u64,
}

/// Signs and verifies with a key of its own, made at random.
#[derive(Debug)]
pub(super) struct Signer(hmac::Key);

impl Signer {
    /// # Errors
    /// The operating system has no randomness.
    pub(super) fn random() -> Result<Self> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()?)))
    }

    /// A new token, which differs from every other. `place` is the address that a gateway token embeds.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub(super) fn sign(&self, claims: &Claims, now: SystemTime, place: &Value) -> Result<String> {
        let payload = json!({
            "use": claims.for_use,
            "sub": claims.sub,
            "exp": claims.exp,
            "gen": claims.generation,
            "iat": seconds(now),
            "jti": random::uuid()?,
            "vm": place,
        });
        let text = format!("{}.{}", header(), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, text.as_bytes()));
        Ok(format!("{text}.{signature}"))
    }

    /// The claims of a token that this signer has made and that has not expired.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Option<Claims> {
        let (text, signature) = token.rsplit_once('.')?;
        let (head, payload) = text.split_once('.')?;
        // Nothing but this algorithm, and above all not "none".
        if head != header() {
            return None;
        }
        hmac::verify(&self.0, text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (seconds(now) < claims.exp).then_some(claims)
    }
}

/// The instant `life` after `now`, as `exp` has it.
pub(super) fn expiry(now: SystemTime, life: Duration) -> u64 {
    seconds(now).saturating_add(life.as_secs())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn header() -> String {
    URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn claims() -> Claims {
        Claims { for_use: Use::Gateway, sub: "ws_1".to_owned(), exp: expiry(NOW, HOUR), generation: 3 }
    }

    #[test]
    fn a_token_is_good_until_its_expiry_and_only_for_its_signer() {
        let (signer, other) = (Signer::random().unwrap(), Signer::random().unwrap());
        let token = signer.sign(&claims(), NOW, &Value::Null).unwrap();
        assert_eq!(signer.verify(&token, NOW), Some(claims()));
        assert_eq!(signer.verify(&token, NOW + HOUR - Duration::from_millis(1)), Some(claims()));
        assert_eq!(signer.verify(&token, NOW + HOUR), None);
        assert_eq!(other.verify(&token, NOW), None);
        assert_ne!(signer.sign(&claims(), NOW, &Value::Null).unwrap(), token);
    }

    #[test]
    fn no_change_to_a_token_goes_unnoticed() {
        let signer = Signer::random().unwrap();
        let token = signer.sign(&claims(), NOW, &Value::Null).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(signer.verify(&changed, NOW), None, "{at}");
        }
        let (text, _) = token.rsplit_once('.').unwrap();
        let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let payload = text.split_once('.').unwrap().1;
        for forged in [text.to_owned(), format!("{text}."), format!("{unsigned}.{payload}."), String::new()] {
            assert_eq!(signer.verify(&forged, NOW), None, "{forged}");
        }
    }
}
