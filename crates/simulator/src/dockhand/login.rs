//! The calls by which sessions and tokens come and go.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Auth, Server,
    api::{Refused, envelope, page, reply, unauthorized},
    auth::{COOKIE, Caller, Login},
};
use crate::web::count;

/// Who the caller is.
pub(super) fn who(server: &Server, headers: &HeaderMap) -> Response<Bytes> {
    let body = match (server.accounts.mode, server.accounts.upgrader(headers)) {
        (Auth::Off, _) => json!({"authenticated": false, "authEnabled": false}),
        (_, None) => json!({"authenticated": false, "authEnabled": true}),
        (_, Some(_)) => json!({"authenticated": true, "authEnabled": true, "user": user(server)}),
    };
    reply(StatusCode::OK, &body)
}

fn user(server: &Server) -> Value {
    json!({
        "id": 1,
        "username": server.accounts.credential.username,
        "email": null,
        "displayName": null,
        "isAdmin": true,
    })
}

/// Begins a session.
pub(super) fn login(server: &Server, headers: &HeaderMap, body: &[u8]) -> Result<Response<Bytes>, Refused> {
    if server.accounts.mode == Auth::Off {
        return Err(envelope(StatusCode::BAD_REQUEST, "Authentication is not enabled").into());
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    let (Some(username), Some(password)) = (text("username"), text("password")) else {
        return Err(envelope(StatusCode::BAD_REQUEST, "Username and password are required").into());
    };
    let wrong = || {
        count(&server.tally.logins_refused, 1);
        Refused::from(envelope(StatusCode::UNAUTHORIZED, "Invalid username or password"))
    };
    if text("provider").is_some_and(|provider| provider != "local") {
        // No directory is set up.
        return Err(wrong());
    }
    let login = server.accounts.login(username, password, text("mfaToken"));
    match login.map_err(|_| page(StatusCode::INTERNAL_SERVER_ERROR))? {
        Login::Good(token) => {
            count(&server.tally.logins, 1);
            let mut response = reply(StatusCode::OK, &json!({"success": true, "user": user(server)}));
            let life = server.accounts.session_life.as_secs();
            let by_tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
            let secure = if by_tls { "; Secure" } else { "" };
            set_cookie(
                &mut response,
                &format!("{COOKIE}={token}; Max-Age={life}; Path=/; HttpOnly{secure}; SameSite=Lax"),
            );
            Ok(response)
        }
        Login::NeedsCode => Ok(reply(StatusCode::OK, &json!({"requiresMfa": true}))),
        Login::WrongPassword => Err(wrong()),
        Login::WrongCode => {
            count(&server.tally.logins_refused, 1);
            Err(envelope(StatusCode::UNAUTHORIZED, "Invalid MFA code").into())
        }
        Login::Locked(seconds) => {
            count(&server.tally.logins_refused, 1);
            Err(too_many(seconds).into())
        }
    }
}

/// Ends the caller's session.
pub(super) fn logout(server: &Server, headers: &HeaderMap) -> Response<Bytes> {
    server.accounts.logout(headers);
    let mut response = reply(StatusCode::OK, &json!({"success": true}));
    set_cookie(&mut response, &format!("{COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"));
    response
}

fn set_cookie(response: &mut Response<Bytes>, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// Makes an API token, which only a login session may ask for.
pub(super) fn mint(server: &Server, caller: &Caller, body: &[u8]) -> Result<Response<Bytes>, Refused> {
    if *caller != Caller::Session {
        return Err(unauthorized().into());
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let bad = |error: &str| Refused::from(envelope(StatusCode::BAD_REQUEST, error));
    if body["name"].as_str().is_none_or(str::is_empty) {
        return Err(bad("Name is required"));
    }
    if body["password"] != server.accounts.credential.password.as_str() {
        return Err(envelope(StatusCode::UNAUTHORIZED, "Invalid password").into());
    }
    let expires = match &body["expiresAt"] {
        Value::Null => None,
        Value::String(text) => {
            let at: jiff::Timestamp = text.parse().map_err(|_| bad("Invalid expiration date"))?;
            Some(at.into())
        }
        _ => return Err(bad("Invalid expiration date")),
    };
    match server.accounts.mint(expires) {
        Ok(Some((id, token))) => {
            Ok(reply(StatusCode::CREATED, &json!({"id": id, "token": token, "tokenPrefix": &token[..11]})))
        }
        Ok(None) => Err(bad("Maximum number of tokens reached")),
        Err(_) => Err(page(StatusCode::INTERNAL_SERVER_ERROR).into()),
    }
}

/// The refusal of a login that is locked for so many seconds.
pub(super) fn too_many(seconds: u64) -> Response<Bytes> {
    let message = format!("Too many login attempts. Please try again in {seconds} seconds.");
    envelope(StatusCode::TOO_MANY_REQUESTS, &message)
}
