//! The keys that sign tokens: a JWK set (RFC 7517) in a file or at a URL, which changes now and then.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::{self, JwkSource};
use crate::provider::{Dialer, Request};

/// The largest set that is read from a file, in bytes; from a URL, as much as any answer may have.
const MAX_FILE: u64 = 256 << 10;

/// Keys that are kept of a set. Issuers have two or three.
const MAX_KEYS: usize = 64;

/// How often the set is looked at.
const REFRESH: Duration = Duration::from_secs(300);

/// How soon it is looked at again for a key that is not known.
const AGAIN: Duration = Duration::from_secs(10);

/// How long fetching may take.
const FETCH: Duration = Duration::from_secs(10);

/// The keys as they were when they were last read without a mistake.
pub struct Jwks {
    source: Source,
    keys: RwLock<Option<Arc<[Key]>>>,
    /// When they were last read, or that was tried.
    looked: Mutex<Option<Instant>>,
}

enum Source {
    File(PathBuf),
    Url(Box<(config::Endpoint, Dialer)>),
}

/// A key that can verify, and for which algorithms.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("cannot read {path}: {why}", path = .0.display(), why = .1)]
    Read(PathBuf, io::Error),
    /// It cannot be fetched.
    #[error("cannot fetch it: {0}")]
    Fetch(String),
    /// It is no JWK set.
    #[error("it is no JWK set: expected a JSON object with a list \"keys\"")]
    NotASet,
    /// None of its keys can verify a token.
    #[error(
        "none of its keys can verify a signature: expected RSA keys, EC keys on P-256 or P-384, or Ed25519 keys, for use \"sig\""
    )]
    NoKeys,
}

impl Jwks {
    /// The set of this source. One in a file is read at once; one at a URL is fetched by [`Jwks::keep_fresh`].
    ///
    /// # Errors
    ///
    /// [`JwksError`].
    pub fn new(source: &JwkSource, dialer: Dialer) -> Result<Arc<Self>, JwksError> {
        let (source, keys) = match source {
            JwkSource::File(path) => {
                let keys = parse(&read(path)?)?;
                (Source::File(path.clone()), Some(keys))
            }
            JwkSource::Url(url) => (Source::Url(Box::new((url.clone(), dialer))), None),
        };
        let looked = Mutex::new(keys.is_some().then(Instant::now));
        Ok(Arc::new(Self { source, keys: RwLock::new(keys), looked }))
    }

    /// Keys that this algorithm may have used: those of this id, or without one, of any. A key without an id fits none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |key: &&Key| key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id);
        keys.iter().flat_map(|keys| keys.iter()).filter(fits).map(|key| key.key.clone()).collect()
    }

    /// Whether there are any keys.
    pub(super) fn is_loaded(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Reads the set anew, unless that was done or tried a moment ago. Whoever asks meanwhile waits for the same reading.
    pub(super) async fn refresh(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        *looked = Some(Instant::now());
        match self.load().await {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the JWK set was read");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
            }
            // The keys that were good are good until somebody says otherwise.
            Err(error) => tracing::warn!(error = ?error.to_string(), "the JWK set could not be read"),
        }
    }

    async fn load(&self) -> Result<Arc<[Key]>, JwksError> {
        match &self.source {
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path)).await;
                parse(&read.map_err(|error| JwksError::Fetch(error.to_string()))??)
            }
            Source::Url(at) => {
                let (url, dialer) = &**at;
                parse(&fetch(url, dialer).await.map_err(JwksError::Fetch)?)
            }
        }
    }

    /// Keeps the keys fresh, forever.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            self.refresh().await;
            let pause = if self.is_loaded() { REFRESH } else { AGAIN };
            tokio::time::sleep(pause).await;
        }
    }
}

async fn fetch(url: &config::Endpoint, dialer: &Dialer) -> Result<Vec<u8>, String> {
    let path_and_query = if url.path().is_empty() { "/" } else { url.path() };
    let headers = HeaderMap::new();
    let request =
        Request { method: Method::GET, path_and_query, headers, body: bytes::Bytes::new(), repeatable: false };
    let reply = timeout(FETCH, dialer.request(url.base(), request)).await;
    let reply = reply.map_err(|_| "no answer in time".to_owned())?.map_err(|failure| failure.detail)?;
    match reply.status {
        StatusCode::OK => Ok(reply.body.to_vec()),
        other => Err(format!("status {}", other.as_u16())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, JwksError> {
    let unreadable = |error| JwksError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The usable keys of a set; the others are left out, since a set may hold keys for other purposes.
fn parse(bytes: &[u8]) -> Result<Arc<[Key]>, JwksError> {
    let set: Set = serde_json::from_slice(bytes).map_err(|_| JwksError::NotASet)?;
    let keys: Arc<[Key]> = set.keys.into_iter().filter_map(key).take(MAX_KEYS).collect();
    if keys.is_empty() { Err(JwksError::NoKeys) } else { Ok(keys) }
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let is_for_signing = jwk.common.public_key_use.as_ref().is_none_or(|is_for| *is_for == PublicKeyUse::Signature)
        && jwk.common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !is_for_signing {
        return None;
    }
    // The type decides what a key may be used for. A symmetric one is no key for us: whoever can verify by it can sign.
    let possible = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
        _ => return None,
    };
    let algorithms = match jwk.common.key_algorithm {
        None => possible,
        Some(named) => {
            let named = Algorithm::try_from(named).ok()?;
            possible.into_iter().filter(|algorithm| *algorithm == named).collect()
        }
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(Key { id: jwk.common.key_id, algorithms, key })
}
