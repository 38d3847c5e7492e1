//! Several entries of one configuration that mean the same workspace.

use super::*;

fn token(text: &str) -> Option<Secret> {
    Some(Secret::new(text.to_owned()))
}

#[tokio::test]
async fn entries_of_one_workspace_share_its_one_connection_each_behind_its_own_credentials() {
    let world = World::new().await;
    let mut one = world.open().await;
    let account = world.entry("account", |settings| settings.workspace = None);
    let mut two = try_open(&account, json!({"workspace": "ws_1"})).await.unwrap_or_else(|f| panic!("{f:?}"));
    for (id, terminal) in [(1, &mut one), (2, &mut two)] {
        world.server.says(id, b"mine");
        terminal.shows("mine").await;
    }
    let requests = world.server.requests().join("\n");
    assert_eq!(requests.matches("GET /ws").count(), 1, "{requests}");
    world.server.change(|books| books.least_token = 100);
    let stranger = world.entry("stranger", |settings| (settings.client, settings.token) = (None, token("jwt-0")));
    let refused = try_open(&stranger, json!({})).await.err().expect("credentials that open nothing");
    assert_eq!(refused.code, Code::ProviderRefused, "{refused:?}");
    world.server.says(1, b" still");
    one.shows(" still").await;
    let requests = world.server.requests().join("\n");
    assert_eq!(
        (requests.matches("GET /ws").count(), requests.matches("POST /terminals").count()),
        (1, 2),
        "{requests}"
    );
}

#[tokio::test]
async fn a_runtime_a_workspace_and_a_token_that_names_none_have_connections_of_their_own() {
    let world = World::new().await;
    let _one = world.open().await;
    let _runtime = world.try_open(json!({"runtime": "macos"})).await.unwrap_or_else(|f| panic!("{f:?}"));
    let names =
        |provider: &OblienProvider, target| provider.workspace(&provider.target(&target).unwrap()).unwrap().name;
    let alone = |settings: &mut Oblien| {
        (settings.client, settings.token, settings.workspace) = (None, token("jwt-1"), None);
    };
    let (first, second) = (world.entry("first", alone), world.entry("second", alone));
    let account = world.entry("account", |settings| settings.workspace = None);
    assert_eq!(names(&account, json!({"workspace": "ws_1"})), names(&world.provider, json!({})));
    let different = [
        names(&world.provider, json!({})),
        names(&world.provider, json!({"workspace": "ws_2"})),
        names(&world.provider, json!({"runtime": "macos"})),
        names(&first, json!({})),
        names(&second, json!({})),
    ];
    let distinct: std::collections::HashSet<_> = different.iter().collect();
    assert_eq!(distinct.len(), different.len(), "{different:?}");
}

/// What was configured for a session's entry holds for its terminal, whoever made the connection.
#[tokio::test]
async fn each_entry_keeps_its_own_count_and_its_own_way_to_end() {
    let world = World::new().await;
    let _one = world.open().await;
    world.server.change(|books| books.add(9, true));
    let careful = world.entry("careful", |settings| (settings.max_terminals, settings.end_attached) = (2, false));
    let attached = try_open(&careful, json!({"terminal": "9"})).await.unwrap_or_else(|f| panic!("{f:?}"));
    let full = try_open(&careful, json!({})).await.err().expect("two are there already");
    assert_eq!(full.code, Code::QuotaExceeded);
    assert!(full.message.contains("it takes 2"), "{}", full.message);
    let _two = world.open().await;
    attached.upstream.end().await;
    assert!(world.server.change(|books| books.terminals.contains_key(&9)), "it was there before");
}

#[tokio::test]
async fn an_entry_whose_credentials_were_refused_is_in_nobody_elses_way() {
    let world = World::new().await;
    world.server.change(|books| books.least_token = 1);
    let stranger = world.entry("stranger", |settings| (settings.client, settings.token) = (None, token("jwt-0")));
    for _ in 0..3 {
        let refused = try_open(&stranger, json!({})).await.err().expect("credentials that open nothing");
        assert_eq!(refused.code, Code::ProviderRefused, "{refused:?}");
    }
    let _one = world.open().await;
    for _ in 0..3 {
        let refused = try_open(&stranger, json!({})).await.err().expect("credentials that open nothing");
        assert_eq!(refused.code, Code::ProviderRefused, "{refused:?}");
        let terminal = world.open().await;
        terminal.upstream.end().await;
    }
    assert_eq!(world.server.change(|books| books.upgrades), 1);
}
