//! Who may do what, as keys and tokens say, and links that only their subject can use.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Client, Connect, Link, World};
use crate::issuer::Issuer;

/// A world with further keys, each with a name and the keys of its entry.
async fn world(keys: Vec<(&str, Value)>, issuer: &Issuer) -> (World, Vec<String>) {
    let mut secrets = Vec::new();
    let world = World::with(|config| {
        for (name, mut entry) in keys {
            let (key, hash) = polytty::auth::new_key().unwrap();
            entry["name"] = json!(name);
            entry["hash"] = json!(format!("sha256:{}", hash.map(|byte| format!("{byte:02x}")).concat()));
            config["keys"].as_array_mut().unwrap().push(entry);
            secrets.push(key);
        }
        config["jwt"] = json!({
            "issuer": Issuer::NAME,
            "audience": "polytty",
            "jwks": issuer.file(),
            "cookie": "login",
        });
    })
    .await;
    (world, secrets)
}

/// A call, and a body where it needs one.
type Call = (Method, String, Option<Value>);

async fn status(world: &World, credential: &str, (method, path, body): Call) -> u16 {
    world.call(credential, method, &path, body).await.status.as_u16()
}

#[tokio::test]
async fn every_call_needs_its_scope_and_no_other_gives_it() {
    let issuer = Issuer::new();
    let scopes = ["mint", "observe", "end", "admin"];
    let keys = scopes.map(|scope| (scope, json!({ "scopes": [scope] })));
    let (world, keys) = world(keys.into(), &issuer).await;
    let tokens: Vec<_> = scopes.iter().map(|scope| issuer.token("alice", &format!("polytty:{scope}"))).collect();
    let calls = async |subject: Option<&str>| {
        let link = world.mint_with("local", |body| body["subject"] = json!(subject)).await;
        let session = format!("/v1/sessions/{}", link.session);
        let new = json!({ "provider": "local", "target": {} });
        [
            ("mint", (Method::POST, "/v1/sessions".to_owned(), Some(new)), 201),
            ("mint", (Method::POST, format!("{session}/links"), Some(json!({}))), 201),
            ("observe", (Method::GET, "/v1/sessions".to_owned(), None), 200),
            ("observe", (Method::GET, session.clone(), None), 200),
            ("observe", (Method::GET, "/v1/providers".to_owned(), None), 200),
            ("observe", (Method::GET, format!("{session}/scrollback"), None), 404),
            ("observe", (Method::GET, format!("{session}/recording"), None), 404),
            ("end", (Method::DELETE, session, None), 204),
        ]
    };
    for credentials in [&keys, &tokens] {
        for (has, credential) in scopes.iter().zip(credentials.iter()) {
            for (needs, call, granted) in calls(Some("alice")).await {
                let expected = if *has == needs || *has == "admin" { granted } else { 403 };
                // Whether a session that nobody has opened yet has a scrollback is not asked here.
                let got = status(&world, credential, call.clone()).await;
                let is_right = got == expected || (expected == 404 && got == 200);
                assert!(is_right, "{has}: {call:?}: {got} instead of {expected}");
            }
        }
    }
    let answer = world.call(&keys[1], Method::POST, "/v1/sessions", Some(json!({}))).await;
    assert_eq!(answer.body["code"], "forbidden");
    assert!(answer.body["detail"].as_str().unwrap().contains("scope mint"), "{}", answer.body);
}

#[tokio::test]
async fn who_acts_for_one_subject_or_provider_finds_nothing_of_the_others() {
    let issuer = Issuer::new();
    let keys = vec![
        ("alice", json!({ "subject": "alice" })),
        ("pai-only", json!({ "providers": ["pai"] })),
        ("late", json!({ "expires_at": "2020-01-01T00:00:00Z" })),
    ];
    let (world, keys) = world(keys, &issuer).await;
    let bobs = world.mint_with("local", |body| body["subject"] = json!("bob")).await;
    let alices = world.mint_with("local", |body| body["subject"] = json!("alice")).await;
    let [alice, pai_only, late] = keys.as_slice() else { panic!("{keys:?}") };
    let token = issuer.token("alice", "polytty:mint polytty:observe polytty:end");
    for credential in [alice, &token] {
        let listed = world.call(credential, Method::GET, "/v1/sessions", None).await.body;
        let ids: Vec<_> = listed["sessions"].as_array().unwrap().iter().map(|session| &session["id"]).collect();
        assert!(ids.contains(&&json!(alices.session)) && !ids.contains(&&json!(bobs.session)), "{ids:?}");
        for call in [
            (Method::GET, format!("/v1/sessions/{}", bobs.session), None),
            (Method::GET, format!("/v1/sessions/{}/scrollback", bobs.session), None),
            (Method::POST, format!("/v1/sessions/{}/links", bobs.session), Some(json!({}))),
            (Method::DELETE, format!("/v1/sessions/{}", bobs.session), None),
        ] {
            assert_eq!(status(&world, credential, call.clone()).await, 404, "as if it were not there: {call:?}");
        }
        let body = json!({ "provider": "local", "target": {}, "subject": "bob" });
        let refused = world.call(credential, Method::POST, "/v1/sessions", Some(body)).await;
        assert_eq!((refused.status.as_u16(), &refused.body["code"]), (403, &json!("forbidden")));
        let body = json!({ "provider": "local", "target": {} });
        let made = world.call(credential, Method::POST, "/v1/sessions", Some(body)).await.body;
        assert_eq!(world.session(made["id"].as_str().unwrap()).await["subject"], "alice");
    }
    let providers = world.call(pai_only, Method::GET, "/v1/providers", None).await.body;
    assert_eq!(providers["providers"].as_array().unwrap().len(), 1);
    assert_eq!(providers["providers"][0]["name"], "pai");
    let refused =
        world.call(pai_only, Method::POST, "/v1/sessions", Some(json!({ "provider": "local", "target": {} }))).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body["detail"].as_str().unwrap().ends_with("known are pai"), "{}", refused.body);
    let expired = world.call(late, Method::GET, "/v1/sessions", None).await;
    assert_eq!(expired.status, 401);
    assert!(expired.body["detail"].as_str().unwrap().contains("has expired"), "{}", expired.body);
    assert!(expired.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
}

/// How a client shows who it is.
fn shown<'a>(field: &'a str, value: &'a str) -> Connect<'a> {
    Connect { field: Some((field, value)), ..Connect::default() }
}

#[tokio::test]
async fn a_link_of_one_subject_is_unknown_to_everybody_else_and_stays_good() {
    let issuer = Issuer::new();
    let keys = vec![("alice", json!({ "subject": "alice" })), ("anybody", json!({}))];
    let (world, keys) = world(keys, &issuer).await;
    let token = issuer.token("alice", "");
    let bearer = |credential: &str| format!("Bearer {credential}");
    let bob = bearer(&issuer.token("bob", "polytty:admin"));
    let (by_key, by_token) = (bearer(&keys[0]), bearer(&token));
    let cookie = format!("other=1; login={token}");
    let offered = format!("polytty.v1, polytty.token.{token}");
    let in_offer = Connect { subprotocol: Some(&offered), ..Connect::default() };
    let ways = [shown("authorization", &by_key), shown("authorization", &by_token), shown("cookie", &cookie), in_offer];
    for alice in ways {
        let link = world
            .mint_with("local", |body| {
                body["subject"] = json!("alice");
                body["shared"] = json!(false);
            })
            .await;
        for stranger in [Connect::default(), shown("authorization", &bob), shown("authorization", &bearer(&keys[1]))] {
            let mut refused = Client::connect(&world, &link, stranger).await.unwrap();
            let closed = refused.drain().await;
            assert_eq!(closed.code, 4404, "{stranger:?}: {closed:?}");
        }
        let mut client = Client::connect(&world, &link, alice).await.unwrap();
        assert_eq!(client.subprotocol.as_deref(), Some("polytty.v1"), "no token is echoed");
        let ready = client.ready().await;
        assert_eq!(client.run("echo in").await, "in\r\n");

        // The way back is hers as well.
        drop(client);
        world.until(&link.session, "detached").await;
        let back = Link { url: ready["resume"]["url"].as_str().unwrap().to_owned(), session: link.session.clone() };
        for stranger in [Connect::default(), shown("authorization", &bob)] {
            let mut refused = Client::connect(&world, &back, stranger).await.unwrap();
            assert_eq!(refused.drain().await.code, 4404);
        }
        let mut client = Client::connect(&world, &back, alice).await.unwrap();
        client.ready().await;
        // So is a link for watching that she asks for.
        let path = format!("/v1/sessions/{}/links", link.session);
        let viewer = world.call(&keys[0], Method::POST, &path, Some(json!({ "role": "viewer" }))).await.body;
        let viewer = Link { url: viewer["url"].as_str().unwrap().to_owned(), session: link.session.clone() };
        let mut refused = Client::connect(&world, &viewer, Connect::default()).await.unwrap();
        assert_eq!(refused.drain().await.code, 4404);
        let mut watching = Client::connect(&world, &viewer, alice).await.unwrap();
        assert_eq!(watching.ready().await["role"], "viewer");
        client.say(json!({ "operation": "close" })).await;
        client.drain().await;
    }
}

#[tokio::test]
async fn a_wrong_credential_is_told_unless_the_browser_had_no_choice_but_to_send_it() {
    let issuer = Issuer::new();
    let (world, _) = world(Vec::new(), &issuer).await;
    let link = world.mint("local").await;
    let expired = issuer.expired_token("alice");
    let wrong = format!("Bearer {expired}");
    let offered = format!("polytty.v1, polytty.token.{expired}");
    let in_offer = Connect { subprotocol: Some(&offered), ..Connect::default() };
    for how in [shown("authorization", &wrong), shown("authorization", "Basic YTpi"), in_offer] {
        let mut refused = Client::connect(&world, &link, how).await.unwrap();
        let closed = refused.drain().await;
        assert_eq!(closed.code, 4401, "{how:?}: {closed:?}");
        assert!(closed.reason.starts_with("unauthenticated: "), "{closed:?}");
    }
    let cookie = format!("login={expired}");
    let mut client = Client::connect(&world, &link, shown("cookie", &cookie)).await.unwrap();
    client.ready().await;
}

#[tokio::test]
async fn a_link_of_one_subject_needs_a_subject() {
    let world = World::start().await;
    let body = json!({ "provider": "local", "target": {}, "shared": false });
    let refused = world.api(Method::POST, "/v1/sessions", Some(body)).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (422, &json!("bad_message")));
    assert!(refused.body["detail"].as_str().unwrap().contains("needs a subject"), "{}", refused.body);
}

/// The keys of an issuer that is a web server: fetched over TLS, and again when they change.
#[tokio::test]
async fn the_keys_of_an_issuer_are_fetched_and_fetched_again_when_a_new_one_is_used() {
    let issuer = Issuer::new();
    let served = issuer.serve().await;
    let world = World::with(|config| {
        config["jwt"] = json!({
            "issuer": Issuer::NAME,
            "audience": "polytty",
            "jwks": served.url(),
            "ca": served.ca(),
            "allow_private": true,
        });
    })
    .await;
    let token = issuer.token("alice", "polytty:observe");
    crate::common::eventually(async || {
        let status = world.call(&token, Method::GET, "/v1/providers", None).await.status.as_u16();
        assert!([200, 503].contains(&status), "{status}");
        (status == 200).then_some(())
    })
    .await;
    assert_eq!(served.asked(), 1, "many tokens, one look");
}
