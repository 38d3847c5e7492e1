//! The parts of a recording as one cast.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use super::cast::{Decoder, Event, Format, Header, ReadError};
use super::shelf::parts_in;

/// What is read at once, in bytes.
const BUFFER: usize = 64 << 10;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JoinedError {
    /// The directory cannot be read.
    #[error(transparent)]
    Io(io::Error),
    /// One of the files cannot be read, or is no cast.
    #[error("{}: {error}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: ReadError,
    },
}

/// Reads the events of several files as those of one, a line at a time.
#[derive(Debug)]
pub struct Joined {
    waiting: VecDeque<PathBuf>,
    current: Open,
    header: Header,
    /// Microseconds that the first file is behind the beginning of its recording.
    first: u64,
    /// What to add to the times of the current file.
    offset: u64,
    last: u64,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    decoder: Decoder<BufReader<File>>,
}

impl Joined {
    /// Opens the first file that is there and has a header; `None` where there is none. Of several, files without one are
    /// passed over: their writer was killed before.
    ///
    /// # Errors
    ///
    /// [`JoinedError`].
    pub fn open(files: Vec<PathBuf>) -> Result<Option<Self>, JoinedError> {
        let mut waiting = VecDeque::from(files);
        let one_of_several = waiting.len() > 1;
        let Some(current) = next_of(&mut waiting, one_of_several)? else { return Ok(None) };
        let header = current.decoder.header().clone();
        let first = header.origin.as_ref().map_or(0, |origin| origin.offset_us);
        Ok(Some(Self { waiting, current, header, first, offset: 0, last: 0 }))
    }

    /// The header of the first file.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The version of the first file.
    #[must_use]
    pub fn format(&self) -> Format {
        self.current.decoder.format()
    }

    /// The next event of all files, its time counted from the beginning of the first.
    ///
    /// # Errors
    ///
    /// [`JoinedError`].
    pub fn next_event(&mut self) -> Result<Option<Event>, JoinedError> {
        loop {
            let event = self.current.decoder.next_event().map_err(|error| self.current.wrong(error))?;
            if let Some(mut event) = event {
                event.at = event.at.saturating_add(self.offset).max(self.last);
                self.last = event.at;
                return Ok(Some(event));
            }
            let Some(next) = next_of(&mut self.waiting, true)? else { return Ok(None) };
            self.current = next;
            // Files of somebody else follow one another without a pause.
            let origin = self.current.decoder.header().origin.as_ref();
            self.offset = origin.map_or(self.last, |origin| origin.offset_us.saturating_sub(self.first));
        }
    }
}

impl Open {
    fn wrong(&self, error: ReadError) -> JoinedError {
        JoinedError::File { file: self.path.clone(), error }
    }
}

/// What lies in the directory of a recording, oldest first.
///
/// # Errors
///
/// Those of the file system.
pub fn parts_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts = parts_in(directory)?;
    parts.sort_by_key(|(number, _)| *number);
    Ok(parts.into_iter().map(|(_, path)| path).collect())
}

/// The next file. One of several may be missing, or without a header.
fn next_of(waiting: &mut VecDeque<PathBuf>, several: bool) -> Result<Option<Open>, JoinedError> {
    while let Some(path) = waiting.pop_front() {
        let file = match File::open(&path) {
            Ok(file) => file,
            // It was deleted since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound && several => continue,
            Err(error) => return Err(JoinedError::File { file: path, error: error.into() }),
        };
        match Decoder::open(BufReader::with_capacity(BUFFER, file)) {
            Ok(decoder) => return Ok(Some(Open { path, decoder })),
            Err(ReadError::Unfinished) if several => {}
            Err(error) => return Err(JoinedError::File { file: path, error }),
        }
    }
    Ok(None)
}
