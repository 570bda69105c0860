//! The directories that definitions may be granted, and how one is opened without leaving them.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::place::Placed;
use crate::job::{Access, DirGrant};

/// A directory that definitions may be granted, and all beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    /// Absolute, without `..`.
    path: PathBuf,
    /// The most that may be granted.
    access: Access,
    /// The largest quota that may be granted to write in it; nothing for any, or none.
    quota: Option<u64>,
}

impl Root {
    /// Reads `/srv/data`, `/srv/data:ro` or `/srv/data:rw`. A relative one is relative to `base`.
    /// An error is of the form "what is wrong: what would be right".
    pub(super) fn parse(text: &str, base: &Path) -> Result<Root, String> {
        let (path, access) = match text.rsplit_once(':') {
            Some((path, "rw")) => (path, Access::ReadWrite),
            Some((path, "ro")) => (path, Access::ReadOnly),
            Some((_, mode)) if mode.len() < 3 && !mode.contains('/') => {
                return Err(format!(
                    "no such mode \"{mode}\": it is \"ro\" (read only) or \"rw\" (read and write)"
                ));
            }
            _ => (text, Access::ReadOnly),
        };
        if path.is_empty() {
            return Err("the directory is empty: write it like \"/srv/data\"".into());
        }
        if path.contains('\0') {
            return Err("the directory holds a NUL character: leave it out".into());
        }
        if path == "~" || path.starts_with("~/") {
            return Err("`~` is not expanded here: write the directory out".into());
        }
        Ok(Root {
            path: normal(&base.join(path)),
            access,
            quota: None,
        })
    }

    /// A directory that a job is granted, for those that it makes.
    pub(super) fn of_grant(dir: &DirGrant) -> Root {
        Root {
            path: normal(&dir.host),
            access: dir.access,
            quota: dir.quota.filter(|_| dir.access == Access::ReadWrite),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Root {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.access {
            Access::ReadOnly => "",
            Access::ReadWrite => ":rw",
        };
        write!(to, "{}{mode}", self.path.display())
    }
}

/// A granted directory beneath one of the operator's roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// The root, as the operator wrote it, absolute. Its own links are the operator's word.
    pub root: PathBuf,
    /// The granted directory, relative to the root and without `..`; `.` for the root itself.
    pub below: PathBuf,
    /// The largest quota that may be granted to write there; nothing for any, or none.
    pub quota: Option<u64>,
}

#[cfg(test)]
impl Confinement {
    /// Opens the granted directory beneath its root: no link on the way leads out of the root,
    /// whoever changes what while it is opened.
    ///
    /// # Errors
    /// What the system says, or that the way leads out.
    pub fn open(&self) -> std::io::Result<cap_std::fs::Dir> {
        let root = cap_std::fs::Dir::open_ambient_dir(&self.root, cap_std::ambient_authority())?;
        root.open_dir(&self.below)
    }
}

/// Why a directory is in no root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outside {
    /// It is beneath none.
    Elsewhere,
    /// It is beneath roots that may only be read.
    ReadOnly,
    /// It is beneath one, but is a link, or lies behind a link, to this place out of it.
    LeadsTo(PathBuf),
}

/// Finds the root that a granted directory is beneath, by its name and, where it exists, by the
/// place that its links lead to. With the place of the root in the list.
pub(super) fn confine<'r>(
    roots: &'r [Placed<Root>],
    dir: &DirGrant,
) -> Result<(Confinement, &'r Placed<Root>), Outside> {
    let name = normal(&dir.host);
    let real = std::fs::canonicalize(&name).ok();
    let mut why = Outside::Elsewhere;
    for root in roots {
        let root_real = std::fs::canonicalize(&root.value.path).ok();
        // The job file may name the root by the place that it really is at.
        let by_name = name.strip_prefix(&root.value.path).ok();
        let below = by_name.or_else(|| name.strip_prefix(root_real.as_ref()?).ok());
        let Some(below) = below else { continue };
        if dir.access == Access::ReadWrite && root.value.access == Access::ReadOnly {
            if why == Outside::Elsewhere {
                why = Outside::ReadOnly;
            }
            continue;
        }
        let below = match (&real, &root_real) {
            (Some(real), Some(root_real)) => match real.strip_prefix(root_real) {
                // Without the links, which may be absolute and yet stay inside.
                Ok(below) => below,
                Err(_) => {
                    why = Outside::LeadsTo(real.clone());
                    continue;
                }
            },
            _ => below,
        };
        let below = if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        };
        let confinement = Confinement {
            root: root.value.path.clone(),
            below: below.to_owned(),
            quota: root.value.quota,
        };
        return Ok((confinement, root));
    }
    Err(why)
}

/// A path made absolute, and without `.` and `..`, by its name alone.
pub fn normal(path: &Path) -> PathBuf {
    // Fails only for an empty path, or where there is no working directory any more.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut normal = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::*;
    use std::os::unix::fs::symlink;

    fn roots(texts: &[&str]) -> Vec<Placed<Root>> {
        let placed = |text: &&str| Placed {
            value: Root::parse(text, Path::new("/etc/quarterjack")).unwrap(),
            place: Place::Flag("test"),
        };
        texts.iter().map(placed).collect()
    }

    fn grant(host: impl Into<PathBuf>, access: Access) -> DirGrant {
        DirGrant {
            host: host.into(),
            guest: "/data".into(),
            access,
            quota: None,
            beneath: Vec::new(),
        }
    }

    fn below(roots: &[Placed<Root>], host: &str, access: Access) -> Result<String, Outside> {
        confine(roots, &grant(host, access)).map(|(found, _)| {
            let (root, below) = (found.root.display(), found.below.display());
            format!("{root} {below}")
        })
    }

    #[test]
    fn a_root_is_written_like_a_granted_directory() {
        let shown = |text: &str| roots(&[text])[0].value.to_string();
        assert_eq!(shown("/srv/data"), "/srv/data");
        assert_eq!(shown("/srv/data/:ro"), "/srv/data");
        assert_eq!(shown("/srv/./x/../data:rw"), "/srv/data:rw");
        assert_eq!(shown("data:rw"), "/etc/quarterjack/data:rw");
        assert_eq!(shown("/srv/a:b/c"), "/srv/a:b/c");
        assert_eq!(shown("/srv/a:long"), "/srv/a:long");
        for wrong in ["", ":rw", "/srv:wr", "/srv:", "~/x", "~", "/a\0b"] {
            let error = Root::parse(wrong, Path::new("/")).unwrap_err();
            assert!(error.contains(": "), "{error}");
        }
    }

    #[test]
    fn names_are_compared_part_by_part() {
        use Access::{ReadOnly as Ro, ReadWrite as Rw};
        let list = roots(&["/no/such/data", "/no/such/out:rw"]);
        let ok = |host, access| below(&list, host, access).unwrap();
        assert_eq!(ok("/no/such/data", Ro), "/no/such/data .");
        assert_eq!(ok("/no/such/data/a/../b", Ro), "/no/such/data b");
        assert_eq!(ok("/no/such/out/x", Rw), "/no/such/out x");
        assert_eq!(ok("/no/such/out/x", Ro), "/no/such/out x");
        let no = |host, access| below(&list, host, access).unwrap_err();
        assert_eq!(no("/no/such/database", Ro), Outside::Elsewhere);
        assert_eq!(no("/no/such/data/../secret", Ro), Outside::Elsewhere);
        assert_eq!(no("/no/such/data/../../..", Ro), Outside::Elsewhere);
        assert_eq!(no("/no/such/data/x", Rw), Outside::ReadOnly);
        assert_eq!(no("no/such/data", Ro), Outside::Elsewhere);
        assert_eq!(below(&[], "/", Ro).unwrap_err(), Outside::Elsewhere);
    }

    #[test]
    fn links_do_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir_all(at("root/inner")).unwrap();
        std::fs::create_dir_all(at("out/deep")).unwrap();
        std::fs::write(at("root/inner/file"), "inside").unwrap();
        symlink(at("out"), at("root/away")).unwrap();
        symlink("../out", at("root/up")).unwrap();
        symlink(at("root/inner"), at("root/around")).unwrap();
        symlink(at("root"), at("link")).unwrap();
        let list = roots(&[at("root").to_str().unwrap()]);
        let find = |path: &str| confine(&list, &grant(at(path), Access::ReadOnly));
        for path in ["root/away", "root/away/deep", "root/up", "root/up/deep"] {
            let why = find(path).unwrap_err();
            assert!(matches!(why, Outside::LeadsTo(_)), "{path}: {why:?}");
        }
        // An absolute link that stays inside leads nowhere else.
        let (around, _) = find("root/around").unwrap();
        assert_eq!(around.below, Path::new("inner"));
        assert_eq!(
            around.open().unwrap().read_to_string("file").unwrap(),
            "inside"
        );
        // By another name, the root is not the root.
        assert!(find("link/inner").is_err());

        // A root that is a link is the operator's word; its real name is as good.
        let list = roots(&[at("link").to_str().unwrap()]);
        for path in ["link/inner", "root/inner"] {
            let (inner, _) = confine(&list, &grant(at(path), Access::ReadOnly)).unwrap();
            assert!(inner.open().unwrap().exists("file"), "{path}");
        }
    }

    #[test]
    fn a_directory_replaced_by_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir_all(at("root/inner")).unwrap();
        std::fs::create_dir_all(at("out")).unwrap();
        let list = roots(&[at("root").to_str().unwrap()]);
        let (inner, _) = confine(&list, &grant(at("root/inner"), Access::ReadOnly)).unwrap();
        assert!(inner.open().is_ok());
        std::fs::remove_dir(at("root/inner")).unwrap();
        for target in ["../out".into(), at("out"), "/".into()] {
            symlink(&target, at("root/inner")).unwrap();
            assert!(inner.open().is_err(), "{}", target.display());
            std::fs::remove_file(at("root/inner")).unwrap();
        }
    }
}
