//! `polytty demo` as a process of its own.

use std::ops::Deref;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, Site};

/// A running demo; killed when dropped.
pub(crate) struct Demo {
    pub(crate) line: Value,
    site: Site,
    child: Child,
    _home: TempDir,
}

impl Deref for Demo {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Demo {
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_polytty"))
            .args(["demo", "--json", "--listen", "127.0.0.1:0"])
            .env("SHELL", "/bin/bash")
            // Nobody's profile: what the shells print is known.
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("the demo gets ready").unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["url"].as_str().unwrap().strip_prefix("https://").unwrap().parse().unwrap();
        let root = CertificateDer::from_pem_file(line["ca"].as_str().unwrap()).unwrap();
        let targets = line["providers"].as_array().unwrap().iter();
        let targets = targets.map(|listed| (listed["name"].as_str().unwrap().to_owned(), listed["target"].clone()));
        let site = Site::new(address, line["api_key"].as_str().unwrap().to_owned(), targets.collect(), root);
        Self { line, site, child, _home: home }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Ends it as a service manager does, and returns its exit status.
    pub(crate) async fn terminate(mut self) -> i32 {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the demo ends").unwrap();
        status.code().unwrap()
    }
}
