//! The files of WASI 0.1, for core modules. What has nothing to do with files is the library's.

use wasmtime::Linker;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p1::types::{
    Advice, CiovecArray, Clockid, Dircookie, Errno, Error, Event, Exitcode, Fd, Fdflags, Fdstat,
    Filedelta, Filesize, Filestat, Filetype, Fstflags, IovecArray, Lookupflags, Oflags, Prestat,
    Riflags, Rights, Roflags, Sdflags, Siflags, Signal, Size, Subscription, Timestamp, Whence,
};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self, WasiSnapshotPreview1};
use wiggle::{GuestMemory, GuestPtr};

use super::quota::{Allowed, Growth};
use super::{NoRoom, READS, WRITES, leaves};
use crate::runtime::guest::GuestState;

/// Links WASI 0.1 for core modules.
///
/// # Errors
/// If the linker knows it already.
pub(in crate::runtime) fn add_to_module_linker(
    linker: &mut Linker<GuestState>,
) -> wasmtime::Result<()> {
    fn same(state: &mut GuestState) -> &mut GuestState {
        state
    }
    wasi_snapshot_preview1::add_to_linker(linker, same)
}

impl From<NoRoom> for Error {
    fn from(_: NoRoom) -> Error {
        Errno::Nospc.into()
    }
}

type Answer<T> = Result<T, Error>;

fn not_permitted(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(Errno::Perm))
}

fn text(memory: &GuestMemory<'_>, text: GuestPtr<str>) -> String {
    // What could not be read has led to another error before.
    memory
        .as_cow_str(text)
        .map_or_else(|_| String::new(), |text| text.into_owned())
}

/// How many bytes a call writes at most: the library writes the first list that is not empty.
fn first_length(memory: &GuestMemory<'_>, lists: CiovecArray) -> Answer<usize> {
    for list in lists.iter() {
        let list = memory.read(list?)?;
        if list.buf_len > 0 {
            return Ok(list.buf_len as usize);
        }
    }
    Ok(0)
}

impl GuestState {
    /// Tells why a call on a path was not permitted.
    async fn explained_p1<T>(
        &mut self,
        memory: &mut GuestMemory<'_>,
        result: Answer<T>,
        dir: Fd,
        path: GuestPtr<str>,
        writes: bool,
    ) -> Answer<T> {
        if result.as_ref().is_err_and(not_permitted) {
            let shown = text(memory, path);
            if !self.desk().forbidden(dir.into(), &shown, writes)
                && self.leads_out_p1(memory, dir, path).await
            {
                self.desk().outside(dir.into(), &shown);
            }
        }
        result
    }

    /// The same for a call on what is open.
    fn explained_open_p1<T>(&mut self, result: Answer<T>, fd: Fd) -> Answer<T> {
        if result.as_ref().is_err_and(not_permitted) {
            self.desk().read_only(fd.into());
        }
        result
    }

    /// Whether a path leads out by a link: looking at it needs no right but to get there.
    async fn leads_out_p1(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dir: Fd,
        path: GuestPtr<str>,
    ) -> bool {
        let wasi = self.wasi_p1();
        let stat = wasi.path_filestat_get(memory, dir, Lookupflags::SYMLINK_FOLLOW, path);
        stat.await.as_ref().is_err_and(not_permitted)
    }

    /// Checks that a path that is to be opened leads to a file or a directory: opening anything
    /// else may wait for ever, or do something. False if there is nothing yet.
    async fn openable_p1(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dir: Fd,
        flags: Lookupflags,
        path: GuestPtr<str>,
    ) -> Answer<bool> {
        let wasi = self.wasi_p1();
        match wasi.path_filestat_get(memory, dir, flags, path).await {
            Ok(stat) => match stat.filetype {
                Filetype::RegularFile | Filetype::Directory | Filetype::SymbolicLink => Ok(true),
                _ => {
                    let path = text(memory, path);
                    self.desk().no_file(dir.into(), &path);
                    Err(Errno::Perm.into())
                }
            },
            // What is wrong otherwise, opening it will show.
            Err(error) => Ok(!matches!(error.downcast_ref(), Some(Errno::Noent))),
        }
    }

    /// Makes sure that a write to an open file has room.
    async fn room_to_write_p1(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        lists: CiovecArray,
        offset: Option<Filesize>,
    ) -> Answer<Allowed> {
        let key = fd.into();
        if self.desk().directories.metered(key).is_none() {
            return Ok(Allowed::nothing());
        }
        let bytes = first_length(memory, lists)?;
        let offset = match offset {
            _ if self.desk().directories.appends(key) => None,
            Some(offset) => Some(offset),
            None => Some(self.wasi_p1().fd_tell(memory, fd)?),
        };
        Ok(self.room_to_write(key, offset, bytes).await?)
    }

    /// Notes which file was just opened, if there are quotas.
    fn meter_p1(&mut self, key: u32) {
        if !self.desk().directories.meters() {
            return;
        }
        // The library does not say which file it has opened: it is the one not yet known.
        let mut files = Vec::new();
        for entry in self.wasi_p1().ctx().table.iter_mut() {
            if let Some(Descriptor::File(file)) = entry.downcast_ref() {
                files.push(file.file.clone());
            }
        }
        let directories = &mut self.desk().directories;
        for file in files {
            if !directories.knows(&file) {
                directories.meter(key, &file);
            }
        }
    }
}

/// Functions that are the library's.
macro_rules! same_as_ever {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        fn $name(&mut self, memory: &mut GuestMemory<'_>, $($argument: $type),*) -> $result {
            self.wasi_p1().$name(memory, $($argument),*)
        }
    )*};
    ($(async fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        async fn $name(
            &mut self,
            memory: &mut GuestMemory<'_>,
            $($argument: $type),*
        ) -> $result {
            self.wasi_p1().$name(memory, $($argument),*).await
        }
    )*};
}

/// Functions on a path that are the library's, and that tell why they were not permitted.
macro_rules! told_of {
    ($(async fn $name:ident(
        dir, [$($before:ident: $type:ty),*], path, [$($after:ident: $other:ty),*]
    ) -> $result:ty, if $writes:ident;)*) => {$(
        async fn $name(
            &mut self,
            memory: &mut GuestMemory<'_>,
            dir: Fd,
            $($before: $type,)*
            path: GuestPtr<str>,
            $($after: $other,)*
        ) -> $result {
            let wasi = self.wasi_p1();
            let result = wasi.$name(memory, dir, $($before,)* path, $($after,)*).await;
            self.explained_p1(memory, result, dir, path, $writes).await
        }
    )*};
}

impl WasiSnapshotPreview1 for GuestState {
    fn set_hostcall_fuel(&mut self, fuel: usize) {
        self.wasi_p1().set_hostcall_fuel(fuel);
    }

    same_as_ever! {
        fn args_get(to: GuestPtr<GuestPtr<u8>>, buffer: GuestPtr<u8>) -> Answer<()>;
        fn args_sizes_get() -> Answer<(Size, Size)>;
        fn environ_get(to: GuestPtr<GuestPtr<u8>>, buffer: GuestPtr<u8>) -> Answer<()>;
        fn environ_sizes_get() -> Answer<(Size, Size)>;
        fn clock_res_get(id: Clockid) -> Answer<Timestamp>;
        fn clock_time_get(id: Clockid, precision: Timestamp) -> Answer<Timestamp>;
        fn fd_allocate(fd: Fd, offset: Filesize, length: Filesize) -> Answer<()>;
        fn fd_fdstat_set_rights(fd: Fd, base: Rights, inheriting: Rights) -> Answer<()>;
        fn fd_prestat_get(fd: Fd) -> Answer<Prestat>;
        fn fd_prestat_dir_name(fd: Fd, path: GuestPtr<u8>, most: Size) -> Answer<()>;
        fn fd_tell(fd: Fd) -> Answer<Filesize>;
        fn proc_exit(code: Exitcode) -> wasmtime::Error;
        fn proc_raise(signal: Signal) -> Answer<()>;
        fn sched_yield() -> Answer<()>;
        fn random_get(buffer: GuestPtr<u8>, length: Size) -> Answer<()>;
        fn sock_accept(fd: Fd, flags: Fdflags) -> Answer<Fd>;
        fn sock_recv(fd: Fd, to: IovecArray, flags: Riflags) -> Answer<(Size, Roflags)>;
        fn sock_send(fd: Fd, from: CiovecArray, flags: Siflags) -> Answer<Size>;
        fn sock_shutdown(fd: Fd, how: Sdflags) -> Answer<()>;
    }

    same_as_ever! {
        async fn fd_advise(fd: Fd, offset: Filesize, length: Filesize, advice: Advice)
            -> Answer<()>;
        async fn fd_datasync(fd: Fd) -> Answer<()>;
        async fn fd_fdstat_get(fd: Fd) -> Answer<Fdstat>;
        async fn fd_filestat_get(fd: Fd) -> Answer<Filestat>;
        async fn fd_read(fd: Fd, to: IovecArray) -> Answer<Size>;
        async fn fd_pread(fd: Fd, to: IovecArray, offset: Filesize) -> Answer<Size>;
        async fn fd_seek(fd: Fd, offset: Filedelta, whence: Whence) -> Answer<Filesize>;
        async fn fd_sync(fd: Fd) -> Answer<()>;
        async fn fd_readdir(fd: Fd, to: GuestPtr<u8>, length: Size, cookie: Dircookie)
            -> Answer<Size>;
        async fn poll_oneoff(
            subscriptions: GuestPtr<Subscription>,
            events: GuestPtr<Event>,
            count: Size
        ) -> Answer<Size>;
    }

    told_of! {
        async fn path_filestat_get(dir, [flags: Lookupflags], path, [])
            -> Answer<Filestat>, if READS;
        async fn path_filestat_set_times(
            dir, [flags: Lookupflags], path,
            [accessed: Timestamp, modified: Timestamp, which: Fstflags]
        ) -> Answer<()>, if WRITES;
        async fn path_readlink(dir, [], path, [to: GuestPtr<u8>, length: Size])
            -> Answer<Size>, if READS;
        async fn path_remove_directory(dir, [], path, []) -> Answer<()>, if WRITES;
        async fn path_unlink_file(dir, [], path, []) -> Answer<()>, if WRITES;
    }

    async fn fd_close(&mut self, memory: &mut GuestMemory<'_>, fd: Fd) -> Answer<()> {
        self.wasi_p1().fd_close(memory, fd).await?;
        self.desk().directories.closed(fd.into());
        Ok(())
    }

    async fn fd_renumber(&mut self, memory: &mut GuestMemory<'_>, from: Fd, to: Fd) -> Answer<()> {
        self.wasi_p1().fd_renumber(memory, from, to).await?;
        self.desk().directories.renumber(from.into(), to.into());
        Ok(())
    }

    fn fd_fdstat_set_flags(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        flags: Fdflags,
    ) -> Answer<()> {
        self.wasi_p1().fd_fdstat_set_flags(memory, fd, flags)?;
        let append = flags.contains(Fdflags::APPEND);
        self.desk().directories.set_append(fd.into(), append);
        Ok(())
    }

    async fn fd_filestat_set_size(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        size: Filesize,
    ) -> Answer<()> {
        let _room = self.room_for_size(fd.into(), size).await?;
        let wasi = self.wasi_p1();
        let result = wasi.fd_filestat_set_size(memory, fd, size).await;
        self.explained_open_p1(result, fd)
    }

    async fn fd_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        accessed: Timestamp,
        modified: Timestamp,
        flags: Fstflags,
    ) -> Answer<()> {
        let wasi = self.wasi_p1();
        let set = wasi.fd_filestat_set_times(memory, fd, accessed, modified, flags);
        let result = set.await;
        self.explained_open_p1(result, fd)
    }

    async fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        lists: CiovecArray,
    ) -> Answer<Size> {
        let room = self.room_to_write_p1(memory, fd, lists, None);
        let _room = room.await?;
        let result = self.wasi_p1().fd_write(memory, fd, lists).await;
        self.explained_open_p1(result, fd)
    }

    async fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        lists: CiovecArray,
        offset: Filesize,
    ) -> Answer<Size> {
        let room = self.room_to_write_p1(memory, fd, lists, Some(offset));
        let _room = room.await?;
        let result = self.wasi_p1().fd_pwrite(memory, fd, lists, offset).await;
        self.explained_open_p1(result, fd)
    }

    async fn path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dir: Fd,
        path: GuestPtr<str>,
    ) -> Answer<()> {
        let _room = self.room(dir.into(), Growth::of_entry(0)).await?;
        let wasi = self.wasi_p1();
        let result = wasi.path_create_directory(memory, dir, path).await;
        self.explained_p1(memory, result, dir, path, true).await
    }

    async fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dir: Fd,
        flags: Lookupflags,
        path: GuestPtr<str>,
        new_dir: Fd,
        new_path: GuestPtr<str>,
    ) -> Answer<()> {
        if self.desk().directories.apart(dir.into(), new_dir.into()) {
            return Err(Errno::Xdev.into());
        }
        let _room = self.room(new_dir.into(), Growth::of_entry(0)).await?;
        let wasi = self.wasi_p1();
        let link = wasi.path_link(memory, dir, flags, path, new_dir, new_path);
        let result = link.await;
        let explained = self.explained_p1(memory, result, dir, path, true);
        let result = explained.await;
        let explained = self.explained_p1(memory, result, new_dir, new_path, true);
        explained.await
    }

    async fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dir: Fd,
        lookup: Lookupflags,
        path: GuestPtr<str>,
        flags: Oflags,
        base: Rights,
        inheriting: Rights,
        state: Fdflags,
    ) -> Answer<Fd> {
        let creates = flags.contains(Oflags::CREAT);
        let writes = creates || flags.contains(Oflags::TRUNC) || base.contains(Rights::FD_WRITE);
        let anew = creates && flags.contains(Oflags::EXCL);
        let exists = !anew && self.openable_p1(memory, dir, lookup, path).await?;
        let _room = if creates && !exists {
            self.room(dir.into(), Growth::of_entry(0)).await?
        } else {
            Allowed::nothing()
        };
        let wasi = self.wasi_p1();
        let open = wasi.path_open(memory, dir, lookup, path, flags, base, inheriting, state);
        let result = open.await;
        let explained = self.explained_p1(memory, result, dir, path, writes);
        let opened = explained.await?;
        let directories = &mut self.desk().directories;
        if let Some(grant) = directories.grant_of(dir.into()) {
            let place = directories.opened(opened.into(), grant);
            place.append = state.contains(Fdflags::APPEND);
            self.meter_p1(opened.into());
        }
        Ok(opened)
    }

    async fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        dir: Fd,
        path: GuestPtr<str>,
        new_dir: Fd,
        new_path: GuestPtr<str>,
    ) -> Answer<()> {
        if self.desk().directories.apart(dir.into(), new_dir.into()) {
            return Err(Errno::Xdev.into());
        }
        let _moving = self.desk().directories.moving(new_dir.into());
        let wasi = self.wasi_p1();
        let rename = wasi.path_rename(memory, dir, path, new_dir, new_path);
        let result = rename.await;
        let explained = self.explained_p1(memory, result, dir, path, true);
        let result = explained.await;
        let explained = self.explained_p1(memory, result, new_dir, new_path, true);
        explained.await
    }

    async fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        target: GuestPtr<str>,
        dir: Fd,
        path: GuestPtr<str>,
    ) -> Answer<()> {
        let length = target.len() as usize;
        let _room = self.room(dir.into(), Growth::of_entry(length)).await?;
        let wasi = self.wasi_p1();
        let result = wasi.path_symlink(memory, target, dir, path).await;
        if result.as_ref().is_err_and(not_permitted) {
            let target = text(memory, target);
            if target.starts_with('/') && !leaves(&text(memory, path)) {
                // Read-only comes first: there no link would be made, wherever to.
                if !self.desk().read_only(dir.into()) {
                    self.desk().outside(dir.into(), &target);
                }
                return result;
            }
        }
        self.explained_p1(memory, result, dir, path, true).await
    }
}
