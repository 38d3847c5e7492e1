//! How faults are written: `NAME` or `NAME=ARGUMENT`.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, anyhow, ensure};

use super::{Description, Fault, argument::Argument};

impl Fault {
    /// The fault that `text` names, if the kind with this table knows it.
    ///
    /// # Errors
    /// The table has no such name, or the argument is not what [`Description::argument`] says.
    pub fn parse(text: &str, table: &[Description]) -> anyhow::Result<Self> {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        let line = table.iter().find(|line| line.name == name).ok_or_else(|| {
            let names: Vec<_> = table.iter().map(|line| line.name).collect();
            anyhow!("unknown fault {name:?}; known are {}", names.join(", "))
        })?;
        text.parse::<Self>().with_context(|| match line.argument {
            "" => format!("the fault {name} takes no argument"),
            argument => format!("the fault {name} takes: {argument}"),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Self::UpgradeRefused { status } = self {
            return write!(f, "-{status}");
        }
        for (index, (_, value)) in self.fields().into_iter().enumerate() {
            f.write_str(if index == 0 { "=" } else { "@" })?;
            f.write_str(&value)?;
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    /// Reads a fault of any kind. [`Fault::parse`] asks whether a kind knows it.
    ///
    /// # Errors
    /// No kind knows the name, or the argument is malformed.
    fn from_str(text: &str) -> Result<Self, anyhow::Error> {
        let (name, argument) = match text.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let status = name.strip_prefix("upgrade-").and_then(|status| status.parse().ok());
        if let (Some(status @ 300..=599), None) = (status, argument) {
            return Ok(Self::UpgradeRefused { status });
        }
        ensure!(name != "upgrade", "the status belongs to the name, as in upgrade-503");
        let mut argument = Argument::new(argument);
        let fault = Self::build(name, &mut argument)?;
        argument.end()?;
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::line;

    #[test]
    fn what_is_printed_parses_to_the_same_fault() {
        for text in [
            "close=4000@17",
            "fin=5",
            "oversize=99@5",
            "fragments=1",
            "link-foreign-host=a.example:1",
            "upgrade-403",
            "text=0",
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
        }
        assert_eq!("close=1000".parse::<Fault>().unwrap(), Fault::Close { code: 1000, after: 0 });
        assert_eq!("fragments".parse::<Fault>().unwrap().to_string(), "fragments=3");
    }

    #[test]
    fn the_bytes_before_a_fault_are_its_own() {
        assert_eq!("close=1000@7".parse::<Fault>().unwrap().after(), Some(7));
        assert_eq!("oversize=9".parse::<Fault>().unwrap().after(), Some(0));
        assert_eq!("fragments".parse::<Fault>().unwrap().after(), None);
        assert_eq!("upgrade-200".parse::<Fault>().unwrap().after(), None);
    }

    #[test]
    fn mistakes_are_explained() {
        const TABLE: &[Description] = &[line::API_RESET, line::FIN];
        let told = |text: &str| format!("{:#}", Fault::parse(text, TABLE).unwrap_err());
        assert!(told("nonsense").contains("api-reset, fin"));
        assert!(told("stall").contains("unknown fault"), "another kind's fault");
        assert!(told("api-reset=1").contains("no argument"));
        assert!(told("fin=many").contains("output bytes"));
        for text in ["fin=1@2", "fragments=0", "close=99999", "close=1000@x", "oversize=-1", "upgrade=403", "upgrade-7"]
        {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
