//! Another program that uses a workspace of Oblien, by its HTTP API only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use polytty_simulator::oblien::Oblien;
use serde_json::Value;
use tokio::net::TcpStream;

use super::simulated;
use crate::common::{World, eventually};

/// Knows its workspace and a token of it.
pub(super) struct Other {
    authority: String,
    token: String,
}

impl Other {
    pub(super) fn of(world: &World) -> Self {
        let simulator = simulated::<Oblien>(world);
        let line = simulator.ready_line_workspace().unwrap();
        Self { authority: simulator.authority(), token: line["provider"]["token"].as_str().unwrap().to_owned() }
    }

    /// Makes a terminal; its id.
    pub(super) async fn create(&self, body: Value) -> String {
        let (status, answer) = self.call(Method::POST, "/terminals", body).await;
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn delete(&self, id: &str) {
        let (status, answer) = self.call(Method::DELETE, &format!("/terminals/{id}"), Value::Null).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The ids of the terminals that there are, in order.
    pub(super) async fn list(&self) -> Vec<String> {
        let (_, answer) = self.call(Method::GET, "/terminals", Value::Null).await;
        let terminals = answer["terminals"].as_array().unwrap().iter();
        terminals.map(|terminal| terminal["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) async fn until_said(&self, id: &str, wanted: &str) {
        let path = format!("/terminals/{id}/scrollback");
        eventually(async || {
            let (_, answer) = self.call(Method::GET, &path, Value::Null).await;
            let said = STANDARD.decode(answer["scrollback"].as_str().unwrap()).unwrap();
            String::from_utf8_lossy(&said).contains(wanted).then_some(())
        })
        .await;
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let stream = TcpStream::connect(&self.authority).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token));
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}
