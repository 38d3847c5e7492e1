//! Tickets, and pages of other origins.

use http::Method;

use super::arena::{Arena, PLAIN, link, then_sound, upgrade};
use super::{Row, Section, row};
use crate::common::Connect;

pub(super) fn tickets() -> Section {
    Section {
        title: "One-time links",
        about: "",
        rows: [uses(), near_misses(), others()].into_iter().flatten().collect(),
    }
}

fn uses() -> Vec<Row> {
    vec![
        row("sound: a link", "an upgrade", "101", |arena| {
            Box::pin(async move { upgrade(&arena.world, &arena.world.mint("local").await, PLAIN).await })
        }),
        row("replayed", "the same upgrade once more", "410", |arena| {
            Box::pin(async move {
                let link = arena.world.mint("local").await;
                upgrade(&arena.world, &link, PLAIN).await;
                upgrade(&arena.world, &link, PLAIN).await
            })
        }),
        row("raced", "20 upgrades at once", "101 once, 410 for 19", |arena| {
            Box::pin(async move {
                let link = arena.world.mint("local").await;
                let racers = (0..20).map(|_| upgrade(&arena.world, &link, PLAIN));
                let came = futures_util::future::join_all(racers).await;
                let count = |status| came.iter().filter(|came| *came == status).count();
                format!("101 {}, 410 for {}", if count("101") == 1 { "once" } else { "not once" }, count("410"))
            })
        }),
        row("expired", "an upgrade when `tickets.ttl` is over", "410", |arena| {
            Box::pin(async move {
                let link = arena.brief.mint("local").await;
                // The session ends when its link does, which is what is waited for.
                arena.brief.until(&link.session, "ended").await;
                upgrade(&arena.brief, &link, PLAIN).await
            })
        }),
        row("prefetched by GET", "`GET` of the link without an upgrade", "426; the link stays good", |arena| {
            Box::pin(fetched(arena, Method::GET))
        }),
        row("prefetched by HEAD", "`HEAD` of the link", "426; the link stays good", |arena| {
            Box::pin(fetched(arena, Method::HEAD))
        }),
        row("other methods", "`POST`, then an upgrade by `POST`", "426; the link stays good", |arena| {
            Box::pin(fetched(arena, Method::POST))
        }),
    ]
}

async fn fetched(arena: &Arena, method: Method) -> String {
    let link = arena.world.mint("local").await;
    let fields = [("purpose", "prefetch"), ("sec-purpose", "prefetch;prerender")];
    let answer = arena.world.http(method.clone(), link.path(), None, &fields).await;
    if method == Method::POST {
        let upgrade = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")];
        assert_eq!(arena.world.http(method, link.path(), None, &upgrade).await.status, 426);
    }
    then_sound(answer.status.as_u16().to_string(), &arena.world, &link, PLAIN).await
}

fn near_misses() -> Vec<Row> {
    vec![
        row("guessed", "100 tickets of 256 random bits", "404 for each", |arena| {
            Box::pin(async move {
                for _ in 0..100 {
                    // An API key has as many, in the same alphabet.
                    let guess = polytty::auth::new_key().unwrap().0.replace("polytty_", "/t/");
                    let came = upgrade(&arena.world, &link(&guess), PLAIN).await;
                    if came != "404" {
                        return came;
                    }
                }
                "404 for each".to_owned()
            })
        }),
        missed("truncated", "the ticket without its last character", |path| path[..path.len() - 1].to_owned()),
        missed("extended", "the ticket and one character more", |path| format!("{path}A")),
        missed("case changed", "the ticket with its letters in the other case", |path| {
            let other = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            format!("/t/{}", path[3..].chars().map(other).collect::<String>())
        }),
        missed("another spelling of the same bits", "the last character with its two spare bits set", |path| {
            const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let last = ALPHABET.iter().position(|byte| *byte == path.as_bytes()[path.len() - 1]).unwrap();
            format!("{}{}", &path[..path.len() - 1], char::from(ALPHABET[last ^ 1]))
        }),
        missed("percent-encoded", "the first character as `%XX`", |path| {
            format!("/t/%{:02X}{}", path.as_bytes()[3], &path[4..])
        }),
        missed("another path", "`//t/TICKET`", |path| format!("/{path}")),
        missed("another path", "`/t/TICKET/`", |path| format!("{path}/")),
        missed("another path", "`/T/TICKET`", |path| path.replacen("/t/", "/T/", 1)),
        missed("in the query", "`/t/?TICKET`", |path| path.replacen("/t/", "/t/?", 1)),
    ]
}

fn missed(attack: &'static str, sent: &'static str, change: fn(&str) -> String) -> Row {
    row(attack, sent, "404; the link stays good", move |arena| {
        Box::pin(async move {
            let real = arena.world.mint("local").await;
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                change(real.path())
            );
            let came = arena.raw(arena.filled(&request)).await;
            let missed = came.strip_suffix(", the end").unwrap_or(&came).to_owned();
            then_sound(missed, &arena.world, &real, PLAIN).await
        })
    })
}

fn others() -> Vec<Row> {
    vec![
        row("sound: a link of one subject", "the upgrade with that subject's key", "101", |arena| {
            Box::pin(async move { others_link(arena, arena.key("alice")).await })
        }),
        row("another subject's link", "the upgrade with nobody's key", "404", |arena| {
            Box::pin(async move { others_link(arena, arena.key("observe")).await })
        }),
        row("another subject's link", "the upgrade with another subject's token", "404", |arena| {
            Box::pin(async move { others_link(arena, &arena.issuer.token("bob", "polytty:admin")).await })
        }),
    ]
}

async fn others_link(arena: &Arena, credential: &str) -> String {
    let link = arena
        .world
        .mint_with("local", |body| {
            body["subject"] = "alice".into();
            body["shared"] = false.into();
        })
        .await;
    let field = format!("Bearer {credential}");
    let how = Connect { field: Some(("authorization", &field)), ..PLAIN };
    upgrade(&arena.world, &link, how).await
}

pub(super) fn origins() -> Section {
    let foreign = |attack, sent, origin: fn(&Arena) -> String| {
        row(attack, sent, "403; the link stays good", move |arena| {
            Box::pin(async move {
                let (link, origin) = (arena.world.mint("local").await, origin(arena));
                let how = Connect { subprotocol: Some("polytty.v1"), origin: Some(&origin), field: None };
                then_sound(upgrade(&arena.world, &link, how).await, &arena.world, &link, PLAIN).await
            })
        })
    };
    let own = |arena: &Arena| format!("https://{}", arena.world.address);
    let rows =
        vec![
            row("sound: the own origin", "an upgrade with `Origin` of `server.public_url`", "101", move |arena| {
                Box::pin(async move {
                    let (link, own) = (arena.world.mint("local").await, own(arena));
                    upgrade(&arena.world, &link, Connect { origin: Some(&own), ..PLAIN }).await
                })
            }),
            row("no origin", "an upgrade without `Origin`: no browser, so the link decides", "101", |arena| {
                Box::pin(async move { upgrade(&arena.world, &arena.world.mint("local").await, PLAIN).await })
            }),
            foreign("cross-site upgrade", "`Origin: https://evil.example`", |_| "https://evil.example".to_owned()),
            foreign("a sandboxed page", "`Origin: null`", |_| "null".to_owned()),
            foreign("no value", "`Origin:`", |_| String::new()),
            foreign("a file", "`Origin: file://`", |_| "file://".to_owned()),
            foreign("without TLS", "the own origin with `http`", |arena| format!("http://{}", arena.world.address)),
            foreign("another port", "the own host with port 1", |_| "https://127.0.0.1:1".to_owned()),
            foreign("a name that begins alike", "the own origin and `.evil.example`", |arena| {
                format!("https://{}.evil.example", arena.world.address)
            }),
            foreign("a name within another", "`Origin: https://evil.example/?` and the own origin", |arena| {
                format!("https://evil.example/?https://{}", arena.world.address)
            }),
            row("two origins", "the own origin, then a foreign one", "403; the link stays good", move |arena| {
                Box::pin(async move {
                    let (link, own) = (arena.world.mint("local").await, own(arena));
                    let field = Some(("origin", "https://evil.example"));
                    let two = upgrade(&arena.world, &link, Connect { origin: Some(&own), field, ..PLAIN }).await;
                    then_sound(two, &arena.world, &link, PLAIN).await
                })
            }),
            row("cross-site call", "`POST /v1/sessions` with a good key from a foreign page", "403", |arena| {
                Box::pin(async move {
                    let key = format!("Bearer {}", arena.world.key);
                    let fields = [("origin", "https://evil.example"), ("authorization", key.as_str())];
                    let body = serde_json::json!({ "provider": "local", "target": {} });
                    let answer = arena.world.http(Method::POST, "/v1/sessions", Some(body), &fields).await;
                    answer.status.as_u16().to_string()
                })
            }),
            row("DNS rebinding", "a call with a foreign `Host`", "421, the end", |arena| {
                Box::pin(async move {
                    arena
                        .raw(arena.filled(
                            "GET /v1/sessions HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer KEY\r\n\r\n",
                        ))
                        .await
                })
            }),
        ];
    Section { title: "Origin and Host", about: "", rows }
}
