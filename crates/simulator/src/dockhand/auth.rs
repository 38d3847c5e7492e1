//! Who may call: one local account with its login sessions and API tokens.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Result;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, HeaderValue, header};

use super::totp;
use crate::{Clock, random};

/// The cookie of a login session.
pub(super) const COOKIE: &str = "dockhand_session";
/// Login sessions at a time. At the bound the oldest ends.
const MAX_SESSIONS: usize = 10_000;
/// API tokens of the account, which is the server's own bound.
const MAX_TOKENS: usize = 25;
/// User names whose failures are counted. At the bound further ones are not.
const MAX_FAILING: usize = 1_024;
/// Failures that lock a name, and for how long.
const LOGIN_FAILURES: u32 = 5;
const LOGIN_LOCK: Duration = Duration::from_secs(15 * 60);
/// Bad tokens within a minute that lock all tokens out, and for how long.
const TOKEN_FAILURES: usize = 15;
const TOKEN_WINDOW: Duration = Duration::from_secs(60);
const TOKEN_LOCK: Duration = Duration::from_secs(5 * 60);

/// Whether and how the server asks who calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// By a login session or an API token.
    #[default]
    Required,
    /// The same, and a login also needs a one-time code.
    Mfa,
    /// Not at all, as after a fresh installation. To keep strangers on this machine out, the containers that run then have
    /// names that nobody can guess.
    Off,
}

/// The account and the API token that it has from the start.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// The API token, `dh_` and 43 characters.
    pub token: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Credential {
    /// The account `admin` with a new random password and token.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn random() -> Result<Self> {
        Ok(Self { username: "admin".to_owned(), password: random::token()?, token: new_token()? })
    }
}

fn new_token() -> Result<String> {
    Ok(format!("dh_{}", random::token()?))
}

/// What a login comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// A new session with this token.
    Good(String),
    /// The password is right, and a code is missing.
    NeedsCode,
    WrongPassword,
    WrongCode,
    /// For so many seconds.
    Locked(u64),
}

/// Who a request is from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Session,
    Token,
    /// Nobody is asked.
    Anybody,
}

/// Why a request is from nobody.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Unknown,
    /// Too many bad tokens; for so many seconds.
    Locked(u64),
}

/// The account and what it has given out.
#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) mode: Auth,
    pub(super) credential: Credential,
    secret: [u8; 20],
    clock: Clock,
    /// The life of a login session.
    pub(super) session_life: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The token and the end of each session, the oldest first: all live equally long.
    sessions: VecDeque<(String, SystemTime)>,
    tokens: Vec<Token>,
    backup_code: Option<String>,
    /// Failures, and when the lock ends that they have brought.
    failing: HashMap<String, (u32, Option<SystemTime>)>,
    bad_tokens: VecDeque<SystemTime>,
    tokens_locked_until: Option<SystemTime>,
}

#[derive(Debug)]
struct Token {
    token: String,
    expires: Option<SystemTime>,
}

impl Accounts {
    pub(super) fn new(mode: Auth, credential: Credential, clock: Clock, session_life: Duration) -> Result<Self> {
        let state = State {
            tokens: vec![Token { token: credential.token.clone(), expires: None }],
            backup_code: Some(random::word(8)?),
            ..State::default()
        };
        Ok(Self { mode, credential, secret: random::bytes()?, clock, session_life, state: Mutex::new(state) })
    }

    /// The secret of the one-time codes, in base32.
    pub(super) fn mfa_secret(&self) -> String {
        totp::base32(&self.secret)
    }

    /// The code that is good once in place of a one-time code, until it is used.
    pub(super) fn backup_code(&self) -> Option<String> {
        self.lock().backup_code.clone()
    }

    pub(super) fn login(&self, username: &str, password: &str, code: Option<&str>) -> Result<Login> {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(seconds) = state.locked_for(username, now) {
            return Ok(Login::Locked(seconds));
        }
        let known = username == self.credential.username;
        if !same(password, &self.credential.password) || !known {
            state.failed(username, now);
            return Ok(Login::WrongPassword);
        }
        if self.mode == Auth::Mfa {
            let Some(code) = code.filter(|code| !code.is_empty()) else { return Ok(Login::NeedsCode) };
            let is_backup = state.backup_code.as_deref().is_some_and(|backup| same(backup, code));
            if is_backup {
                state.backup_code = None;
            } else if !totp::is_code(&self.secret, code, now) {
                state.failed(username, now);
                return Ok(Login::WrongCode);
            }
        }
        state.failing.remove(username);
        let token = random::token()?;
        state.expire(now);
        if state.sessions.len() >= MAX_SESSIONS {
            state.sessions.pop_front();
        }
        state.sessions.push_back((token.clone(), now + self.session_life));
        Ok(Login::Good(token))
    }

    /// Who a call is from. Bad tokens are counted and lead to a lock.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let now = self.clock.now();
        let bearer = bearer(headers).is_some();
        if bearer && let Some(seconds) = self.lock().tokens_locked_for(now) {
            return Err(Denied::Locked(seconds));
        }
        self.upgrader(headers).ok_or_else(|| {
            if bearer {
                self.lock().bad_token(now);
            }
            Denied::Unknown
        })
    }

    /// Who an upgrade is from: by the cookie, else by the token. Here nobody is locked out.
    pub(super) fn upgrader(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.mode == Auth::Off {
            return Some(Caller::Anybody);
        }
        let now = self.clock.now();
        let mut state = self.lock();
        state.expire(now);
        if cookie(headers).is_some_and(|cookie| state.sessions.iter().any(|(token, _)| same(token, cookie))) {
            return Some(Caller::Session);
        }
        let good =
            |token: &Token, bearer| same(&token.token, bearer) && token.expires.is_none_or(|expires| now < expires);
        bearer(headers)
            .is_some_and(|bearer| state.tokens.iter().any(|token| good(token, bearer)))
            .then_some(Caller::Token)
    }

    /// Makes another API token; `None` at the bound.
    pub(super) fn mint(&self, expires: Option<SystemTime>) -> Result<Option<(usize, String)>> {
        let token = new_token()?;
        let mut state = self.lock();
        if state.tokens.len() >= MAX_TOKENS {
            return Ok(None);
        }
        state.tokens.push(Token { token: token.clone(), expires });
        Ok(Some((state.tokens.len(), token)))
    }

    /// Ends the session of a request.
    pub(super) fn logout(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers) {
            self.lock().sessions.retain(|(token, _)| !same(token, cookie));
        }
    }

    /// Ends every session.
    pub(super) fn logout_all(&self) {
        self.lock().sessions.clear();
    }

    /// Forgets what a process keeps only in its memory: who failed how often.
    pub(super) fn restart(&self) {
        let mut state = self.lock();
        state.failing.clear();
        state.bad_tokens.clear();
        state.tokens_locked_until = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn expire(&mut self, now: SystemTime) {
        while self.sessions.front().is_some_and(|(_, end)| *end <= now) {
            self.sessions.pop_front();
        }
    }

    /// The seconds that a name is still locked for.
    fn locked_for(&mut self, username: &str, now: SystemTime) -> Option<u64> {
        let (_, until) = *self.failing.get(username)?;
        let left = until?.duration_since(now).ok().filter(|left| !left.is_zero());
        if left.is_none() {
            self.failing.remove(username);
        }
        left.map(seconds)
    }

    fn failed(&mut self, username: &str, now: SystemTime) {
        if self.failing.len() >= MAX_FAILING && !self.failing.contains_key(username) {
            return;
        }
        let (failures, until) = self.failing.entry(username.to_owned()).or_default();
        *failures += 1;
        if *failures >= LOGIN_FAILURES {
            *until = Some(now + LOGIN_LOCK);
        }
    }

    fn tokens_locked_for(&self, now: SystemTime) -> Option<u64> {
        let left = self.tokens_locked_until?.duration_since(now).ok()?;
        (!left.is_zero()).then(|| seconds(left))
    }

    fn bad_token(&mut self, now: SystemTime) {
        self.bad_tokens.retain(|at| now.duration_since(*at).is_ok_and(|age| age < TOKEN_WINDOW));
        self.bad_tokens.push_back(now);
        if self.bad_tokens.len() >= TOKEN_FAILURES {
            self.bad_tokens.clear();
            self.tokens_locked_until = Some(now + TOKEN_LOCK);
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| HeaderValue::to_str(value).ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    fn accounts(mode: Auth) -> (Accounts, ManualClock) {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        let life = Duration::from_secs(3_600);
        (Accounts::new(mode, Credential::random().unwrap(), clock.clock(), life).unwrap(), clock)
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(header::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect()
    }

    fn login(accounts: &Accounts) -> String {
        let Credential { username, password, .. } = &accounts.credential;
        match accounts.login(username, password, None).unwrap() {
            Login::Good(token) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_lives_its_time_and_a_token_for_ever() {
        let (accounts, clock) = accounts(Auth::Required);
        let cookie = headers("cookie", &format!("a=%; {COOKIE}={}; b=1", login(&accounts)));
        let token = headers("authorization", &format!("Bearer {}", accounts.credential.token));
        clock.advance(Duration::from_secs(3_599));
        assert_eq!(accounts.caller(&cookie), Ok(Caller::Session));
        clock.advance(Duration::from_secs(1));
        assert_eq!(accounts.caller(&cookie), Err(Denied::Unknown));
        assert_eq!(accounts.caller(&token), Ok(Caller::Token));
        assert_eq!(accounts.caller(&HeaderMap::new()), Err(Denied::Unknown));
    }

    #[test]
    fn five_failures_lock_a_name_for_a_quarter_of_an_hour() {
        let (accounts, clock) = accounts(Auth::Required);
        let Credential { username, password, .. } = &accounts.credential;
        for _ in 0..5 {
            assert_eq!(accounts.login(username, "wrong", None).unwrap(), Login::WrongPassword);
        }
        clock.advance(Duration::from_millis(500));
        assert_eq!(accounts.login(username, password, None).unwrap(), Login::Locked(900));
        assert_eq!(accounts.login("another", "wrong", None).unwrap(), Login::WrongPassword);
        clock.advance(Duration::from_secs(900));
        login(&accounts);
        for _ in 0..5 {
            accounts.login(username, "wrong", None).unwrap();
        }
        accounts.restart();
        login(&accounts);
    }

    #[test]
    fn fifteen_bad_tokens_within_a_minute_lock_the_good_one_out_of_calls() {
        let (accounts, clock) = accounts(Auth::Required);
        let good = headers("authorization", &format!("bearer {}", accounts.credential.token));
        let bad = headers("authorization", "Bearer dh_wrong");
        for round in 0..15 {
            assert_eq!(accounts.caller(&good), Ok(Caller::Token), "{round}");
            assert_eq!(accounts.caller(&bad), Err(Denied::Unknown));
        }
        assert_eq!(accounts.caller(&good), Err(Denied::Locked(300)));
        assert_eq!(accounts.upgrader(&good), Some(Caller::Token), "upgrades go on");
        clock.advance(Duration::from_secs(300));
        assert_eq!(accounts.caller(&good), Ok(Caller::Token));
    }

    #[test]
    fn a_backup_code_is_good_once() {
        let (accounts, _) = accounts(Auth::Mfa);
        let Credential { username, password, .. } = &accounts.credential;
        assert_eq!(accounts.login(username, password, None).unwrap(), Login::NeedsCode);
        let code = accounts.backup_code().unwrap();
        assert!(matches!(accounts.login(username, password, Some(&code)).unwrap(), Login::Good(_)));
        assert_eq!(accounts.login(username, password, Some(&code)).unwrap(), Login::WrongCode);
    }

    #[test]
    fn tokens_are_bounded_and_may_expire() {
        let (accounts, clock) = accounts(Auth::Required);
        let (_, short) = accounts.mint(Some(clock.now() + Duration::from_secs(10))).unwrap().unwrap();
        let short = headers("authorization", &format!("Bearer {short}"));
        assert_eq!(accounts.upgrader(&short), Some(Caller::Token));
        clock.advance(Duration::from_secs(10));
        assert_eq!(accounts.upgrader(&short), None);
        assert_eq!((0..30).filter(|_| accounts.mint(None).unwrap().is_some()).count(), MAX_TOKENS - 2);
    }

    #[test]
    fn credentials_are_never_printed() {
        let credential = Credential::random().unwrap();
        let printed = format!("{credential:?}");
        assert!(!printed.contains(&credential.password) && !printed.contains(&credential.token));
    }
}
