//! The door of the demo page: a one-time secret in the printed address is exchanged for a cookie.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::{Identity, NoRandomness, Rights, random_token};

/// The name of the cookie. The prefix `__Host-` makes browsers insist on `Secure`, on `Path=/` and on no `Domain`
/// (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
pub const COOKIE: &str = "__Host-polytty-demo";

/// How many browsers may be let in at once; the oldest is let go at the bound.
const MAX_COOKIES: usize = 32;

/// Lets one browser in per secret.
pub struct Door {
    state: Mutex<State>,
}

struct State {
    secret: String,
    cookies: Vec<String>,
}

impl Door {
    /// A closed door with a new secret.
    ///
    /// # Errors
    ///
    /// When the operating system yields no random bytes.
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self { state: Mutex::new(State { secret: random_token()?, cookies: Vec::new() }) })
    }

    /// The secret that will be taken next.
    pub fn secret(&self) -> String {
        self.lock().secret.clone()
    }

    /// Exchanges the secret for the value of a cookie, once; from then on another secret is needed.
    ///
    /// # Errors
    ///
    /// When the operating system yields no random bytes.
    pub fn enter(&self, secret: &str) -> Result<Option<String>, NoRandomness> {
        let (next, cookie) = (random_token()?, random_token()?);
        let mut state = self.lock();
        if verify_slices_are_equal(state.secret.as_bytes(), secret.as_bytes()).is_err() {
            return Ok(None);
        }
        state.secret = next;
        if state.cookies.len() == MAX_COOKIES {
            state.cookies.remove(0);
        }
        state.cookies.push(cookie.clone());
        Ok(Some(cookie))
    }

    /// Who holds this `Cookie` field value.
    pub fn identify(&self, field: &str) -> Option<Identity> {
        let value = field.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
        let state = self.lock();
        let known = state
            .cookies
            .iter()
            .filter(|cookie| verify_slices_are_equal(cookie.as_bytes(), value.as_bytes()).is_ok())
            .count();
        (known > 0).then(|| Identity::new("demo-page", Rights::all()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_the_door_once_and_its_cookie_is_known_from_then_on() {
        let door = Door::new().unwrap();
        let secret = door.secret();
        assert_eq!(door.enter("").unwrap(), None);
        let cookie = door.enter(&secret).unwrap().unwrap();
        assert_eq!(door.enter(&secret).unwrap(), None, "the address worked once");
        assert!(door.identify(&format!("a=b; {COOKIE}={cookie}; c=d")).is_some());
        for wrong in [format!("{COOKIE}="), format!("x{COOKIE}={cookie}"), format!("{COOKIE}={cookie}x"), secret] {
            assert!(door.identify(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_oldest_browser_is_let_go_at_the_bound() {
        let door = Door::new().unwrap();
        let first = door.enter(&door.secret()).unwrap().unwrap();
        for _ in 0..MAX_COOKIES {
            door.enter(&door.secret()).unwrap().unwrap();
        }
        assert!(door.identify(&format!("{COOKIE}={first}")).is_none());
    }
}
