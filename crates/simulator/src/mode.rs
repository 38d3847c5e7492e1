//! Ways to run a simulator besides its default, by name.

use anyhow::{Result, bail};

/// A way to run a kind of simulator besides its default. Unlike a [`Fault`](crate::Fault), it holds for the whole of its
/// life: it is what services may be like where no document tells, or another version of them.
#[derive(Clone, Copy, Debug)]
pub struct Mode<O: 'static> {
    /// The word for it.
    pub name: &'static str,
    /// What is different, in one sentence.
    pub about: &'static str,
    set: fn(&mut O),
}

/// A line of a kind's table.
pub(crate) const fn mode<O>(name: &'static str, about: &'static str, set: fn(&mut O)) -> Mode<O> {
    Mode { name, about, set }
}

/// Sets what each of `names` stands for.
///
/// # Errors
/// There is no such mode.
pub(crate) fn set<O>(modes: &[Mode<O>], names: &[String], options: &mut O) -> Result<()> {
    for name in names {
        match modes.iter().find(|mode| mode.name == name) {
            Some(mode) => (mode.set)(options),
            None => bail!("there is no mode {name:?}"),
        }
    }
    Ok(())
}
