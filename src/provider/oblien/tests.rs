//! Stories of one workspace, with a scripted server that keeps books.

mod entries;
mod eviction;
mod server;
mod sharing;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use polytty_dialect::{Code, Exit, Size};
use serde_json::{Value, json};

use super::super::{Dialer, Failure, Happened, Provider, Upstream};
use super::{OblienHubs, OblienProvider};
use crate::config::{AccessPath, Oblien, OblienClient, Secret, TokenPlace};
use server::Server;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server, and a provider that is configured for it.
struct World {
    server: Server,
    provider: OblienProvider,
    hubs: Arc<OblienHubs>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Oblien)) -> Self {
        let (server, hubs) = (Server::start().await, Arc::default());
        let provider = provider("ob", &server, &hubs, change);
        Self { server, provider, hubs }
    }

    /// Another entry of the same configuration.
    fn entry(&self, name: &str, change: impl FnOnce(&mut Oblien)) -> OblienProvider {
        provider(name, &self.server, &self.hubs, change)
    }

    async fn try_open(&self, target: Value) -> Result<Terminal, Failure> {
        try_open(&self.provider, target).await
    }

    async fn open(&self) -> Terminal {
        self.try_open(json!({})).await.unwrap_or_else(|failure| panic!("{failure:?}"))
    }

    async fn refusal(&self, target: Value) -> Failure {
        let failure = self.try_open(target).await.err().expect("a refusal");
        let told = format!("{failure:?}");
        assert!(!told.contains("s3cret") && !told.contains("jwt"), "{told}");
        failure
    }
}

fn provider(name: &str, server: &Server, hubs: &Arc<OblienHubs>, change: impl FnOnce(&mut Oblien)) -> OblienProvider {
    let url = || server.url().parse().unwrap();
    let mut settings = Oblien {
        api_url: url(),
        gateway_url: url(),
        client: Some(OblienClient { id: "id".to_owned(), secret: Secret::new("s3cret".to_owned()) }),
        token: None,
        workspace: Some("ws_1".to_owned()),
        enable_access: true,
        access_path: AccessPath::Runtime,
        websocket_token: TokenPlace::Header,
        token_lifetime: Duration::from_secs(3300),
        max_terminals: 10,
        pong_timeout: Some(Duration::from_secs(20)),
        end_attached: true,
    };
    change(&mut settings);
    OblienProvider::new(name.to_owned(), settings, Dialer::new(None, true).unwrap(), Arc::clone(hubs))
}

async fn try_open(provider: &OblienProvider, target: Value) -> Result<Terminal, Failure> {
    let target = provider.target(&target).unwrap();
    let open = provider.open(&target, Size::DEFAULT);
    let mut upstream = tokio::time::timeout(DEADLINE, open).await.expect("an answer in time")?;
    upstream.attended(true);
    Ok(Terminal { upstream, output: Vec::new(), notices: Vec::new() })
}

/// A session's end of a terminal.
struct Terminal {
    upstream: Box<dyn Upstream>,
    output: Vec<u8>,
    notices: Vec<Code>,
}

impl Terminal {
    /// Reads until the output so far ends with `end`.
    async fn shows(&mut self, end: &str) {
        let reading = async {
            while !self.output.ends_with(end.as_bytes()) {
                match self.next().await {
                    Happened::Output => {}
                    Happened::Notice(notice) => self.notices.push(notice.code),
                    other => panic!("{other:?} behind {:?}", String::from_utf8_lossy(&self.output)),
                }
            }
        };
        if tokio::time::timeout(DEADLINE, reading).await.is_err() {
            panic!("no {end:?} in {:?}", String::from_utf8_lossy(&self.output));
        }
    }

    async fn next(&mut self) -> Happened {
        poll_fn(|cx| self.upstream.poll_output(cx, &mut self.output, 64 << 10)).await
    }

    /// Reads to the end.
    async fn end(&mut self) -> Result<Exit, Failure> {
        let reading = async {
            loop {
                match self.next().await {
                    Happened::Output | Happened::CannotWait => {}
                    Happened::Notice(notice) => self.notices.push(notice.code),
                    Happened::Exit(exit) => return Ok(exit),
                    Happened::Failed(failure) => return Err(failure),
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("an end in time")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    fn types(&mut self, text: &str) {
        self.upstream.input(text.as_bytes());
    }

    /// What is there without waiting.
    async fn is_silent(&mut self) -> bool {
        let had = self.output.len();
        let nothing = poll_fn(|cx| Poll::Ready(self.upstream.poll_output(cx, &mut self.output, 64 << 10).is_pending()));
        nothing.await && self.output.len() == had
    }
}

#[tokio::test]
async fn a_terminal_is_opened_typed_into_resized_and_ended() {
    let world = World::new().await;
    let mut terminal = world.try_open(json!({"command": ["/bin/sh", "-l"]})).await.unwrap_or_else(|f| panic!("{f:?}"));
    world.server.says(1, b"$ ");
    terminal.shows("$ ").await;
    terminal.types("ls\n");
    terminal.upstream.resize(Size::new(160, 50).unwrap());
    world.server.hears("binary <01>ls\n").await;
    world.server.hears(r#"text {"channel":"terminal","type":"resize","id":"1","cols":160,"rows":50}"#).await;
    terminal.upstream.end().await;
    assert_eq!(
        world.server.requests(),
        [
            "GET /workspace/ws_1/runtime-api-access id s3cret",
            "GET /workspace/ws_1/runtime-api-access/token id s3cret",
            "GET /ws Bearer jwt-1",
            r#"POST /terminals Bearer jwt-1 {"cmd":["/bin/sh","-l"],"cols":80,"rows":24}"#,
            "GET /terminals Bearer jwt-1",
            "DELETE /terminals/1 Bearer jwt-1",
        ]
    );
}

#[tokio::test]
async fn the_status_of_a_process_comes_behind_all_of_its_output_and_its_terminal_is_deleted() {
    let world = World::new().await;
    let mut terminal = world.open().await;
    world.server.says(1, &vec![b'x'; 100_000]);
    world.server.exits(1, 3);
    assert_eq!(terminal.end().await.unwrap().code, Some(3));
    assert_eq!(terminal.output.len(), 100_000);
    world.server.receives("DELETE /terminals/1").await;
}

#[tokio::test]
async fn a_runtime_has_its_own_paths() {
    let world = World::new().await;
    world.try_open(json!({"runtime": "macos"})).await.unwrap_or_else(|f| panic!("{f:?}")).upstream.end().await;
    let requests = world.server.requests().join("\n");
    for path in ["GET /runtimes/macos/ws", "POST /runtimes/macos/terminals", "DELETE /runtimes/macos/terminals/1"] {
        assert!(requests.contains(path), "{requests}");
    }
}

#[tokio::test]
async fn the_token_may_stand_in_the_query_and_access_have_its_older_name() {
    let world = World::with(|settings| {
        settings.websocket_token = TokenPlace::Query;
        settings.access_path = AccessPath::Internal;
    });
    let world = world.await;
    world.open().await;
    let requests = world.server.requests();
    assert_eq!(requests[0], "GET /workspace/ws_1/internal-api-access id s3cret");
    assert_eq!(requests[2], "GET /ws?token=jwt%2D1");
}

#[tokio::test]
async fn access_is_enabled_where_it_is_not_and_may_be() {
    let world = World::new().await;
    // Nobody says what does not run: the workspace, or the server that is to be enabled.
    world.server.change(|books| books.status = json!({"success": true, "enabled": false, "running": false}));
    world.open().await;
    assert_eq!(world.server.requests()[1], "POST /workspace/ws_1/runtime-api-access/enable id s3cret");
    let world = World::with(|settings| settings.enable_access = false).await;
    world.server.change(|books| books.status = json!({"success": true, "enabled": false, "running": true}));
    let failure = world.refusal(json!({})).await;
    assert_eq!((failure.code, world.server.requests().len()), (Code::ProviderNotRunning, 1));
}

#[tokio::test]
async fn a_workspace_that_does_not_run_is_told_as_such() {
    let world = World::new().await;
    world.server.change(|books| books.status = json!({"success": true, "enabled": true, "running": false}));
    let failure = world.refusal(json!({})).await;
    assert_eq!(failure.code, Code::ProviderNotRunning);
    assert_eq!(failure.message, "Workspace ws_1 is not running.");
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let world = World::new().await;
    world.open().await.upstream.end().await;
    // The kept token is good for the hub's connection; calls need a newer one.
    world.server.change(|books| books.least_token = 2);
    let mut terminal = world.open().await;
    world.server.says(1, b"$ ");
    terminal.shows("$ ").await;
    let requests = world.server.requests().join("\n");
    assert_eq!(requests.matches("runtime-api-access/enable").count(), 1, "{requests}");
    // One that stays refused is the end.
    world.server.change(|books| books.least_token = u64::MAX);
    assert_eq!(world.refusal(json!({})).await.code, Code::ProviderRefused);
}

#[tokio::test]
async fn a_configured_token_needs_no_control_plane() {
    let world = World::with(|settings| {
        settings.client = None;
        settings.token = Some(Secret::new("jwt-7".to_owned()));
    });
    let world = world.await;
    world.open().await;
    assert_eq!(world.server.requests()[0], "GET /ws Bearer jwt-7");
    world.server.change(|books| books.least_token = 8);
    assert_eq!(world.refusal(json!({})).await.code, Code::ProviderRefused);
}

#[tokio::test]
async fn many_who_open_at_once_share_one_token_and_one_connection() {
    let world = World::new().await;
    let opened = futures_util::future::join_all((0..10).map(|_| world.open())).await;
    assert_eq!(opened.len(), 10);
    let requests = world.server.requests();
    let count = |word: &str| requests.iter().filter(|request| request.contains(word)).count();
    assert_eq!((count("/token"), count("GET /ws"), count("POST /terminals")), (1, 1, 10), "{requests:?}");
}

#[tokio::test]
async fn whoever_leaves_while_a_terminal_is_made_leaves_none_behind() {
    let world = World::new().await;
    world.server.change(|books| books.create_after = Some(Duration::from_millis(200)));
    let target = world.provider.target(&json!({})).unwrap();
    {
        let opening = world.provider.open(&target, Size::DEFAULT);
        let asked = world.server.receives("POST /terminals");
        tokio::select! {
            _ = opening => panic!("opened too early"),
            () = asked => {}
        }
    }
    world.server.receives("DELETE /terminals/1").await;
}

#[tokio::test(start_paused = true)]
async fn a_terminal_that_takes_its_time_is_waited_for() {
    let world = World::new().await;
    world.server.change(|books| books.create_after = Some(Duration::from_secs(40)));
    world.open().await;
}

#[tokio::test]
async fn a_terminal_that_no_message_can_name_is_not_left_behind() {
    for id in [json!("300"), json!(300)] {
        let world = World::new().await;
        world.server.change(|books| books.odd_id = Some(id));
        assert_eq!(world.refusal(json!({})).await.code, Code::ProviderUnavailable);
        world.server.receives("DELETE /terminals/300").await;
    }
    for id in [json!("../3"), json!(-300), json!("")] {
        let world = World::new().await;
        world.server.change(|books| books.odd_id = Some(id));
        assert_eq!(world.refusal(json!({})).await.code, Code::ProviderUnavailable);
        assert!(!world.server.requests().join("\n").contains("DELETE"));
    }
}

/// Neither the session nor the next terminal waits for that.
#[tokio::test(start_paused = true)]
async fn a_terminal_that_could_not_be_ended_is_ended_later_unless_its_id_is_anothers() {
    for is_anothers in [false, true] {
        let world = World::new().await;
        let terminal = world.open().await;
        world.server.receives("GET /terminals ").await;
        // Its date has been read when a second one is there.
        let _second = world.open().await;
        world.server.change(|books| books.delete_status = Some(503));
        terminal.upstream.end().await;
        let deletes = |books: &server::Books| {
            books.requests.iter().filter(|request| request.starts_with("DELETE /terminals/1 ")).count()
        };
        world.server.until(|books| deletes(books) >= 3).await;
        let _third = world.open().await;
        world.server.change(|books| {
            books.delete_status = None;
            if is_anothers {
                books.terminals.remove(&1);
                books.add(1, true);
            }
        });
        if is_anothers {
            let lists =
                |books: &server::Books| books.requests.iter().filter(|r| r.starts_with("GET /terminals ")).count();
            let before = world.server.change(|books| lists(books));
            world.server.until(|books| lists(books) > before).await;
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert!(world.server.change(|books| books.terminals.contains_key(&1)));
        } else {
            world.server.until(|books| !books.terminals.contains_key(&1)).await;
        }
    }
}

/// The first tries to end it fail, and so does the list that would tell its date, for some seconds.
#[tokio::test(start_paused = true)]
async fn a_terminal_whose_date_was_never_read_is_ended_by_the_date_that_is_read_before_the_next_is_made() {
    let world = World::new().await;
    world.server.change(|books| books.list_status = Some(503));
    let terminal = world.open().await;
    world.server.change(|books| books.delete_status = Some(401));
    let deletes = |books: &server::Books| {
        books.requests.iter().filter(|request| request.starts_with("DELETE /terminals/1 ")).count()
    };
    terminal.upstream.end().await;
    world.server.change(|books| books.list_status = None);
    let tried = world.server.change(|books| deletes(books));
    world.server.until(|books| deletes(books) > tried + 1).await;
    let _second = world.open().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.server.change(|books| books.delete_status = None);
    world.server.until(|books| !books.terminals.contains_key(&1)).await;
}

#[tokio::test]
async fn refusals_are_told_by_whom_they_are_up_to() {
    for (status, code) in [
        (400, Code::ProviderRefused),
        (403, Code::ProviderRefused),
        (404, Code::ProviderNotRunning),
        (409, Code::QuotaExceeded),
        (429, Code::QuotaExceeded),
        (500, Code::ProviderUnavailable),
        (503, Code::ProviderUnavailable),
    ] {
        let world = World::new().await;
        world.server.change(|books| books.create_status = Some(status));
        assert_eq!(world.refusal(json!({})).await.code, code, "{status}");
    }
    for (status, code) in [
        (401, Code::ProviderRefused),
        (403, Code::ProviderRefused),
        (404, Code::ProviderNotRunning),
        (503, Code::ProviderUnavailable),
    ] {
        let world = World::new().await;
        world.server.change(|books| books.upgrade_status = Some(status));
        assert_eq!(world.refusal(json!({})).await.code, code, "upgrade {status}");
    }
}

#[tokio::test]
async fn the_eleventh_terminal_is_refused_by_our_count_or_by_the_servers() {
    let world = World::new().await;
    let opened = futures_util::future::join_all((0..10).map(|_| world.open())).await;
    let failure = world.refusal(json!({})).await;
    assert_eq!((failure.code, failure.detail.as_str()), (Code::QuotaExceeded, "by our count"));
    let requests = world.server.requests().join("\n");
    assert_eq!(requests.matches("POST /terminals").count(), 10, "{requests}");
    drop(opened);
    // Ended ones and those of others count, too, whatever the server says then.
    let world = World::new().await;
    world.server.change(|books| {
        (1..=10).for_each(|id| books.add(id, id % 2 == 0));
        books.create_status = Some(500);
    });
    let failure = world.refusal(json!({})).await;
    assert_eq!(failure.code, Code::QuotaExceeded);
    assert!(failure.message.starts_with("Workspace ws_1 has no room"), "{failure:?}");
}

#[tokio::test]
async fn a_place_that_is_given_back_can_be_had_at_once() {
    let world = World::with(|settings| settings.max_terminals = 1).await;
    for _ in 0..3 {
        let terminal = world.open().await;
        assert_eq!(world.refusal(json!({})).await.code, Code::QuotaExceeded);
        // Not waited for.
        drop(terminal);
        tokio::task::yield_now().await;
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while world.try_open(json!({})).await.map(drop).is_err() {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        world.server.until(|books| books.terminals.is_empty()).await;
    }
}

#[tokio::test]
async fn nobody_else_looks_into_a_target() {
    let world = World::new().await;
    let failure = world.provider.open(&super::super::Target::new(7_u8), Size::DEFAULT).await.err().unwrap();
    assert_eq!(failure.code, Code::Internal);
    assert!(!format!("{:?}", world.provider).contains("s3cret"));
}
