//! `operation`: text messages, each a JSON object that names its operation.
//!
//! Alibaba Cloud's PAI documents it in one JavaScript sample under "GetWebTerminal" (WebTerminalUrl): the page sends
//! `{"operation":"stdin","data":…}` and `{"operation":"resize","cols":…,"rows":…}` and writes to its screen the `data`
//! of `{"operation":"stdout","data":…}`; any other operation is invalid to it. Several older web terminals for
//! Kubernetes speak the same.
//!
//! [`OperationClient`] speaks it with such a page, [`PaiDlc`] with such a server.

mod client;
mod pai_dlc;

pub use client::{NAME, OperationClient};
pub use pai_dlc::{MAX_MESSAGE, PaiDlc};

/// The beginning of a message to the server, in the spelling of `JSON.stringify`.
const STDIN: &str = r#"{"operation":"stdin","data":""#;
/// The beginning of a message to the page.
const STDOUT: &str = r#"{"operation":"stdout","data":""#;
