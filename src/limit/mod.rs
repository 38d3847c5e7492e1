//! Rates: how often somebody may do something. (Counts are permits, held by what they count.)

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::auth::Identity;

/// How often a key may mint a link: `per_second` sustained, `burst` at once.
///
/// Its map holds one entry per configured key, so it is bounded by the configuration.
pub struct MintRate {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    burst: NonZeroU32,
    per_second: NonZeroU32,
}

/// Too many; when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// From now.
    pub retry_after: Duration,
}

impl MintRate {
    /// A rate. Both numbers are at least 1.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        Self { limiter, clock: DefaultClock::default(), burst, per_second }
    }

    /// Counts one mint.
    ///
    /// # Errors
    ///
    /// [`TooMany`]; nothing was counted.
    pub fn check(&self, identity: &Identity) -> Result<(), TooMany> {
        self.limiter
            .check_key(&identity.name().to_owned())
            .map_err(|not_until| TooMany { retry_after: not_until.wait_time_from(self.clock.now()) })
    }

    /// The policy as a `RateLimit-Policy` field (draft-ietf-httpapi-ratelimit-headers-10, section 3): a burst, and the
    /// seconds in which a spent one fills up again.
    #[must_use]
    pub fn policy(&self) -> String {
        let window = self.burst.get().div_ceil(self.per_second.get());
        format!("\"mint\";q={};w={window}", self.burst)
    }
}

impl TooMany {
    /// Whole seconds for a `Retry-After` field, at least 1.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.retry_after.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Rights;

    fn identity(name: &str) -> Identity {
        Identity::new(name, Rights::all())
    }

    #[test]
    fn a_burst_passes_the_next_is_told_when_to_come_back_and_another_key_is_not_touched() {
        let rate = MintRate::new(1, 5);
        let (greedy, modest) = (identity("greedy"), identity("modest"));
        for _ in 0..5 {
            rate.check(&greedy).unwrap();
        }
        let refused = rate.check(&greedy).unwrap_err();
        assert_eq!(refused.seconds(), 1);
        rate.check(&modest).unwrap();
        assert_eq!(rate.policy(), "\"mint\";q=5;w=5");
    }
}
