//! From raw to checked: every key of every section, with its default and its range.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::checked::{
    CertificateFiles, ClientAuth, Config, DetachedOutput, Limits, Log, LogFormat, Recording, Screen, Server, Sessions,
    Tickets, Tls, WhenDiskFull,
};
use super::cluster::cluster;
use super::error::Problem;
use super::identities::{jwt, key};
use super::providers::provider;
use super::section::{Field, Read, Section};
use super::store::{TicketStore, store};
use super::units::{BaseUrl, Origin};
use crate::limit::{PaceSettings, Rate};
use crate::recording::WhenFull;
use crate::recording::cast::Format;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// How long a peer may be waited for.
pub(super) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
/// How many there may be of anything that is counted: connections, sessions, links a second.
pub(super) const COUNTS: RangeInclusive<u32> = 1..=1_000_000;
/// What names a key or a provider.
pub(super) const A_NAME: &str =
    "a name of at most 64 letters, digits, '.', '_' and '-' that begins with a letter or digit";

/// Reads everything below the root.
pub(super) fn config(root: &mut Section<'_>) -> Read<Config> {
    let server = root.table("server", server);
    let tls = root.table("tls", tls);
    let tickets = root.table("tickets", tickets);
    let limits = root.table("limits", limits);
    let sessions = root.table("sessions", sessions);
    let recording = root.table("recording", recording);
    let log = root.table("log", log);
    let has_redis = tickets.as_ref().map_or(true, |tickets| matches!(tickets.store, TicketStore::Redis(_)));
    let cluster = root.optional("cluster", |field| {
        if !has_redis {
            let rule = "expected tickets.store to be a Redis, by which replicas know each other and each other's links";
            return Err(field.tell(Problem::Rule(rule.to_owned())));
        }
        Section::of(&field, cluster)
    });
    let jwt = root.optional("jwt", |field| Section::of(&field, jwt));
    let has_client_ca = tls.as_ref().map_or(true, |tls| tls.client_ca.is_some());
    let keys = root.entries("keys", |section| key(section, has_client_ca));
    // Where it is not known, nothing more is said of it.
    let can_record = recording.as_ref().map_or(true, |recording| recording.directory.is_some());
    let providers = root.entries("providers", |section| provider(section, can_record));
    Ok(Config {
        server: server?,
        tls: tls?,
        tickets: tickets?,
        limits: limits?,
        sessions: sessions?,
        recording: recording?,
        log: log?,
        cluster: cluster?,
        jwt: jwt?,
        keys: keys?,
        providers: providers?,
    })
}

fn server(section: &mut Section<'_>) -> Read<Server> {
    let listen = section.or("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)), |field| field.address());
    let public_url = section.required("public_url", A_PUBLIC_URL, public_url);
    let admin_default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9443));
    let admin_field = section.field("admin_listen");
    let admin_listen = match &admin_field {
        None => Ok(Some(admin_default)),
        Some(field) if field.node.text() == Some("") => Ok(None),
        Some(field) => field.address().map(Some),
    };
    let origins = section.or("origins", Vec::new(), |field| {
        field.list(r#"a list of origins such as ["https://app.example.com"]"#, |item| {
            item.parse::<Origin>("an origin such as https://app.example.com")
        })
    });
    let trusted_proxies = section.or("trusted_proxies", Vec::new(), |field| field.list(NETWORKS, network));
    let proxy_protocol = section.field("proxy_protocol");
    let server = Server {
        listen: listen?,
        public_url: public_url?,
        admin_listen: admin_listen?,
        origins: origins?,
        trusted_proxies: trusted_proxies?,
        proxy_protocol: proxy_protocol.as_ref().map_or(Ok(false), |field| field.flag())?,
    };
    if let Some(field) = proxy_protocol.filter(|_| server.proxy_protocol && server.trusted_proxies.is_empty()) {
        let rule = "expected server.trusted_proxies to be set as well: nobody else's header is read".to_owned();
        return Err(field.tell(Problem::Rule(rule)));
    }
    match (admin_field, server.admin_listen) {
        (Some(field), Some(admin)) if admin == server.listen && admin.port() != 0 => {
            Err(field.tell(Problem::Rule("expected another address than that of server.listen".to_owned())))
        }
        _ => Ok(server),
    }
}

const NETWORKS: &str = r#"a list of addresses and networks such as ["10.0.0.0/8", "2001:db8::7"]"#;

fn network(item: Field<'_>) -> Read<IpNet> {
    let expected = r#"an IP address, or a network such as "10.0.0.0/8""#;
    let text = item.text(expected)?;
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map(|network| network.trunc()).map_err(|_| item.wrong(expected))
}

const A_PUBLIC_URL: &str = "the https URL that clients use, such as https://terminals.example.com";

fn public_url(field: Field<'_>) -> Read<BaseUrl> {
    let url: BaseUrl = field.parse(A_PUBLIC_URL)?;
    match url.is_tls() {
        true => Ok(url),
        false => Err(field.tell(Problem::Rule(format!("expected {A_PUBLIC_URL}, found one of http")))),
    }
}

fn tls(section: &mut Section<'_>) -> Read<Tls> {
    let default = certificate(section);
    let client_ca = section.optional("client_ca", |field| field.file());
    let has_client_ca = client_ca.as_ref().map_or(true, Option::is_some);
    let client_auth = section.or("client_auth", ClientAuth::Optional, |field| {
        let auth = field.one_of(&[("optional", ClientAuth::Optional), ("required", ClientAuth::Required)])?;
        if auth == ClientAuth::Required && !has_client_ca {
            let rule =
                "expected tls.client_ca to be set as well: there is nothing to verify certificates by".to_owned();
            return Err(field.tell(Problem::Rule(rule)));
        }
        Ok(auth)
    });
    let more = section.or("certificates", Vec::new(), |field| {
        let expected = "a list of tables with cert and key, each under its own [[tls.certificates]]";
        field.list(expected, |item| Section::of(&item, certificate))
    });
    let mut certificates = vec![default?];
    certificates.extend(more?);
    Ok(Tls { certificates, client_ca: client_ca?, client_auth: client_auth? })
}

fn certificate(section: &mut Section<'_>) -> Read<CertificateFiles> {
    let cert = section.required("cert", "the path of a PEM file with the certificate chain", |field| field.file());
    let key = section.required("key", "the path of a PEM file with the private key", |field| field.file());
    Ok(CertificateFiles { cert: cert?, key: key? })
}

fn tickets(section: &mut Section<'_>) -> Read<Tickets> {
    let ttl = section.or("ttl", Duration::from_secs(30), |field| field.duration(SECOND..=HOUR));
    let resume_ttl = section.or("resume_ttl", HOUR, |field| field.duration(SECOND..=DAY));
    let store = store(section);
    Ok(Tickets { ttl: ttl?, resume_ttl: resume_ttl?, store: store? })
}

fn limits(section: &mut Section<'_>) -> Read<Limits> {
    let timeout = |field: Field<'_>| field.duration(TIMEOUTS);
    let count = |field: Field<'_>| field.number(COUNTS);
    let connections = section.or("connections", 4096, count);
    let connections_per_address = section.or("connections_per_address", 512, count);
    let handshakes = rate(section, ["handshakes_per_second", "handshake_burst"], [50, 500]);
    let requests = rate(section, ["requests_per_second", "request_burst"], [100, 500]);
    let failures = section.or("failures", 10, count);
    let lockouts = lockouts(section);
    let handshake_timeout = section.or("handshake_timeout", Duration::from_secs(10), timeout);
    let request_timeout = section.or("request_timeout", Duration::from_secs(10), timeout);
    let message_timeout = section.or("message_timeout", Duration::from_secs(30), timeout);
    let keep_alive = section.or("keep_alive", MINUTE, timeout);
    let body = section.or("body", 64 * KIB, |field| field.size(KIB..=16 * MIB));
    let mints = rate(section, ["mints_per_second", "mint_burst"], [20, 100]);
    let subject_mints = rate(section, ["subject_mints_per_second", "subject_mint_burst"], [5, 50]);
    let opens = rate(section, ["opens_per_second", "open_burst"], [20, 100]);
    let memory = section.or("memory", None, |field| field.size_or_auto(32 * MIB..=1024 * 1024 * MIB));
    let sessions = section.or("sessions", 4096, count);
    let sessions_per_subject = section.or("sessions_per_subject", 100, count);
    let tickets = section.or("tickets", 16_384, count);
    let pace = pace(section);
    let (lockout, lockout_max) = lockouts?;
    Ok(Limits {
        connections: connections?,
        connections_per_address: connections_per_address?,
        handshakes: handshakes?,
        requests: requests?,
        failures: failures?,
        lockout,
        lockout_max,
        handshake_timeout: handshake_timeout?,
        request_timeout: request_timeout?,
        message_timeout: message_timeout?,
        keep_alive: keep_alive?,
        body: body?,
        mints: mints?,
        subject_mints: subject_mints?,
        opens: opens?,
        memory: memory?,
        sessions: sessions?,
        sessions_per_subject: sessions_per_subject?,
        tickets: tickets?,
        pace: pace?,
    })
}

/// A rate by its two keys.
fn rate(section: &mut Section<'_>, keys: [&'static str; 2], defaults: [u32; 2]) -> Read<Rate> {
    let [per_second, burst] =
        [0, 1].map(|which| section.or(keys[which], defaults[which], |field| field.number(COUNTS)));
    Ok(Rate { per_second: per_second?, burst: burst? })
}

/// How long the first lock-out is, and the longest.
fn lockouts(section: &mut Section<'_>) -> Read<(Duration, Duration)> {
    let first_field = section.field("lockout");
    let first = first_field.as_ref().map_or(Ok(Duration::from_secs(10)), |field| field.duration(SECOND..=DAY));
    let longest_field = section.field("lockout_max");
    let longest = longest_field.as_ref().map_or(Ok(15 * MINUTE), |field| field.duration(SECOND..=DAY));
    if let (Ok(first), Ok(longest), Some(field)) = (first, longest, first_field.or(longest_field))
        && first > longest
    {
        let rule = "expected limits.lockout to be at most limits.lockout_max".to_owned();
        return Err(field.tell(Problem::Rule(rule)));
    }
    Ok((first?, longest?))
}

fn pace(section: &mut Section<'_>) -> Read<PaceSettings> {
    let bytes = |field: Field<'_>| field.size_or_unbounded(KIB..=1024 * 1024 * MIB);
    let input_bytes = section.or("input_bytes_per_second", Some(8 * MIB), bytes);
    let input_messages = section.or("input_messages_per_second", 5000, |field| field.number(0..=1_000_000));
    let output_bytes = section.or("output_bytes_per_second", None, bytes);
    let input_messages = Some(u64::from(input_messages?)).filter(|rate| *rate > 0);
    Ok(PaceSettings { input_bytes: input_bytes?, input_messages, output_bytes: output_bytes? })
}

fn sessions(section: &mut Section<'_>) -> Read<Sessions> {
    let year = 365 * DAY;
    let detach_grace = section.or("detach_grace", MINUTE, |field| field.duration(Duration::ZERO..=30 * DAY));
    let idle_timeout = section.or("idle_timeout", Some(30 * MINUTE), |field| field.duration_or_never(SECOND..=year));
    let max_lifetime = section.or("max_lifetime", Some(24 * HOUR), |field| field.duration_or_never(SECOND..=year));
    let scrollback = section.or("scrollback", 256 * KIB, |field| field.size(0..=64 * MIB)).map(|size| size as usize);
    let scrollback_total =
        section.or("scrollback_total", 256 * MIB, |field| field.size(0..=1024 * 1024 * MIB)).map(|size| size as usize);
    let detached_output = section.or("detached_output", DetachedOutput::Read, |field| {
        field.one_of(&[("read", DetachedOutput::Read), ("hold", DetachedOutput::Hold)])
    });
    let screen = section.or("screen", Screen::Viewers, |field| {
        field.one_of(&[("off", Screen::Off), ("viewers", Screen::Viewers), ("always", Screen::Always)])
    });
    let max_viewers = section.or("max_viewers", 32, |field| field.number(0..=10_000));
    // The range fits a `usize` of 32 bits.
    let max_message = section.or("max_message", MIB, |field| field.size(KIB..=16 * MIB)).map(|size| size as usize);
    Ok(Sessions {
        detach_grace: detach_grace?,
        idle_timeout: idle_timeout?,
        max_lifetime: max_lifetime?,
        scrollback: scrollback?,
        scrollback_total: scrollback_total?,
        detached_output: detached_output?,
        screen: screen?,
        max_viewers: max_viewers?,
        max_message: max_message?,
    })
}

fn recording(section: &mut Section<'_>) -> Read<Recording> {
    let directory = section.optional("directory", |field| field.directory());
    let can_record = directory.as_ref().map_or(true, Option::is_some);
    let enabled = section.or("enabled", false, |field| record(&field, can_record));
    let format = section.or("format", Format::V3, |field| field.one_of(&[("v2", Format::V2), ("v3", Format::V3)]));
    let input = section.or("input", false, |field| field.flag());
    // The range fits a `usize` of 32 bits.
    let queue = section.or("queue", MIB, |field| field.size(16 * KIB..=64 * MIB)).map(|size| size as usize);
    let when_full = section
        .or("when_full", WhenFull::Gap, |field| field.one_of(&[("gap", WhenFull::Gap), ("pause", WhenFull::Pause)]));
    let part_size = section.or("part_size", 64 * MIB, |field| field.size(4 * KIB..=1024 * 1024 * MIB));
    let part_age = section.or("part_age", HOUR, |field| field.duration(SECOND..=365 * DAY));
    let keep = section.or("keep", Some(30 * DAY), |field| field.duration_or_never(SECOND..=100 * 365 * DAY));
    let max_total_field = section.field("max_total");
    let max_total =
        max_total_field.as_ref().map_or(Ok(10 * 1024 * MIB), |field| field.size(64 * KIB..=1024 * 1024 * 1024 * MIB));
    let when_disk_full = section.or("when_disk_full", WhenDiskFull::Continue, |field| {
        field.one_of(&[("continue", WhenDiskFull::Continue), ("end", WhenDiskFull::End)])
    });
    if let (Ok(part), Ok(total), Some(field)) = (part_size, max_total, section.field("part_size").or(max_total_field))
        && part > total
    {
        let rule = "expected recording.part_size to be at most recording.max_total".to_owned();
        return Err(field.tell(Problem::Rule(rule)));
    }
    Ok(Recording {
        directory: directory?,
        enabled: enabled?,
        format: format?,
        input: input?,
        queue: queue?,
        when_full: when_full?,
        part_size: part_size?,
        part_age: part_age?,
        keep: keep?,
        max_total: max_total?,
        when_disk_full: when_disk_full?,
    })
}

/// Whether something is recorded, which needs a place for it.
pub(super) fn record(field: &Field<'_>, can_record: bool) -> Read<bool> {
    if field.flag()? && !can_record {
        let rule = "expected recording.directory to be set as well: there is nowhere to record to".to_owned();
        return Err(field.tell(Problem::Rule(rule)));
    }
    field.flag()
}

fn log(section: &mut Section<'_>) -> Read<Log> {
    let filter = section.or("filter", "info".to_owned(), |field| {
        let expected = r#"a filter such as "info" or "info,polytty=debug""#;
        let text = field.text(expected)?;
        match text.parse::<tracing_subscriber::filter::Targets>() {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(field.wrong(expected)),
        }
    });
    let format = section
        .or("format", LogFormat::Text, |field| field.one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    Ok(Log { filter: filter?, format: format? })
}

/// The name of an entry.
pub(super) fn name(field: Field<'_>) -> Read<String> {
    let text = field.text(A_NAME)?;
    let is_right = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if is_right { Ok(text.to_owned()) } else { Err(field.wrong(A_NAME)) }
}
