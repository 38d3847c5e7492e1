use std::io::Write as _;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use serde_json::json;
use tempfile::NamedTempFile;

use super::*;
use crate::config::JwkSource;
use crate::provider::Dialer;

/// An issuer with one key of each kind, made for this test.
struct Issuer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: aws_lc_rs::rsa::KeyPair,
}

impl Issuer {
    fn new() -> Self {
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            rsa: aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap(),
        }
    }

    fn set(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let rsa = self.rsa.public_key();
        let (n, e) =
            (rsa.modulus().big_endian_without_leading_zero(), rsa.exponent().big_endian_without_leading_zero());
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
              "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": BASE64.encode(self.ed.public_key()) },
            { "kty": "RSA", "kid": "rsa", "alg": "RS256", "n": BASE64.encode(n), "e": BASE64.encode(e) },
            { "kty": "oct", "kid": "shared", "k": BASE64.encode(b"anybody who verifies by this can sign by it") },
            { "kty": "RSA", "kid": "locked", "use": "enc", "n": BASE64.encode(n), "e": BASE64.encode(e) },
            { "kty": "of the future", "kid": "future" },
        ] })
    }

    /// A token with this head and these claims, signed by the key that `with` names.
    fn token(&self, with: &str, head: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64.encode(value.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let random = SystemRandom::new();
        let signature = match with {
            "ec" => self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
            "ed" => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
            "rsa" => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            "nothing" => Vec::new(),
            // What somebody signs who takes a public key for a shared secret.
            secret => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
                aws_lc_rs::hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{signed}.{}", BASE64.encode(signature))
    }
}

const HEAD: &str = r#"{"alg":"ES256","kid":"ec","typ":"JWT"}"#;

fn head(change: impl FnOnce(&mut Value)) -> Value {
    let mut head = serde_json::from_str(HEAD).unwrap();
    change(&mut head);
    head
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let now = Timestamp::now().as_second();
    let mut claims = json!({
        "iss": "https://issuer.example", "aud": ["other", "polytty"], "sub": "alice", "exp": now + 300,
        "scope": "openid polytty:mint terminal.watch"
    });
    change(&mut claims);
    claims
}

fn settings() -> config::Jwt {
    config::Jwt {
        issuer: "https://issuer.example".to_owned(),
        audience: "polytty".to_owned(),
        source: JwkSource::File("unused".into()),
        ca: None,
        allow_private: false,
        algorithms: vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256],
        subject_claim: "sub".to_owned(),
        scope_claim: "scope".to_owned(),
        scopes: vec![
            (Scope::Mint, vec!["polytty:mint".to_owned()]),
            (Scope::Observe, vec!["polytty:observe".to_owned(), "terminal.watch".to_owned()]),
            (Scope::End, vec!["polytty:end".to_owned()]),
            (Scope::Admin, vec![]),
        ],
        providers_claim: None,
        cookie: None,
    }
}

fn tokens_with(set: &Value, settings: config::Jwt) -> (Tokens, NamedTempFile) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(set.to_string().as_bytes()).unwrap();
    let dialer = Dialer::new(None, false).unwrap();
    let keys = Jwks::new(&JwkSource::File(file.path().to_owned()), dialer).unwrap();
    (Tokens::new(settings, keys), file)
}

fn tokens(issuer: &Issuer) -> Tokens {
    tokens_with(&issuer.set(), settings()).0
}

#[tokio::test]
async fn a_good_token_says_who_somebody_is_and_what_they_may() {
    let issuer = Issuer::new();
    let tokens = tokens(&issuer);
    for (alg, kid) in [("ES256", "ec"), ("EdDSA", "ed"), ("RS256", "rsa")] {
        let token = issuer.token(kid, &json!({ "alg": alg, "kid": kid }), &claims(|_| ()));
        let alice = tokens.identify(&token).await.unwrap_or_else(|why| panic!("{alg}: {why:?}"));
        assert_eq!((alice.name(), alice.subject().map(|subject| &**subject)), ("jwt:alice", Some("alice")));
        assert!(alice.may(Scope::Mint) && alice.may(Scope::Observe));
        assert!(!alice.may(Scope::End) && !alice.may(Scope::Admin));
        assert!(alice.may_use("any"));
    }
    let anonymous_key = issuer.token("ec", &json!({ "alg": "ES256" }), &claims(|_| ()));
    assert!(tokens.identify(&anonymous_key).await.is_ok(), "without a kid, any key of that kind may have signed");
}

#[tokio::test]
async fn a_token_that_is_not_ours_not_now_or_not_signed_is_refused() {
    let issuer = Issuer::new();
    let tokens = tokens(&issuer);
    let now = Timestamp::now().as_second();
    let sign = |head: &Value, claims: &Value| issuer.token("ec", head, claims);
    let plain = head(|_| ());
    let good = sign(&plain, &claims(|_| ()));
    assert!(tokens.identify(&good).await.is_ok());
    let stranger = Issuer::new();
    let modulus = issuer.set()["keys"][2]["n"].as_str().unwrap().to_owned();
    let set = |key: &'static str, value: Value| claims(|claims| claims[key] = value);
    let headed = |key: &'static str, value: Value| sign(&head(|head| head[key] = value), &claims(|_| ()));
    let cases = [
        ("expired", sign(&plain, &set("exp", json!(now - 61))), Refused::Expired),
        ("no exp", sign(&plain, &set("exp", Value::Null)), Refused::Malformed),
        ("exp as text", sign(&plain, &set("exp", json!("tomorrow"))), Refused::Malformed),
        ("not yet", sign(&plain, &set("nbf", json!(now + 120))), Refused::NotYet),
        ("another audience", sign(&plain, &set("aud", json!("other"))), Refused::NotForUs),
        ("no audience", sign(&plain, &set("aud", Value::Null)), Refused::Malformed),
        ("another issuer", sign(&plain, &set("iss", json!("https://issuer.example.evil"))), Refused::NotForUs),
        ("no issuer", sign(&plain, &set("iss", Value::Null)), Refused::Malformed),
        ("no subject", sign(&plain, &set("sub", Value::Null)), Refused::NoSubject),
        ("an empty subject", sign(&plain, &set("sub", json!(""))), Refused::NoSubject),
        ("a subject that is no text", sign(&plain, &set("sub", json!(7))), Refused::NoSubject),
        ("a long subject", sign(&plain, &set("sub", json!("s".repeat(257)))), Refused::NoSubject),
        ("alg none", issuer.token("nothing", &json!({ "alg": "none" }), &claims(|_| ())), Refused::Malformed),
        ("alg NONE", issuer.token("nothing", &json!({ "alg": "NONE" }), &claims(|_| ())), Refused::Malformed),
        ("no signature", good.rsplit_once('.').unwrap().0.to_owned() + ".", Refused::Unknown),
        ("a stranger's signature", stranger.token("ec", &plain, &claims(|_| ())), Refused::Unknown),
        (
            "a public key as secret",
            issuer.token(&modulus, &json!({ "alg": "HS256", "kid": "rsa" }), &claims(|_| ())),
            Refused::Unknown,
        ),
        (
            "a shared key of the set",
            issuer.token(
                "anybody who verifies by this can sign by it",
                &json!({ "alg": "HS256", "kid": "shared" }),
                &claims(|_| ()),
            ),
            Refused::Unknown,
        ),
        ("an algorithm that is not the key's", headed("kid", json!("rsa")), Refused::Unknown),
        (
            "a key for encryption",
            issuer.token("rsa", &json!({ "alg": "RS256", "kid": "locked" }), &claims(|_| ())),
            Refused::Unknown,
        ),
        ("an unknown key", headed("kid", json!("gone")), Refused::Unknown),
        ("a path as kid", headed("kid", json!("../../../../dev/null")), Refused::Unknown),
        ("crit", headed("crit", json!(["exp"])), Refused::Malformed),
        ("no token", "a.b.c".to_owned(), Refused::Malformed),
        ("four parts", format!("{good}.x"), Refused::Malformed),
        ("too long", format!("{good}{}", "A".repeat(MAX_TOKEN)), Refused::Malformed),
    ];
    for (name, token, expected) in cases {
        assert_eq!(tokens.identify(&token).await, Err(expected), "{name}");
    }
    let (front, back) = good.split_at(good.len() - 10);
    let other = if back.starts_with('A') { "B" } else { "A" };
    assert_eq!(tokens.identify(&format!("{front}{other}{}", &back[1..])).await, Err(Refused::Unknown), "one bit");
}

/// Whatever a header says of where a key is, only the issuer's own keys count.
#[tokio::test]
async fn a_header_leads_to_no_key() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let tokens = tokens(&issuer);
    let foreign = stranger.set()["keys"][0].clone();
    for (name, value) in [
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/chain.pem")),
        ("jwk", foreign),
        ("x5c", json!(["MIIB"])),
    ] {
        let misled = head(|head| head[name] = value.clone());
        assert_eq!(
            tokens.identify(&stranger.token("ec", &misled, &claims(|_| ()))).await,
            Err(Refused::Unknown),
            "{name}"
        );
        assert!(
            tokens.identify(&issuer.token("ec", &misled, &claims(|_| ()))).await.is_ok(),
            "{name} is not looked at"
        );
    }
}

#[tokio::test]
async fn claims_of_other_names_can_say_the_same_and_name_providers() {
    let issuer = Issuer::new();
    let settings = config::Jwt {
        subject_claim: "email".to_owned(),
        scope_claim: "roles".to_owned(),
        providers_claim: Some("backends".to_owned()),
        ..settings()
    };
    let (tokens, _file) = tokens_with(&issuer.set(), settings);
    let with = |backends: Value| {
        issuer.token(
            "ec",
            &head(|_| ()),
            &claims(|claims| {
                claims["email"] = json!("alice@example.com");
                claims["roles"] = json!(["polytty:end", "polytty:mint polytty:observe", 7]);
                claims["backends"] = backends;
            }),
        )
    };
    let alice = tokens.identify(&with(json!(["pai", "eci"]))).await.unwrap();
    assert_eq!(alice.subject().map(|subject| &**subject), Some("alice@example.com"));
    assert!(alice.may(Scope::End) && !alice.may(Scope::Mint), "a word of a list is one word");
    assert!(alice.may_use("pai") && alice.may_use("eci") && !alice.may_use("oblien"));
    let nowhere = tokens.identify(&with(Value::Null)).await.unwrap();
    assert!(!nowhere.may_use("pai"), "who is to be told by a claim and has none may use none");
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_when_it_is_first_used_and_a_broken_set_does_not_drop_the_good_one() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let (tokens, file) = tokens_with(&old.set(), settings());
    let rotated = new.token("ec", &head(|head| head["kid"] = json!("next")), &claims(|_| ()));
    assert_eq!(tokens.identify(&rotated).await, Err(Refused::Unknown));
    let mut set = old.set();
    let mut next = new.set()["keys"][0].clone();
    next["kid"] = json!("next");
    set["keys"].as_array_mut().unwrap().push(next);
    std::fs::write(file.path(), set.to_string()).unwrap();
    assert_eq!(tokens.identify(&rotated).await, Err(Refused::Unknown), "it was looked at a moment ago");
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    assert!(tokens.identify(&rotated).await.is_ok());
    std::fs::write(file.path(), "{").unwrap();
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    let unknown = new.token("ec", &head(|head| head["kid"] = json!("other")), &claims(|_| ()));
    assert_eq!(tokens.identify(&unknown).await, Err(Refused::Unknown));
    assert!(tokens.identify(&rotated).await.is_ok());
}

#[test]
fn a_set_without_a_usable_key_is_told() {
    let dialer = || Dialer::new(None, false).unwrap();
    let of = |text: &str| {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Jwks::new(&JwkSource::File(file.path().to_owned()), dialer()).map(drop).map_err(|error| error.to_string())
    };
    assert!(of("[]").unwrap_err().starts_with("it is no JWK set"));
    assert!(of(r#"{"keys":[]}"#).unwrap_err().starts_with("none of its keys"));
    assert!(of(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).unwrap_err().starts_with("none of its keys"));
    let missing = Jwks::new(&JwkSource::File("/nonexistent/jwks.json".into()), dialer()).map(drop);
    assert!(missing.unwrap_err().to_string().starts_with("cannot read /nonexistent/jwks.json"));
}
