//! Clients that show a certificate, to the whole proxy.

use http::Method;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use crate::common::{Client, Connect, Shown, Site, World};

/// A root for clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str) -> Shown {
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &self.0).unwrap();
        Shown { certificate: leaf.der().clone(), key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    /// A world that trusts it, and has these keys besides the usual one.
    async fn world(&self, keys: Vec<Value>, client_auth: &str) -> World {
        // The folder of the configuration is not there yet.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.pem");
        std::fs::write(&file, self.0.pem()).unwrap();
        World::with(|config| {
            config["tls"]["client_ca"] = json!(file);
            config["tls"]["client_auth"] = json!(client_auth);
            config["keys"].as_array_mut().unwrap().extend(keys);
        })
        .await
    }
}

async fn status(site: &Site, method: Method, path: &str) -> u16 {
    let body = (method == Method::POST).then(|| json!({ "provider": "local", "target": {} }));
    site.http(method, path, body, &[]).await.status.as_u16()
}

#[tokio::test]
async fn a_certificate_is_worth_what_the_key_says_that_names_it() {
    let authority = Authority::new();
    let keys = vec![
        json!({ "name": "portal", "certificate": "portal.example", "scopes": ["mint"] }),
        json!({ "name": "late", "certificate": "late.example", "expires_at": "2020-01-01T00:00:00Z" }),
    ];
    let world = authority.world(keys, "optional").await;
    let portal = world.showing(authority.sign("portal.example"));
    assert_eq!(status(&portal, Method::POST, "/v1/sessions").await, 201);
    assert_eq!(status(&portal, Method::GET, "/v1/sessions").await, 403, "its scope is to mint");
    let usual = portal.api(Method::GET, "/v1/sessions", None).await;
    assert_eq!(usual.status, 200, "a credential in the request goes before it");
    let wrong = portal.call("polytty_wrong", Method::GET, "/v1/sessions", None).await;
    assert_eq!(wrong.status, 401, "also a wrong one");
    for nobody in ["other.example", "late.example"] {
        let nobody = world.showing(authority.sign(nobody));
        assert_eq!(status(&nobody, Method::POST, "/v1/sessions").await, 401);
    }
    assert_eq!(status(&world, Method::POST, "/v1/sessions").await, 401, "nor without one");
}

#[tokio::test]
async fn a_link_of_one_subject_is_used_by_the_certificate_of_that_subject_alone() {
    let authority = Authority::new();
    let keys =
        ["alice", "bob"].map(|name| json!({ "name": name, "certificate": format!("{name}.example"), "subject": name }));
    let world = authority.world(keys.into(), "optional").await;
    let link = world
        .mint_with("local", |body| {
            body["subject"] = json!("alice");
            body["shared"] = json!(false);
        })
        .await;
    let bob = world.showing(authority.sign("bob.example"));
    for stranger in [&bob, &*world] {
        let mut refused = Client::connect(stranger, &link, Connect::default()).await.unwrap();
        assert_eq!(refused.drain().await.code, 4404);
    }
    let alice = world.showing(authority.sign("alice.example"));
    Client::connect(&alice, &link, Connect::default()).await.unwrap().ready().await;
}

#[tokio::test]
async fn where_certificates_are_required_nobody_gets_as_far_as_http_without_one() {
    let authority = Authority::new();
    let world = authority.world(Vec::new(), "required").await;
    let link = world.showing(authority.sign("anybody.example")).mint("local").await;
    assert_eq!(world.raw("GET / HTTP/1.1\r\n\r\n").await, "", "the handshake has failed");
    let anybody = world.showing(authority.sign("anybody.example"));
    Client::connect(&anybody, &link, Connect::default()).await.unwrap().ready().await;
}
