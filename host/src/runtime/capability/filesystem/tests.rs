//! The interface of WASI 0.2 as a guest calls it, without a guest.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, HostDescriptor as _, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynOutputStream, FsResult, StreamError};

use super::super::Equipment;
use super::*;
use crate::clock::Timestamp;
use crate::dispatcher::{Cancel, Session};
use crate::job::{Grants, Job};
use crate::run::{Attempt, Cause, Run, RunId};
use crate::runtime::guest::{HostMemory, Wasi};

/// A guest with the directories `/in`, granted so, and `/second`, read and written, of a
/// temporary directory.
struct Guest {
    all: tempfile::TempDir,
    state: GuestState,
    dirs: Vec<u32>,
}

impl Guest {
    fn granted(access: Access, quota: Option<u64>) -> Guest {
        let all = tempfile::tempdir().unwrap();
        let grant = |name: &str, access, quota| {
            let host = all.path().join(name);
            std::fs::create_dir(&host).unwrap();
            let guest = format!("/{name}");
            DirGrant {
                host,
                guest,
                access,
                quota,
                beneath: Vec::new(),
            }
        };
        let dirs = vec![
            grant("in", access, quota),
            grant("second", Access::ReadWrite, None),
        ];
        let mut directories = Directories::default();
        for dir in &dirs {
            directories.grant(dir, None).unwrap();
        }
        let mut job = Job::by_hand("job".into(), "job.wasm");
        job.grants = Arc::new(Grants {
            dirs,
            ..Grants::default()
        });
        let at = Timestamp::UNIX_EPOCH;
        let attempt = Attempt {
            run: Arc::new(Run {
                id: RunId::new(at),
                job: Arc::new(job),
                cause: Cause::Manual,
                scheduled_at: at,
                max_attempts: 1,
                last_success: None,
            }),
            number: 1,
            started_at: at,
            run_started_at: at,
        };
        let given = Equipment {
            directories,
            ..Equipment::default()
        };
        let session = Session::alone(Cancel::new());
        let started = crate::clock::monotonic();
        let desk = Desk::new(attempt, session, Arc::default(), given, started);
        let memory = Arc::new(HostMemory::new(u64::MAX));
        let mut state = GuestState::new(desk, None, Wasi::P2(Box::default()), memory, None);
        let dirs = state.get_directories().unwrap();
        let dirs = dirs.iter().map(|(dir, _)| dir.rep()).collect();
        Guest { all, state, dirs }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.all.path().join(path)
    }

    fn dir(&self, which: usize) -> Resource<Descriptor> {
        Resource::new_borrow(self.dirs[which])
    }

    async fn open(&mut self, path: &str, flags: OpenFlags) -> FsResult<Resource<Descriptor>> {
        let mode = if flags == OpenFlags::empty() {
            DescriptorFlags::READ
        } else {
            DescriptorFlags::READ | DescriptorFlags::WRITE
        };
        let (dir, follow) = (self.dir(0), PathFlags::SYMLINK_FOLLOW);
        let opened = self.state.open_at(dir, follow, path.into(), flags, mode);
        opened.await
    }

    /// All that it was denied, in words.
    fn denials(&mut self) -> Vec<String> {
        let left = self.state.desk().leave();
        left.denials
            .first
            .iter()
            .map(|it| it.what.clone())
            .collect()
    }
}

fn code<T>(result: FsResult<T>) -> ErrorCode {
    let error = result.err().unwrap();
    error.downcast().unwrap()
}

#[tokio::test]
async fn each_denial_is_told_with_its_reason() {
    let mut guest = Guest::granted(Access::ReadOnly, None);
    std::fs::write(guest.path("secret"), "").unwrap();
    std::fs::write(guest.path("in/file"), "").unwrap();
    symlink("../secret", guest.path("in/link")).unwrap();
    let pipe = guest.path("in/pipe");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, pipe, kind, mode, 0).unwrap();

    let none = OpenFlags::empty();
    guest.open("file", none).await.unwrap();
    for (path, flags) in [
        ("../secret", none),
        ("link", none),
        ("pipe", none),
        ("file", OpenFlags::TRUNCATE),
        ("new", OpenFlags::CREATE),
    ] {
        assert_eq!(code(guest.open(path, flags).await), ErrorCode::NotPermitted);
    }
    let dir = guest.dir(0);
    let unlinked = guest.state.unlink_file_at(dir, "file".into()).await;
    assert_eq!(code(unlinked), ErrorCode::NotPermitted);
    let (dir, second) = (guest.dir(0), guest.dir(1));
    let moved = guest
        .state
        .rename_at(dir, "file".into(), second, "x".into());
    assert_eq!(code(moved.await), ErrorCode::NotPermitted);
    // What is not there is no denial.
    assert_eq!(code(guest.open("none", none).await), ErrorCode::NoEntry);
    assert_eq!(
        guest.denials(),
        [
            "/in/../secret is outside what it is granted",
            "/in/link is outside what it is granted",
            "open /in/pipe: it is a pipe, a socket or a device, and a job may open files and directories",
            "write to /in: it is granted read-only",
        ]
    );
}

#[tokio::test]
async fn a_stream_waits_for_another_look_and_then_says_that_it_is_full() {
    let mut guest = Guest::granted(Access::ReadWrite, Some(10_000));
    std::fs::write(guest.path("in/old"), [0; 5000]).unwrap();
    let file = guest.open("new", OpenFlags::CREATE).await.unwrap();
    let stream = guest.state.write_via_stream(file, 0).unwrap();
    let mut stream = guest.state.table().delete(stream).unwrap();
    let piece = || Bytes::from(vec![1; 4000]);

    write(&mut stream, piece()).await.unwrap();
    // 4000 more are too many, until something is deleted.
    std::fs::remove_file(guest.path("in/old")).unwrap();
    write(&mut stream, piece()).await.unwrap();
    assert_eq!(std::fs::metadata(guest.path("in/new")).unwrap().len(), 8000);
    let error = write(&mut stream, piece()).await.unwrap_err();
    let StreamError::LastOperationFailed(error) = error else {
        panic!("{error}");
    };
    let error: std::io::Error = error.downcast().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    // Once is enough.
    assert!(matches!(stream.check_write(), Err(StreamError::Closed)));
    assert_eq!(std::fs::metadata(guest.path("in/new")).unwrap().len(), 8000);
    assert_eq!(
        guest.denials(),
        ["write to /in: its quota of 9.8 KiB is used up"]
    );
}

/// Writes as programs do that wait for several things at once.
async fn write(stream: &mut DynOutputStream, bytes: Bytes) -> Result<(), StreamError> {
    stream.ready().await;
    assert!(stream.check_write()? >= bytes.len());
    stream.write(bytes)?;
    stream.flush()?;
    while stream.check_write()? == 0 {
        stream.ready().await;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_given_to_a_stream_is_written_when_it_is_dropped() {
    let mut guest = Guest::granted(Access::ReadWrite, Some(10_000));
    let file = guest.open("new", OpenFlags::CREATE).await.unwrap();
    let stream = guest.state.append_via_stream(file).unwrap();
    let mut stream = guest.state.table().delete(stream).unwrap();
    stream.write(Bytes::from_static(b"kept")).unwrap();
    stream.cancel().await;
    assert_eq!(std::fs::read(guest.path("in/new")).unwrap(), b"kept");
}

#[tokio::test]
async fn no_quota_is_passed_by_moving_or_linking() {
    let mut guest = Guest::granted(Access::ReadWrite, Some(10_000));
    std::fs::write(guest.path("second/large"), [0; 50_000]).unwrap();
    let (dir, second) = (guest.dir(0), guest.dir(1));
    let moved = guest
        .state
        .rename_at(second, "large".into(), dir, "x".into());
    assert_eq!(code(moved.await), ErrorCode::CrossDevice);
    let (dir, second) = (guest.dir(0), guest.dir(1));
    let none = PathFlags::empty();
    let linked = guest
        .state
        .link_at(second, none, "large".into(), dir, "x".into());
    assert_eq!(code(linked.await), ErrorCode::CrossDevice);
    // Within the directory, and out of it, it may.
    std::fs::write(guest.path("in/small"), [0; 50]).unwrap();
    let (dir, again) = (guest.dir(0), guest.dir(0));
    let linked = guest
        .state
        .link_at(dir, none, "small".into(), again, "y".into());
    linked.await.unwrap();
    let (dir, second) = (guest.dir(0), guest.dir(1));
    let moved = guest
        .state
        .rename_at(dir, "small".into(), second, "z".into());
    moved.await.unwrap();
    assert_eq!(guest.denials(), [""; 0]);
}

#[test]
fn a_directory_is_opened_within_its_root() {
    let all = tempfile::tempdir().unwrap();
    let root = all.path().join("root");
    std::fs::create_dir_all(root.join("data")).unwrap();
    symlink("..", root.join("out")).unwrap();
    let dir = DirGrant {
        host: root.join("data"),
        guest: "/data".into(),
        access: Access::ReadOnly,
        quota: None,
        beneath: Vec::new(),
    };
    let grant = |below: &str| {
        let within = Within {
            root: &root,
            below: Path::new(below),
            then: &[],
        };
        Directories::default().grant(&dir, Some(within))
    };
    assert_eq!(grant("data"), Ok(()));
    assert_eq!(grant("."), Ok(()));
    for below in ["out", "..", "data/../..", "none", "/etc"] {
        let why = grant(below).unwrap_err();
        assert!(
            why.starts_with("cannot open the granted directory "),
            "{why}"
        );
    }
}

#[test]
fn whether_a_path_leaves_is_seen_by_its_words() {
    for path in ["..", "/", "/etc", "a/../..", "./..", "a//../../b", "../a"] {
        assert!(leaves(path), "{path}");
    }
    for path in ["", ".", "a", "a/..", "a/b/../../c", "..a", "a/...", "a/"] {
        assert!(!leaves(path), "{path}");
    }
}

#[test]
fn a_path_is_shown_on_one_line_and_not_too_long() {
    assert_eq!(shorten("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
    let long = shorten(&"ü".repeat(1 << 20));
    assert_eq!(long.chars().count(), LONGEST_SHOWN / 2 + 1);
    assert!(long.ends_with('…'));
}
