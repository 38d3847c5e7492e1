//! Scopes, and what names can do: to headers, to the log, to the file system.

use http::Method;
use serde_json::{Value, json};

use super::arena::{Arena, PLAIN, told, upgrade};
use super::{Row, Section, row};
use crate::common::Connect;

/// One call, with every credential that lacks what it needs.
fn needs(scope: &'static str, call: &'static str, method: Method, path: &'static str, body: Option<Value>) -> Row {
    row("scope escalation", call, "401 without a key, 403 `forbidden` with any other scope", move |arena| {
        let (method, body) = (method.clone(), body.clone());
        Box::pin(async move {
            let link = arena.world.mint("local").await;
            let path = path.replace("ID", &link.session);
            let nobody = arena.world.http(method.clone(), &path, body.clone(), &[]).await.status.as_u16();
            let others = ["mint", "observe", "end"].into_iter().filter(|other| *other != scope);
            let mut came = Vec::new();
            for other in others {
                came.push(arena.call(arena.key(other), method.clone(), &path, body.clone()).await);
                let token = arena.issuer.token("alice", &format!("polytty:{other}"));
                came.push(arena.call(&token, method.clone(), &path, body.clone()).await);
            }
            came.dedup();
            let right = arena.call(arena.key(scope), method, &path, body).await;
            assert!(!right.starts_with("40") || right == "404 `not_found`", "{call}: {right}");
            format!("{nobody} without a key, {} with any other scope", came.join(" and "))
        })
    })
}

pub(super) fn scopes() -> Section {
    let new = || Some(json!({ "provider": "local", "target": {} }));
    let rows = vec![
        needs("mint", "`POST /v1/sessions`", Method::POST, "/v1/sessions", new()),
        needs("mint", "`POST /v1/sessions/ID/links`", Method::POST, "/v1/sessions/ID/links", Some(json!({}))),
        needs("observe", "`GET /v1/sessions`", Method::GET, "/v1/sessions", None),
        needs("observe", "`GET /v1/sessions/ID`", Method::GET, "/v1/sessions/ID", None),
        needs("observe", "`GET /v1/sessions/ID/scrollback`", Method::GET, "/v1/sessions/ID/scrollback", None),
        needs("observe", "`GET /v1/sessions/ID/recording`", Method::GET, "/v1/sessions/ID/recording", None),
        needs("observe", "`GET /v1/providers`", Method::GET, "/v1/providers", None),
        needs("mint", "`GET /v1/providers/oblien/terminals`", Method::GET, "/v1/providers/oblien/terminals", None),
        needs("end", "`DELETE /v1/sessions/ID`", Method::DELETE, "/v1/sessions/ID", None),
        row("another subject", "`POST /v1/sessions` with `subject: bob` by alice's key", "403 `forbidden`", |arena| {
            Box::pin(async move {
                let body = json!({ "provider": "local", "target": {}, "subject": "bob" });
                arena.call(arena.key("alice"), Method::POST, "/v1/sessions", Some(body)).await
            })
        }),
        row("another subject", "every call about bob's session by alice's key", "404 `not_found` for each", |arena| {
            Box::pin(bobs(arena))
        }),
        row("another subject", "`subject: ALICE` by alice's key", "403 `forbidden`", |arena| {
            Box::pin(async move {
                let body = json!({ "provider": "local", "target": {}, "subject": "ALICE" });
                arena.call(arena.key("alice"), Method::POST, "/v1/sessions", Some(body)).await
            })
        }),
        row(
            "scopes of one's own",
            "`POST /v1/sessions` with `scopes: [\"admin\"]` in its body",
            "422 `bad_message`",
            |arena| {
                Box::pin(async move {
                    arena.create(json!({ "provider": "local", "target": {}, "scopes": ["admin"] })).await
                })
            },
        ),
        row("methods in disguise", "`POST` with `X-HTTP-Method-Override: DELETE`", "405 `bad_message`", |arena| {
            Box::pin(async move {
                let link = arena.world.mint("local").await;
                let key = format!("Bearer {}", arena.key("mint"));
                let fields = [("authorization", key.as_str()), ("x-http-method-override", "DELETE")];
                let path = format!("/v1/sessions/{}", link.session);
                let answer = arena.world.http(Method::POST, &path, Some(json!({})), &fields).await;
                told(answer.status.as_u16(), &answer.body)
            })
        }),
    ];
    Section { title: "Scopes and subjects", about: "", rows }
}

async fn bobs(arena: &Arena) -> String {
    let link = arena.world.mint_with("local", |body| body["subject"] = json!("bob")).await;
    let path = format!("/v1/sessions/{}", link.session);
    let mut came = Vec::new();
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::GET, format!("{path}/scrollback"), None),
        (Method::GET, format!("{path}/recording"), None),
        (Method::POST, format!("{path}/links"), Some(json!({}))),
        (Method::DELETE, path, None),
    ] {
        came.push(arena.call(arena.key("alice"), method, &path, body).await);
    }
    came.dedup();
    format!("{} for each", came.join(" and "))
}

/// What is put into names: the end of a header, another header, and what clears a screen.
const SPLIT: &str = "x\r\nSet-Cookie: a=b\r\n\r\n\u{1b}[2J";

/// A string field of `POST /v1/sessions`, at a provider, by its path in the body.
fn field(provider: &'static str, path: &'static str) -> Row {
    let sent = Box::leak(format!("`{path}` at `{provider}`").into_boxed_str());
    row("CRLF and ESC in a field", sent, "422, no header", move |arena| {
        Box::pin(async move {
            let mut body = json!({ "provider": provider, "target": arena.world.target(provider) });
            match path {
                "labels, a name" => body["labels"] = json!({ SPLIT: "x" }),
                "labels, a value" => body["labels"] = json!({ "x": SPLIT }),
                _ => {
                    let place = path.split('.').fold(&mut body, |at, key| &mut at[key]);
                    let is_list = path == "target.command";
                    *place = if is_list { json!([SPLIT]) } else { json!(SPLIT) };
                }
            }
            let answer = arena.world.api(Method::POST, "/v1/sessions", Some(body)).await;
            let is_split = answer.headers.contains_key("set-cookie");
            format!("{}, {}", answer.status.as_u16(), if is_split { "a header of the attacker's" } else { "no header" })
        })
    })
}

fn fields() -> Vec<Row> {
    [
        ("local", "provider"),
        ("local", "subject"),
        ("local", "dialect"),
        ("local", "labels, a name"),
        ("local", "labels, a value"),
        ("local", "target.command"),
        ("pai", "target.job_id"),
        ("pai", "target.pod_id"),
        ("pai", "target.pod_uid"),
        ("eci", "target.container_group_id"),
        ("eci", "target.container_name"),
        ("dockhand", "target.container"),
        ("dockhand", "target.environment"),
        ("dockhand", "target.shell"),
        ("dockhand", "target.user"),
        ("oblien", "target.workspace"),
        ("oblien", "target.runtime"),
        ("oblien", "target.terminal"),
        ("decthings", "target.model_id"),
        ("decthings", "target.execution_location"),
    ]
    .map(|(provider, path)| field(provider, path))
    .into()
}

fn recording(sent: &'static str, id: &'static str) -> Row {
    row("path tricks in a recording's name", sent, "404, the end", move |arena| {
        Box::pin(async move {
            let session = arena.world.open("local").await.session;
            let id = id.replace("ID", &session);
            let request = format!(
                "GET /v1/sessions/{id}/recording HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer KEY\r\nConnection: \
                 close\r\n\r\n"
            );
            arena.raw(arena.filled(&request)).await
        })
    })
}

pub(super) fn section() -> Section {
    let mut rows = fields();
    rows.extend([
        row("CRLF in a field", "`role` of `POST /v1/sessions/ID/links`", "422 `bad_message`", |arena| {
            Box::pin(async move {
                let path = format!("/v1/sessions/{}/links", arena.world.mint("local").await.session);
                arena.call(&arena.world.key, Method::POST, &path, Some(json!({ "role": SPLIT }))).await
            })
        }),
        row("CRLF in a query", "`?format=v2%0d%0aSet-Cookie:%20a=b` of a recording", "422 `bad_message`", |arena| {
            Box::pin(async move {
                let session = arena.world.mint("local").await.session;
                let path = format!("/v1/sessions/{session}/recording?format=v2%0d%0aSet-Cookie:%20a=b");
                arena.call(&arena.world.key, Method::GET, &path, None).await
            })
        }),
        row("CRLF in a path", "`GET /v1/sessions/x%0d%0aSet-Cookie:%20a=b`", "404 `not_found`", |arena| {
            Box::pin(async move {
                arena.call(&arena.world.key, Method::GET, "/v1/sessions/x%0d%0aSet-Cookie:%20a=b", None).await
            })
        }),
        row("sound: a recording", "its session's id", "200, the end", |arena| {
            Box::pin((recording("", "ID").play)(arena))
        }),
        recording("`../../../../etc/passwd`", "../../../../etc/passwd"),
        recording("`..%2f..%2f..%2fetc%2fpasswd`", "..%2f..%2f..%2fetc%2fpasswd"),
        recording("`%2fetc%2fpasswd`", "%2fetc%2fpasswd"),
        recording("the id and `%00`", "ID%00"),
        recording("the id and `.1.cast`", "ID.1.cast"),
        recording("the id behind `x/..%2f`", "x/..%2fID"),
        recording("`*`", "*"),
        row(
            "escape sequences in the log",
            "a token whose `sub` turns text around (U+202E), then a session by it",
            "201, escaped in the log",
            |arena| {
                Box::pin(async move {
                    let token = arena.issuer.token("al\u{202e}ice", "polytty:mint");
                    let body = json!({ "provider": "local", "target": {} });
                    let answer = arena.served.call(&token, Method::POST, "/v1/sessions", Some(body)).await;
                    let log = arena.served.log();
                    let escaped = log.contains("al\\u{202e}ice") && !log.contains('\u{202e}');
                    format!("{}, {}", answer.status.as_u16(), if escaped { "escaped in the log" } else { "as it is" })
                })
            },
        ),
        row("escape sequences in the log", "a foreign `Origin` with quotes and `%1b`", "403, on one line", |arena| {
            Box::pin(async move {
                let link = arena.served.mint("local").await;
                let how = Connect { origin: Some("https://evil\" peer=1 \\u{1b}[2J%0a%1b"), ..PLAIN };
                let came = upgrade(&arena.served, &link, how).await;
                let log = arena.served.log();
                let line = log.lines().find(|line| line.contains("a foreign origin was refused")).unwrap();
                let is_quoted = line.contains(r#"https://evil\" peer=1"#) && line.contains("%0a%1b");
                format!("{came}, {}", if is_quoted { "on one line" } else { line })
            })
        }),
        row(
            "secrets in the log",
            "a link used and used again, a key, a token, a wrong key",
            "none of them is in it",
            |arena| {
                Box::pin(async move {
                    let served = &arena.served;
                    let link = served.mint("local").await;
                    upgrade(served, &link, PLAIN).await;
                    upgrade(served, &link, PLAIN).await;
                    let token = arena.issuer.token("alice", "polytty:observe");
                    for credential in [token.as_str(), "polytty_wrong"] {
                        served.call(credential, Method::GET, "/v1/sessions?key=polytty_wrong", None).await;
                    }
                    let log = served.log();
                    let secrets = [&link.path()[3..], &served.key, token.as_str(), "polytty_wrong"];
                    let found: Vec<_> = secrets.into_iter().filter(|secret| log.contains(secret)).collect();
                    if found.is_empty() { "none of them is in it".to_owned() } else { format!("{found:?}") }
                })
            },
        ),
    ]);
    Section {
        title: "Names",
        about: "`x`, CRLF, `Set-Cookie: a=b`, two CRLF and `ESC[2J` stand in each field.\n\n",
        rows,
    }
}
