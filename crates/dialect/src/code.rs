//! The closed set of things that go wrong, shared by the wire, the API, the log and the metrics.

/// Why an attachment, a session or a request failed.
///
/// One slug serves everywhere: as `code` of an `error` message and of an HTTP problem, as metric label and as log
/// field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The client's message breaks the protocol.
    BadMessage,
    /// A message or body is over its limit.
    TooLarge,
    /// No credentials, or wrong ones.
    Unauthenticated,
    /// Good credentials, but not for this.
    Forbidden,
    /// No such session, link or provider.
    NotFound,
    /// The link was used or has expired.
    LinkGone,
    /// Too many in too short a time.
    RateLimited,
    /// Too many at once.
    QuotaExceeded,
    /// Neither input nor output for too long.
    IdleTimeout,
    /// The session reached its longest life.
    LifetimeOver,
    /// Another attachment took this one's place.
    Replaced,
    /// The client did not read fast enough.
    FellBehind,
    /// This process is shutting down.
    Draining,
    /// The provider cannot do that.
    Unsupported,
    /// Output was lost between the provider and us.
    OutputGap,
    /// The provider said no.
    ProviderRefused,
    /// The provider cannot be reached or is out of order.
    ProviderUnavailable,
    /// What the terminal should run in is not running.
    ProviderNotRunning,
    /// The provider did not answer in time.
    ProviderTimeout,
    /// The connection to the provider broke in the middle.
    ProviderLost,
    /// Another party took our place at the provider.
    Evicted,
    /// The ticket store cannot be reached.
    StoreUnavailable,
    /// The ticket store came back with another memory.
    StoreRestarted,
    /// Our fault.
    Internal,
}

impl Code {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 24] = [
        Self::BadMessage,
        Self::TooLarge,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::LinkGone,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::IdleTimeout,
        Self::LifetimeOver,
        Self::Replaced,
        Self::FellBehind,
        Self::Draining,
        Self::Unsupported,
        Self::OutputGap,
        Self::ProviderRefused,
        Self::ProviderUnavailable,
        Self::ProviderNotRunning,
        Self::ProviderTimeout,
        Self::ProviderLost,
        Self::Evicted,
        Self::StoreUnavailable,
        Self::StoreRestarted,
        Self::Internal,
    ];

    /// The stable name.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::BadMessage => "bad_message",
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::LinkGone => "link_gone",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::IdleTimeout => "idle_timeout",
            Self::LifetimeOver => "lifetime_over",
            Self::Replaced => "replaced",
            Self::FellBehind => "fell_behind",
            Self::Draining => "draining",
            Self::Unsupported => "unsupported",
            Self::OutputGap => "output_gap",
            Self::ProviderRefused => "provider_refused",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::ProviderNotRunning => "provider_not_running",
            Self::ProviderTimeout => "provider_timeout",
            Self::ProviderLost => "provider_lost",
            Self::Evicted => "evicted",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreRestarted => "store_restarted",
            Self::Internal => "internal",
        }
    }

    /// The WebSocket close code (protocol, "Close codes").
    #[must_use]
    pub fn close(self) -> u16 {
        match self {
            Self::BadMessage => 4400,
            Self::TooLarge => 1009,
            Self::Unauthenticated => 4401,
            Self::Forbidden => 4403,
            Self::NotFound => 4404,
            Self::IdleTimeout | Self::LifetimeOver => 4408,
            Self::Replaced => 4409,
            Self::LinkGone => 4410,
            Self::FellBehind | Self::OutputGap => 4413,
            Self::RateLimited | Self::QuotaExceeded => 4429,
            Self::Draining => 1001,
            Self::Unsupported | Self::Internal | Self::StoreUnavailable | Self::StoreRestarted => 4500,
            Self::ProviderTimeout => 4504,
            Self::ProviderRefused
            | Self::ProviderUnavailable
            | Self::ProviderNotRunning
            | Self::ProviderLost
            | Self::Evicted => 4502,
        }
    }

    /// The HTTP status of a problem with this code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadMessage => 400,
            Self::TooLarge => 413,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Replaced | Self::ProviderNotRunning => 409,
            Self::LinkGone => 410,
            Self::Unsupported => 422,
            Self::RateLimited | Self::QuotaExceeded => 429,
            Self::ProviderRefused
            | Self::ProviderUnavailable
            | Self::ProviderLost
            | Self::Evicted
            | Self::OutputGap => 502,
            Self::Draining | Self::StoreUnavailable | Self::StoreRestarted => 503,
            Self::ProviderTimeout => 504,
            Self::IdleTimeout | Self::LifetimeOver | Self::FellBehind => 408,
            Self::Internal => 500,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.slug())
    }
}
