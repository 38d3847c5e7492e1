//! Calls: what goes up, over the socket or as HTTP bodies.

use std::fmt;
use std::io::Write as _;

use serde::Serialize;

use super::{API, put_varint};
use crate::json::escape;
use crate::{Kind, Outbox, Size};

/// One call of the API "Terminal".
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// `launchTerminalSession`, subscribed to its events from the first on.
    Launch(&'a Launch, Size),
    /// `subscribeToEvents`, bound to the connection that it is called on; not for HTTP.
    Subscribe(&'a str),
    /// `writeToTerminalSession`: input for a terminal.
    Write(&'a str, &'a [u8]),
    /// `resizeTerminalSession`
    Resize(&'a str, Size),
    /// `terminateTerminalSession`
    Terminate(&'a str),
}

/// Where a terminal is launched, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// The model.
    pub model_id: String,
    /// What it runs in.
    pub execution_location: ExecutionLocation,
    /// Models whose files the terminal sees as well.
    #[serde(skip)]
    pub add_filesystem_access: Vec<String>,
    /// Ends the terminal after so many seconds without input. The service's default is 1800.
    #[serde(skip)]
    pub terminate_after_inactive_seconds: Option<u32>,
}

/// What a terminal runs in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ExecutionLocation {
    /// A launcher that is there already.
    PersistentLauncher {
        /// Its id.
        persistent_launcher_id: String,
    },
    /// One that is made for this terminal.
    TemporaryLauncher {
        /// What it is made of.
        spec: LauncherSpec,
    },
}

/// What a temporary launcher is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LauncherSpec {
    /// Processors, perhaps a fraction of one.
    pub cpus: serde_json::Number,
    /// Memory in MiB.
    pub memory_mebibytes: u32,
    /// Disk in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_mebibytes: Option<u32>,
    /// Swap in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_mebibytes: Option<u32>,
    /// Graphics processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Gpus>,
}

/// Graphics processors of a temporary launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpus {
    /// Which, such as `L4`.
    pub model: String,
    /// How many.
    pub count: u32,
}

/// Writes the calls of one connection and numbers them from 0. Holds the API key, which [`fmt::Debug`] leaves out.
pub struct Calls {
    /// The key as the body of a JSON string.
    api_key: Vec<u8>,
    next: u32,
    json: Vec<u8>,
}

impl Calls {
    /// A writer for one connection; the key goes into every call.
    #[must_use]
    pub fn new(api_key: &str) -> Self {
        let mut escaped = Vec::new();
        escape(api_key, &mut escaped);
        Self { api_key: escaped, next: 0, json: Vec::new() }
    }

    /// Appends a call as one binary message, and says which id its reply will have. After 2^32 calls the ids begin
    /// anew.
    pub fn push(&mut self, call: Call<'_>, out: &mut Outbox) -> u32 {
        let id = self.next;
        self.next = id.wrapping_add(1);
        self.json.clear();
        let json = &mut self.json;
        // Writing to a vector cannot fail.
        let _ = write!(json, r#"{{"api":"{API}","method":"{}","params":"#, call.method());
        call.params(json);
        json.extend_from_slice(br#","apiKey":""#);
        json.extend_from_slice(&self.api_key);
        json.extend_from_slice(br#""}"#);
        out.message(Kind::Binary, |payload| {
            payload.extend_from_slice(&id.to_be_bytes());
            frame(&self.json, call.blob(), payload);
        });
        id
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Call<'_> {
    /// The method's name.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Launch(..) => "launchTerminalSession",
            Self::Subscribe(_) => "subscribeToEvents",
            Self::Write(..) => "writeToTerminalSession",
            Self::Resize(..) => "resizeTerminalSession",
            Self::Terminate(_) => "terminateTerminalSession",
        }
    }

    /// Where the call is posted to, behind the address of the API.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{API}/{}", self.method())
    }

    /// Appends the body of an HTTP request. The key is not in it: it goes into a header field.
    pub fn body(&self, out: &mut Vec<u8>) {
        let mut json = Vec::new();
        self.params(&mut json);
        frame(&json, self.blob(), out);
    }

    fn params(&self, json: &mut Vec<u8>) {
        match *self {
            Self::Launch(launch, size) => {
                let params = LaunchParams { launch, options: Options::new(launch, size), subscribe_to_events: true };
                // Writing to a vector cannot fail, and neither has the type a map with keys that are no strings.
                let _ = serde_json::to_writer(json, &params);
            }
            Self::Subscribe(id) | Self::Write(id, _) | Self::Terminate(id) => {
                session(id, json);
                json.push(b'}');
            }
            Self::Resize(id, size) => {
                session(id, json);
                let _ = write!(json, r#","size":{{"cols":{},"rows":{}}}}}"#, size.cols(), size.rows());
            }
        }
    }

    fn blob(&self) -> Option<&[u8]> {
        match self {
            Self::Write(_, bytes) => Some(bytes),
            _ => None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LaunchParams<'a> {
    #[serde(flatten)]
    launch: &'a Launch,
    options: Options<'a>,
    subscribe_to_events: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    add_filesystem_access: Vec<FilesystemAccess<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terminate_after_inactive_seconds: Option<u32>,
    cols: u16,
    rows: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FilesystemAccess<'a> {
    model_id: &'a str,
}

impl<'a> Options<'a> {
    fn new(launch: &'a Launch, size: Size) -> Self {
        let models = &launch.add_filesystem_access;
        Self {
            add_filesystem_access: models.iter().map(|model_id| FilesystemAccess { model_id }).collect(),
            terminate_after_inactive_seconds: launch.terminate_after_inactive_seconds,
            cols: size.cols(),
            rows: size.rows(),
        }
    }
}

/// The beginning of parameters that name a terminal.
fn session(id: &str, json: &mut Vec<u8>) {
    json.extend_from_slice(br#"{"terminalSessionId":""#);
    escape(id, json);
    json.push(b'"');
}

/// What JSON and blob look like in a call.
fn frame(json: &[u8], blob: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(u8::from(blob.is_some()));
    put_varint(json.len() as u64, out);
    if let Some(blob) = blob {
        put_varint(blob.len() as u64, out);
    }
    out.extend_from_slice(json);
    out.extend_from_slice(blob.unwrap_or_default());
}
