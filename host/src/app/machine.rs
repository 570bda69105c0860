//! What the machine has, where a default depends on it.

use std::path::Path;

/// How many bytes of memory all runs may have together where nobody says: three quarters of what
/// the machine has, or of what the host's control group may use of it.
pub(super) fn memory_for_runs() -> u64 {
    let info = rustix::system::sysinfo();
    let physical = u128::from(info.totalram) * u128::from(info.mem_unit.max(1));
    let physical = u64::try_from(physical).unwrap_or(u64::MAX);
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|groups| group_limit(&groups, Path::new("/sys/fs/cgroup")));
    physical.min(group.unwrap_or(u64::MAX)) / 4 * 3
}

/// The lowest `memory.max` of the host's group and those above it (cgroup v2).
fn group_limit(groups: &str, root: &Path) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limits = Path::new(own).ancestors().filter_map(|group| {
        let text = std::fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        text.trim().parse::<u64>().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_a_group_and_those_above_it_holds() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("system.slice/quarterjack.service");
        std::fs::create_dir_all(&own).unwrap();
        let line = "0::/system.slice/quarterjack.service\n";
        assert_eq!(group_limit(line, root.path()), None);
        std::fs::write(own.join("memory.max"), "max\n").unwrap();
        std::fs::write(root.path().join("system.slice/memory.max"), "1000\n").unwrap();
        assert_eq!(group_limit(line, root.path()), Some(1000));
        std::fs::write(own.join("memory.max"), "500\n").unwrap();
        assert_eq!(group_limit(line, root.path()), Some(500));
        assert!(memory_for_runs() > 1 << 20);
    }
}
