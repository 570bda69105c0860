//! The tasks that watch what the host follows: its configuration, its sources, its plugins.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::super::watch::Watcher;
use crate::job::Diagnostic;
use crate::policy::{Look, Policy, PolicyFile};
use crate::runtime::directory::{self, Plugins};
use crate::source::{JobSource, Snapshot, SourceError};

/// How long the first plugins may take to compile before the host starts without the rest of
/// them; they follow when they are ready.
const FIRST_PLUGINS: Duration = Duration::from_secs(5);

/// How long one wait for word of a change lasts at most, before the next one.
const WAIT: Duration = Duration::from_secs(5);

/// How soon a file that is being written is looked at again.
const SETTLING: Duration = Duration::from_millis(100);

/// What the threads that read files tell the control loop.
pub(super) enum Message {
    /// The configuration has changed, or has become useless. The sources follow.
    Config(ConfigNews),
    /// The sources have been read under the configuration that has changed.
    ConfigFollowed,
    /// A source has been read.
    Read(usize, Result<Snapshot, SourceError>),
    /// Plugins have changed.
    Plugins(Vec<directory::Change>, Vec<Arc<str>>),
    /// The plugins that were there at the start are in service, or refused.
    FirstPlugins,
}

/// What has become of the configuration.
pub(super) enum ConfigNews {
    /// It says something else, and is in force.
    Changed(Arc<Policy>),
    /// It is again as it was before it was broken.
    Restored,
    /// It cannot be used.
    Broken(Vec<Diagnostic>),
}

/// A request to read a source now, and who is told when the host has been told what it says.
type Ask = Option<oneshot::Sender<()>>;

/// Has one source read when it is asked to.
#[derive(Debug, Clone)]
pub(super) struct SourceReader {
    ask: mpsc::Sender<Ask>,
}

impl SourceReader {
    /// Has it read soon.
    pub(super) fn look(&self) {
        // If it is asked already, it will look anyway; if it has ended, so does the host.
        let _ = self.ask.try_send(None);
    }

    /// Has it read, and waits until what it says has been sent to the host.
    async fn look_and_wait(&self) {
        let (done, told) = oneshot::channel();
        if self.ask.send(Some(done)).await.is_ok() {
            // Dropped only if the host is stopping.
            let _ = told.await;
        }
    }

    /// Reads the source of this number whenever it is asked to, and at its own pace; at `refresh`
    /// one that is away and has none. The task ends with the host.
    pub(super) fn start(
        number: usize,
        source: Arc<dyn JobSource>,
        refresh: Duration,
        tell: mpsc::Sender<Message>,
    ) -> (SourceReader, JoinHandle<()>) {
        let (ask, asked) = mpsc::channel(1);
        let task = tokio::spawn(read_source(number, source, refresh, asked, tell));
        (SourceReader { ask }, task)
    }
}

async fn read_source(
    number: usize,
    source: Arc<dyn JobSource>,
    refresh: Duration,
    mut asked: mpsc::Receiver<Ask>,
    tell: mpsc::Sender<Message>,
) {
    // One that is away has not been read before the host started.
    let mut at_once = source.is_remote();
    let mut waiting = None;
    loop {
        let pace = match source.pace() {
            _ if std::mem::take(&mut at_once) => Some(Duration::ZERO),
            // A file is looked at with all the others.
            None if !source.is_remote() => None,
            pace => Some(pace.unwrap_or(refresh)),
        };
        let waited = async {
            match pace {
                Some(pace) => tokio::time::sleep(pace).await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            ask = asked.recv() => match ask {
                Some(done) => done,
                None => return,
            },
            () = waited => None,
            () = told_of_a_change(&source, &mut waiting), if source.tells() => None,
        };
        let read = tokio::task::spawn_blocking({
            let source = source.clone();
            move || source.read()
        });
        // Not read for a bug, logged by its panic: what it said last stays.
        if let Ok(read) = read.await
            && tell.send(Message::Read(number, read)).await.is_err()
        {
            return;
        }
        if let Some(done) = done {
            // Whoever asked may not wait any more.
            let _ = done.send(());
        }
    }
}

/// Waits until a source is told of a change. May be dropped and called again: what waits on a
/// thread of its own is kept.
async fn told_of_a_change(source: &Arc<dyn JobSource>, waiting: &mut Option<JoinHandle<bool>>) {
    loop {
        let handle = waiting.get_or_insert_with(|| {
            let source = source.clone();
            tokio::task::spawn_blocking(move || source.wait(WAIT))
        });
        let told = handle.await;
        *waiting = None;
        match told {
            Ok(true) => return,
            Ok(false) => {}
            // A bug, logged by its panic: the source is still read at its pace.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Looks at the configuration, and has the sources read, whenever one may have changed.
pub(super) async fn follow_files(
    sources: Vec<(Arc<dyn JobSource>, SourceReader)>,
    mut config: PolicyFile,
    mut watcher: Watcher,
    tell: mpsc::Sender<Message>,
) {
    loop {
        watcher.changed().await;
        let look = tokio::task::spawn_blocking({
            let mut config = config.clone();
            move || (config.look(), config)
        });
        let mut changed = false;
        // Not looked at for a bug, logged by its panic: what was in force stays.
        if let Ok((look, looked)) = look.await {
            config = looked;
            let news = match look {
                Look::Unchanged => None,
                Look::Changed(policy) => {
                    let policy = Arc::new(*policy);
                    for (source, _) in &sources {
                        source.set_policy(policy.clone());
                    }
                    Some(ConfigNews::Changed(policy))
                }
                Look::Restored => Some(ConfigNews::Restored),
                Look::Broken(problems) => Some(ConfigNews::Broken(problems)),
            };
            if let Some(news) = news {
                changed = matches!(news, ConfigNews::Changed(_));
                if tell.send(Message::Config(news)).await.is_err() {
                    return;
                }
            }
        }
        if changed {
            // All at once: one that is slow holds up no other.
            let mut looks: JoinSet<()> = JoinSet::new();
            for (_, reader) in &sources {
                let reader = reader.clone();
                looks.spawn(async move { reader.look_and_wait().await });
            }
            while looks.join_next().await.is_some() {}
            if tell.send(Message::ConfigFollowed).await.is_err() {
                return;
            }
        } else {
            for (_, reader) in sources.iter().filter(|(source, _)| !source.is_remote()) {
                reader.look();
            }
        }
    }
}

/// Looks at the plugins directory now, and again whenever it may have changed; loads what is
/// new, each file on a thread of its own.
pub(super) async fn read_plugins(
    plugins: Option<Arc<Plugins>>,
    mut watcher: Watcher,
    tell: mpsc::Sender<Message>,
) {
    let Some(plugins) = plugins else {
        // Nothing is waited for. The host is stopping: nobody wants to know.
        let _ = tell.send(Message::FirstPlugins).await;
        return;
    };
    let mut failed = false;
    // How often to look again before the host starts, for the sake of files being written.
    let mut first_looks = 20;
    let mut loading = tokio::task::JoinSet::new();
    loop {
        let scan = tokio::task::spawn_blocking({
            let plugins = plugins.clone();
            move || plugins.scan()
        });
        let scan = match scan.await {
            Ok(Ok(scan)) => {
                failed = false;
                scan
            }
            result => {
                if !std::mem::replace(&mut failed, true) {
                    let error = match result {
                        Ok(Err(error)) => error.to_string(),
                        _ => "a bug in the host".into(),
                    };
                    tracing::warn!(
                        directory = %plugins.path().display(),
                        error,
                        "cannot look into the plugins directory; what is in service stays"
                    );
                }
                directory::Scan::default()
            }
        };
        if !scan.removed.is_empty()
            && tell
                .send(Message::Plugins(Vec::new(), scan.removed))
                .await
                .is_err()
        {
            return;
        }
        for name in scan.load {
            let plugins = plugins.clone();
            let tell = tell.clone();
            loading.spawn(async move {
                let change = tokio::task::spawn_blocking(move || plugins.load(&name)).await;
                if let Ok(change) = change {
                    // The host is stopping: nobody wants to know.
                    let _ = tell.send(Message::Plugins(vec![change], Vec::new())).await;
                }
            });
        }
        if first_looks > 0 && (!scan.settling || first_looks == 1) {
            first_looks = 0;
            // Those of the start are waited for, within reason; later ones come as they come.
            let all = async { while loading.join_next().await.is_some() {} };
            // Not all in time: the rest follow on their own.
            let _ = tokio::time::timeout(FIRST_PLUGINS, all).await;
            if tell.send(Message::FirstPlugins).await.is_err() {
                return;
            }
        }
        if first_looks == 0 {
            loading.detach_all();
        } else {
            first_looks -= 1;
        }
        if scan.settling {
            tokio::time::sleep(SETTLING).await;
        } else {
            watcher.changed().await;
        }
    }
}
