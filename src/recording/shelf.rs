//! Where recordings lie: `DIRECTORY/SESSION/NNNNNN.cast`, names made of ids and numbers alone.
//!
//! Directories have mode 0700, files 0600. A file is made new or not at all, so no link that somebody put there is
//! followed. Whoever writes one holds a lock on it (`flock`), so that no other process that shares the directory
//! deletes it. What all files hold together is counted before it is written, so the cap holds at every moment.

mod sweep;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Failure;
use crate::observe::Metrics;
use crate::session::SessionId;

/// A directory of recordings, and what is known of it. All of its calls block.
pub(super) struct Shelf {
    root: PathBuf,
    /// What all files may hold, in bytes.
    cap: u64,
    /// How long a part is kept that is not being written.
    keep: Option<Duration>,
    account: Mutex<Account>,
    /// The part that is being written of each recording of this process. Bounded by the number of sessions.
    writing: Mutex<HashMap<SessionId, u32>>,
    /// Held while files are looked through and deleted.
    sweeping: Mutex<()>,
    create: fn(&Path) -> io::Result<File>,
    metrics: Arc<Metrics>,
}

/// What the files hold, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Written, or about to be.
    used: u64,
    /// Of these, about to be.
    pending: u64,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    /// Bytes in it, all of them whole lines.
    len: u64,
}

impl Part {
    /// Bytes in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

impl Shelf {
    /// Makes the directory where there is none, and counts what lies in it.
    ///
    /// # Errors
    ///
    /// When it cannot be made, read or written.
    pub(super) fn open(root: &Path, cap: u64, keep: Option<Duration>, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        Self::open_with(root, cap, keep, metrics, create_part)
    }

    pub(super) fn open_with(
        root: &Path,
        cap: u64,
        keep: Option<Duration>,
        metrics: Arc<Metrics>,
        create: fn(&Path) -> io::Result<File>,
    ) -> io::Result<Arc<Self>> {
        make_directory(root)?;
        verify(root)?;
        let shelf = Self {
            root: root.to_owned(),
            cap,
            keep,
            account: Mutex::default(),
            writing: Mutex::default(),
            sweeping: Mutex::default(),
            create,
            metrics,
        };
        let used = shelf.scan()?.iter().map(|part| part.len).sum();
        shelf.account().used = used;
        shelf.metrics.recording_disk(used);
        Ok(Arc::new(shelf))
    }

    /// Makes a new part and locks it.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub(super) fn create(&self, id: SessionId, number: u32) -> Result<Part, Failure> {
        lock(&self.writing).insert(id, number);
        let made = make_directory(&self.folder(id)).and_then(|()| (self.create)(&self.path(id, number)));
        let file = made.map_err(|error| Failure::of(&error))?;
        // Where files cannot be locked, other processes have to keep to directories of their own.
        let _ = file.try_lock();
        Ok(Part { file, len: 0 })
    }

    /// Appends whole lines. What does not fit in whole is taken back.
    ///
    /// # Errors
    ///
    /// [`Failure`]; the file is as it was.
    pub(super) fn append(&self, part: &mut Part, lines: &[u8]) -> Result<(), Failure> {
        let len = lines.len() as u64;
        if !self.reserve(len) {
            self.make_room(len);
            if !self.reserve(len) {
                return Err(Failure::Cap);
            }
        }
        let written = part.file.write_all(lines);
        let mut account = self.account();
        account.pending -= len;
        match written {
            Ok(()) => {
                drop(account);
                part.len += len;
                self.metrics.recorded(len);
                Ok(())
            }
            Err(error) => {
                account.used -= len;
                drop(account);
                // The half of a line that may stand there is one that readers know how to leave out.
                let _ = part.file.set_len(part.len);
                Err(Failure::of(&error))
            }
        }
    }

    /// Nothing more is written to a recording.
    pub(super) fn release(&self, id: SessionId) {
        lock(&self.writing).remove(&id);
    }

    /// The parts of a recording, oldest first; none where there is no such recording.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(super) fn parts(&self, id: SessionId) -> io::Result<Vec<PathBuf>> {
        let mut parts = parts_in(&self.folder(id))?;
        parts.sort_by_key(|(number, _)| *number);
        Ok(parts.into_iter().map(|(_, path)| path).collect())
    }

    fn reserve(&self, bytes: u64) -> bool {
        let mut account = self.account();
        let fits = account.used.checked_add(bytes).is_some_and(|sum| sum <= self.cap);
        if fits {
            account.used += bytes;
            account.pending += bytes;
            self.metrics.recording_disk(account.used);
        }
        fits
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.account)
    }

    fn folder(&self, id: SessionId) -> PathBuf {
        self.root.join(id.to_string())
    }

    fn path(&self, id: SessionId, number: u32) -> PathBuf {
        self.folder(id).join(format!("{number:06}.cast"))
    }
}

/// Finds out whether recordings can be put there, without leaving anything behind.
///
/// # Errors
///
/// When they cannot.
pub(super) fn check(root: &Path) -> io::Result<()> {
    match verify(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            verify(root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
        }
        other => other,
    }
}

/// The parts that lie in the folder of a recording, with their numbers, in any order. Links are no parts.
pub(super) fn parts_in(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number_of)
            && entry.file_type()?.is_file()
        {
            parts.push((number, entry.path()));
        }
    }
    Ok(parts)
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".cast")?;
    (digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A new file, for its owner only. One that is there, or a link, is an error.
fn create_part(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn verify(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::access(directory, access)?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
