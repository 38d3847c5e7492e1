//! `[[keys]]` and `[jwt]`: who may call.

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::Algorithm;

use super::check::{A_NAME, name};
use super::checked::{JwkSource, Jwt, Key};
use super::endpoint::Endpoint;
use super::error::Problem;
use super::section::{Field, Read, Section};
use crate::auth::{CertificateName, Rights, Scope};

/// Algorithms by their names (RFC 7518, section 3.1; RFC 8037 for the last). The symmetric ones are left out: a proxy that
/// could verify by them could also sign.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

const DEFAULT_ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// The longest subject, in bytes; as for the subject of a session.
const MAX_SUBJECT: usize = 256;

/// One entry of `[[keys]]`. `has_client_ca` says whether clients are asked for certificates.
pub(super) fn key(section: &mut Section<'_>, has_client_ca: bool) -> Read<Key> {
    let name = section.required("name", A_NAME, name);
    let hash = |field: Field<'_>| match field.node.text().and_then(sha256) {
        Some(hash) => Ok(hash),
        // Somebody may have put the key itself here.
        None => Err(field.wrong_secret(A_HASH)),
    };
    // With a certificate, it can be left out.
    let hash = match section.field("certificate") {
        Some(_) => section.optional("hash", hash),
        None => section.required("hash", A_HASH, hash).map(Some),
    };
    let certificate = section.optional("certificate", |field| certificate(&field, has_client_ca));
    let scopes = section.or("scopes", vec![Scope::Mint, Scope::Observe, Scope::End], |field| {
        let expected = r#"a list of scopes such as ["mint", "observe"]"#;
        match field.list(expected, |item| item.one_of(&Scope::NAMES))? {
            none if none.is_empty() => Err(field.wrong(expected)),
            some => Ok(some),
        }
    });
    let providers = section.optional("providers", |field| {
        field.list(r#"a list of names of providers such as ["pai"]"#, self::name).map(Arc::from)
    });
    let subject = section.optional("subject", |field| {
        let expected = "a subject of at most 256 bytes; leave it out for a key that may act for any";
        match field.text(expected)? {
            subject if subject.len() <= MAX_SUBJECT => Ok(Arc::from(subject)),
            _ => Err(field.wrong(expected)),
        }
    });
    let expires_at = section.optional("expires_at", |field| {
        let expected = r#"a time such as "2027-01-31T00:00:00Z""#;
        field.text(expected)?.parse::<Timestamp>().map_err(|_| field.wrong(expected))
    });
    let rights = Rights { scopes: scopes?.into_iter().collect(), providers: providers?, subject: subject? };
    Ok(Key { name: name?, hash: hash?, certificate: certificate?, rights, expires_at: expires_at? })
}

fn certificate(field: &Field<'_>, has_client_ca: bool) -> Read<CertificateName> {
    let name = field.parse(r#"a certificate: "sha256:" and 64 hexadecimal digits, a DNS name or a URI"#)?;
    if has_client_ca {
        return Ok(name);
    }
    let expected = "the path of a PEM file with the roots that certificates of clients are verified by".to_owned();
    Err(field.context.tell(&field.node.place, "tls.client_ca", Problem::Missing { expected }))
}

const A_HASH: &str = r#""sha256:" and 64 hexadecimal digits, as polytty key new prints them"#;

/// Reads `sha256:` and 64 hexadecimal digits.
pub(crate) fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(hash)
}

const SOURCE: &str = "the https URL of the issuer's JWK set, or the path of a file that holds it";

/// `[jwt]`
pub(super) fn jwt(section: &mut Section<'_>) -> Read<Jwt> {
    let claim = |field: Field<'_>| field.text("the name of a claim").map(str::to_owned);
    let issuer = section.required("issuer", "the issuer, as tokens name it in iss", |field| {
        field.text("the issuer, as tokens name it in iss").map(str::to_owned)
    });
    let audience = section.required("audience", "the audience, as tokens name it in aud", |field| {
        field.text("the audience, as tokens name it in aud").map(str::to_owned)
    });
    let allow_private = section.or("allow_private", false, |field| field.flag());
    let source = section.required("jwks", SOURCE, |field| match field.node.text() {
        Some(text) if text.contains("://") => {
            let url: Endpoint = field.parse(SOURCE)?;
            let is_secure = url.base().is_tls() || matches!(allow_private, Ok(true));
            if url.is_web_socket() || !is_secure {
                return Err(field.tell(Problem::Rule(
                    "expected an https URL (http only with allow_private): the keys decide who gets in".to_owned(),
                )));
            }
            Ok(JwkSource::Url(url))
        }
        _ => field.file().map(JwkSource::File),
    });
    let ca = section.optional("ca", |field| field.file());
    let algorithms = section.or("algorithms", DEFAULT_ALGORITHMS.to_vec(), |field| {
        let expected = r#"a list of algorithms such as ["ES256"]"#;
        match field.list(expected, |item| item.one_of(&ALGORITHMS))? {
            none if none.is_empty() => Err(field.wrong(expected)),
            some => Ok(some),
        }
    });
    let subject_claim = section.or("subject_claim", "sub".to_owned(), claim);
    let scope_claim = section.or("scope_claim", "scope".to_owned(), claim);
    let scopes = Scope::NAMES.map(|(name, scope)| {
        let words = section.or(name, vec![format!("polytty:{name}")], |field| {
            field.list(r#"a list of words such as ["terminal.use"]"#, |item| {
                item.text("a word of the claim that scope_claim names").map(str::to_owned)
            })
        });
        words.map(|words| (scope, words))
    });
    let providers_claim = section.optional("providers_claim", claim);
    let cookie = section.optional("cookie", |field| {
        let expected = "the name of a cookie: letters, digits, '.', '_' and '-'";
        let name = field.text(expected)?;
        let is_right = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if is_right { Ok(name.to_owned()) } else { Err(field.wrong(expected)) }
    });
    Ok(Jwt {
        issuer: issuer?,
        audience: audience?,
        source: source?,
        ca: ca?,
        allow_private: allow_private?,
        algorithms: algorithms?,
        subject_claim: subject_claim?,
        scope_claim: scope_claim?,
        scopes: scopes.into_iter().collect::<Read<Vec<_>>>()?,
        providers_claim: providers_claim?,
        cookie: cookie?,
    })
}
