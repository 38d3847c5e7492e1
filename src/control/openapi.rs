//! `/openapi.json`: the description of the API, as a file that is checked against the calls by the tests.

use http::{Method, StatusCode};

use super::not_allowed;
use crate::respond::{Reply, reply as respond};

const DESCRIPTION: &str = include_str!("openapi.json");

pub(super) fn reply(method: &Method) -> Reply {
    match *method {
        Method::GET | Method::HEAD => respond(StatusCode::OK, "application/json", DESCRIPTION),
        _ => not_allowed("GET, HEAD"),
    }
}
