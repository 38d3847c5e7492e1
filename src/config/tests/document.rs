//! `proxy.toml` is the documentation: it must load, and what it says must be so.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const DOCUMENT: &str = include_str!("../../../proxy.toml");

/// The secrets that the examples refer to.
const SECRETS: [(&str, &str); 10] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "id"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret"),
    ("ALIBABA_CLOUD_SECURITY_TOKEN", "token"),
    ("DOCKHAND_TOKEN", "token"),
    ("DOCKHAND_PASSWORD", "password"),
    ("DECTHINGS_API_KEY", "key"),
    ("OBLIEN_CLIENT_ID", "id"),
    ("OBLIEN_CLIENT_SECRET", "secret"),
    ("OBLIEN_TOKEN", "token"),
    ("REDIS_PASSWORD", "password"),
];

/// The lines with every key and section that is commented out made real.
fn uncommented() -> Vec<&'static str> {
    let real = |line: &'static str| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '['))
    };
    DOCUMENT.lines().map(|line| real(line).unwrap_or(line)).collect()
}

/// `KEY` of a line `KEY = VALUE`.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    (!line.starts_with('#')).then_some(key)
}

/// What is loaded, as text, without the directory that it happened in.
fn load_lines(lines: &[&str]) -> Result<String, Errors> {
    let home = Home::new(&lines.join("\n"));
    let directory = home.0.path().display().to_string();
    // [cluster] needs it, and the file shows what is there without [cluster].
    let with_store: Vec<_> =
        SECRETS.into_iter().chain([("POLYTTY__TICKETS__STORE", "rediss://store.example")]).collect();
    home.load(&with_store).map(|loaded| format!("{:?}", loaded.config).replace(&directory, ""))
}

#[test]
fn it_loads_as_it_is() {
    let config = Home::new(DOCUMENT).load(&[]).unwrap_or_else(|errors| panic!("{errors}")).config;
    assert_eq!(config.server.public_url.to_string(), "https://localhost:8443");
    assert_eq!((config.keys.len(), config.providers.len()), (0, 0));
    assert!(matches!(config.tickets.store, TicketStore::Memory) && config.cluster.is_none());
}

#[test]
fn every_key_is_required_or_has_its_default_or_says_that_there_is_none() {
    let lines = uncommented();
    let whole = load_lines(&lines).unwrap_or_else(|errors| panic!("{errors}"));
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for (index, key) in lines.iter().enumerate().filter_map(|(index, line)| Some((index, key_of(line)?))) {
        let paragraph: Vec<_> = lines[..index].iter().rev().take_while(|line| !line.is_empty()).collect();
        let says = |words: &str| paragraph.iter().any(|line| line.starts_with('#') && line.contains(words));
        let mut without = lines.clone();
        without[index] = "";
        let class = match load_lines(&without) {
            Ok(config) if config == whole => "default",
            Ok(_) => {
                assert!(says("No default"), "line {}: {key} does not have its default", index + 1);
                "none"
            }
            Err(errors) => {
                let [Mistake { key: missing, problem: Problem::Missing { .. }, .. }] = errors.mistakes() else {
                    panic!("line {}: {errors}", index + 1)
                };
                assert!(missing.ends_with(&format!(".{key}")), "{missing}");
                let is_commented_out = DOCUMENT.lines().nth(index).is_some_and(|line| line.starts_with('#'));
                let repeated = ["name", "kind"].contains(&key);
                assert!(!is_commented_out || repeated || says("equired"), "line {}: {key} is required", index + 1);
                "required"
            }
        };
        *seen.entry(class).or_default() += 1;
    }
    assert_eq!(seen, BTreeMap::from([("default", 93), ("none", 20), ("required", 44)]));
}

#[test]
fn it_knows_every_key_and_no_other() {
    let lines = uncommented();
    let (mut sections, mut section) = (BTreeMap::<String, BTreeSet<&str>>::new(), String::new());
    let (mut probed, mut kinds) = (Vec::new(), BTreeMap::new());
    for line in &lines {
        probed.push((*line).to_owned());
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
            // A list within a section is a key of that section.
            if let Some((above, list)) = name.trim_matches(['[', ']']).split_once('.') {
                sections.entry(above.to_owned()).or_default().insert(list);
            }
            if section == "providers" {
                section = format!("providers {}", sections.len());
            }
            probed.push(format!("there_is_no_such_key_{} = 1", probed.len()));
            sections.entry(section.clone()).or_default();
        } else if let (Some(key), Some(keys)) = (key_of(line), sections.get_mut(&section)) {
            keys.insert(key);
            if key == "kind" {
                kinds.insert(section.clone(), *line);
            }
        }
    }
    // What all kinds have is documented once, and what one kind has perhaps in several examples.
    let common = [
        "name",
        "kind",
        "max_sessions",
        "open_timeout",
        "opens_per_second",
        "open_burst",
        "ca",
        "allow_private",
        "record",
    ];
    let mut documented: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (section, keys) in sections {
        let kind = kinds.get(&section).map_or(section, |kind| (*kind).to_owned());
        let is_provider = keys.contains("kind");
        let keys = keys.into_iter().chain(common.into_iter().filter(|_| is_provider));
        documented.entry(kind).or_default().extend(keys);
    }
    let documented: BTreeSet<BTreeSet<&str>> = documented.into_values().collect();
    let errors = Home::new(&probed.join("\n")).load(&SECRETS).unwrap_err();
    let known: BTreeSet<BTreeSet<&str>> = errors
        .mistakes()
        .iter()
        .map(|mistake| match &mistake.problem {
            Problem::UnknownKey { known, .. } => known.iter().copied().collect(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(known, documented);
}
