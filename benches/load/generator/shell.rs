//! What is asked of a shell, in somebody's own deployment.

use std::io;
use std::time::Instant;

use super::client::Client;

/// What is looked for is not what is typed, so that the echo of the command is not taken for its output.
const BEGIN: &[u8] = b"polytty-begin\r\n";
const END: &[u8] = b"polytty-end\r\n";

/// What `yes` says on a terminal.
const LINE: &[u8] = b"y\r\n";

/// Keys in a line: a terminal that waits for whole lines takes 4,095 bytes of one at most.
const KEYS: usize = 64;

/// How much may come before [`BEGIN`]: a prompt, and the echo of the command.
const MAX_BEFORE: usize = 1 << 20;

impl Client {
    /// Has the shell write so many mebibytes, every byte compared: how many came, and in what time, in seconds.
    pub(super) async fn shell_output(&mut self, mib: usize) -> io::Result<(u64, f64)> {
        let lines = (mib << 20) / LINE.len();
        let command =
            format!("printf '%s-%s\\n' polytty begin; yes | head -n {lines}; printf '%s-%s\\n' polytty end\r");
        self.press(command.as_bytes()).await?;
        self.until(BEGIN).await?;
        let started = Instant::now();
        let total = lines * LINE.len();
        let mut seen = 0;
        while seen < total {
            if self.ahead.is_empty() {
                self.read().await?;
            }
            let length = self.ahead.len().min(total - seen);
            let expected = LINE.iter().cycle().skip(seen % LINE.len());
            if !self.ahead[..length].iter().eq(expected.take(length)) {
                return Err(io::Error::other(format!(
                    "something else than `yes` says, within {length} bytes of byte {seen}"
                )));
            }
            seen += length;
            self.ahead.drain(..length);
        }
        let seconds = started.elapsed().as_secs_f64();
        self.until(END).await?;
        Ok((total as u64, seconds))
    }

    /// Keys that the terminal echoes: microseconds of each.
    pub(super) async fn shell_keys(&mut self, count: usize) -> io::Result<Vec<f64>> {
        self.press(b"printf '%s-%s\\n' polytty begin; cat >/dev/null\r").await?;
        self.until(BEGIN).await?;
        let mut latencies = Vec::with_capacity(count);
        for at in 1..=count {
            latencies.push(self.key().await?);
            if at % KEYS == 0 {
                self.press(b"\r").await?;
                self.until(b"\r\n").await?;
            }
        }
        self.press(b"\x03").await?;
        Ok(latencies)
    }

    /// Reads until this has come, and drops it with what stands before it.
    async fn until(&mut self, mark: &[u8]) -> io::Result<()> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.ahead, mark) {
                self.ahead.drain(..at + mark.len());
                return Ok(());
            }
            if self.ahead.len() > MAX_BEFORE {
                return Err(io::Error::other(format!("no {:?} came", String::from_utf8_lossy(mark))));
            }
            self.read().await?;
        }
    }
}
