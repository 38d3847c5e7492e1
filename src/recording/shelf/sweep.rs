//! What is deleted, and when: parts that are older than they are kept, and whatever is over the cap, oldest first.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Shelf, lock, parts_in};
use crate::session::SessionId;

/// At the cap, a sixty-fourth of it is freed at once, so that not every write has to look for room.
const SPARE: u64 = 64;

/// A file, as it was found.
#[derive(Debug)]
pub(super) struct Found {
    id: SessionId,
    number: u32,
    path: PathBuf,
    pub(super) len: u64,
    /// When it was last written to.
    modified: SystemTime,
    /// Only the last part of a recording can be one that is being written.
    is_newest: bool,
}

impl Shelf {
    /// Deletes parts that were last written to before the time for which they are kept.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub(in crate::recording) fn sweep(&self, now: SystemTime) -> io::Result<()> {
        let sweeping = lock(&self.sweeping);
        let found = self.reconcile()?;
        if let Some(keep) = self.keep {
            let is_old = |part: &&Found| now.duration_since(part.modified).is_ok_and(|age| age >= keep);
            for part in found.iter().filter(is_old) {
                self.delete(part, "age");
            }
        }
        drop(sweeping);
        // The cap may be lower than it was when they were written.
        if self.account().used > self.cap {
            self.make_room(0);
        }
        Ok(())
    }

    /// Frees room for so many bytes: recordings that have ended go first, the one that ended first before the others;
    /// then what has been completed of those that go on.
    pub(super) fn make_room(&self, bytes: u64) {
        let _sweeping = lock(&self.sweeping);
        let fits = |spare| self.account().used.saturating_add(bytes).saturating_add(spare) <= self.cap;
        // Somebody else may have made room meanwhile.
        if fits(0) && bytes > 0 {
            return;
        }
        let mut found = match self.reconcile() {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(error = ?error.to_string(), "the directory of recordings cannot be read");
                return;
            }
        };
        let writing = lock(&self.writing).clone();
        let mut last = HashMap::new();
        for part in &found {
            let last = last.entry(part.id).or_insert(part.modified);
            *last = part.modified.max(*last);
        }
        found.sort_by_key(|part| (writing.contains_key(&part.id), last.get(&part.id).copied(), part.number));
        for part in &found {
            if fits(self.cap / SPARE) {
                return;
            }
            self.delete(part, "cap");
        }
    }

    /// Everything that lies here.
    pub(super) fn scan(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let parts = parts_in(&entry.path())?;
            let newest = parts.iter().map(|(number, _)| *number).max();
            for (number, path) in parts {
                // One that is gone by now was deleted.
                if let Ok(metadata) = fs::symlink_metadata(&path) {
                    let modified = metadata.modified()?;
                    let is_newest = newest == Some(number);
                    found.push(Found { id, number, path, len: metadata.len(), modified, is_newest });
                }
            }
        }
        Ok(found)
    }

    /// The same, and what others have deleted or added is taken into account. What is being written at the moment may
    /// be counted twice, until the next time.
    fn reconcile(&self) -> io::Result<Vec<Found>> {
        let mut account = self.account();
        let found = self.scan()?;
        account.used = found.iter().map(|part| part.len).sum::<u64>() + account.pending;
        self.metrics.recording_disk(account.used);
        Ok(found)
    }

    fn delete(&self, part: &Found, why: &'static str) {
        match lock(&self.writing).get(&part.id) {
            Some(number) if part.number >= *number => return,
            Some(_) => {}
            None if part.is_newest && is_locked(&part.path) => return,
            None => {}
        }
        if let Err(error) = fs::remove_file(&part.path) {
            tracing::warn!(file = ?part.path, error = ?error.to_string(), "a recording cannot be deleted");
            return;
        }
        let mut account = self.account();
        account.used = account.used.saturating_sub(part.len);
        self.metrics.recording_disk(account.used);
        drop(account);
        self.metrics.recording_deleted(why);
        tracing::info!(session = %part.id, part = part.number, why, "a part of a recording was deleted");
        if !lock(&self.writing).contains_key(&part.id) {
            // It stays while something is in it.
            let _ = fs::remove_dir(self.folder(part.id));
        }
    }
}

/// Whether another process writes it.
fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}
