//! Opens the directories that jobs are granted, so that they are what the operator allows, and
//! stay it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::Mutex;

/// Directories of the host itself: what is beneath them tells of the host, its environment
/// included, or is a device.
const OWN: &[&str] = &["/proc", "/sys", "/dev"];

/// Where a process finds what it has open, by number.
#[cfg(target_os = "linux")]
const DESCRIPTORS: &str = "/proc/self/fd";
#[cfg(not(target_os = "linux"))]
const DESCRIPTORS: &str = "/dev/fd";

/// Opens a directory by its path, and follows links wherever they lead.
///
/// # Errors
/// What the system says.
pub(super) fn open(path: &Path) -> io::Result<File> {
    Ok(Dir::open_ambient_dir(path, ambient_authority())?.into_std_file())
}

/// Opens a directory beneath a root: nothing on the way from the root leads out of it, be it `..`
/// or a link, whoever changes what while it is opened. `below` is relative to `root`, and each of
/// `then` to the one before, which nothing leads out of either.
///
/// # Errors
/// What the system says, or that the way leads out.
pub(super) fn open_beneath(root: &Path, below: &Path, then: &[PathBuf]) -> io::Result<File> {
    let root = Dir::open_ambient_dir(root, ambient_authority())?;
    let mut dir = root.open_dir(below)?;
    for step in then {
        dir = dir.open_dir(step)?;
    }
    Ok(dir.into_std_file())
}

/// The directories that were found to be none of the host's own, by device and number: a run asks
/// again and again for the same few.
static CHECKED: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

/// How many are remembered.
const MOST_CHECKED: usize = 4096;

/// Checks that an open directory may be granted at all; `path` is where it was opened. Gives which
/// it is.
///
/// # Errors
/// If it is one of the host's own: in words.
pub(super) fn check(dir: &File, path: &Path) -> Result<Identity, String> {
    let known = Identity::of(dir).map_err(|error| error.to_string())?;
    if CHECKED.lock().contains(&known) {
        return Ok(known);
    }
    look_at(dir, path)?;
    let mut checked = CHECKED.lock();
    if checked.len() >= MOST_CHECKED {
        checked.clear();
    }
    checked.insert(known);
    Ok(known)
}

fn look_at(dir: &File, path: &Path) -> Result<(), String> {
    // What the system says of the open directory holds, whatever becomes of the path.
    let real = if cfg!(target_os = "linux") {
        std::fs::read_link(by_number(dir))
    } else {
        path.canonicalize()
    };
    let real = real.map_err(|error| error.to_string())?;
    if real == Path::new("/") {
        return Err(format!(
            "it holds {}, which are the host's own; grant the directories that the job needs",
            OWN.join(", ")
        ));
    }
    let own = OWN.iter().find(|own| real.starts_with(own));
    if let Some(own) = own {
        return Err(format!(
            "{} is the host's own, as is all of {own}, and is granted to no job",
            real.display()
        ));
    }
    if is_of_the_kernel(dir) {
        return Err(format!(
            "{} shows the kernel's own state, as /proc and /sys do, and is granted to no job",
            real.display()
        ));
    }
    Ok(())
}

/// Whether a directory is one of `/proc` or `/sys`, wherever that is mounted.
#[cfg(target_os = "linux")]
fn is_of_the_kernel(dir: &File) -> bool {
    const SYSFS_MAGIC: u64 = 0x6265_6572;
    // The type differs between machines, the values do not.
    #[allow(clippy::unnecessary_cast)]
    let own = [rustix::fs::PROC_SUPER_MAGIC as u64, SYSFS_MAGIC];
    #[allow(clippy::unnecessary_cast)]
    rustix::fs::fstatfs(dir).is_ok_and(|stat| own.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn is_of_the_kernel(_: &File) -> bool {
    false
}

fn by_number(dir: &File) -> PathBuf {
    Path::new(DESCRIPTORS).join(dir.as_raw_fd().to_string())
}

/// Which directory it is: its device, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    /// That of an open directory.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn of(dir: &File) -> io::Result<Identity> {
        Ok(Identity::from(rustix::fs::fstat(dir)?))
    }

    /// That of the directory which a path leads to, wherever links lead.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn of_path(path: &Path) -> io::Result<Identity> {
        Ok(Identity::from(rustix::fs::stat(path)?))
    }
}

impl From<rustix::fs::Stat> for Identity {
    // The types differ between systems.
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        clippy::cast_sign_loss
    )]
    fn from(stat: rustix::fs::Stat) -> Self {
        Identity {
            device: stat.st_dev as u64,
            number: stat.st_ino as u64,
        }
    }
}

/// A path that leads to an open directory, and nowhere else as long as it is held.
///
/// # Errors
/// If the system has no such paths.
pub(super) fn path_of(dir: &File) -> io::Result<PathBuf> {
    // Of the system, not of the directory: seen once, it is so.
    static LEADS: AtomicBool = AtomicBool::new(false);
    let path = by_number(dir);
    if !LEADS.load(Ordering::Relaxed) {
        let leads = open(&path).and_then(|led| Identity::of(&led));
        if !leads.is_ok_and(|leads| Identity::of(dir).is_ok_and(|it| it == leads)) {
            return Err(io::Error::other(format!(
                "the host hands directories on by {DESCRIPTORS}, which leads nowhere here; mount /proc"
            )));
        }
        LEADS.store(true, Ordering::Relaxed);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn identity(dir: &File) -> Identity {
        Identity::of(dir).unwrap()
    }

    /// A root with a directory `a/b`, and one outside.
    fn root() -> (tempfile::TempDir, PathBuf) {
        let all = tempfile::tempdir().unwrap();
        let root = all.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(all.path().join("outside/b")).unwrap();
        (all, root)
    }

    #[test]
    fn what_is_beneath_a_root_is_opened() {
        let (_all, root) = root();
        symlink("a/b", root.join("inside")).unwrap();
        let real = identity(&open(&root.join("a/b")).unwrap());
        for below in ["a/b", "a/../a/b", "./a/b/", "inside"] {
            let opened = open_beneath(&root, Path::new(below), &[]).unwrap();
            assert_eq!(identity(&opened), real, "{below}");
        }
        let whole = open_beneath(&root, Path::new("."), &[]).unwrap();
        assert_eq!(identity(&whole), identity(&open(&root).unwrap()));
    }

    #[test]
    fn nothing_leads_out_of_a_root() {
        let (all, root) = root();
        symlink("../outside", root.join("relative")).unwrap();
        symlink(all.path().join("outside"), root.join("absolute")).unwrap();
        symlink("relative", root.join("chain")).unwrap();
        symlink("/proc/self/cwd", root.join("magic")).unwrap();
        for below in [
            "..",
            "../outside",
            "a/../../outside",
            "/etc",
            "relative",
            "relative/b",
            "absolute",
            "absolute/b",
            "chain/b",
            "magic",
        ] {
            let opened = open_beneath(&root, Path::new(below), &[]);
            assert!(opened.is_err(), "{below}");
        }
        // A root may itself be a link: it is the operator's word.
        symlink(&root, all.path().join("link")).unwrap();
        open_beneath(&all.path().join("link"), Path::new("a/b"), &[]).unwrap();
    }

    #[test]
    fn a_link_that_appears_meanwhile_leads_nowhere() {
        const TRIES: usize = 2000;
        let (_all, root) = root();
        symlink("../outside", root.join("link")).unwrap();
        let inside = identity(&open(&root.join("a/b")).unwrap());
        let stop = AtomicBool::new(false);
        let (mut opened, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let dir = open(&root).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    // At once, so that there always is something there.
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(&dir, "a", &dir, "link", flags).unwrap();
                }
            });
            for _ in 0..TRIES {
                match open_beneath(&root, Path::new("a/b"), &[]) {
                    Ok(dir) => {
                        assert_eq!(identity(&dir), inside);
                        opened += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            // However the threads take turns, both must have been seen.
            while opened == 0 || refused == 0 {
                match open_beneath(&root, Path::new("a/b"), &[]) {
                    Ok(_) => opened += 1,
                    Err(_) => refused += 1,
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn what_is_handed_on_is_what_was_opened() {
        let (all, root) = root();
        let held = open(&root.join("a")).unwrap();
        let path = path_of(&held).unwrap();
        // Another directory takes its name.
        std::fs::rename(root.join("a"), root.join("moved")).unwrap();
        std::fs::rename(all.path().join("outside"), root.join("a")).unwrap();
        assert_eq!(identity(&open(&path).unwrap()), identity(&held));
        assert_eq!(
            identity(&held),
            identity(&open(&root.join("moved")).unwrap())
        );
    }

    #[test]
    fn the_host_keeps_its_own() {
        let (all, root) = root();
        symlink("/proc/self", all.path().join("link")).unwrap();
        let said = |path: &Path| check(&open(path).unwrap(), path).map(drop);
        for (path, word) in [
            (Path::new("/proc"), "/proc is the host's own"),
            (Path::new("/proc/self/fd"), "as is all of /proc"),
            (Path::new("/sys"), "/sys is the host's own"),
            (Path::new("/dev"), "/dev is the host's own"),
            (Path::new("/"), "/proc, /sys, /dev"),
            (&all.path().join("link"), "as is all of /proc"),
        ] {
            let why = said(path).unwrap_err();
            assert!(why.contains(word), "{}: {why}", path.display());
        }
        // Twice, as what is right is remembered and what is wrong is not.
        assert_eq!(said(&root), Ok(()));
        assert_eq!(said(&root), Ok(()));
        assert!(said(Path::new("/proc")).is_err());
        // By its file system too, as where another place has it mounted.
        assert!(is_of_the_kernel(&open(Path::new("/proc")).unwrap()));
        assert!(!is_of_the_kernel(&open(&root).unwrap()));
        // A name that only begins like one is another.
        let alike = Path::new("/procedures");
        assert!(!OWN.iter().any(|own| alike.starts_with(own)));
    }
}
