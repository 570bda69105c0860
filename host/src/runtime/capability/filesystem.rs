//! `wasi:filesystem` and the files of WASI 0.1: the directories that a job is granted, and nothing
//! else.
//!
//! The sandbox's library keeps every path beneath the directory it starts from; this module adds
//! what the library does not do: it opens the directories so that they are what the operator
//! allows ([`beneath`]), holds those that are to be written to their quotas ([`quota`]), keeps
//! guests from pipes and devices, which would keep a thread of the host waiting, and tells why
//! something was refused. [`p2`] and [`p1`] are the two interfaces.
//!
//! Whether something is a pipe is looked at just before it is opened. Who puts a pipe in the place
//! of a file in that moment, which no guest alone can do, keeps a thread waiting all the same.

mod beneath;
mod handles;
mod p1;
mod p2;
mod quota;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::{Dir, OpenMode};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::Desk;
use crate::job::grants::Need;
use crate::job::{Access, DirGrant};
use crate::run::Denial;
use crate::runtime::guest::GuestState;
use crate::units::format_size;
use quota::{Allowed, Full, Growth, Moving, Quota};

pub(in crate::runtime) use p1::add_to_module_linker;

/// How many bytes of a path that a guest gave are shown.
const LONGEST_SHOWN: usize = 200;

/// What a call does with what a path leads to.
const WRITES: bool = true;
const READS: bool = false;

/// The number that the first granted directory has in WASI 0.1.
const FIRST_DESCRIPTOR: u32 = 3;

/// Links `wasi:filesystem`, in the place of the library's.
///
/// # Errors
/// If the linker does not allow that.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    p2::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What the host keeps of a run's directories.
#[derive(Default)]
pub(in crate::runtime) struct Directories {
    /// What is granted, open, with its path in the guest, in the order of the grants.
    granted: Vec<(Dir, String)>,
    /// The quota of each, in the same order.
    quotas: Vec<Option<Arc<Quota>>>,
    /// What the guest has open, by its number: a resource's in WASI 0.2, a descriptor in 0.1.
    open: HashMap<u32, Place>,
}

/// Something that a guest has open.
#[derive(Debug, Default)]
struct Place {
    /// Which of the grants it lies beneath.
    grant: usize,
    /// The file, if it is one and there are quotas.
    file: Option<Weak<File>>,
    /// Whether all that is written goes to its end. Only known of WASI 0.1.
    append: bool,
}

/// Where a directory has to be: beneath a root, by a path that no link leads out of.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime) struct Within<'a> {
    /// A directory that the operator allows to be granted; its own links are followed.
    pub(in crate::runtime) root: &'a Path,
    /// The granted directory, relative to the root; `.` for the root itself.
    pub(in crate::runtime) below: &'a Path,
    /// What to go on with from there: each relative to the one before, and beneath it.
    pub(in crate::runtime) then: &'a [PathBuf],
}

impl Directories {
    /// Opens a granted directory.
    ///
    /// # Errors
    /// If there is none, if it is one of the host's own or is not within what is allowed: in words.
    pub(in crate::runtime) fn grant(
        &mut self,
        dir: &DirGrant,
        within: Option<Within<'_>>,
    ) -> Result<(), String> {
        let mut held = open(&dir.host, within).map_err(|why| cannot_open(&dir.host, &why))?;
        (held.perms, held.open_mode) = match dir.access {
            Access::ReadOnly => (FsPerms::ReadOnly, OpenMode::READ),
            Access::ReadWrite => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
        };
        let quota = dir.quota.filter(|_| dir.access == Access::ReadWrite);
        let quota = quota.map(|limit| Arc::new(Quota::new(held.dir.clone(), limit)));
        self.quotas.push(quota);
        self.granted.push((held, dir.guest.clone()));
        Ok(())
    }

    /// Has a guest of WASI 0.1 see the directories, by the numbers that it finds them by. A guest
    /// of WASI 0.2 asks for them.
    ///
    /// # Errors
    /// If they cannot be handed on: in words.
    pub(in crate::runtime) fn number(
        &mut self,
        builder: &mut WasiCtxBuilder,
    ) -> Result<(), String> {
        for (dir, guest) in &self.granted {
            let failed = |error: &dyn Display| format!("cannot hand on {guest}: {error}");
            // The library opens directories by a path only: this one cannot lead elsewhere while
            // the directory is held.
            let path = beneath::path_of(&dir.dir).map_err(|error| failed(&error))?;
            builder
                .preopened_dir(path, guest, dir.perms)
                .map_err(|error| failed(&format_args!("{error:#}")))?;
        }
        for (key, grant) in (FIRST_DESCRIPTOR..).zip(0..self.granted.len()) {
            self.opened(key, grant);
        }
        Ok(())
    }

    /// Notes that a guest has opened something beneath a grant.
    fn opened(&mut self, key: u32, grant: usize) -> &mut Place {
        let place = self.open.entry(key).or_default();
        *place = Place {
            grant,
            ..Place::default()
        };
        place
    }

    /// Notes that a guest has closed something.
    fn closed(&mut self, key: u32) -> Option<Place> {
        self.open.remove(&key)
    }

    fn grant_of(&self, key: u32) -> Option<usize> {
        self.open.get(&key).map(|place| place.grant)
    }

    fn quota_of(&self, key: u32) -> Option<&Arc<Quota>> {
        self.quotas.get(self.grant_of(key)?)?.as_ref()
    }

    /// A file that the guest has open beneath a directory with a quota.
    fn metered(&self, key: u32) -> Option<Arc<File>> {
        self.quota_of(key)?;
        self.open.get(&key)?.file.as_ref()?.upgrade()
    }

    /// Whether any of the directories has a quota, so that open files are known.
    fn meters(&self) -> bool {
        self.quotas.iter().any(Option::is_some)
    }

    /// Notes which file the guest has opened.
    fn meter(&mut self, key: u32, file: &Arc<File>) {
        if !self.meters() {
            return;
        }
        if let Some(quota) = self.quota_of(key) {
            quota.watch(file);
        }
        if let Some(place) = self.open.get_mut(&key) {
            place.file = Some(Arc::downgrade(file));
        }
    }

    /// Whether it is known where the guest has opened a file.
    fn knows(&self, file: &Arc<File>) -> bool {
        let known = |place: &Place| {
            let of = place.file.as_ref()?;
            Some(std::ptr::eq(of.as_ptr(), Arc::as_ptr(file)))
        };
        self.open.values().any(|place| known(place) == Some(true))
    }

    /// Whether all that is written to an open file goes to its end.
    fn appends(&self, key: u32) -> bool {
        self.open.get(&key).is_some_and(|place| place.append)
    }

    fn set_append(&mut self, key: u32, append: bool) {
        if let Some(place) = self.open.get_mut(&key) {
            place.append = append;
        }
    }

    /// Notes that what a guest has open has another number.
    fn renumber(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        self.closed(to);
        if let Some(place) = self.closed(from) {
            self.open.insert(to, place);
        }
    }

    /// Notes that something is moved to a directory, if that has a quota.
    fn moving(&self, to: u32) -> Option<Moving> {
        self.quota_of(to).map(|quota| quota.moving())
    }

    /// Whether something of one of these cannot be moved or linked to the other without that the
    /// other's quota would see it.
    fn apart(&self, from: u32, to: u32) -> bool {
        self.quota_of(to).is_some() && self.grant_of(from) != self.grant_of(to)
    }
}

/// Opens a directory that may be granted. What may be done with it is for the grant to say.
fn open(host: &Path, within: Option<Within<'_>>) -> Result<Dir, String> {
    let opened = |file| Dir::new(file, FsPerms::ReadOnly, OpenMode::READ, false);
    let Some(Within { root, below, then }) = within else {
        if let Some(held) = handles::find(host) {
            return Ok(held);
        }
        let file = beneath::open(host).map_err(|error| error.to_string())?;
        let identity = beneath::check(&file, host)?;
        let dir = opened(file);
        handles::hold(host, &dir, identity);
        return Ok(dir);
    };
    // Whether the way stays beneath the root is only seen by going it.
    let file = beneath::open_beneath(root, below, then).map_err(|error| error.to_string())?;
    beneath::check(&file, host)?;
    Ok(opened(file))
}

fn cannot_open(host: &Path, why: &dyn Display) -> String {
    format!(
        "cannot open the granted directory {}: {why}",
        host.display()
    )
}

/// That a quota has no room. It has been told.
struct NoRoom;

impl GuestState {
    /// Makes sure that the directory which something lies beneath may grow so much. What it gives
    /// is to be kept until it has grown.
    async fn room(&mut self, key: u32, growth: Growth) -> Result<Allowed, NoRoom> {
        let Some(quota) = self.desk().directories.quota_of(key).cloned() else {
            return Ok(Allowed::nothing());
        };
        let room = quota.room(growth).await;
        if let Err(full) = &room {
            quota.note(*full);
        }
        self.desk().tell_of_quotas();
        room.map_err(|_| NoRoom)
    }

    /// Makes sure that so many bytes may be written to an open file, from `offset` on or, without
    /// one, at its end.
    async fn room_to_write(
        &mut self,
        key: u32,
        offset: Option<u64>,
        bytes: usize,
    ) -> Result<Allowed, NoRoom> {
        match self.desk().directories.metered(key) {
            Some(file) => {
                let growth = Growth::of_write(&file, offset, bytes);
                self.room(key, growth).await
            }
            None => Ok(Allowed::nothing()),
        }
    }

    /// Makes sure that an open file may get a size.
    async fn room_for_size(&mut self, key: u32, size: u64) -> Result<Allowed, NoRoom> {
        match self.desk().directories.metered(key) {
            Some(file) => {
                let growth = Growth::of_resize(&file, size);
                self.room(key, growth).await
            }
            None => Ok(Allowed::nothing()),
        }
    }
}

impl Desk {
    fn dir(&self, key: u32) -> Option<&DirGrant> {
        self.grants().dirs.get(self.directories.grant_of(key)?)
    }

    /// Tells why something beneath an open directory was not permitted, as far as it can be seen
    /// without looking at the directory. False if it cannot.
    fn forbidden(&mut self, key: u32, path: &str, writes: bool) -> bool {
        if leaves(path) {
            self.outside(key, path);
            return true;
        }
        writes && self.read_only(key)
    }

    /// Tells that a directory is granted read-only. False if it is not.
    fn read_only(&mut self, key: u32) -> bool {
        let Some(dir) = self.dir(key).filter(|dir| dir.access == Access::ReadOnly) else {
            return false;
        };
        let need = Need::Dir {
            host: dir.host.clone(),
            guest: dir.guest.clone(),
            access: Access::ReadWrite,
        };
        let what = format!("write to {}: it is granted read-only", dir.guest);
        self.deny(what, &need);
        true
    }

    /// Tells that a path leads out of a directory.
    fn outside(&mut self, key: u32, path: &str) {
        let what = format!("{} is outside what it is granted", self.shown(key, path));
        self.refuse(never(what));
    }

    /// Tells that something is no file.
    fn no_file(&mut self, key: u32, path: &str) {
        let what = format!(
            "open {}: it is a pipe, a socket or a device, and a job may open files and directories",
            self.shown(key, path)
        );
        self.refuse(never(what));
    }

    /// A path as the guest would write it, without the secrets that it may have put there.
    fn shown(&self, key: u32, path: &str) -> String {
        let path = &self.redacted(path.to_owned());
        match self.dir(key) {
            Some(dir) if !path.starts_with('/') => {
                format!("{}/{}", dir.guest.trim_end_matches('/'), shorten(path))
            }
            _ => shorten(path),
        }
    }

    /// Tells what was refused for the sake of a quota since it was last told.
    pub(super) fn tell_of_quotas(&mut self) {
        for grant in 0..self.directories.quotas.len() {
            let Some(Some(quota)) = self.directories.quotas.get(grant) else {
                continue;
            };
            let (limit, refused) = (quota.limit(), quota.refused());
            for full in refused {
                if let Some(dir) = self.grants().dirs.get(grant) {
                    let denial = of_quota(dir, limit, full);
                    self.refuse(denial);
                }
            }
        }
    }
}

/// A denial that no grant would prevent.
fn never(what: String) -> Denial {
    Denial {
        what,
        grant: None,
        ceiling: None,
    }
}

fn of_quota(dir: &DirGrant, limit: u64, full: Full) -> Denial {
    let guest = &dir.guest;
    match full {
        Full::Bytes => {
            let larger = serde_json::json!({
                "host": dir.host.to_string_lossy(),
                "guest": guest,
                "mode": "rw",
                "quota": format_size(limit.saturating_mul(2)),
            });
            Denial {
                what: format!(
                    "write to {guest}: its quota of {} is used up",
                    format_size(limit)
                ),
                grant: Some(format!("\"grants\": {{ \"dirs\": [{larger}] }}")),
                ceiling: None,
            }
        }
        Full::Entries => never(format!(
            "write to {guest}: it holds {} files and directories, the most that a directory with a quota may",
            quota::MAX_ENTRIES
        )),
        Full::Unmeasured => never(format!(
            "write to {guest}: what it holds cannot be measured against its quota; see whether the host may read all of it, and whether it is nested too deep"
        )),
    }
}

/// Whether a path, by its words alone, leaves the directory it starts from.
fn leaves(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/') {
        match part {
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            "" | "." => {}
            _ => depth += 1,
        }
    }
    path.starts_with('/')
}

/// A path of a guest's, fit to stand in a line for people.
fn shorten(path: &str) -> String {
    let end = path.floor_char_boundary(LONGEST_SHOWN);
    let (kept, dropped) = path.split_at(end);
    let mut text = kept.escape_debug().to_string();
    if !dropped.is_empty() {
        text.push('…');
    }
    text
}
