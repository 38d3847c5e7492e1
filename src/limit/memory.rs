//! How much memory the process may use before it takes nobody new.

use std::path::Path;

use super::{Exceeded, Limit};

/// Where Linux shows control groups (cgroups(7), version 2).
const GROUPS: &str = "/sys/fs/cgroup";

/// What nobody new may take the process over.
///
/// Looked at whenever somebody asks, so there is nothing that has to notice when the shortage is over.
#[derive(Debug)]
pub struct Memory {
    /// In bytes; `None` where nothing tells how much there is.
    bound: Option<u64>,
}

impl Memory {
    /// A bound in bytes. Without one, nine tenths of what the process is given: the least of the limits of its control group
    /// and of those around it, and of what the machine has.
    #[must_use]
    pub fn new(bound: Option<u64>) -> Self {
        Self { bound: bound.or_else(|| given().map(|given| given / 10 * 9)) }
    }

    /// Whether there is room for somebody new. Costs a read of `/proc/self/status`, some 20 µs.
    ///
    /// # Errors
    ///
    /// [`Exceeded`], with the bound in MiB.
    pub fn check(&self) -> Result<(), Exceeded> {
        let Some(bound) = self.bound else { return Ok(()) };
        match resident() {
            Some(resident) if resident >= bound => {
                let mebibytes = u32::try_from(bound >> 20).unwrap_or(u32::MAX);
                Err(Exceeded::count(Limit::Memory, mebibytes))
            }
            // Where nobody tells how much is used, nobody is refused for it.
            _ => Ok(()),
        }
    }
}

/// Resident memory of this process in bytes (proc_pid_status(5), `VmRSS`).
fn resident() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// What this process is given, in bytes.
fn given() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kibibytes(&text, "MemTotal:"));
    let group = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| least(Path::new(GROUPS), &text));
    [machine, group].into_iter().flatten().min()
}

/// The value of a line such as `VmRSS:      1234 kB`, in bytes.
fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least `memory.max` of the group that `/proc/self/cgroup` names in its line of version 2, and of those around it.
fn least(groups: &Path, own: &str) -> Option<u64> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| std::fs::read_to_string(groups.join(group).join("memory.max")).ok()?.trim().parse().ok();
    Path::new(path).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_groups_around_a_process_the_tightest_counts_and_max_is_no_limit() {
        let groups = tempfile::tempdir().unwrap();
        let inner = groups.path().join("kube/pod/box");
        std::fs::create_dir_all(&inner).unwrap();
        let set = |group: &str, max: &str| std::fs::write(groups.path().join(group).join("memory.max"), max).unwrap();
        set("kube", "8589934592\n");
        set("kube/pod", "536870912\n");
        set("kube/pod/box", "max\n");
        let least = |own: &str| least(groups.path(), own);
        assert_eq!(least("1:cpu:/x\n0::/kube/pod/box\n"), Some(512 << 20));
        assert_eq!(least("0::/kube\n"), Some(8 << 30));
        assert_eq!(least("0::/\n"), None);
        assert_eq!(least("0::/elsewhere\n"), None);
        assert_eq!(least("4:memory:/v1\n"), None);
        // In a container, its own group is the root.
        set("", "1073741824\n");
        assert_eq!(least("0::/\n"), Some(1 << 30));
    }

    #[test]
    fn what_is_over_the_bound_is_refused_and_what_is_under_it_is_not() {
        let used = resident().unwrap();
        assert!((1 << 20..1 << 36).contains(&used), "{used}");
        assert!(Memory::new(Some(used * 8)).check().is_ok());
        let exceeded = Memory::new(Some(1 << 20)).check().unwrap_err();
        assert_eq!((exceeded.limit, exceeded.quota), (Limit::Memory, 1));
        assert!(Memory::new(None).check().is_ok(), "of what the machine has, a tenth is left");
        assert_eq!(kibibytes("VmPeak:\t  9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12 << 10));
        assert_eq!(kibibytes("VmRSS:\t 18446744073709551615 kB\n", "VmRSS:"), None);
    }
}
