//! `/v1/sessions/{id}/recording`

use http::{StatusCode, header};
use polytty_dialect::Code;

use super::Api;
use crate::auth::Identity;
use crate::recording::cast::{Format, MEDIA_TYPE};
use crate::respond::{Problem, Reply, streaming, with};

const A_FORMAT: &str = "format: v2 or v3; without it, the version in which it was recorded";

const NONE: &str = "there is no recording of such a session, or no longer, or nothing in it yet";

impl Api {
    /// What was recorded of a session, while it lives and after. Of one that lives: all by now.
    pub(super) async fn recording(&self, id: &str, query: Option<&str>, by: &Identity) -> Reply {
        let format = match wanted(query) {
            Ok(format) => format,
            Err(problem) => return problem.reply(),
        };
        let Some(recorder) = &self.recorder else {
            return not_found("this proxy does not record (recording.directory)");
        };
        let Ok(id) = id.parse() else { return not_found(NONE) };
        // Of a session that this process has forgotten, nobody knows whose it was.
        let reaches = match self.sessions.info(id) {
            Some(info) => by.reaches(&info.provider, info.subject.as_deref()),
            None => by.reaches_everything(),
        };
        if !reaches {
            return not_found(NONE);
        }
        if let Some(session) = self.sessions.get(id) {
            session.flush_recording().await;
        }
        match recorder.play(id, format).await {
            Ok(Some(playback)) => {
                let reply = streaming(StatusCode::OK, MEDIA_TYPE, playback);
                with(reply, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{id}.cast\""))
            }
            Ok(None) => not_found(NONE),
            Err(error) => {
                tracing::error!(session = %id, error = ?error.to_string(), "a recording cannot be read");
                Problem::new(Code::Internal, "the recording cannot be read").reply()
            }
        }
    }
}

fn wanted(query: Option<&str>) -> Result<Option<Format>, Problem> {
    let mut format = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        format = match (&*name, &*value) {
            ("format", "v2") => Some(Format::V2),
            ("format", "v3") => Some(Format::V3),
            ("format", _) => return Err(bad(A_FORMAT)),
            _ => return Err(bad("the only parameter here is format")),
        };
    }
    Ok(format)
}

fn bad(detail: &str) -> Problem {
    Problem::new(Code::BadMessage, detail).status(StatusCode::UNPROCESSABLE_ENTITY)
}

fn not_found(detail: &str) -> Reply {
    Problem::new(Code::NotFound, detail).reply()
}
