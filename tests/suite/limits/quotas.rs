//! Sessions, links and openings: by subject, by provider, in total.

use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{ask, limited, local, proxy, proxy_with, told, told_by};
use crate::common::{Client, Connect, Link, eventually};

#[tokio::test]
async fn links_for_one_subject_have_a_rate_whoever_mints_them_and_leave_the_key_s_own_alone() {
    let proxy = proxy(
        json!({ "subject_mints_per_second": 1, "subject_mint_burst": 3, "mint_burst": 12, "mints_per_second": 1 }),
    );
    let mint = async |subject: &str| {
        let mut body = local();
        body["subject"] = json!(subject);
        ask(&proxy, body).await
    };
    let started = Instant::now();
    let first = mint("ada").await;
    assert_eq!(first.status, 201);
    // Another link to her session is one for her, too.
    let links = format!("/v1/sessions/{}/links", first.body["id"].as_str().unwrap());
    assert_eq!(proxy.api(Method::POST, &links, Some(json!({}))).await.status, 201);
    assert_eq!(mint("ada").await.status, 201);
    let mut refused = None;
    for _ in 0..=started.elapsed().as_secs() + 20 {
        let answer = mint("ada").await;
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("she has had her share");
    assert_eq!(refused.body["code"], "rate_limited");
    let wait = told(&refused.headers, "subject_mints_per_second", "q=3;w=3");
    assert_eq!(mint("bob").await.status, 201, "of the key's twelve, those refused took none");
    sleep(wait).await;
    assert_eq!(mint("ada").await.status, 201);
    assert!(limited(&proxy, "subject_mints_per_second").await >= 15);
}

#[tokio::test]
async fn a_subject_has_so_many_sessions_and_one_that_ends_makes_room() {
    let proxy = proxy(json!({ "sessions_per_subject": 2 }));
    let mut hers = local();
    hers["subject"] = json!("ada");
    let first = ask(&proxy, hers.clone()).await;
    assert_eq!(
        (first.status, ask(&proxy, hers.clone()).await.status),
        (201.try_into().unwrap(), 201.try_into().unwrap())
    );
    let refused = ask(&proxy, hers.clone()).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("quota_exceeded")));
    told(&refused.headers, "sessions_per_subject", "q=2");
    let mut his = local();
    his["subject"] = json!("bob");
    assert_eq!(ask(&proxy, his).await.status, 201);
    assert_eq!(ask(&proxy, local()).await.status, 201, "nobody in particular");
    let path = format!("/v1/sessions/{}", first.body["id"].as_str().unwrap());
    assert_eq!(proxy.api(Method::DELETE, &path, None).await.status, 204);
    eventually(async || (ask(&proxy, hers.clone()).await.status == 201).then_some(())).await;
}

#[tokio::test]
async fn all_sessions_all_sessions_of_a_provider_and_all_links_have_a_bound() {
    for (limits, provider, limit, policy) in [
        (json!({ "sessions": 2 }), json!({}), "sessions", "q=2"),
        (json!({}), json!({ "max_sessions": 2 }), "max_sessions", "q=2"),
        (json!({ "tickets": 2 }), json!({}), "tickets", "q=2"),
    ] {
        let proxy = proxy_with(limits, |config| {
            for (key, value) in provider.as_object().unwrap() {
                config["providers"][0][key] = value.clone();
            }
        });
        let first = proxy.mint("local").await;
        let _second = proxy.mint("local").await;
        let refused = ask(&proxy, local()).await;
        assert_eq!((refused.status.as_u16(), &refused.body["code"]), (429, &json!("quota_exceeded")), "{limit}");
        told(&refused.headers, limit, policy);
        assert_eq!(limited(&proxy, limit).await, 1, "{limit}");
        let mut client = Client::connect(&proxy, &first, Connect::default()).await.unwrap();
        client.ready().await;
        client.say(json!({ "operation": "close" })).await;
        client.drain().await;
        eventually(async || (ask(&proxy, local()).await.status == 201).then_some(())).await;
    }
}

#[tokio::test]
async fn terminals_are_opened_at_the_provider_s_rate_in_their_turn_and_who_would_wait_too_long_is_told_when_to_come_back()
 {
    let proxy = proxy_with(json!({}), |config| {
        config["providers"][0]["opens_per_second"] = json!(1);
        config["providers"][0]["open_burst"] = json!(1);
        config["providers"][0]["open_timeout"] = json!("2s");
    });
    let mut links: Vec<Link> = Vec::new();
    for _ in 0..8 {
        links.push(proxy.mint("local").await);
    }
    let started = Instant::now();
    let open = async |link: &Link| {
        let mut client = Client::connect(&proxy, link, Connect::default()).await.unwrap();
        while client.said.is_empty() && client.read().await {}
        if client.said[0]["operation"] == "ready" {
            return Ok(client);
        }
        assert_eq!(client.said[0]["code"], "rate_limited", "{:?}", client.said);
        Err(told_by(&client.drain().await, "rate_limited"))
    };
    let outcomes = futures_util::future::join_all(links.iter().map(open)).await;
    let opened = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    let most = 2 + started.elapsed().as_secs();
    assert!((2..=most).contains(&opened) && opened < 8, "{opened} of 2 to {most}");
    let wait = outcomes.into_iter().find_map(Result::err).unwrap();
    assert!(limited(&proxy, "opens_per_second").await >= 1);
    sleep(wait).await;
    let mut client = proxy.open("local").await;
    assert_eq!(client.run("echo mine").await, "mine\r\n");
    let providers = proxy.api(Method::GET, "/v1/providers", None).await;
    assert_eq!(providers.body["providers"][0]["health"], "ok", "it says nothing of the provider");
}

#[tokio::test]
async fn one_viewer_too_many_is_told_when_to_come_back_and_gets_in_when_another_has_left() {
    let proxy = proxy_with(json!({}), |config| config["sessions"] = json!({ "max_viewers": 1 }));
    let writer = proxy.open("local").await;
    let watch = async || {
        let path = format!("/v1/sessions/{}/links", writer.session);
        let link = proxy.api(Method::POST, &path, Some(json!({ "role": "viewer" }))).await;
        let url = link.body["url"].as_str().unwrap().to_owned();
        let link = Link { session: writer.session.clone(), url };
        let mut viewer = Client::connect(&proxy, &link, Connect::default()).await.unwrap();
        while viewer.said.is_empty() && viewer.read().await {}
        viewer
    };
    let mut first = watch().await;
    assert_eq!(first.said[0]["operation"], "ready");
    let mut second = watch().await;
    told_by(&second.drain().await, "quota_exceeded");
    assert_eq!(limited(&proxy, "max_viewers").await, 1);
    first.ws.close(None).await.unwrap();
    first.drain().await;
    eventually(async || (watch().await.said[0]["operation"] == "ready").then_some(())).await;
}
