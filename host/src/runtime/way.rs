//! The way to a granted directory, so that it stays beneath what the operator and the jobs that made
//! its job allow.

use std::path::PathBuf;

use crate::job::DirGrant;
use crate::policy::{Ceiling, Confinement, normal_path};

/// How a directory is reached that has to stay beneath others.
#[derive(Debug)]
pub(super) struct Way {
    /// The first of them, or the directory itself.
    pub(super) from: Confinement,
    /// The steps from there by way of the others, each relative to the one before.
    pub(super) then: Vec<PathBuf>,
}

/// The way to a granted directory: beneath what the operator's ceiling allows, and beneath each
/// directory of the jobs that made its job. Nothing where there is neither, and it is opened by its
/// own path.
///
/// # Errors
/// If it is not beneath them: in words.
pub(super) fn way_to(dir: &DirGrant, ceiling: &Ceiling) -> Result<Option<Way>, String> {
    let confined = ceiling.confine(dir)?;
    let Some((widest, rest)) = dir.beneath.split_first() else {
        let then = Vec::new();
        return Ok(confined.map(|from| Way { from, then }));
    };
    let widest = DirGrant {
        host: widest.clone(),
        beneath: Vec::new(),
        ..dir.clone()
    };
    // It may be a link to elsewhere as well.
    let from = ceiling.confine(&widest)?.unwrap_or_else(|| Confinement {
        root: widest.host.clone(),
        below: PathBuf::from("."),
        quota: None,
    });
    let mut at = normal_path(&widest.host);
    let mut then = Vec::with_capacity(rest.len() + 1);
    for next in rest.iter().chain(std::iter::once(&dir.host)) {
        let next = normal_path(next);
        let Ok(step) = next.strip_prefix(&at) else {
            return Err(format!(
                "the directory {} is not beneath {}, which the job that made this one has",
                next.display(),
                at.display()
            ));
        };
        if !step.as_os_str().is_empty() {
            then.push(step.to_owned());
        }
        at = next;
    }
    Ok(Some(Way { from, then }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::super::capability::filesystem::{Directories, Within};
    use super::*;
    use crate::job::Access;

    fn dir(host: &Path, beneath: &[&Path]) -> DirGrant {
        DirGrant {
            host: host.to_owned(),
            guest: "/data".into(),
            access: Access::ReadOnly,
            quota: None,
            beneath: beneath.iter().map(|it| it.to_path_buf()).collect(),
        }
    }

    fn opens(dir: &DirGrant) -> bool {
        let Ok(way) = way_to(dir, &Ceiling::default()) else {
            return false;
        };
        let within = way.as_ref().map(|way| Within {
            root: &way.from.root,
            below: &way.from.below,
            then: &way.then,
        });
        Directories::default().grant(dir, within).is_ok()
    }

    #[test]
    fn links_lead_out_of_no_directory_of_a_creator() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path();
        let (outer, inner, deep) = (root.join("a"), root.join("a/b"), root.join("a/b/c"));
        std::fs::create_dir_all(&deep).unwrap();
        for path in ["elsewhere/c", "a/beside"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        let alone = dir(&deep, &[]);
        let by_one = dir(&deep, &[&outer]);
        let by_two = dir(&deep, &[&outer, &inner]);
        for dir in [&alone, &by_one, &by_two, &dir(&outer, &[&outer])] {
            assert!(opens(dir), "{dir:?}");
        }
        assert!(!opens(&dir(&outer, &[&inner])));
        assert!(!opens(&dir(&root.join("a/b/../../elsewhere"), &[&outer])));
        // The one that is let write there puts a link in the place of the directory.
        std::fs::remove_dir(&deep).unwrap();
        symlink("../beside", &deep).unwrap();
        assert!(opens(&alone));
        // Still its creator's, but not that of the one in between.
        assert!(opens(&by_one));
        assert!(!opens(&by_two));
        std::fs::remove_file(&deep).unwrap();
        symlink("../../elsewhere", &deep).unwrap();
        assert!(opens(&alone));
        assert!(!opens(&by_one));
        assert!(!opens(&by_two));
        // Or in the place of one on the way.
        std::fs::remove_file(&deep).unwrap();
        std::fs::remove_dir(&inner).unwrap();
        symlink("../elsewhere", &inner).unwrap();
        assert!(opens(&alone));
        assert!(!opens(&by_one));
        assert!(!opens(&by_two));
    }
}
