//! Who somebody is, and what that lets them do.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a credential lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Create sessions, and links to them.
    Mint,
    /// See sessions, their output so far, and providers.
    Observe,
    /// End sessions.
    End,
    /// All of these, for the sessions of every subject.
    Admin,
}

/// All scopes, by their names in the configuration and in tokens.
const SCOPES: [(&str, Scope); 4] =
    [("mint", Scope::Mint), ("observe", Scope::Observe), ("end", Scope::End), ("admin", Scope::Admin)];

impl Scope {
    /// Every scope with its name.
    pub const NAMES: [(&'static str, Self); 4] = SCOPES;

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        SCOPES.iter().find(|(_, scope)| *scope == self).map_or("", |(name, _)| name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = SCOPES.iter().find(|(name, _)| *name == text);
        found.map(|(_, scope)| *scope).ok_or("expected a scope: mint, observe, end or admin")
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether this is among them; [`Scope::Admin`] brings all others.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The kinds of calls.
    pub scopes: Scopes,
    /// At which providers, by their names; `None` is all of them.
    pub providers: Option<Arc<[String]>>,
    /// For whom; `None` is anybody.
    pub subject: Option<Arc<str>>,
}

impl Rights {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self { scopes: [Scope::Admin].into_iter().collect(), providers: None, subject: None }
    }
}

/// Somebody whose credentials were good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: Arc<str>,
    rights: Rights,
}

impl Identity {
    /// Somebody of this name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, rights: Rights) -> Self {
        Self { name: name.into(), rights }
    }

    /// What logs and rates call it: a key's name, or a token's subject.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may make calls of this kind.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.rights.scopes.has(scope)
    }

    /// Whether it has to do with this provider.
    #[must_use]
    pub fn may_use(&self, provider: &str) -> bool {
        self.rights.providers.as_ref().is_none_or(|providers| providers.iter().any(|name| name == provider))
    }

    /// The one subject that it acts for; `None` when it may act for anybody.
    #[must_use]
    pub fn subject(&self) -> Option<&Arc<str>> {
        self.rights.subject.as_ref()
    }

    /// Whether it has to do with every session there may be.
    #[must_use]
    pub fn reaches_everything(&self) -> bool {
        self.rights.providers.is_none() && (self.rights.subject.is_none() || self.may(Scope::Admin))
    }

    /// Whether it has to do with a session at `provider` that was made for `subject`.
    #[must_use]
    pub fn reaches(&self, provider: &str, subject: Option<&str>) -> bool {
        let is_its_own = self.rights.subject.as_deref().is_none_or(|own| subject == Some(own));
        self.may_use(provider) && (is_its_own || self.may(Scope::Admin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(scopes: &[Scope], providers: Option<&[&str]>, subject: Option<&str>) -> Identity {
        let providers = providers.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let rights = Rights { scopes: scopes.iter().copied().collect(), providers, subject: subject.map(Into::into) };
        Identity::new("somebody", rights)
    }

    #[test]
    fn a_scope_lets_do_what_it_names_and_admin_everything() {
        let minter = identity(&[Scope::Mint], None, None);
        assert!(minter.may(Scope::Mint) && !minter.may(Scope::Observe) && !minter.may(Scope::End));
        assert!(!minter.may(Scope::Admin));
        let admin = identity(&[Scope::Admin], None, None);
        assert!(Scope::NAMES.iter().all(|(_, scope)| admin.may(*scope)));
        assert!(Scope::NAMES.iter().all(|(_, scope)| !identity(&[], None, None).may(*scope)));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, scope) in Scope::NAMES {
            assert_eq!((name.parse(), scope.to_string().as_str()), (Ok(scope), name));
        }
        assert!("Mint".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
    }

    #[test]
    fn who_acts_for_one_subject_reaches_only_its_sessions_at_its_providers() {
        let alice = identity(&[Scope::Observe], Some(&["pai", "eci"]), Some("alice"));
        assert!(alice.reaches("pai", Some("alice")));
        assert!(!alice.reaches("pai", Some("bob")) && !alice.reaches("pai", None));
        assert!(!alice.reaches("oblien", Some("alice")));
        let admin = identity(&[Scope::Admin], Some(&["pai"]), Some("root"));
        assert!(admin.reaches("pai", Some("bob")) && admin.reaches("pai", None));
        assert!(!admin.reaches("eci", Some("bob")), "its providers are its providers");
        let anybody = identity(&[Scope::End], None, None);
        assert!(anybody.reaches_everything() && !alice.reaches_everything() && !admin.reaches_everything());
        assert!(anybody.reaches("pai", None) && anybody.reaches("eci", Some("bob")));
    }
}
