//! `[recording]`, and who is recorded.

use super::*;

const BASE: &str = r#"
[server]
public_url = "https://a.example"
[tls]
cert = "cert.pem"
key = "key.pem"
"#;

const LOCAL: &str = r#"
[[providers]]
name = "shell"
kind = "local"
commands = [["sh"]]
"#;

#[test]
fn to_be_recorded_needs_a_place_whoever_asks_for_it() {
    let nowhere = "expected recording.directory to be set as well: there is nowhere to record to";
    let all = format!("{BASE}[recording]\nenabled = true\n");
    assert_eq!(Home::new(&all).mistakes(&[]), [format!("proxy.toml:8:11: recording.enabled: {nowhere}")]);
    let one = format!("{BASE}{LOCAL}record = true\n");
    assert_eq!(Home::new(&one).mistakes(&[]), [format!("proxy.toml:12:10: providers.shell.record: {nowhere}")]);
    for text in [all, one] {
        let home = Home::new(&text);
        let loaded = home.load(&[("POLYTTY__RECORDING__DIRECTORY", "casts")]);
        let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
        let directory = config.recording.directory.unwrap();
        assert!(directory.is_absolute() && directory.ends_with("casts"), "{directory:?}");
    }
    let off = format!("{BASE}[recording]\nenabled = false\n{LOCAL}record = false\n");
    let config = Home::new(&off).load(&[]).unwrap_or_else(|errors| panic!("{errors}")).config;
    assert_eq!((config.recording.enabled, config.providers[0].record), (false, Some(false)));
}

#[test]
fn every_mistake_says_what_would_be_right() {
    let text = format!(
        "{BASE}[recording]\ndirectory = 5\nenabled = true\nformat = \"v1\"\nqueue = \"1KiB\"\nwhen_full = \"drop\"\n\
         part_size = \"1GiB\"\npart_age = 5\nkeep = \"1ms\"\nmax_total = \"1MiB\"\nwhen_disk_full = \"stop\"\n"
    );
    let told = Home::new(&text).mistakes(&[]);
    let expected = [
        "8:13: recording.directory: expected the path of a directory, found the number 5",
        "10:10: recording.format: expected \"v2\" or \"v3\"",
        "11:9: recording.queue: expected a size such as \"64KiB\" (from 16KiB to 64MiB), found \"1KiB\"",
        "12:13: recording.when_full: expected \"gap\" or \"pause\", found \"drop\"",
        "13:13: recording.part_size: expected recording.part_size to be at most recording.max_total",
        "14:12: recording.part_age: expected a duration such as \"30s\" (from 1s to 365d), found the number 5",
        "15:8: recording.keep: expected a duration such as \"30s\" (0s for never, or from 1s to 36500d), found \"1ms\"",
        "17:18: recording.when_disk_full: expected \"continue\" or \"end\", found \"stop\"",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(&format!("proxy.toml:{expected}")), "{told}");
    }
}
