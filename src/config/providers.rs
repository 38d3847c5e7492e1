//! `[[providers]]`: what all kinds have, and what each kind has of its own.

mod decthings;
mod dockhand;
mod eci;
mod oblien;

use std::time::Duration;

use super::check::{A_NAME, COUNTS, TIMEOUTS, name, record};
use super::checked::{HostPattern, Local, PaiDlc, Provider, ProviderKind};
use super::error::Problem;
use super::secret::Secret;
use super::section::{Field, Read, Section};
use super::units::BaseUrl;

#[derive(Clone, Copy)]
enum KindName {
    PaiDlc,
    Eci,
    Dockhand,
    Oblien,
    Decthings,
    Local,
}

const KINDS: [(&str, KindName); 6] = [
    ("pai-dlc", KindName::PaiDlc),
    ("eci", KindName::Eci),
    ("dockhand", KindName::Dockhand),
    ("oblien", KindName::Oblien),
    ("decthings", KindName::Decthings),
    ("local", KindName::Local),
];

/// One entry, its kind's keys included. `can_record` says whether there is a place for recordings.
pub(super) fn provider(section: &mut Section<'_>, can_record: bool) -> Read<Provider> {
    let name = section.required("name", A_NAME, name);
    let expected = r#""pai-dlc", "eci", "dockhand", "oblien", "decthings" or "local""#;
    let kind = section.required("kind", expected, |field| field.one_of(&KINDS));
    let max_sessions = section.or("max_sessions", 1000, |field| field.number(COUNTS));
    let open_timeout = section.or("open_timeout", Duration::from_secs(15), |field| field.duration(TIMEOUTS));
    let opens_per_second = section.optional("opens_per_second", |field| field.number(COUNTS));
    let open_burst = section.optional("open_burst", |field| field.number(COUNTS));
    let ca = section.optional("ca", |field| field.file());
    let allow_private = section.or("allow_private", false, |field| field.flag());
    let record = section.optional("record", |field| record(&field, can_record));
    let kind = match kind {
        Ok(KindName::PaiDlc) => pai_dlc(section, allow_private).map(ProviderKind::PaiDlc),
        Ok(KindName::Eci) => eci::eci(section, allow_private).map(ProviderKind::Eci),
        Ok(KindName::Dockhand) => dockhand::dockhand(section, allow_private).map(ProviderKind::Dockhand),
        Ok(KindName::Decthings) => decthings::decthings(section, allow_private).map(ProviderKind::Decthings),
        Ok(KindName::Oblien) => oblien::oblien(section, allow_private).map(ProviderKind::Oblien),
        Ok(KindName::Local) => local(section).map(ProviderKind::Local),
        Err(told) => {
            section.give_up(told);
            Err(told)
        }
    };
    Ok(Provider {
        name: name?,
        max_sessions: max_sessions?,
        open_timeout: open_timeout?,
        opens_per_second: opens_per_second?,
        open_burst: open_burst?,
        ca: ca?,
        allow_private: allow_private?,
        record: record?,
        kind: kind?,
    })
}

fn pai_dlc(section: &mut Section<'_>, allow_private: Read<bool>) -> Read<PaiDlc> {
    let cloud = alibaba(section, "pai-dlc", allow_private)?;
    let Alibaba { region, endpoint, access_key_id, access_key_secret, security_token, websocket_hosts } = cloud;
    Ok(PaiDlc { region, endpoint, access_key_id, access_key_secret, security_token, websocket_hosts })
}

/// What all products of Alibaba Cloud have.
struct Alibaba {
    region: String,
    endpoint: BaseUrl,
    access_key_id: String,
    access_key_secret: Secret,
    security_token: Option<Secret>,
    websocket_hosts: Vec<HostPattern>,
}

/// The keys of a product whose API is at `https://{host}.{region}.aliyuncs.com`.
fn alibaba(section: &mut Section<'_>, host: &str, allow_private: Read<bool>) -> Read<Alibaba> {
    let region = section.required("region", A_REGION, |field| region(&field, host));
    let endpoint = section.optional("endpoint", |field| endpoint(&field, host, allow_private));
    let access_key_id = section.required("access_key_id", "an AccessKey id", access_key_id);
    let access_key_secret =
        section.required("access_key_secret", "the secret of the AccessKey", |field| field.secret());
    let security_token = section.optional("security_token", |field| field.secret());
    let hosts = r#"a list of hosts such as ["*.aliyun.com", "gateway.example.com:8443"]"#;
    let websocket_hosts = section.optional("websocket_hosts", |field| {
        match field.list(hosts, |item| item.parse::<HostPattern>("a host, or a suffix such as *.aliyun.com"))? {
            none if none.is_empty() => Err(field.wrong(hosts)),
            some => Ok(some),
        }
    });
    let (region, default_endpoint) = region?;
    Ok(Alibaba {
        region,
        endpoint: endpoint?.unwrap_or(default_endpoint),
        access_key_id: access_key_id?,
        access_key_secret: access_key_secret?,
        security_token: security_token?,
        websocket_hosts: websocket_hosts?.unwrap_or_else(|| vec![HostPattern::Suffix(".aliyun.com".to_owned(), None)]),
    })
}

const A_REGION: &str = r#"a region id such as "cn-hangzhou""#;

/// A region, and the endpoint that it has by default.
fn region(field: &Field<'_>, host: &str) -> Read<(String, BaseUrl)> {
    let region = field.text(A_REGION)?;
    let is_right = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match format!("https://{host}.{region}.aliyuncs.com").parse() {
        Ok(endpoint) if is_right => Ok((region.to_owned(), endpoint)),
        _ => Err(field.wrong(A_REGION)),
    }
}

fn endpoint(field: &Field<'_>, host: &str, allow_private: Read<bool>) -> Read<BaseUrl> {
    let endpoint = field.parse(&format!("a URL such as https://{host}.cn-hangzhou.aliyuncs.com"))?;
    tls_unless_private(field, endpoint, allow_private)
}

/// Takes an `http` URL only where the provider may be on a network that is not the public one.
fn tls_unless_private(field: &Field<'_>, url: BaseUrl, allow_private: Read<bool>) -> Read<BaseUrl> {
    if !url.is_tls() && matches!(allow_private, Ok(false)) {
        let rule = "expected an https URL; http is for simulated providers and needs allow_private = true";
        return Err(field.tell(Problem::Rule(rule.to_owned())));
    }
    Ok(url)
}

/// It goes into a header field between delimiters, so its characters are few. It may be kept where secrets are.
fn access_key_id(field: Field<'_>) -> Read<String> {
    let id = field.secret()?;
    match id.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        true => Ok(id.expose().to_owned()),
        false => Err(field.wrong_secret("an AccessKey id: letters, digits, '.', '_' and '-'")),
    }
}

fn local(section: &mut Section<'_>) -> Read<Local> {
    let expected = r#"a list of commands, each a list of a program and its arguments, such as [["/bin/bash", "-l"]]"#;
    let commands = section.required("commands", expected, |field| {
        let commands = field.list(expected, |command| {
            let words = command.list(expected, |word| argument(&word))?;
            match words.first() {
                Some(program) if !program.is_empty() => Ok(words),
                _ => Err(command.wrong(expected)),
            }
        })?;
        if commands.is_empty() { Err(field.wrong(expected)) } else { Ok(commands) }
    });
    Ok(Local { commands: commands? })
}

/// An argument may be empty and may hold anything but NUL, which no program can be given.
fn argument(word: &Field<'_>) -> Read<String> {
    match word.node.text() {
        Some(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(word.wrong("a string without NUL characters")),
    }
}
