//! The flow of the documentation.

use super::*;

fn documented(peer: &Peer, messages: AttachMessages) -> Dockhand {
    let flow = DockhandFlow::Documented { attach_path: "/api/exec/{exec_id}/attach".to_owned(), messages };
    Dockhand { flow, first_output_timeout: Duration::from_millis(200), ..settings(peer) }
}

async fn dockhand() -> Peer {
    Peer::start(|asked, _| match asked.line.split_once('?').unwrap_or((&asked.line, "")).0 {
        "POST /api/containers/web/exec" => {
            Answer::Json(200, json!({"execId": "e1", "connectionInfo": {"type": "socket"}}))
        }
        "POST /api/exec/e1/resize" => Answer::Json(200, json!({})),
        "GET /api/exec/e1/attach" => Answer::Terminal(None),
        _ => Answer::Json(404, json!({})),
    })
    .await
}

#[tokio::test]
async fn an_exec_instance_is_created_attached_to_and_resized_over_http() {
    for (messages, keys) in
        [(AttachMessages::Json, &br#"{"type":"input","data":"ls\r"}"#[..]), (AttachMessages::Raw, b"ls\r")]
    {
        let mut peer = dockhand().await;
        let (upstream, mut terminal) = open_beside(documented(&peer, messages), peer.terminal()).await;
        let mut upstream = upstream.unwrap();
        upstream.input(b"ls\r");
        // The sizes in between are left out.
        for cols in [90, 91, 92] {
            upstream.resize(Size::new(cols, 24).unwrap());
        }
        in_time(async {
            while peer.asked().len() < 3 {
                let _ = tokio::time::timeout(Duration::from_millis(5), wait(&mut upstream)).await;
            }
        })
        .await;
        assert_eq!(terminal.heard().await, keys);
        assert_eq!(
            peer.lines(),
            [
                "POST /api/containers/web/exec?envId=1",
                "GET /api/exec/e1/attach?envId=1",
                "POST /api/exec/e1/resize?h=24&w=92&envId=1"
            ]
        );
        let asked = peer.asked();
        let body: Value = serde_json::from_str(&asked[0].body).unwrap();
        assert_eq!(body, json!({"shell": "/bin/sh", "user": "root"}));
        assert!(asked.iter().all(|asked| asked.field("authorization") == Some("Bearer dh_s3cret")));
        assert_eq!(asked[2].field("content-length"), Some("0"));
    }
}

#[tokio::test]
async fn raw_messages_are_output_and_their_close_is_the_end() {
    let mut peer = dockhand().await;
    let (upstream, mut terminal) = open_beside(documented(&peer, AttachMessages::Raw), peer.terminal()).await;
    let mut upstream = upstream.unwrap();
    terminal.binary(b"\xff# ").await;
    terminal.text(r#"{"type":"exit"}"#).await;
    terminal.close(Some(1000)).await;
    let (output, ending) = read_to_end(&mut upstream).await;
    assert_eq!((&output[..], ending), (&b"\xff# {\"type\":\"exit\"}"[..], Ok(Exit::default())));
}

#[tokio::test]
async fn a_refused_exec_instance_is_told_by_its_words() {
    for (status, body, code) in [
        (500, json!({"error": "No such container: web"}), Code::ProviderNotRunning),
        (500, json!({"error": "Environment 1 not found"}), Code::ProviderNotRunning),
        (403, json!({"error": "Permission denied"}), Code::ProviderRefused),
        (401, json!({"error": "Unauthorized"}), Code::ProviderRefused),
        (200, json!({"execId": "../x"}), Code::ProviderUnavailable),
        (200, json!({"id": "e1"}), Code::ProviderUnavailable),
    ] {
        let peer = Peer::start(move |_, _| Answer::Json(status, body.clone())).await;
        assert_eq!(open_with(documented(&peer, AttachMessages::Json)).await.err().unwrap().code, code, "{status}");
        assert_eq!(peer.asked().len(), 1);
    }
}
