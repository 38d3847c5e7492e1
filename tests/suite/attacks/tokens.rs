//! JSON Web Tokens.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use jiff::Timestamp;
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::arena::Arena;
use super::{Row, Section, row};
use crate::issuer::Issuer;

/// The header and the claims of a token that is good once it is signed.
struct Token {
    header: Value,
    claims: Value,
}

fn token() -> Token {
    let exp = Timestamp::now().as_second() + 300;
    Token {
        header: json!({ "alg": "ES256", "typ": "JWT", "kid": "one" }),
        claims: json!({ "iss": Issuer::NAME, "aud": "polytty", "sub": "alice", "scope": "polytty:admin", "exp": exp }),
    }
}

impl Token {
    fn with(mut self, header: Value) -> Self {
        merge(&mut self.header, header);
        self
    }

    fn claiming(mut self, claims: Value) -> Self {
        merge(&mut self.claims, claims);
        self
    }

    fn signed_part(&self) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", encode(&self.header), encode(&self.claims))
    }

    fn with_signature(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.signed_part(), URL_SAFE_NO_PAD.encode(signature))
    }

    fn signed(&self, key: &KeyPair) -> String {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
        self.with_signature(key.sign(&SystemRandom::new(), self.signed_part().as_bytes()).unwrap().as_ref())
    }

    fn hashed(&self, secret: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        self.with_signature(hmac::sign(&key, self.signed_part().as_bytes()).as_ref())
    }
}

/// Sets the keys of `with`; one that is null goes.
fn merge(value: &mut Value, with: Value) {
    for (key, with) in with.as_object().unwrap() {
        match with {
            Value::Null => _ = value.as_object_mut().unwrap().remove(key),
            with => value[key] = with.clone(),
        }
    }
}

const REFUSED: &str = "401 `unauthenticated`";

/// A token, and what a call with it comes to.
fn shown(attack: &'static str, sent: &'static str, expected: &'static str, make: fn(&Issuer) -> String) -> Row {
    row(attack, sent, expected, move |arena| {
        Box::pin(async move { arena.call(&make(&arena.issuer), Method::GET, "/v1/sessions", None).await })
    })
}

/// A token that names a place where its key can be had. Nobody may go there.
fn leading(attack: &'static str, sent: &'static str, parameter: &'static str) -> Row {
    row(attack, sent, "401 `unauthenticated`, and nothing is fetched", move |arena| {
        Box::pin(async move {
            let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            trap.set_nonblocking(true).unwrap();
            let url = format!("https://{}/jwks.json", trap.local_addr().unwrap());
            let own = KeyPair::generate().unwrap();
            let token = token().with(json!({ parameter: url })).signed(&own);
            let came = arena.call(&token, Method::GET, "/v1/sessions", None).await;
            match trap.accept() {
                Err(_) => format!("{came}, and nothing is fetched"),
                Ok(_) => format!("{came}, but it is fetched"),
            }
        })
    })
}

fn point(key: &KeyPair) -> (String, String) {
    use rcgen::PublicKeyData as _;
    let (x, y) = key.der_bytes()[1..].split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

pub(super) fn section() -> Section {
    let rows = [algorithms(), keys(), claims()].into_iter().flatten().collect();
    Section { title: "Tokens", about: "Each as `Authorization: Bearer` of `GET /v1/sessions`.\n\n", rows }
}

fn algorithms() -> Vec<Row> {
    vec![
        shown("sound: a token", "ES256 by the issuer's key", "200", |issuer| token().signed(issuer.key())),
        shown("no algorithm", "`alg: none`, no signature", REFUSED, |_| {
            token().with(json!({ "alg": "none" })).with_signature(b"")
        }),
        shown("no algorithm", "`alg: nOnE`, the issuer's signature", REFUSED, |issuer| {
            token().with(json!({ "alg": "nOnE" })).signed(issuer.key())
        }),
        shown("key confusion", "`alg: HS256` by the issuer's public key, its raw bytes", REFUSED, |issuer| {
            use rcgen::PublicKeyData as _;
            token().with(json!({ "alg": "HS256" })).hashed(issuer.key().der_bytes())
        }),
        shown("key confusion", "`alg: HS256` by the issuer's public key, as PEM", REFUSED, |issuer| {
            token().with(json!({ "alg": "HS256" })).hashed(issuer.key().public_key_pem().as_bytes())
        }),
        shown("key confusion", "`alg: RS256` over an ES256 signature", REFUSED, |issuer| {
            token().with(json!({ "alg": "RS256" })).signed(issuer.key())
        }),
        shown("an algorithm that is not allowed", "`alg: ES384` over an ES256 signature", REFUSED, |issuer| {
            token().with(json!({ "alg": "ES384" })).signed(issuer.key())
        }),
        shown("an empty signature", "ES256, nothing behind the last dot", REFUSED, |_| token().with_signature(b"")),
        shown("a signature of zeros", "ES256, r = s = 0", REFUSED, |_| token().with_signature(&[0; 64])),
        shown("changed behind the signature", "the issuer's signature, another `sub`", REFUSED, |issuer| {
            let signed = token().signed(issuer.key());
            let signature = signed.rsplit('.').next().unwrap();
            format!("{}.{signature}", token().claiming(json!({ "sub": "bob" })).signed_part())
        }),
    ]
}

fn keys() -> Vec<Row> {
    vec![
        shown("wrong key", "ES256 by another key, the issuer's `kid`", REFUSED, |_| {
            token().signed(&KeyPair::generate().unwrap())
        }),
        leading("a key of one's own by URL", "`jku` with the attacker's URL", "jku"),
        leading("a key of one's own by URL", "`x5u` with the attacker's URL", "x5u"),
        leading("a key of one's own by URL", "`kid` with the attacker's URL", "kid"),
        shown("a key of one's own inside", "`jwk` with the attacker's key", REFUSED, |_| {
            let own = KeyPair::generate().unwrap();
            let (x, y) = point(&own);
            token().with(json!({ "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y } })).signed(&own)
        }),
        shown("a key of one's own inside", "`x5c` with the attacker's certificate", REFUSED, |_| {
            let own = rcgen::generate_simple_self_signed(["issuer.example".to_owned()]).unwrap();
            token().with(json!({ "x5c": [STANDARD.encode(own.cert.der())] })).signed(&own.signing_key)
        }),
        shown("`kid` as a path", "`kid: ../../../../dev/null`, HS256 by nothing", REFUSED, |_| {
            token().with(json!({ "alg": "HS256", "kid": "../../../../dev/null" })).hashed(b"")
        }),
        shown("`kid` as a path", "`kid: /proc/self/environ`, the issuer's signature", REFUSED, |issuer| {
            token().with(json!({ "kid": "/proc/self/environ" })).signed(issuer.key())
        }),
        shown("`kid` as a query", "`kid: one' OR '1'='1`, the issuer's signature", REFUSED, |issuer| {
            token().with(json!({ "kid": "one' OR '1'='1" })).signed(issuer.key())
        }),
        shown("a rule that is not known", "`crit: [\"exp2\"]`, the issuer's signature", REFUSED, |issuer| {
            token().with(json!({ "crit": ["exp2"], "exp2": 1 })).signed(issuer.key())
        }),
    ]
}

fn claims() -> Vec<Row> {
    fn claiming(issuer: &Issuer, claims: Value) -> String {
        token().claiming(claims).signed(issuer.key())
    }
    vec![
        shown("wrong audience", "`aud: other`", REFUSED, |issuer| claiming(issuer, json!({ "aud": "other" }))),
        shown("no audience", "no `aud`", REFUSED, |issuer| claiming(issuer, json!({ "aud": null }))),
        shown("wrong issuer", "`iss: https://evil.example`", REFUSED, |issuer| {
            claiming(issuer, json!({ "iss": "https://evil.example" }))
        }),
        shown("expired", "`exp` an hour ago", REFUSED, |issuer| {
            claiming(issuer, json!({ "exp": Timestamp::now().as_second() - 3600 }))
        }),
        shown("good for ever", "no `exp`", REFUSED, |issuer| claiming(issuer, json!({ "exp": null }))),
        shown("not valid yet", "`nbf` in an hour", REFUSED, |issuer| {
            claiming(issuer, json!({ "nbf": Timestamp::now().as_second() + 3600 }))
        }),
        shown("nobody's", "no `sub`", REFUSED, |issuer| claiming(issuer, json!({ "sub": null }))),
        shown("a subject that breaks lines", "`sub` with CR, LF and ESC", REFUSED, |issuer| {
            claiming(issuer, json!({ "sub": "alice\r\n\u{1b}[2JINFO forged" }))
        }),
        shown("too long", "more than 8 KiB", REFUSED, |issuer| claiming(issuer, json!({ "x": "x".repeat(7 * 1024) }))),
        row("a token in place of a key", "a good token with `polytty_` before it", REFUSED, |arena: &Arena| {
            Box::pin(async move {
                let token = format!("polytty_{}", token().signed(arena.issuer.key()));
                arena.call(&token, Method::GET, "/v1/sessions", None).await
            })
        }),
    ]
}
