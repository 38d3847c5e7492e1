//! Counters, and their text for Prometheus.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use dashmap::DashMap;

/// What is counted. Labels come from closed sets (kinds, codes), so the maps are bounded.
#[derive(Debug, Default)]
pub struct Metrics {
    minted: AtomicU64,
    redeemed: AtomicU64,
    ignored_client: AtomicU64,
    ignored_upstream: AtomicU64,
    refused: DashMap<&'static str, u64>,
    ended: DashMap<(&'static str, &'static str), u64>,
    carried: AtomicI64,
    limited: DashMap<&'static str, u64>,
    limit_entries: DashMap<&'static str, u64>,
    limit_shared: DashMap<&'static str, u64>,
    recordings: AtomicU64,
    recorded: AtomicU64,
    recording_disk: AtomicU64,
    recording_gaps: AtomicU64,
    recording_missing: AtomicU64,
    recording_pauses: AtomicU64,
    recordings_failed: DashMap<&'static str, u64>,
    recordings_deleted: DashMap<&'static str, u64>,
    store_up: OnceLock<AtomicU64>,
    store_calls: DashMap<&'static str, u64>,
    reloads: DashMap<&'static str, u64>,
}

impl Metrics {
    /// A link was minted.
    pub fn link_minted(&self) {
        self.minted.fetch_add(1, Ordering::Relaxed);
    }

    /// A link was redeemed.
    pub fn link_redeemed(&self) {
        self.redeemed.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more connections are carried to other replicas, or fewer.
    pub fn carried(&self, change: i64) {
        self.carried.fetch_add(change, Ordering::Relaxed);
    }

    /// Clients sent so many messages or fields that mean nothing here.
    pub fn ignored_client(&self, count: u64) {
        self.ignored_client.fetch_add(count, Ordering::Relaxed);
    }

    /// Providers sent so many messages or fields that mean nothing here.
    pub fn ignored_upstream(&self, count: u64) {
        self.ignored_upstream.fetch_add(count, Ordering::Relaxed);
    }

    /// An upgrade was refused with this code.
    pub fn upgrade_refused(&self, code: &'static str) {
        *self.refused.entry(code).or_default() += 1;
    }

    /// A session at a provider of this kind ended in this way.
    pub fn session_ended(&self, kind: &'static str, ending: &'static str) {
        *self.ended.entry((kind, ending)).or_default() += 1;
    }

    /// Somebody ran into this limit: was refused, or held back.
    pub fn limited(&self, limit: &'static str) {
        *self.limited.entry(limit).or_default() += 1;
    }

    /// So many are remembered for this limit now, and so many more were judged together, since there was no room for them.
    pub fn limit_map(&self, limit: &'static str, entries: usize, shared: u64) {
        self.limit_entries.insert(limit, entries as u64);
        *self.limit_shared.entry(limit).or_default() += shared;
    }

    /// A recording is being written from now on.
    pub fn recording_begins(&self) {
        self.recordings.fetch_add(1, Ordering::Relaxed);
    }

    /// A recording is no longer being written.
    pub fn recording_ends(&self) {
        self.recordings.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many bytes were written to recordings.
    pub fn recorded(&self, bytes: u64) {
        self.recorded.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes are held by all recordings on the disk.
    pub fn recording_disk(&self, bytes: u64) {
        self.recording_disk.store(bytes, Ordering::Relaxed);
    }

    /// A recording began to leave something out, since its queue was full.
    pub fn recording_gap(&self) {
        self.recording_gaps.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of a terminal were left out of a recording.
    pub fn recording_missing(&self, bytes: u64) {
        self.recording_missing.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A session began to wait for its recording.
    pub fn recording_paused(&self) {
        self.recording_pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// A recording ended before its session, for this reason.
    pub fn recording_failed(&self, reason: &'static str) {
        *self.recordings_failed.entry(reason).or_default() += 1;
    }

    /// A part of a recording was deleted, for this reason.
    pub fn recording_deleted(&self, reason: &'static str) {
        *self.recordings_deleted.entry(reason).or_default() += 1;
    }

    /// The store that replicas share is connected, or away.
    pub fn store_up(&self, up: bool) {
        self.store_up.get_or_init(AtomicU64::default).store(up.into(), Ordering::Relaxed);
    }

    /// A call to that store came to this outcome.
    pub fn store_call(&self, outcome: &'static str) {
        *self.store_calls.entry(outcome).or_default() += 1;
    }

    /// SIGHUP asked for another configuration, and this came of it: `applied` or `refused`.
    pub fn reload(&self, result: &'static str) {
        *self.reloads.entry(result).or_default() += 1;
    }

    /// The text format of Prometheus, version 0.0.4. `sessions` is how many there are now.
    #[must_use]
    pub fn render(&self, sessions: usize) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, mut samples: Vec<(String, u64)>| {
            samples.sort();
            let _ = writeln!(text, "# HELP polytty_{name} {help}\n# TYPE polytty_{name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "polytty_{name}{labels} {value}");
            }
        };
        let one = |counter: &AtomicU64| vec![(String::new(), counter.load(Ordering::Relaxed))];
        family("sessions", "gauge", "Sessions that are there now.", vec![(String::new(), sessions as u64)]);
        let carried = u64::try_from(self.carried.load(Ordering::Relaxed)).unwrap_or(0);
        family(
            "carried",
            "gauge",
            "Clients of other replicas that are carried to them.",
            vec![(String::new(), carried)],
        );
        family("links_minted_total", "counter", "Links minted.", one(&self.minted));
        family("links_redeemed_total", "counter", "Links redeemed.", one(&self.redeemed));
        let ignored = [("client", &self.ignored_client), ("upstream", &self.ignored_upstream)]
            .map(|(from, count)| (format!("{{from=\"{from}\"}}"), count.load(Ordering::Relaxed)));
        family("ignored_total", "counter", "Messages and fields that mean nothing here.", ignored.into());
        let refused = self.refused.iter().map(|entry| (format!("{{code=\"{}\"}}", entry.key()), *entry.value()));
        family("upgrades_refused_total", "counter", "Upgrades refused, by code.", refused.collect());
        let ended = self.ended.iter().map(|entry| {
            let (kind, ending) = entry.key();
            (format!("{{kind=\"{kind}\",ending=\"{ending}\"}}"), *entry.value())
        });
        family("sessions_ended_total", "counter", "Sessions ended, by kind and ending.", ended.collect());
        let by_limit = |counts: &DashMap<&'static str, u64>| {
            counts.iter().map(|entry| (format!("{{limit=\"{}\"}}", entry.key()), *entry.value())).collect()
        };
        let limited = by_limit(&self.limited);
        family("limited_total", "counter", "Times that somebody was refused or held back, by limit.", limited);
        let entries = by_limit(&self.limit_entries);
        family("limit_entries", "gauge", "Addresses or names that a limit remembers now.", entries);
        let shared = by_limit(&self.limit_shared);
        family(
            "limit_shared_total",
            "counter",
            "Times that somebody was judged with others, for want of room.",
            shared,
        );
        family("recordings", "gauge", "Recordings that are being written now.", one(&self.recordings));
        family("recording_disk_bytes", "gauge", "What recordings hold on the disk.", one(&self.recording_disk));
        family("recorded_bytes_total", "counter", "Bytes written to recordings.", one(&self.recorded));
        let gaps = one(&self.recording_gaps);
        family("recording_gaps_total", "counter", "Times that a recording began to leave something out.", gaps);
        let missing = one(&self.recording_missing);
        family("recording_missing_bytes_total", "counter", "Bytes of terminals left out of recordings.", missing);
        let pauses = one(&self.recording_pauses);
        family("recording_pauses_total", "counter", "Times that a session began to wait for its recording.", pauses);
        let by_reason = |counts: &DashMap<&'static str, u64>| {
            counts.iter().map(|entry| (format!("{{reason=\"{}\"}}", entry.key()), *entry.value())).collect()
        };
        let failed = by_reason(&self.recordings_failed);
        family("recordings_failed_total", "counter", "Recordings that ended before their session, by reason.", failed);
        let deleted = by_reason(&self.recordings_deleted);
        family("recording_parts_deleted_total", "counter", "Parts of recordings deleted, by reason.", deleted);
        if let Some(up) = self.store_up.get() {
            family("store_up", "gauge", "Whether the store of the tickets is connected.", one(up));
            let calls =
                self.store_calls.iter().map(|entry| (format!("{{outcome=\"{}\"}}", entry.key()), *entry.value()));
            family("store_calls_total", "counter", "Calls to the store of the tickets, by outcome.", calls.collect());
        }
        let reloads = self.reloads.iter().map(|entry| (format!("{{result=\"{}\"}}", entry.key()), *entry.value()));
        family("config_reloads_total", "counter", "Reloads that SIGHUP asked for, by result.", reloads.collect());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown_with_its_labels() {
        let metrics = Metrics::default();
        metrics.link_minted();
        metrics.upgrade_refused("link_gone");
        metrics.upgrade_refused("link_gone");
        metrics.session_ended("local", "exit");
        let text = metrics.render(3);
        for line in [
            "polytty_sessions 3",
            "polytty_links_minted_total 1",
            "polytty_links_redeemed_total 0",
            "polytty_upgrades_refused_total{code=\"link_gone\"} 2",
            "polytty_sessions_ended_total{kind=\"local\",ending=\"exit\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
