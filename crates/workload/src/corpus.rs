//! What terminals say.

/// What output looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Corpus {
    /// Prose in ASCII, in lines.
    Plain,
    /// `ls -l --color`: escape sequences in every line.
    Ls,
    /// `yes` on a terminal: three bytes a line, two of which JSON escapes. The densest there is.
    Yes,
    /// Text in Chinese and Japanese: three bytes a character.
    Cjk,
    /// A full-screen program that paints: cursor addresses and colours.
    Screen,
    /// `cargo build`: lines, and a progress bar that is painted over.
    Cargo,
    /// Any bytes. Not for wires of text.
    Random,
}

impl Corpus {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Plain, Self::Ls, Self::Yes, Self::Cjk, Self::Screen, Self::Cargo, Self::Random];

    /// One word, the same in reports, filters and arguments.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ls => "ls",
            Self::Yes => "yes",
            Self::Cjk => "cjk",
            Self::Screen => "screen",
            Self::Cargo => "cargo",
            Self::Random => "random",
        }
    }

    /// The corpus of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|corpus| corpus.name() == name)
    }

    /// Whole lines, the same in every run, at least `least` bytes of them. A longer block begins with a shorter one.
    #[must_use]
    pub fn block(self, least: usize) -> Vec<u8> {
        let mut block = Vec::with_capacity(least + LONGEST);
        let mut random = Random(0x706f_6c79);
        while block.len() < least {
            self.line(random.next(), &mut block);
        }
        block
    }

    /// Appends one line, made of the bits of `n`.
    fn line(self, n: u64, block: &mut Vec<u8>) {
        match self {
            Self::Plain => {
                for at in 0..12 {
                    block.extend_from_slice(word(n >> (at * 5)).as_bytes());
                    block.push(b' ');
                }
                block.extend_from_slice(b"\r\n");
            }
            Self::Ls => {
                let kinds = [("01;34", "/"), ("01;32", "*"), ("0", ""), ("01;36", "@")];
                let (colour, end) = kinds[(n >> 8) as usize % kinds.len()];
                let (length, day, hour, minute) = (n % 1_000_000_007 % 999_999_999, n % 28 + 1, n % 24, n % 60);
                let (name, number) = (word(n), n as u16);
                let line = format!(
                    "-rw-r--r-- 1 user group {length:>9} Nov {day:>2} {hour:02}:{minute:02} \
                     \x1b[0m\x1b[{colour}m{name}-{number:x}\x1b[0m{end}\r\n"
                );
                block.extend_from_slice(line.as_bytes());
            }
            Self::Yes => block.extend_from_slice(b"y\r\n"),
            Self::Cjk => {
                for at in 0..20 {
                    let char = char::from_u32(0x4e00 + ((n >> at) as u32 % 5000)).unwrap_or('中');
                    block.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
                block.extend_from_slice("、終わり。\r\n".as_bytes());
            }
            Self::Screen => {
                let (row, col, ink, paper, text) = (n % 50 + 1, n % 180 + 1, n % 256, (n >> 8) % 256, word(n >> 16));
                let line = format!("\x1b[{row};{col}H\x1b[38;5;{ink}m\x1b[48;5;{paper}m {text} \x1b[0m\x1b[K");
                block.extend_from_slice(line.as_bytes());
            }
            Self::Cargo => {
                let (name, major, minor, patch) = (word(n), n % 9, n % 30, n % 7);
                let (bar, done, next) = ("=".repeat(n as usize % 27) + ">", n % 300, word(n >> 20));
                let line = format!(
                    "\x1b[1m\x1b[32m   Compiling\x1b[0m {name} v{major}.{minor}.{patch}\r\n\
                     \x1b[1m\x1b[36m    Building\x1b[0m [{bar:<27}] {done}/300: {next}\r"
                );
                block.extend_from_slice(line.as_bytes());
            }
            Self::Random => block.extend_from_slice(&n.to_le_bytes()),
        }
    }
}

/// No line is longer, in bytes.
const LONGEST: usize = 256;

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn word(n: u64) -> &'static str {
    WORDS[n as usize % WORDS.len()]
}

const WORDS: [&str; 32] = [
    "terminal",
    "session",
    "a",
    "the",
    "of",
    "shell",
    "window",
    "bytes",
    "over",
    "proxy",
    "quick",
    "brown",
    "fox",
    "jumps",
    "lazy",
    "dog",
    "while",
    "stream",
    "reads",
    "what",
    "is",
    "there",
    "and",
    "then",
    "others",
    "build",
    "target",
    "src",
    "main.rs",
    "Cargo.toml",
    "README.md",
    "docs",
];

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 64 * 1024;

    fn share(corpus: Corpus, is: impl Fn(u8) -> bool) -> f64 {
        let block = corpus.block(LEN);
        block.iter().filter(|&&byte| is(byte)).count() as f64 / block.len() as f64
    }

    #[test]
    fn a_block_is_the_same_in_every_run_and_begins_as_a_shorter_one() {
        for corpus in Corpus::ALL {
            let block = corpus.block(LEN);
            assert!((LEN..LEN + LONGEST).contains(&block.len()), "{corpus:?}: {}", block.len());
            assert_eq!(block, corpus.block(LEN));
            assert!(block.starts_with(&corpus.block(1000)), "{corpus:?}");
            assert_eq!(Corpus::named(corpus.name()), Some(corpus));
        }
    }

    #[test]
    fn each_is_what_it_says_it_is() {
        for corpus in Corpus::ALL {
            let is_text = std::str::from_utf8(&corpus.block(LEN)).is_ok();
            assert_eq!(is_text, corpus != Corpus::Random, "{corpus:?}");
        }
        let is_control = |byte: u8| byte < 0x20;
        assert!(share(Corpus::Plain, |byte| (0x20..0x7f).contains(&byte)) > 0.95);
        assert!(share(Corpus::Yes, is_control) > 0.66);
        assert!(share(Corpus::Cjk, |byte| byte >= 0x80) > 0.95);
        for corpus in [Corpus::Ls, Corpus::Screen, Corpus::Cargo] {
            let escapes = share(corpus, |byte| byte == 0x1b);
            assert!((0.02..0.12).contains(&escapes), "{corpus:?}: {escapes}");
        }
    }
}
