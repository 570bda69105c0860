//! `wasi:filesystem` of WASI 0.2.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, ErrorCode, Filesize, HostDescriptor as _, MetadataHashValue,
    NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::quota::{Allowed, Growth};
use super::stream::Metered;
use super::{NoRoom, READS, WRITES, leaves};
use crate::runtime::guest::GuestState;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    fn same(state: &mut GuestState) -> &mut GuestState {
        state
    }
    preopens::add_to_linker::<_, HasSelf<GuestState>>(linker, same)?;
    types::add_to_linker::<_, HasSelf<GuestState>>(linker, same)
}

impl From<NoRoom> for FsError {
    fn from(_: NoRoom) -> FsError {
        ErrorCode::InsufficientSpace.into()
    }
}

fn not_permitted(error: &FsError) -> bool {
    matches!(error.downcast_ref(), Some(ErrorCode::NotPermitted))
}

fn borrowed(key: u32) -> Resource<Descriptor> {
    Resource::new_borrow(key)
}

impl GuestState {
    /// Tells why a call on a path was not permitted.
    async fn explained<T>(
        &mut self,
        result: FsResult<T>,
        dir: u32,
        path: &str,
        writes: bool,
    ) -> FsResult<T> {
        if result.as_ref().is_err_and(not_permitted)
            && !self.desk().forbidden(dir, path, writes)
            && self.leads_out(dir, path).await
        {
            self.desk().outside(dir, path);
        }
        result
    }

    /// The same for a call on what is open.
    fn explained_open<T>(&mut self, result: FsResult<T>, key: u32) -> FsResult<T> {
        if result.as_ref().is_err_and(not_permitted) {
            self.desk().read_only(key);
        }
        result
    }

    /// Whether a path leads out by a link: looking at it needs no right but to get there.
    async fn leads_out(&mut self, dir: u32, path: &str) -> bool {
        let follow = PathFlags::SYMLINK_FOLLOW;
        let stat = self.stat_of(dir, follow, path).await;
        stat.as_ref().is_err_and(not_permitted)
    }

    async fn stat_of(
        &mut self,
        dir: u32,
        flags: PathFlags,
        path: &str,
    ) -> FsResult<DescriptorStat> {
        let mut view = self.filesystem();
        view.stat_at(borrowed(dir), flags, path.to_owned()).await
    }

    /// Checks that a path that is to be opened leads to a file or a directory: opening anything
    /// else may wait for ever, or do something. False if there is nothing yet.
    async fn openable(&mut self, dir: u32, flags: PathFlags, path: &str) -> FsResult<bool> {
        match self.stat_of(dir, flags, path).await {
            Ok(stat) => match stat.type_ {
                DescriptorType::RegularFile
                | DescriptorType::Directory
                | DescriptorType::SymbolicLink => Ok(true),
                _ => {
                    self.desk().no_file(dir, path);
                    Err(ErrorCode::NotPermitted.into())
                }
            },
            // What is wrong otherwise, opening it will show.
            Err(error) => Ok(!matches!(error.downcast_ref(), Some(ErrorCode::NoEntry))),
        }
    }

    /// Has what is written to a stream counted, if there is a quota.
    fn metered_stream(
        &mut self,
        key: u32,
        stream: Resource<DynOutputStream>,
        position: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let directories = &self.desk().directories;
        let (Some(file), Some(quota)) = (directories.metered(key), directories.quota_of(key))
        else {
            return Ok(stream);
        };
        let quota = quota.clone();
        let inner = self.table().delete(stream)?;
        let metered = Metered::new(inner, file, quota, position);
        Ok(self.table().push(Box::new(metered) as DynOutputStream)?)
    }
}

/// Functions on what is open that are the library's.
macro_rules! same_as_ever {
    ($(async fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        async fn $name(
            &mut self,
            fd: Resource<Descriptor>,
            $($argument: $type,)*
        ) -> FsResult<$result> {
            self.filesystem().$name(fd, $($argument,)*).await
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
            fd: Resource<Descriptor>,
            $($before: $type,)*
            path: String,
            $($after: $other,)*
        ) -> FsResult<$result> {
            let dir = fd.rep();
            let mut view = self.filesystem();
            let result = view.$name(fd, $($before,)* path.clone(), $($after,)*).await;
            self.explained(result, dir, &path, $writes).await
        }
    )*};
}

impl preopens::Host for GuestState {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let granted = self.desk().directories.granted.clone();
        let mut dirs = Vec::with_capacity(granted.len());
        for (grant, (dir, path)) in granted.into_iter().enumerate() {
            let dir = self.table().push(Descriptor::Dir(dir))?;
            self.desk().directories.opened(dir.rep(), grant);
            dirs.push((dir, path));
        }
        Ok(dirs)
    }
}

impl types::Host for GuestState {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        self.desk().tell_of_quotas();
        self.filesystem().filesystem_error_code(error)
    }
}

impl types::HostDescriptor for GuestState {
    same_as_ever! {
        async fn advise(offset: Filesize, length: Filesize, advice: Advice) -> ();
        async fn sync_data() -> ();
        async fn sync() -> ();
        async fn get_flags() -> DescriptorFlags;
        async fn get_type() -> DescriptorType;
        async fn stat() -> DescriptorStat;
        async fn metadata_hash() -> MetadataHashValue;
        async fn read(length: Filesize, offset: Filesize) -> (Vec<u8>, bool);
        async fn read_directory() -> Resource<DirectoryEntryStream>;
    }

    told_of! {
        async fn stat_at(dir, [flags: PathFlags], path, []) -> DescriptorStat, if READS;
        async fn metadata_hash_at(dir, [flags: PathFlags], path, [])
            -> MetadataHashValue, if READS;
        async fn set_times_at(
            dir, [flags: PathFlags], path, [accessed: NewTimestamp, modified: NewTimestamp]
        ) -> (), if WRITES;
        async fn readlink_at(dir, [], path, []) -> String, if READS;
        async fn remove_directory_at(dir, [], path, []) -> (), if WRITES;
        async fn unlink_file_at(dir, [], path, []) -> (), if WRITES;
    }

    fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        self.filesystem().read_via_stream(fd, offset)
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let key = fd.rep();
        let stream = self.filesystem().write_via_stream(fd, offset);
        let stream = self.explained_open(stream, key)?;
        self.metered_stream(key, stream, Some(offset))
    }

    fn append_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let key = fd.rep();
        let stream = self.filesystem().append_via_stream(fd);
        let stream = self.explained_open(stream, key)?;
        self.metered_stream(key, stream, None)
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        let key = fd.rep();
        let _room = self.room_for_size(key, size).await?;
        let result = self.filesystem().set_size(fd, size).await;
        self.explained_open(result, key)
    }

    async fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let key = fd.rep();
        let mut view = self.filesystem();
        let result = view.set_times(fd, accessed, modified).await;
        self.explained_open(result, key)
    }

    async fn write(
        &mut self,
        fd: Resource<Descriptor>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let key = fd.rep();
        let _room = self.room_to_write(key, Some(offset), bytes.len()).await?;
        let result = self.filesystem().write(fd, bytes, offset).await;
        self.explained_open(result, key)
    }

    async fn create_directory_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        let dir = fd.rep();
        let _room = self.room(dir, Growth::of_entry(0)).await?;
        let mut view = self.filesystem();
        let result = view.create_directory_at(fd, path.clone()).await;
        self.explained(result, dir, &path, true).await
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (dir, new_dir) = (fd.rep(), new_fd.rep());
        if self.desk().directories.apart(dir, new_dir) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let _room = self.room(new_dir, Growth::of_entry(0)).await?;
        let mut view = self.filesystem();
        let link = view.link_at(fd, flags, path.clone(), new_fd, new_path.clone());
        let result = link.await;
        let result = self.explained(result, dir, &path, true).await;
        self.explained(result, new_dir, &new_path, true).await
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let dir = fd.rep();
        let creates = open_flags.contains(OpenFlags::CREATE);
        let writes = creates
            || open_flags.contains(OpenFlags::TRUNCATE)
            || flags.contains(DescriptorFlags::WRITE);
        let anew = creates && open_flags.contains(OpenFlags::EXCLUSIVE);
        let exists = !anew && self.openable(dir, path_flags, &path).await?;
        let _room = if creates && !exists {
            self.room(dir, Growth::of_entry(0)).await?
        } else {
            Allowed::nothing()
        };
        let mut view = self.filesystem();
        let open = view.open_at(fd, path_flags, path.clone(), open_flags, flags);
        let result = open.await;
        let opened = self.explained(result, dir, &path, writes).await?;
        let file = match self.table().get(&opened)? {
            Descriptor::File(file) => Some(file.file.clone()),
            Descriptor::Dir(_) => None,
        };
        let directories = &mut self.desk().directories;
        if let Some(grant) = directories.grant_of(dir) {
            directories.opened(opened.rep(), grant);
        }
        if let Some(file) = file {
            directories.meter(opened.rep(), &file);
        }
        Ok(opened)
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (dir, new_dir) = (fd.rep(), new_fd.rep());
        if self.desk().directories.apart(dir, new_dir) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let _moving = self.desk().directories.moving(new_dir);
        let mut view = self.filesystem();
        let rename = view.rename_at(fd, path.clone(), new_fd, new_path.clone());
        let result = rename.await;
        let result = self.explained(result, dir, &path, true).await;
        self.explained(result, new_dir, &new_path, true).await
    }

    async fn symlink_at(
        &mut self,
        fd: Resource<Descriptor>,
        target: String,
        path: String,
    ) -> FsResult<()> {
        let dir = fd.rep();
        let _room = self.room(dir, Growth::of_entry(target.len())).await?;
        let mut view = self.filesystem();
        let result = view.symlink_at(fd, target.clone(), path.clone()).await;
        if result.as_ref().is_err_and(not_permitted) && target.starts_with('/') && !leaves(&path) {
            // Read-only comes first: there no link would be made, wherever to.
            if !self.desk().read_only(dir) {
                self.desk().outside(dir, &target);
            }
            return result;
        }
        self.explained(result, dir, &path, true).await
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        self.filesystem().is_same_object(one, other).await
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.desk().directories.closed(fd.rep());
        types::HostDescriptor::drop(&mut self.filesystem(), fd)
    }
}

impl types::HostDirectoryEntryStream for GuestState {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.filesystem().read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        types::HostDirectoryEntryStream::drop(&mut self.filesystem(), stream)
    }
}
