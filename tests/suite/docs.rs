//! The documents lead where they say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where documents are, below the root: files, and folders with all that is in them.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs",
    "certs/README.md",
    "tests/browser/README.md",
    "web/vendor/README.md",
];

#[test]
fn every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents: Vec<_> = DOCUMENTS.iter().flat_map(|place| documents(&root.join(place))).collect();
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in &documents {
        let text = std::fs::read_to_string(document).unwrap();
        for link in links(&text).filter(|link| !link.contains("://")) {
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let leads = match anchor {
                "" => target.exists(),
                anchor => std::fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor)),
            };
            if !leads {
                broken.push(format!("{}: {link}", document.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere: {broken:#?}");
    assert!(seen > 50, "{seen} links in {documents:?}");
}

fn documents(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else {
        return vec![place.to_owned()];
    };
    let all = entries.flat_map(|entry| documents(&entry.unwrap().path()));
    all.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The targets of `[words](target)`, outside of code.
fn links(text: &str) -> impl Iterator<Item = String> {
    prose(text).flat_map(|line| {
        let spans = line.split('`').step_by(2).collect::<Vec<_>>().join("");
        let targets = spans.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.map(|(target, _)| target.to_owned()).collect::<Vec<_>>()
    })
}

/// What headings are linked by: their letters and digits in lower case, with hyphens for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept =
                line.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The lines that are not within a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}
